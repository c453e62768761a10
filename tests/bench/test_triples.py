import pytest
import torch
from safetensors.torch import save_file

import kdlens
from kdlens.bench import recipes, stored, triples
from kdlens.bench.recipes import Recipe, accuracy, judging_images, recipe_of
from kdlens.bench.triples import load_triple
from kdlens.data.planted import WORLDS, PlantedImages
from kdlens.errors import RunFolderError, UnknownNameError

EVERY = pytest.mark.parametrize("world", WORLDS)
TINY = Recipe("zoo:cnn2", teacher="zoo:cnn3", images=64, epochs=1)


@pytest.fixture
def tiny(monkeypatch):
    monkeypatch.setitem(recipes.RECIPES, "resnet", TINY)


def weights(network):
    return torch.cat([p.detach().flatten() for p in network.parameters()])


@EVERY
def test_networks_of_the_package_are_as_good_as_their_file_says(world):
    recorded = stored.recorded_accuracy()[world]
    assert set(recorded) == {f"{kind}-{seed}" for kind in ("baseline", "labels", "kd") for seed in range(3)}
    # 0.8 is what the two known cues can give where each is right 4 times out of 5
    least, most = (0.77, 0.88) if WORLDS[world].kind == "additive" else (0.97, 1.0)
    data = judging_images(world)
    for name, share in recorded.items():
        training = name.partition("-")[0]
        network = stored.unpack(recipe_of("cnn").build(training), stored.from_package(world, name))
        assert accuracy(network, data, training) == pytest.approx(share, abs=0.004)
        assert least <= share <= most


@EVERY
def test_student_and_baseline_know_their_cues_and_no_other(world):
    triple = load_triple(world)
    data = PlantedImages(world, count=300, seed=4)
    clear = 2 if data.world.place == "overlapping" else 4  # there, taking a cue away uncovers others
    for network, cue in ((triple.student, "other"), (triple.baseline, "taught")):
        logits = recipes.logits_of(network, data, data.images)
        moved = {
            name: (recipes.logits_of(network, data, data.without(name)) - logits).abs().mean()
            for name in ("taught", "shared", "other")
        }
        assert clear * moved.pop(cue) < min(moved.values())


def test_networks_differ_and_are_in_eval_mode():
    one, two = load_triple("columns"), load_triple("columns", seed=1)
    networks = [one.student, one.baseline, *one.others, *one.other_students, load_triple("columns", kd=False).student]
    assert len({tuple(weights(network).tolist()) for network in networks}) == len(networks) == 7
    assert not any(network.training for network in networks)
    assert torch.equal(weights(two.baseline), weights(one.others[0]))
    assert torch.equal(weights(two.others[0]), weights(one.baseline))
    assert torch.equal(weights(two.student), weights(one.other_students[0]))


def test_the_packages_networks_are_small():
    assert sum(path.stat().st_size for path in stored.WEIGHTS.iterdir()) < 1_000_000


def test_others_are_trained_once_and_the_random_state_stays(tiny, tmp_path, monkeypatch):
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = load_triple("columns", "resnet", cache=tmp_path)
    assert torch.equal(torch.get_rng_state(), before)
    names = sorted(path.name.rpartition("-")[0] for path in (tmp_path / "planted").iterdir())
    assert names == [f"columns-resnet-{kind}-{seed}" for kind in ("baseline", "kd", "teacher") for seed in (0, 1)]
    monkeypatch.setattr(triples, "train", lambda *_: pytest.fail("it was trained already"))
    again = load_triple("columns", "resnet", cache=tmp_path)
    for a, b in zip((first.student, *first.others), (again.student, *again.others), strict=True):
        assert torch.equal(weights(a), weights(b))
    monkeypatch.setenv("KDLENS_CACHE", str(tmp_path))
    assert torch.equal(weights(load_triple("columns", "resnet").student), weights(first.student))


def test_a_student_on_labels_needs_no_teacher(tiny, tmp_path):
    load_triple("columns", "resnet", kd=False, cache=tmp_path)
    assert not [path for path in (tmp_path / "planted").iterdir() if "teacher" in path.name]


@pytest.mark.parametrize("damage", ["cut", "foreign"])
def test_a_file_that_is_damaged_or_of_another_network_is_made_anew(tiny, tmp_path, damage):
    first = load_triple("columns", "resnet", kd=False, cache=tmp_path)
    [path] = (tmp_path / "planted").glob("columns-resnet-labels-0-*")
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:100])
    else:
        save_file({"fc.weight": torch.zeros(4, 3)}, path)
    again = load_triple("columns", "resnet", kd=False, cache=tmp_path)
    assert torch.equal(weights(first.student), weights(again.student))


def test_a_file_is_read_for_its_own_recipe_and_world_only(tmp_path):
    one = stored.cached_file(tmp_path, TINY, "columns", "kd-0")
    assert one != stored.cached_file(tmp_path, Recipe("zoo:cnn2", teacher="zoo:cnn3", epochs=2), "columns", "kd-0")
    assert (
        one.name.rpartition("-")[2] != stored.cached_file(tmp_path, TINY, "scattered", "kd-0").name.rpartition("-")[2]
    )


def test_unknown_names_and_a_folder_that_cannot_be_are_told(tiny, tmp_path):
    with pytest.raises(UnknownNameError, match='unknown world "colums"; did you mean "columns"'):
        load_triple("colums")
    with pytest.raises(UnknownNameError, match='unknown architecture "vti"; did you mean "vit"'):
        load_triple("columns", "vti")
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RunFolderError, match="cannot write"):
        load_triple("columns", "resnet", kd=False, cache=tmp_path / "file")


def test_each_architecture_can_be_built():
    for recipe in recipes.RECIPES.values():
        for training in ("teacher", "kd"):
            assert recipe.build(training)(torch.zeros(2, 3, 32, 32)).shape == (2, 4)
    assert torch.equal(weights(recipe_of("cnn").build("kd", 3)), weights(recipe_of("cnn").build("kd", 3)))
    assert isinstance(recipe_of("cnn").build("kd"), type(kdlens.load_model("cnn8")))
