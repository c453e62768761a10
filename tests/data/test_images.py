from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, IterableDataset, Subset, TensorDataset

from kdlens.data import load_dataset
from kdlens.data.images import Images, Item, as_given, as_images
from kdlens.data.memory import InMemory
from kdlens.errors import DataError

PIXELS = torch.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5).byte()
FLOATS = PIXELS.float() / 255
LABELS = torch.tensor([1, 0])
MASKS = torch.zeros(2, 4, 5, dtype=torch.bool)
MASKS[:, 1:3, 1:4] = True


def hwc(i):
    return PIXELS[i].permute(1, 2, 0).numpy()


SOURCES = {
    "tensors": TensorDataset(FLOATS, LABELS),
    "tensors with masks": TensorDataset(FLOATS, LABELS, MASKS),
    "tuples of uint8 tensors": [(PIXELS[i], int(LABELS[i])) for i in range(2)],
    "uint8 arrays": [(hwc(i), np.int64(LABELS[i])) for i in range(2)],
    "PIL": [(Image.fromarray(hwc(i)), LABELS[i]) for i in range(2)],
    "dicts": [{"image": FLOATS[i], "label": LABELS[i], "mask": MASKS[i].numpy()} for i in range(2)],
    "dicts without masks": [{"image": Image.fromarray(hwc(i)), "label": int(LABELS[i]), "id": i} for i in range(2)],
    "items": [Item(FLOATS[i], int(LABELS[i]), MASKS[i]) for i in range(2)],
    "a loader": DataLoader(TensorDataset(FLOATS, LABELS, MASKS), batch_size=2, shuffle=True),
    "in memory": InMemory(PIXELS, LABELS, ["a", "b"], MASKS),
    "a subset": Subset(InMemory(PIXELS, LABELS, ["a", "b"], MASKS), [0, 1]),
    "mask as PIL": [(FLOATS[i], int(LABELS[i]), Image.fromarray(MASKS[i].numpy().astype("u1"))) for i in range(2)],
    "mask with a channel": [(FLOATS[i], int(LABELS[i]), MASKS[i][None].float()) for i in range(2)],
}


@pytest.mark.parametrize("kind", SOURCES)
def test_all_kinds_of_datasets_give_the_same(kind):
    images = as_images(SOURCES[kind], classes=["a", "b"])
    x, y, masks = images.batch(torch.tensor([0, 1]))
    assert torch.equal(x, FLOATS)
    assert torch.equal(y, LABELS)
    assert torch.equal(images.labels, LABELS)
    assert images.classes == ["a", "b"]
    assert len(images) == 2
    has_masks = kind in ("tensors with masks", "dicts", "items", "a loader", "in memory", "a subset") or "mask " in kind
    assert masks is None if not has_masks else torch.equal(masks, MASKS)
    for i in range(2):
        assert torch.equal(images[i].image, FLOATS[i])
        assert images[i].label == LABELS[i]


class Stream(IterableDataset):
    def __iter__(self):
        yield from ((FLOATS[i], int(LABELS[i]), MASKS[i]) for i in range(2))


@pytest.mark.parametrize(
    "source",
    [Stream(), DataLoader(Stream(), batch_size=2), DataLoader(Stream(), batch_size=None)],
    ids=["bare", "b2", "b0"],
)
def test_streams_are_read_into_memory(source):
    x, y, masks = as_images(source).batch(torch.tensor([0, 1]))
    assert torch.equal(x, FLOATS)
    assert torch.equal(y, LABELS)
    assert torch.equal(masks, MASKS)


def test_a_stream_of_dict_batches():
    class Dicts(IterableDataset):
        def __iter__(self):
            yield from ({"image": FLOATS[i], "label": int(LABELS[i])} for i in range(2))

    x, y, masks = as_images(DataLoader(Dicts(), batch_size=2)).batch(torch.tensor([1]))
    assert torch.equal(x, FLOATS[1:])
    assert y.tolist() == [0]
    assert masks is None


def test_normalisation_and_its_undoing():
    images = Images(SOURCES["in memory"], mean=[0.1, 0.2, 0.3], std=[0.5, 0.4, 0.3])
    expected = (FLOATS - torch.tensor([0.1, 0.2, 0.3])[:, None, None]) / torch.tensor([0.5, 0.4, 0.3])[:, None, None]
    x, _, _ = images.batch(torch.tensor([0, 1]))
    assert torch.allclose(x, expected)
    assert torch.equal(x[1], images[1].image)
    assert torch.equal(images.display(x), PIXELS.permute(0, 2, 3, 1))


def test_images_normalised_before_are_left_alone_but_shown_right():
    normalised = [((FLOATS[i] - 0.5) / 0.25, int(LABELS[i])) for i in range(2)]
    images = Images(normalised, mean=[0.5], std=[0.25], normalised=True)
    x, _, _ = images.batch(torch.tensor([0, 1]))
    assert torch.equal(x[0], normalised[0][0])
    assert torch.equal(images.display(x), PIXELS.permute(0, 2, 3, 1))
    pixels = Images(SOURCES["uint8 arrays"], mean=[0.5], std=[0.25], normalised=True)
    assert torch.allclose(pixels[0].image, normalised[0][0])  # integers cannot have been normalised


def test_display_without_a_known_normalisation():
    images = as_images(SOURCES["tensors"])
    assert torch.equal(images.display(FLOATS), PIXELS.permute(0, 2, 3, 1))
    shown = images.display(torch.tensor([-1.0, 0.0, 3.0]).view(3, 1, 1, 1))
    assert shown[:, 0, 0, 0].tolist() == [0, 64, 255]
    assert shown.shape == (3, 1, 1, 3)
    assert images.display(torch.full((1, 3, 2, 2), float("nan"))).max() == 0
    assert images.display(torch.zeros(0, 3, 2, 2)).shape == (0, 2, 2, 3)


def test_resizing_takes_the_mask_along():
    image = torch.zeros(3, 40, 60)
    image[:, 10:30, 20:40] = 1
    images = Images([(image, 0, image[0] > 0)], size=20)
    x, _, mask = images[0]
    assert x.shape == (3, 20, 20)
    assert mask.shape == (20, 20)
    assert ((x[0] > 0.5) == mask).all()
    assert mask.sum() == 100  # 20 x 20 of 40 rows, halved
    stretched = Images([(image, 0, image[0] > 0)], size=(20, 15), fit="stretch")[0]
    assert stretched.image.shape == (3, 20, 15)
    assert ((stretched.image[0] > 0.5) == stretched.mask).all()


def test_batches_equal_items_also_when_resized():
    data = InMemory(PIXELS, LABELS, ["a", "b"], MASKS)
    fast, slow = (
        Images(data, mean=[0.5], std=[0.2], size=8),
        Images(Subset(data, [0, 1]), mean=[0.5], std=[0.2], size=8),
    )
    for a, b in zip(fast.batch(torch.tensor([1, 0])), slow.batch(torch.tensor([1, 0])), strict=True):
        assert torch.equal(a, b)


def test_different_sizes_need_a_size():
    data = [(torch.rand(3, 8, 8), 0), (torch.rand(3, 9, 8), 1)]
    with pytest.raises(DataError, match=r"differ in size \(3 x 8 x 8, 3 x 9 x 8\); give a size, e.g. size=224"):
        as_images(data).batch(torch.tensor([0, 1]))
    assert Images(data, size=8).batch(torch.tensor([0, 1]))[0].shape == (2, 3, 8, 8)


def test_subset_and_order():
    images = as_images(SOURCES["in memory"])
    flipped = images.subset([1, 0])
    assert flipped.labels.tolist() == [0, 1]
    assert torch.equal(flipped[0].image, images[1].image)
    assert torch.equal(flipped.batch(torch.tensor([1]))[0], images.batch(torch.tensor([0]))[0])
    assert flipped.subset(torch.tensor([1])).labels.tolist() == [1]
    assert len(images) == 2
    with pytest.raises(DataError, match="index 2 does not exist"):
        images.subset([2])
    with pytest.raises(DataError, match="at least one image"):
        images.subset([])


def test_the_fingerprint_tells_what_matters():
    def fingerprint(pixels=PIXELS, labels=LABELS, masks=MASKS, **options):
        return Images(InMemory(pixels, labels, ["a", "b"], masks), **options).fingerprint()

    changed = PIXELS.clone()
    changed[1, 0, 0, 0] += 1
    reference = fingerprint()
    assert reference == fingerprint()
    assert len(reference) == 64
    others = [
        fingerprint(changed), fingerprint(labels=LABELS.flip(0)), fingerprint(masks=~MASKS), fingerprint(masks=None),
        fingerprint(mean=[0.5], std=[0.5]), fingerprint(size=3), fingerprint(classes=["a", "c"]),
    ]  # fmt: skip
    assert len({reference, *others}) == 8


def test_labels_are_read_without_decoding():
    class Counting:
        classes = ("x", "y")
        targets = (0, 1) * 500
        read = 0

        def __len__(self):
            return 1000

        def __getitem__(self, i):
            self.read += 1
            return torch.zeros(1, 2, 2), self.targets[i]

    data = Counting()
    assert as_images(data).labels.tolist() == list(data.targets)
    assert data.read < 20


def test_hugging_face_datasets_give_their_classes_and_labels():
    class Table:
        column_names = ("image", "label")
        features = {"label": SimpleNamespace(names=["cat", "dog"])}  # noqa: RUF012
        decoded = 0

        def __len__(self):
            return 100

        def __getitem__(self, key):
            if key == "label":
                return [i % 2 for i in range(100)]
            self.decoded += 1
            return {"image": Image.new("RGB", (2, 2)), "label": key % 2}

        def take(self, n):
            raise AssertionError("this means something else there")

    table = Table()
    images = as_images(table)
    assert images.classes == ["cat", "dog"]
    assert images.labels.tolist() == table["label"]
    assert table.decoded < 20
    assert images.batch(torch.tensor([3]))[1].tolist() == [1]


def test_a_list_of_labels_that_items_contradict_is_not_believed():
    class Lying:
        targets = (0, 1, 2, 3)

        def __len__(self):
            return 4

        def __getitem__(self, i):
            return torch.zeros(1, 2, 2), 3 - self.targets[i]

    assert as_images(Lying()).labels.tolist() == [3, 2, 1, 0]


def test_images_pass_through():
    images = as_images(SOURCES["tensors"])
    assert as_images(images, mean=None, classes=None) is images
    with pytest.raises(DataError, match="prepared already; give size where they are made"):
        as_images(images, size=8)


def test_grey_palette_and_deep_pictures():
    grey = Image.fromarray(np.full((2, 2), 51, dtype=np.uint8))
    assert torch.allclose(as_images([(grey, 0)])[0].image, torch.full((1, 2, 2), 0.2))
    assert as_images([(grey.convert("P"), 0)])[0].image.shape == (3, 2, 2)
    assert as_images([(Image.new("RGBA", (2, 2), (51, 51, 51, 9)), 0)])[0].image.shape == (3, 2, 2)
    deep = Image.fromarray(np.full((2, 2), 51 * 257, dtype=np.uint16))
    assert torch.allclose(as_images([(deep, 0)])[0].image, torch.full((1, 2, 2), 0.2))


class Broken:
    def __init__(self, path):
        self.samples = [(str(path), 0)]

    def __len__(self):
        return 1

    def __getitem__(self, i):
        with Image.open(self.samples[i][0]) as image:
            image.load()
            return image, 0


def test_a_truncated_image_is_named(tmp_path, disk):
    path = disk.truncate(disk.save(tmp_path / "half.jpg", disk.photo(0, (200, 200))))
    with pytest.raises(DataError, match=r"image 0 of Broken cannot be read \(.*half\.jpg\): .*truncated"):
        as_images(Broken(path))


IMAGE = torch.zeros(3, 4, 4)


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ([], "list holds no images"),
        (7, "cannot take images from a int; expected a map-style dataset"),
        ("photos", "cannot take images from a str"),
        ({"image": []}, "cannot take images from a dict"),
        ([3], r"image 0 of list is a int; expected \(image, label\)"),
        ([(IMAGE,)], "is a tuple of 1; expected"),
        ([{"pixels": IMAGE}], r"a dict with the keys \['pixels'\]"),
        ([("a.jpg", 0)], "is a str; expected a tensor, a PIL image or a uint8 array"),
        ([(torch.zeros(8, 3, 4, 4), 0)], r"shape \(8, 3, 4, 4\), a batch; expected one image"),
        ([(torch.zeros(4, 4), 0)], r"shape \(4, 4\); expected \(C, H, W\)"),
        ([(torch.zeros(32, 32, 3), 0)], r"channels last; expected \(C, H, W\): permute\(2, 0, 1\)"),
        ([(torch.zeros(3, 0, 4), 0)], r"shape \(3, 0, 4\)"),
        ([(torch.zeros(3, 4, 4).int(), 0)], "dtype torch.int32; expected uint8"),
        ([(torch.full((3, 4, 4), torch.nan), 0)], "holds NaN or infinite values"),
        ([(np.zeros((4, 4, 3)), 0)], "a float64 array; expected uint8"),
        ([(np.zeros((3, 40, 40), dtype=np.uint8), 0)], "expected channels last"),
        ([(IMAGE, 1.5)], "has the label 1.5; expected a class index"),
        ([(IMAGE, True)], "has the label True"),
        ([(IMAGE, torch.zeros(10))], r"a label of shape \(10,\); expected one class index"),
        ([(IMAGE, 0, torch.zeros(5, 4))], r"mask of image 0 of list has shape \(5, 4\); expected \(4, 4\)"),
        ([(IMAGE, 0, "mask")], "mask of image 0 of list is a str"),
        ([(IMAGE, 0), (IMAGE, -1)], "image 1 of list has label -1; labels count from 0"),
        ((torch.zeros(4, 3, 8, 8), torch.zeros(4)), r"a tuple of 2 tensors; .*TensorDataset\(images, labels\)"),
        ([torch.zeros(4, 3, 8, 8), torch.zeros(4)], r"a list of 2 tensors; .*TensorDataset\(images, labels\)"),
    ],
)  # fmt: skip
def test_bad_sources(source, text):
    with pytest.raises(DataError, match=text):
        as_images(source)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"classes": ["only"]}, r"1 name for labels up to 1 \(image 0 of TensorDataset has label 1\)"),
        ({"mean": [0.5]}, "give both mean and std, or neither"),
        ({"mean": [0.5], "std": [0.0]}, "std positive"),
        ({"mean": [0.5, 0.5], "std": [1, 1]}, "have 3 channels, but mean and std have 2"),
        ({"size": 0}, "size 0 must be a side length"),
        ({"size": (3, 4, 5)}, "must be a side length in pixels"),
        ({"size": 8, "fit": "pad"}, 'fit is "pad"; expected "crop" or "stretch"'),
    ],
)
def test_bad_options(options, text):
    with pytest.raises(DataError, match=text):
        as_images(SOURCES["tensors"], **options)[0]


def of_labels(*labels, **options):
    return as_images([(IMAGE, label) for label in labels], **options)


def test_names_and_labels_that_do_not_fit_say_how():
    with pytest.raises(DataError, match=r"2 names for labels up to 9 \(image 1 of list has label 9\)"):
        of_labels(0, 9, classes=["a", "b"])
    with pytest.raises(DataError, match=r"run from 1 to 2, but there are 2 class names; .*subtract 1"):
        of_labels(1, 2, classes=["a", "b"])


def test_networks_say_how_many_classes_there_are_where_nobody_named_them():
    images = of_labels(0, 3)
    assert not images.named
    assert images.of_outputs(6).classes == ["0", "1", "2", "3", "4", "5"]
    assert len(images.classes) == 4  # the images as given stay
    assert images.of_outputs(3).classes == images.classes
    named = of_labels(0, 1, classes=["a", "b"])
    assert named.named
    assert named.of_outputs(6).classes == ["a", "b"]
    with pytest.raises(DataError, match=r"run from 1 to 4, but the networks have 4 outputs; .*subtract 1"):
        of_labels(1, 4).of_outputs(4)


def test_bad_batches_of_a_stream():
    class Rows(IterableDataset):
        def __iter__(self):
            yield from ((torch.zeros(4), 0) for _ in range(2))

    with pytest.raises(DataError, match=r"batch 0 of the loader does not hold images \(n, C, H, W\)"):
        as_images(DataLoader(Rows(), batch_size=2))


def test_parts_in_memory_must_fit():
    with pytest.raises(DataError, match="expected uint8"):
        InMemory(FLOATS, LABELS, ["a", "b"])
    with pytest.raises(DataError, match="2 images but labels of shape"):
        InMemory(PIXELS, LABELS[:1], ["a", "b"])
    with pytest.raises(DataError, match="masks have shape"):
        InMemory(PIXELS, LABELS, ["a", "b"], MASKS[:, 1:])


def test_named_datasets_and_their_errors():
    data = load_dataset("fashion", root=None, split="train")
    assert len(as_images(data)) == 6000
    assert as_images(data).name == "fashion"
    with pytest.raises(LookupError, match='unknown dataset "fashon"; did you mean "fashion"'):
        load_dataset("fashon")
    with pytest.raises(DataError, match='dataset "fashion-scenes" has no option "biass"; did you mean "bias"'):
        load_dataset("fashion-scenes", biass=1)
    with pytest.raises(DataError, match='dataset "fashion" has no option "root"'):
        load_dataset("fashion", root=".")
    with pytest.raises(DataError, match='fashion has no split "val"; choose from train, test'):
        load_dataset("fashion", split="val")


def test_as_given_normalises_pictures_once():
    scale = {"mean": [0.5], "std": [0.25]}
    data = InMemory(PIXELS, LABELS, ["a", "b"])
    shifted = DataLoader(data, collate_fn=lambda rows: (torch.stack([(r[0] - 0.5) / 0.25 for r in rows]), [0]))
    for source in (data, DataLoader(data), shifted, SOURCES["PIL"], Images(data, **scale)):
        images = as_given(source, **({} if isinstance(source, Images) else scale))
        assert torch.allclose(images[1].image, (FLOATS[1] - 0.5) / 0.25)
        assert torch.equal(images.display(images[1].image[None])[0], PIXELS[1].permute(1, 2, 0))
    assert torch.equal(as_given(SOURCES["tensors"], **scale)[1].image, FLOATS[1])


def test_images_say_what_they_are():
    images = Images([(torch.rand(3, 8, 4), 0), (torch.rand(3, 8, 4), 1)])
    assert repr(images) == "Images('list', 2 of 3x8x4, 2 classes)"
