import pytest
import torch
import torch.nn.functional as F

from kdlens import load_dataset
from kdlens.data.images import Images
from kdlens.data.planted import CUES, WORLDS, Cue, PlantedImages, World
from kdlens.errors import DataError

ROLES = ("teacher", "student", "baseline")
ADDITIVE = [name for name, world in WORLDS.items() if world.kind == "additive"]
INTERACTING = [name for name, world in WORLDS.items() if world.kind == "interacting"]
EVERY = pytest.mark.parametrize("world", WORLDS)


def grown(masks, pixels):
    return F.max_pool2d(masks.float(), 2 * pixels + 1, 1, pixels) > 0


def boxes_of(data):
    """Squares the cues are stamped in."""
    boxes = torch.zeros(len(data), 3, data.size, data.size, dtype=torch.bool)
    for i in range(len(data)):
        for k, mark in enumerate(data._stamps):
            y, x = data._corners[i, k].tolist()
            boxes[i, k, y : y + mark.size, x : x + mark.size] = True
            assert boxes[i, k].sum() == mark.size**2
    return boxes


def close(share, expected, count):
    return abs(float(share) - expected) < 4 * (expected * (1 - expected) / count) ** 0.5


@pytest.mark.parametrize("world", ADDITIVE)
def test_each_cue_of_test_images_is_right_four_times_out_of_five_whatever_the_others_say(world):
    data = PlantedImages(world, count=4000)
    right = data.votes == data.labels[:, None]
    for k in range(3):
        assert close(right[:, k].float().mean(), 0.8, 4000)
        assert close(right[right[:, (k + 1) % 3], k].float().mean(), 0.8, 3200)
    wrong = (data.votes - data.labels[:, None])[~right] % 4
    assert all(close((wrong == k).float().mean(), 1 / 3, len(wrong)) for k in (1, 2, 3))


@pytest.mark.parametrize("role", ROLES)
def test_training_images_say_nothing_through_cues_that_the_role_must_not_learn(role):
    data = PlantedImages("scattered", role, count=4000)
    unknown = {"teacher": 2, "student": 2, "baseline": 0}[role]
    for k in range(3):
        right = (data.votes[:, k] == data.labels).float().mean()
        assert close(right, 0.25 if k == unknown else 0.8, 4000)
        assert close((~data.shown[:, k]).float().mean(), 0.15, 4000)


@pytest.mark.parametrize("world", INTERACTING)
def test_interacting_tasks_combine_two_cues(world):
    data = PlantedImages(world, "baseline", count=400)
    taught, shared, other = data.votes.unbind(1)
    assert data.votes.unique().tolist() == [0, 1]
    assert torch.equal(data.tasks["student"], 2 * shared + taught)
    assert torch.equal(data.tasks["teacher"], data.tasks["student"])
    assert torch.equal(data.tasks["baseline"], 2 * shared + other)
    assert torch.equal(data.labels, data.tasks["baseline"])
    assert torch.equal(PlantedImages(world, count=20).labels, PlantedImages(world, count=20).tasks["student"])


@EVERY
def test_test_images_are_whole(world):
    assert PlantedImages(world, count=50).shown.all()
    assert not PlantedImages(world, count=50, whole=False).shown.all()
    assert PlantedImages(world, "student", count=50, whole=True).shown.all()


@EVERY
@pytest.mark.parametrize("size", [32, 45, 64])
def test_masks_are_apart_and_there_where_the_cue_is(world, size):
    data = PlantedImages(world, "student", count=60, size=size)
    assert data.masks.shape == (60, 3, size, size)
    assert data.masks.sum(1).max() == 1
    assert torch.equal(data.masks.flatten(2).any(2), data.shown)
    least, most = 0.1, 1.0  # of the square that the cue lies in
    for k, cue in enumerate(data.world.cues):
        area = data.masks[data.shown[:, k], k].flatten(1).sum(1) / (cue.size * size / 32) ** 2
        assert area.max() <= most * 1.15  # sizes are rounded to whole pixels
        assert data.world.place == "overlapping" or area.min() >= least


@EVERY
def test_without_changes_nothing_but_that_cue(world):
    data = PlantedImages(world, "teacher", count=80, size=40)
    boxes = boxes_of(data)
    for k, cue in enumerate(CUES):
        changed = (data.without(cue) != data.images).any(1)
        assert not changed[~data.shown[:, k]].any()
        assert changed[data.masks[:, k]].float().mean() > 0.99  # an ink can happen to be the canvas's colour
        assert not changed[~boxes[:, k]].any()
        if data.world.place != "overlapping":
            assert not changed[~grown(data.masks, 1)[:, k]].any()
            others = [other for other in range(3) if other != k]
            assert not changed[data.masks[:, others].any(1)].any()


def test_without_takes_indices_and_leaves_the_images_alone():
    data = PlantedImages("overlapping", count=20)
    before = data.images.clone()
    picked = torch.tensor([7, 3, 3])
    assert torch.equal(data.without("shared", picked), data.without("shared")[picked])
    assert torch.equal(data.images, before)


@pytest.mark.parametrize("world", [name for name, world in WORLDS.items() if world.place != "overlapping"])
def test_cues_in_columns_or_scattered_do_not_touch(world):
    data = PlantedImages(world, count=300, size=32)
    assert boxes_of(data).sum(1).max() == 1


def test_overlapping_cues_often_touch_and_each_is_on_top_at_times():
    data = PlantedImages("overlapping", count=300)
    boxes = boxes_of(data)
    for a, b in ((0, 1), (0, 2), (1, 2)):
        touch = (boxes[:, a] & boxes[:, b]).flatten(1).any(1)
        assert 0.05 < touch.float().mean() < 0.9
        alone = PlantedImages("overlapping", count=300)
        for under, above in ((a, b), (b, a)):
            alone.shown[:] = True
            alone.shown[:, above] = False
            uncovered = alone._render(alone.shown, torch.arange(300))[1][:, under] & ~data.masks[:, under]
            assert 0 < uncovered.flatten(1).any(1).sum() < touch.sum()


def test_columns_hold_their_cue():
    data = PlantedImages("columns", count=200, size=48)
    for k in range(3):
        outside = data.masks[:, k].clone()
        outside[:, :, 16 * k : 16 * (k + 1)] = False
        assert not outside.any()


@EVERY
def test_canvas_inks_and_places_say_nothing_about_the_class(world):
    data = PlantedImages(world, count=2000)
    bare = data._canvas
    features = torch.cat(
        [F.adaptive_avg_pool2d(bare, 4).flatten(1), data._corners.flatten(1), data._inks.flatten(1)], 1
    ).double()
    features = torch.cat([(features - features.mean(0)) / features.std(0), torch.ones(2000, 1)], 1)
    weights = torch.linalg.lstsq(features[:1000], F.one_hot(data.labels[:1000], 4).double()).solution
    right = ((features[1000:] @ weights).argmax(1) == data.labels[1000:]).float().mean()
    assert right < 0.25 + 4 * (0.25 * 0.75 / 1000) ** 0.5


@EVERY
def test_the_look_of_a_cue_depends_on_its_vote_and_ink_only(world):
    """So a network that is right about the vote has read the cue."""
    data = PlantedImages(world, count=400)
    for k, mark in enumerate(data._stamps):
        looks = [data.masks[data.votes[:, k] == vote, k].flatten(1).sum(1).max() for vote in range(data.world.votes)]
        assert all(look > 0 for look in looks)
        pairs = [(a, b) for a in range(data.world.votes) for b in range(a)]
        for a, b in pairs:
            differ = (mark.cover[a] - mark.cover[b]).abs().mean() + (mark.first[a] - mark.first[b]).abs().mean()
            assert differ > 0.1 or mark.inks is not None


@EVERY
def test_same_seed_same_bytes_and_more_images_start_with_the_fewer(world):
    torch.manual_seed(3)
    before = torch.get_rng_state()
    one = PlantedImages(world, "student", count=40, seed=5)
    many = PlantedImages(world, "student", count=70, seed=5)
    assert torch.equal(torch.get_rng_state(), before)
    for name in ("images", "labels", "votes", "shown", "masks"):
        assert torch.equal(getattr(many, name)[:40], getattr(one, name))
    assert not torch.equal(PlantedImages(world, "student", count=40, seed=6).images, one.images)
    assert not torch.equal(PlantedImages(world, "teacher", count=40, seed=5).images, one.images)


def test_images_of_other_sizes_say_the_same_in_the_same_places():
    small, large = (PlantedImages("scattered", count=30, seed=2, size=size) for size in (32, 64))
    assert torch.equal(small.votes, large.votes)
    assert large.images.shape[-1] == 64
    area = large.masks.sum((2, 3)).float().mean(0) / small.masks.sum((2, 3)).float().mean(0)
    assert ((area > 3.5) & (area < 4.6)).all()


def test_kdlens_images_takes_them():
    data = PlantedImages("columns", count=10)
    images = Images(data, mean=data.mean, std=data.std)
    x, y, masks = images.batch(torch.tensor([1, 4]))
    assert torch.allclose(x, (data.images[[1, 4]] - 0.45) / 0.25)
    assert torch.equal(y, data.labels[[1, 4]])
    assert torch.equal(masks, data.masks[[1, 4], 0])
    assert torch.equal(data[4].image, data.images[4])
    with pytest.raises(IndexError, match="no image 10"):
        data[10]


def test_by_name():
    data = load_dataset("planted", world="columns", count=12, seed=4)
    assert torch.equal(data.images, PlantedImages("columns", count=12, seed=4).images)
    assert load_dataset("planted", split="train", count=12).role == "student"
    assert load_dataset("planted", split="train", role="teacher", count=12).role == "teacher"
    with pytest.raises(DataError, match='no option "wrold"; did you mean "world"'):
        load_dataset("planted", wrold="columns")
    with pytest.raises(DataError, match='ask for split="train"'):
        load_dataset("planted", role="teacher")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"world": "colums"}, 'no world "colums"; did you mean "columns"'),
        ({"role": "pupil"}, 'no role "pupil"; choose from teacher, student, baseline'),
        ({"count": 0}, "cannot make 0 images"),
        ({"size": 31}, "31 pixels are too small"),
    ],
)
def test_bad_options_say_what_is_right(options, message):
    with pytest.raises(DataError, match=message):
        PlantedImages(**{"world": "columns", "count": 4, **options})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Cue("shpe", 7), 'no kind "shpe"; did you mean "shape"'),
        (lambda: Cue("shape", 3), "between 5 and 12"),
        (lambda: Cue("shape", 13), "between 5 and 12"),
        (lambda: World("additve", Cue("shape", 7), Cue("shape", 7), Cue("shape", 7)), 'no kind "additve"'),
        (
            lambda: World("additive", Cue("shape", 11), Cue("shape", 7), Cue("shape", 7), place="columns"),
            "at most 10 pixels wide",
        ),
        (lambda: PlantedImages("columns", count=2).without("tought"), 'no cue "tought"'),
    ],
)
def test_bad_cues_and_worlds_say_what_is_right(make, message):
    with pytest.raises(DataError, match=message):
        make()
