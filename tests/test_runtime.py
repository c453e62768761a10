import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kdlens.errors import KdlensError
from kdlens.memory import estimate_batch_size
from kdlens.runtime import Runtime


@pytest.fixture(scope="module")
def runtime():
    return Runtime("cpu")


@given(n=st.integers(0, 30), batch=st.integers(1, 9))
def test_a_pass_keeps_order_whatever_the_batch(n, batch):
    items = torch.randperm(n)
    found = Runtime("cpu").over(items, lambda part: {"x": part * 2}, batch_size=batch)
    assert found == {} if n == 0 else torch.equal(found["x"], items * 2)


def test_the_batch_is_halved_when_memory_runs_out(runtime):
    tried = []

    def hungry(part):
        tried.append(len(part))
        if len(part) > 2:
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate")
        return {"x": part}

    found = runtime.over(torch.arange(7), hungry, batch_size=8)
    assert found["x"].tolist() == list(range(7))
    assert tried[:3] == [7, 4, 2]


def test_no_memory_for_one_image_is_said(runtime):
    def starving(part):
        raise MemoryError

    with pytest.raises(KdlensError, match="out of memory with one image at a time"):
        runtime.over(torch.arange(3), starving, batch_size=2)


def test_other_errors_are_not_swallowed(runtime):
    def broken(part):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="mat1"):
        runtime.over(torch.arange(3), broken, batch_size=2)


def test_shards_are_contiguous_and_cover_everything(runtime, monkeypatch):
    class Four:
        count = 4

    items = torch.arange(10)
    parts = []
    for rank in range(4):
        Four.rank = rank
        monkeypatch.setattr(runtime, "processes", Four)
        parts.append(runtime.shard(items))
    assert torch.equal(torch.cat(parts), items)
    assert {len(part) for part in parts} == {2, 3}


def test_a_larger_image_gets_a_smaller_batch(monkeypatch):
    monkeypatch.setattr("kdlens.memory.free_bytes", lambda device: 40_000_000)
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 64, 3), torch.nn.ReLU(inplace=True))
    small, large = (estimate_batch_size(net, torch.zeros(1, 3, side, side)) for side in (32, 128))
    assert large < small
    assert large >= 1
    assert not any(module._forward_hooks for module in net.modules())
