import json

import pytest
import torch
from typer.testing import CliRunner

from kdlens.bench import METHODS
from kdlens.bench.cases import Case
from kdlens.bench.methods import gradcam, published
from kdlens.bench.planted import run_planted
from kdlens.bench.triples import load_triple
from kdlens.cli import app
from kdlens.data.planted import WORLDS, PlantedImages
from kdlens.errors import ConfigError, ModelError, UnknownNameError
from kdlens.models.load import load_model


def case_of(model, given, count=6):
    data = PlantedImages("columns", count=count)
    x = data.normalised(data.images)
    reference = PlantedImages("columns", count=32, seed=1)
    return Case(model, given, x, data.labels, (reference.normalised(reference.images), reference.labels))


def constant(case):
    return torch.ones(len(case.images), 32, 32)


def test_gradcam_is_the_class_weights_times_the_activation():
    triple = load_triple("columns")
    case, network = case_of(triple.student, triple.baseline), triple.student
    with torch.no_grad():
        activation = network.layer3(network.layer2(network.layer1(case.images)))
        weights = network.fc.weight[case.labels] / activation[0, 0].numel()
        expected = torch.einsum("nk,nkhw->nhw", weights, activation).clamp(min=0)
    expected = torch.nn.functional.interpolate(expected[:, None], size=(32, 32), mode="bilinear")[:, 0]
    assert torch.allclose(gradcam(case), expected, atol=1e-5)
    assert all(parameter.grad is None for parameter in network.parameters())


def test_methods_take_transformers():
    torch.manual_seed(0)
    networks = [load_model("zoo:vit_tiny_cifar", classes=4, width=12, depth=2, heads=3) for _ in range(2)]
    for method in (gradcam, published):
        maps = method(case_of(*networks))
        assert maps.shape == (6, 32, 32)
        assert maps.max() > 0


@pytest.fixture(scope="module")
def results():
    return run_planted(images=16, methods=["gradcam", "published"])


def test_a_line_for_each_world_direction_and_method_and_their_means(results):
    lines = [(line.world, line.direction, line.method) for line in results.lines]
    assert lines == [
        (world, direction, method)
        for world in (*WORLDS, "mean")
        for direction in ("distilled", "residual")
        for method in ("gradcam", "published")
    ]
    for line in results.lines[:-4]:
        assert line.low <= line.right <= line.high
        assert line.images == pytest.approx(16 * (1 - line.empty), abs=1)
        assert line.taught + line.shared + line.other + line.elsewhere >= 0.999
    mean = results.lines[-4]
    assert mean.right == pytest.approx(
        sum(line.right for line in results.lines[:-4] if (line.direction, line.method) == ("distilled", "gradcam")) / 6
    )


def test_the_truth_is_the_taught_cue_and_in_the_other_direction_the_other(results):
    for line in results.lines[:-4]:
        wanted, not_wanted = (0, 2) if line.direction == "distilled" else (2, 0)
        additive = WORLDS[line.world].kind == "additive"
        assert sum(line.truth) == pytest.approx(1)
        assert line.truth[wanted] > (0.8 if additive else 0.5)
        # where cues are combined, what the network given knows alone can speak against the label
        assert line.truth[not_wanted] < (0.01 if additive else 0.4)


def test_a_constant_map_scores_by_chance(method):
    lines = run_planted(["scattered", "columns-interacting"], [method("constant", constant)], images=8, seeds=2).lines
    assert all(line.right == pytest.approx(line.chance) for line in lines)
    assert all(0 < line.right < 0.4 for line in lines)
    assert [line.images for line in lines] == [16, 16, 16, 16, 32, 32]


def test_where_all_maps_are_empty_there_is_no_number(method):
    results = run_planted(["columns"], [method("nothing", lambda case: -constant(case))], images=8)
    line = results.lines[0]
    assert (line.right, line.low, line.taught, line.images, line.empty) == (None, None, None, 0, 1.0)
    assert json.loads(json.dumps(results.to_dict(), allow_nan=False))["lines"][0]["right"] is None
    assert " - " in str(results).splitlines()[1]


def test_a_method_is_given_what_its_direction_needs(method):
    seen = []

    def look(case):
        seen.append(case)
        return constant(case)

    run_planted(["columns-interacting"], [method("look", look)], images=8)
    forth, back = seen
    triple = load_triple("columns-interacting")

    def same(a, b):
        return torch.equal(a.fc.weight, b.fc.weight)

    assert same(forth.model, triple.student)
    assert same(forth.given, triple.baseline)
    assert same(back.model, triple.baseline)
    assert same(back.given, triple.student)
    assert same(forth.others[0], triple.others[0])
    assert same(back.others[0], triple.other_students[0])
    assert (forth.images < -0.5).any()  # normalised
    for case in seen:
        x, y = case.reference
        assert (case.model(x).argmax(1) == y).float().mean() > 0.9  # labels of its own task
        assert (case.model(case.images).argmax(1) == case.labels).float().mean() > 0.7
    assert torch.equal(forth.labels, back.labels)  # images on which both tasks say the same


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda case: torch.ones(3, 32, 32), r'"bad" gives \(3, 32, 32\); maps \(8, 32, 32\)'),
        (lambda case: None, '"bad" gives NoneType'),
        (lambda case: constant(case) * float("nan"), '"bad" gives maps that hold NaN'),
    ],
)
def test_a_method_that_gives_no_maps_is_named(method, function, message):
    with pytest.raises(ModelError, match=message):
        run_planted(["columns"], [method("bad", function)], images=8)


def test_the_same_call_gives_the_same_numbers():
    once, again = (run_planted(["columns"], ["published"], images=8).to_dict() for _ in range(2))
    assert once == again


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"worlds": ["scene"]}, UnknownNameError, 'unknown world "scene"; did you mean "scenes"'),
        ({"methods": ["grad-cam"]}, UnknownNameError, 'unknown benchmark method "grad-cam"; did you mean "gradcam"'),
        ({"arch": "cnm"}, UnknownNameError, 'unknown architecture "cnm"; did you mean "cnn"'),
        ({"seeds": 0}, ConfigError, "at least 1 seed"),
        ({"images": 3}, ConfigError, "4 images"),
    ],
)
def test_options_that_make_no_sense_are_told_first(options, error, message):
    with pytest.raises(error, match=message):
        run_planted(**options)


def test_another_package_can_add_a_method():
    assert METHODS.group == "kdlens.planted_methods"
    assert {"gradcam", "published"} <= set(METHODS.names())


@pytest.fixture
def run():
    def invoke(*arguments, code=0):
        result = CliRunner().invoke(app, [str(a) for a in arguments])
        assert result.exit_code == code, result.output
        return result.output

    return invoke


def test_the_command_prints_the_table_and_writes_the_numbers(run, tmp_path):
    file = tmp_path / "out.json"
    command = ("bench", "planted", "--world", "columns", "--method", "gradcam", "--images", 8, "--json", file, "-q")
    output = run(*command)
    head, first, second = output.strip().splitlines()
    assert head.split()[:3] == ["world", "direction", "method"]
    assert first.split()[:3] == ["columns", "distilled", "gradcam"]
    assert second.split()[:2] == ["residual", "gradcam"]
    assert f"{json.loads(file.read_text())['lines'][0]['right']:.2f}" == first.split()[3]
    assert "is there already" in run(*command, code=2)
    run(*command, "--force")
    nowhere = tmp_path / "none" / "out.json"
    assert "there is no folder" in run("bench", "planted", "--json", nowhere, code=2)  # before anything is computed


def test_the_command_knows_its_names(run):
    assert 'did you mean "published"' in run("bench", "planted", "--method", "publshed", code=2)
    assert 'did you mean "columns"' in run("bench", "planted", "--world", "colunms", code=2)
    assert "gradcam" in run("methods")
    assert "planted" in run("bench", code=2)


@pytest.mark.parametrize("world", ["scattered", "scenes"])
def test_joint_maps_lie_on_what_was_taught_and_published_ones_do_not(world):
    """Far from the figures of the docs, so that chance cannot fail it, and out of reach of the published protocol."""
    lines = {
        (line.direction, line.method): line for line in run_planted([world], ["joint", "published"], images=24).lines
    }
    for direction in ("distilled", "residual"):
        joint, published = lines[direction, "joint"], lines[direction, "published"]
        assert joint.right > 0.6
        assert joint.right > published.right + 0.3
        assert joint.shared < 0.3
