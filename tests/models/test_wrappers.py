import copy
import tempfile

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.optim.swa_utils import AveragedModel

from kdlens.models.layers import resolve
from kdlens.models.taps import Recorder, record
from kdlens.models.weights import weights_fingerprint
from kdlens.models.wrappers import unwrap, wrappers
from kdlens.models.zoo import ZOO

IMAGES = torch.linspace(-1, 1, 2 * 3 * 16 * 16).reshape(2, 3, 16, 16)


class SomeParallel(nn.Module):
    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, x):
        return self.module(x)


class Normalised(nn.Module):
    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, x):
        return self.module((x - 0.5) / 0.25)


@pytest.fixture
def network():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return ZOO["resnet8"](num_classes=4)


WRAPPERS = {
    "DataParallel": nn.DataParallel,
    "AveragedModel": AveragedModel,
    "torch.compile": lambda m: torch.compile(m, backend="eager"),
    "other library": SomeParallel,
    "stacked": lambda m: nn.DataParallel(torch.compile(SomeParallel(m), backend="eager")),
}


@pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=WRAPPERS)
def test_wrappers_are_opened(wrap, network):
    wrapped = wrap(network)
    inside = unwrap(wrapped)
    assert type(inside) is type(network)
    assert wrappers(wrapped)[0] is wrapped
    assert resolve(wrapped, "layer2.0") is inside.layer2[0]
    assert weights_fingerprint(wrapped) == weights_fingerprint(network)
    expected, found = record(network, IMAGES, ["layer2"])
    output, wrapped_found = record(wrapped, IMAGES, ["layer2"])
    assert torch.equal(output, expected)
    assert torch.equal(wrapped_found["layer2"], found["layer2"])


def test_a_module_that_does_something_is_no_wrapper(network):
    outer = Normalised(network)
    assert unwrap(outer) is outer
    assert wrappers(outer) == []
    output, _ = record(outer, IMAGES, ["module.layer2"])
    assert torch.equal(output, record(network, (IMAGES - 0.5) / 0.25, [])[0])


def test_data_parallel_stays_on_one_device_inside(network):
    wrapped = nn.DataParallel(network)
    wrapped.device_ids = [0, 1]
    with Recorder(wrapped, ["layer1"]):
        assert wrapped.device_ids == [0]
    assert wrapped.device_ids == [0, 1]


def test_looking_at_a_distributed_network_sets_off_no_exchange(network):
    with tempfile.NamedTemporaryFile() as file:
        dist.init_process_group("gloo", init_method=f"file://{file.name}", rank=0, world_size=1)
        try:
            plain = copy.deepcopy(network)
            wrapped = nn.parallel.DistributedDataParallel(network)
            with Recorder(wrapped, ["layer2"], gradients=True) as recorder:
                score = wrapped(IMAGES)[:, 0].sum()
                gradient = torch.autograd.grad(score, recorder["layer2"])[0]
            assert torch.equal(recorder["layer2"], record(plain, IMAGES, ["layer2"])[1]["layer2"])
            assert gradient.abs().max() > 0
            assert wrapped.require_backward_grad_sync
            assert wrapped.require_forward_param_sync
            for _ in range(2):  # training goes on as if nothing had happened
                wrapped(IMAGES).sum().backward()
            assert network.fc.weight.grad is not None
        finally:
            dist.destroy_process_group()
