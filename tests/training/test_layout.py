"""The faster memory layout, where networks can run in it."""

import pytest
import torch
from torch import nn

from kdlens.training.api import distill
from kdlens.training.layout import choose_layout


class FlattensByView(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 4, 3, padding=1), nn.Linear(4 * 16 * 16, 5)

    def forward(self, x):
        x = self.conv(x)
        return self.fc(x.view(len(x), -1))


def test_auto_is_channels_last_on_cpus_where_it_runs(make_network):
    images = torch.zeros(2, 3, 16, 16)
    assert choose_layout("auto", [make_network(4), make_network(8)], images) is torch.channels_last
    assert choose_layout(False, [make_network(4)], images) is torch.contiguous_format
    assert choose_layout("auto", [make_network(4), FlattensByView()], images) is torch.contiguous_format


def test_trying_leaves_no_trace(make_network):
    network = make_network(4).train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    choose_layout("auto", [network], torch.randn(2, 3, 16, 16))
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())
    assert all(p.grad is None for p in network.parameters())
    assert network.training


@pytest.mark.parametrize("choice", ["auto", False])
def test_networks_come_back_in_the_ordinary_layout(choice, data, make_network):
    teacher, student = make_network(8), make_network(4)
    distill(teacher, student, data, epochs=1, channels_last=choice)
    assert all(p.is_contiguous() for network in (teacher, student) for p in network.parameters())


def test_a_network_that_needs_the_ordinary_layout_trains(data):
    result = distill(None, FlattensByView(), data, method="labels", epochs=2, optimizer="adam")
    assert result.history[-1]["loss"] < result.history[0]["loss"]


def test_layouts_agree(data, make_network):
    students = [make_network(4), make_network(4)]
    for student, choice in zip(students, (True, False), strict=True):
        distill(make_network(8), student, data, method="at", epochs=1, channels_last=choice)
    for a, b in zip(*(student.state_dict().values() for student in students), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
