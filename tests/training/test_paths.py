"""Path lengths against sums made by hand."""

import pytest
import torch
from torch import nn

from kdlens.training.paths import PathRecorder, choose_path_layers, layer_weights


def walk(recorder, weight, positions):
    for position in positions:
        with torch.no_grad():
            weight.fill_(position)
        recorder.after_step()
    recorder.after_epoch()


def test_steps_add_up_and_epochs_see_only_where_they_end():
    network = nn.Sequential(nn.Linear(4, 1, bias=False))
    nn.init.constant_(network[0].weight, 1.0)  # length 2, and a move by 1 has length 2
    recorder = PathRecorder(network, ["0"])
    walk(recorder, network[0].weight, [3.0, 2.0])
    walk(recorder, network[0].weight, [1.0, 2.0])
    lengths = recorder.result()
    assert lengths.initial_norm.tolist() == [2.0]
    assert lengths.per_step[:, 0].tolist() == [0.0, 6.0, 10.0]
    assert lengths.per_epoch[:, 0].tolist() == [0.0, 2.0, 2.0]
    assert lengths.relative("per_step")[:, 0].tolist() == [0.0, 3.0, 5.0]
    assert lengths.relative()[:, 0].tolist() == [0.0, 1.0, 1.0]
    assert lengths.rows()[-1] == {"epoch": 2, "layer": "0", "per_step": 10.0, "per_epoch": 2.0, "initial_norm": 2.0}


def test_a_layer_with_a_weight_leaves_its_bias_out_and_a_block_takes_everything_below(make_network):
    network = make_network(4)
    assert [w.shape for w in layer_weights(network, "fc")] == [(5, 8)]
    assert len(layer_weights(network, "layer1")) == 4  # convolution and norm, weight and bias


def test_layers_are_kept_apart(make_network):
    network = make_network(4)
    recorder = PathRecorder(network, ["layer1", "fc"])
    with torch.no_grad():
        network.fc.weight += 1
    recorder.after_step()
    recorder.after_epoch()
    assert recorder.result().per_step[1].tolist() == pytest.approx([0.0, 40**0.5])


def test_large_layers_lose_no_digits():
    network = nn.Sequential(nn.Conv2d(1500, 1000, 3, bias=False))  # 13 million weights
    start = torch.randn(network[0].weight.shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        network[0].weight.copy_(start)
    network.to(memory_format=torch.channels_last)
    recorder = PathRecorder(network, ["0"])
    assert recorder.result().initial_norm.item() == pytest.approx(start.double().norm().item(), rel=1e-6)


def test_no_layers_no_paths():
    recorder = PathRecorder(nn.Linear(1, 1), [])
    recorder.after_step()
    recorder.after_epoch()
    assert recorder.result().per_step.shape == (2, 0)
    assert recorder.result().rows() == []


def test_auto_takes_the_stages_of_an_image_network_and_the_last_layers_of_others(make_network):
    assert choose_path_layers(make_network(4), torch.zeros(1, 3, 16, 16)) == ("layer1", "layer2")
    flat = nn.Sequential(nn.Flatten(), nn.Linear(48, 8), nn.ReLU(), nn.Linear(8, 3))
    assert choose_path_layers(flat, torch.zeros(1, 3, 4, 4)) == ("1", "3")
