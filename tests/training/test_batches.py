"""Every image exactly once, in an order that seed and epoch decide."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader, Dataset, TensorDataset

from kdlens.errors import DataError
from kdlens.training.batches import as_batches, epoch_order, fetch, shard, split, steps_per_epoch

sizes = st.integers(1, 200)


@given(sizes, sizes)
def test_split_keeps_every_image_and_leaves_no_single_one_behind(count, batch_size):
    parts = split(torch.arange(count), batch_size)
    assert torch.cat(parts).tolist() == list(range(count))
    assert len(parts) == steps_per_epoch(count, batch_size)
    if batch_size > 1 and count > 1:
        assert all(len(part) > 1 for part in parts)


@given(st.integers(0, 50), st.integers(1, 8))
def test_shards_cover_a_batch_and_differ_by_one(count, processes):
    parts = [shard(count, rank, processes) for rank in range(processes)]
    assert [i for part in parts for i in range(count)[part]] == list(range(count))
    lengths = [part.stop - part.start for part in parts]
    assert max(lengths) - min(lengths) <= 1
    assert lengths[0] == max(lengths)


def test_the_order_depends_on_seed_and_epoch_alone():
    torch.manual_seed(7)
    order = epoch_order(20, seed=1, epoch=2)
    torch.manual_seed(8)
    assert torch.equal(order, epoch_order(20, seed=1, epoch=2))
    assert not torch.equal(order, epoch_order(20, seed=1, epoch=3))
    assert not torch.equal(order, epoch_order(20, seed=2, epoch=2))


class Noisy(Dataset):
    """A dataset with a random transform of its own."""

    def __len__(self):
        return 8

    def __getitem__(self, index):
        return torch.rand(3, 4, 4), index % 2


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_random_transforms_repeat_with_the_seed_also_in_workers(workers):
    data = as_batches(Noisy())
    asked = [(5, torch.tensor([0, 1])), (6, torch.tensor([2, 3])), (5, torch.tensor([0, 1]))]
    with torch.random.fork_rng():
        first, second, third = (x for x, _ in fetch(data, asked, workers=workers))
    assert torch.equal(first, third)
    assert not torch.equal(first, second)


def test_what_holds_images_is_understood():
    x, y = torch.rand(6, 3, 4, 4), torch.arange(6) % 3
    for source in ((x, y), TensorDataset(x, y), DataLoader(TensorDataset(x, y), batch_size=4, shuffle=True)):
        images, labels = as_batches(source).batch(torch.tensor([4, 1]))
        torch.testing.assert_close(images, x[[4, 1]])
        assert labels.tolist() == [1, 1]
    pairs = [(x[i], int(y[i])) for i in range(6)]
    torch.testing.assert_close(as_batches(pairs).batch(torch.tensor([5]))[0], x[[5]])


def test_data_that_cannot_be_used_says_why():
    with pytest.raises(DataError, match="5 images but 4 labels"):
        as_batches((torch.rand(5, 3, 4, 4), torch.zeros(4).long()))
    with pytest.raises(DataError, match="no images"):
        as_batches((torch.rand(0, 3, 4, 4), torch.zeros(0).long()))
    with pytest.raises(DataError, match="class indices"):
        as_batches((torch.rand(2, 3, 4, 4), torch.rand(2)))
