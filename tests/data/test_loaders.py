import pytest
import torch
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    DistributedSampler,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
)

from kdlens.data import load_dataset
from kdlens.data.images import as_images
from kdlens.data.loaders import dataset_of, has_own_collate
from kdlens.errors import DataError

X = torch.rand(12, 3, 4, 4, generator=torch.Generator().manual_seed(0))
Y = torch.arange(12) % 3
DATA = TensorDataset(X, Y)


def halved(rows):
    return torch.stack([image for image, _ in rows]) / 2, torch.tensor([label for _, label in rows])


def test_what_a_collate_function_does_to_the_images_is_done():
    images = as_images(DataLoader(DATA, batch_size=4, shuffle=True, collate_fn=halved))
    x, y, masks = images.batch(torch.arange(12))
    assert torch.equal(x, X / 2)
    assert torch.equal(y, Y)
    assert masks is None
    assert images.name == "TensorDataset"


class Records(Dataset):
    classes = ("a", "b", "c")
    targets = Y.tolist()

    def __len__(self):
        return 12

    def __getitem__(self, index):
        return {"pixel_values": X[index], "target": self.targets[index]}


def gathered(rows):
    pixels = torch.stack([row["pixel_values"] for row in rows])
    return {"image": pixels, "label": [row["target"] for row in rows], "mask": pixels[:, 0] > 0.5}


def test_a_collate_function_may_make_items_kdlens_could_not_read():
    images = as_images(DataLoader(Records(), batch_size=4, collate_fn=gathered))
    x, y, masks = images.batch(torch.tensor([3, 1]))
    assert torch.equal(x, X[[3, 1]])
    assert torch.equal(y, Y[[3, 1]])
    assert torch.equal(masks, X[[3, 1], 0] > 0.5)
    assert images.classes == ["a", "b", "c"]


def test_a_collate_function_that_relabels_is_believed():
    def relabelled(rows):
        return torch.stack([r["pixel_values"] for r in rows]), torch.tensor([2 - r["target"] for r in rows])

    assert torch.equal(as_images(DataLoader(Records(), collate_fn=relabelled)).labels, 2 - Y)


@pytest.mark.parametrize("batch", [torch.zeros(1, 3, 4, 4), "text", {"pixels": torch.zeros(1, 3, 4, 4)}])
def test_a_collate_function_that_gives_no_images_and_labels(batch):
    with pytest.raises(DataError, match="collate function makes of image 0 does not hold images"):
        as_images(DataLoader(DATA, collate_fn=lambda rows: batch))


@pytest.mark.parametrize(
    "options",
    [
        {"sampler": SubsetRandomSampler([7, 2, 5])},
        {"batch_sampler": BatchSampler(SubsetRandomSampler([7, 2, 5]), 2, drop_last=False)},
        {"sampler": SubsetRandomSampler([7, 2, 5]), "collate_fn": lambda rows: (halved(rows)[0] * 2, halved(rows)[1])},
    ],
    ids=["sampler", "batch sampler", "with collate"],
)
def test_images_a_sampler_leaves_out_stay_out(options):
    images = as_images(DataLoader(DATA, **options))
    assert torch.equal(images.batch(torch.arange(3))[0], X[[2, 5, 7]])
    assert images.labels.tolist() == Y[[2, 5, 7]].tolist()


@pytest.mark.parametrize(
    "options",
    [
        {"shuffle": True},
        {"sampler": SequentialSampler(DATA)},
        {"sampler": DistributedSampler(DATA, num_replicas=2, rank=0)},
        {"batch_size": None},
    ],
    ids=["shuffled", "sequential", "distributed", "unbatched"],
)
def test_loaders_over_everything_give_their_dataset(options):
    assert dataset_of(DataLoader(DATA, **options)) is DATA


@pytest.mark.parametrize(
    "options",
    [
        {"sampler": WeightedRandomSampler([1.0] * 12, 12)},
        {"sampler": RandomSampler(DATA, replacement=True)},
        {"sampler": RandomSampler(DATA, num_samples=5)},
        {"batch_sampler": [[0, 1], [1, 2]]},
    ],
    ids=["weighted", "replacement", "few", "batches"],
)
def test_loaders_that_are_no_set_of_images_are_refused(options):
    kind = type(next(iter(options.values()))).__name__
    with pytest.raises(DataError, match=f"picks its images with {kind}.*give the dataset itself"):
        as_images(DataLoader(DATA, **options))


def test_an_unreadable_file_behind_a_loader_is_named():
    class Broken(Dataset):
        samples = (("a/0.png", 0), ("a/1.png", 0))

        def __len__(self):
            return 2

        def __getitem__(self, index):
            if index:
                raise OSError("truncated")
            return X[0], 0

    with pytest.raises(DataError, match=r"image 1 of Broken cannot be read \(a/1.png\)"):
        as_images(DataLoader(Subset(Broken(), [0, 1]), collate_fn=halved))


def test_own_collate_is_told_apart():
    class Stream(IterableDataset):
        def __iter__(self):
            yield X[0], 0

    assert has_own_collate(DataLoader(DATA, collate_fn=halved))
    assert not has_own_collate(DataLoader(DATA))
    assert not has_own_collate(DataLoader(DATA, batch_size=None))
    assert not has_own_collate(DATA)
    assert len(as_images(DataLoader(Stream(), batch_size=1, collate_fn=halved))) == 1


def test_named_datasets_keep_their_labels_and_classes_behind_a_loader():
    data = load_dataset("fashion-scenes", count=20)
    images = as_images(
        DataLoader(data, collate_fn=lambda rows: (torch.stack([r.image - 0.5 for r in rows]), [r.label for r in rows]))
    )
    assert images.classes == data.classes
    assert torch.equal(images.labels, data.labels)
    assert torch.allclose(images[3].image, data[3].image - 0.5)
