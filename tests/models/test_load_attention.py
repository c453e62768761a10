"""Weights of networks with virtual attention: by name, with their temperature, and what is said where it is missing."""

import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from kdlens.config import ModelSection
from kdlens.errors import ConfigError, ModelError
from kdlens.models.load import load_model
from kdlens.models.weights import VIRTUAL, load_weights, save_weights
from kdlens.nn import VAM, attention_parameters, insert_vam


def attended(**options):
    """With logits that are not zero, so that the attention matters."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = load_model("resnet8", classes=5, vam=options or True)
        for logits in attention_parameters(network):
            nn.init.normal_(logits)
    return network


@pytest.fixture
def images():
    return torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def test_without_weights_it_computes_what_it_did(images):
    torch.manual_seed(0)
    plain = load_model("resnet8", classes=5)
    torch.manual_seed(0)
    network = load_model("resnet8", classes=5, vam=True)
    assert torch.equal(plain(images), network(images))
    assert VAM(network).layers


@pytest.mark.parametrize("off", [None, False])
def test_off_is_off(off):
    assert not attention_parameters(load_model("resnet8", vam=off))


@pytest.mark.parametrize("options", [{}, {"blocks": [2, 4]}, {"where": ["layer1.0.conv2"], "block_size": 8}])
def test_options_reach_the_network_and_weights_come_back(options, images, tmp_path):
    network = attended(**options)
    save_weights(network, tmp_path / "a.safetensors")
    again = load_model("resnet8", classes=5, vam=options or True, weights=tmp_path / "a.safetensors")
    assert torch.equal(network(images), again(images))


def test_the_temperature_comes_with_the_weights(images, tmp_path):
    """The logits alone would mean another attention."""
    network = attended(temperature=0.2, rescale=False)
    save_weights(network, tmp_path / "a.safetensors")
    again = load_model("resnet8", classes=5, vam=True, weights=tmp_path / "a.safetensors")
    assert torch.equal(network(images), again(images))
    by_hand = load_model("resnet8", classes=5)
    insert_vam(by_hand)
    load_weights(by_hand, tmp_path / "a.safetensors")
    assert torch.equal(network(images), by_hand(images))


def test_options_that_were_given_are_obeyed(images, tmp_path):
    network = attended(temperature=0.2)
    save_weights(network, tmp_path / "a.safetensors")
    again = load_model("resnet8", classes=5, vam={"temperature": 2.0}, weights=tmp_path / "a.safetensors")
    VAM(network).set_temperature(2.0)
    assert torch.equal(network(images), again(images))


def test_mixtures_of_experts_come_back(images, tmp_path):
    network = load_model("hme_resnet8", classes=5, temperature=0.25)
    save_weights(network, tmp_path / "a.safetensors")
    again = load_model("hme_resnet8", classes=5, weights=tmp_path / "a.safetensors")
    assert again.temperature == 0.25
    assert torch.equal(network(images), again(images))


def test_who_forgets_the_attention_is_told_in_one_line(tmp_path):
    save_weights(attended(), tmp_path / "a.safetensors")
    with pytest.raises(
        ModelError, match=r"the file has virtual attention \(in .layer1.*; load it with vam=True"
    ) as told:
        load_model("resnet8", classes=5, weights=tmp_path / "a.safetensors")
    assert "\n" not in str(told.value)
    assert "VAM(network).fold()" in str(told.value)


def test_who_has_one_too_many_is_told(tmp_path):
    save_weights(load_model("resnet8", classes=5), tmp_path / "a.safetensors")
    with pytest.raises(
        ModelError, match=r"the network has virtual attention .* the file has none there; leave out vam"
    ):
        load_model("resnet8", classes=5, vam=True, weights=tmp_path / "a.safetensors")


@pytest.mark.parametrize("options", [{"blocks": 2}, {"where": ["layer3.0.conv2"]}])
def test_another_split_is_told(options, tmp_path):
    save_weights(attended(where=["layer2.0.conv2"]), tmp_path / "a.safetensors")
    where = {"where": ["layer2.0.conv2"], **options}
    with pytest.raises(ModelError, match=r"split in another way \(layer2.0.conv2.vam_logits.*; give vam the blocks"):
        load_model("resnet8", classes=5, vam=where, weights=tmp_path / "a.safetensors")


def test_another_architecture_is_still_told_as_one(tmp_path):
    save_weights(attended(), tmp_path / "a.safetensors")
    with pytest.raises(ModelError, match="missing in the file"):
        load_model("resnet14", classes=5, vam=True, weights=tmp_path / "a.safetensors")


def test_folded_weights_are_plain_ones(images, tmp_path):
    network = attended()
    VAM(network).fold()
    save_weights(network, tmp_path / "a.safetensors")
    plain = load_model("resnet8", classes=5, weights=tmp_path / "a.safetensors")
    assert torch.equal(network(images), plain(images))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"block": 4}, r'vam has no option "block"; did you mean "blocks"'),
        ({"network": 4}, r'vam has no option "network"'),
        ({"blocks": 3}, "cannot be divided into 3 blocks"),
        ({"temperature": 0}, "the temperature of virtual attention must be positive, not 0"),
        (4, r"vam is true, or options of kdlens.nn.insert_vam such as \{blocks: 4\}, not 4"),
    ],
)
def test_senseless_options_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        load_model("resnet8", vam=options)


@pytest.mark.parametrize("given", [True, {"blocks": 2}])
def test_a_study_can_ask_for_it(given):
    assert ModelSection(arch="zoo:resnet8", weights="a.safetensors", vam=given).vam == given


@pytest.mark.parametrize(
    "kept",
    [
        "cold",
        {"temperature": -1.0, "rescale": True},
        {"temperature": "1", "rescale": True},
        {"temperature": float("nan"), "rescale": True},
        {"temperature": 1.0, "rescale": "yes"},
        {},
    ],
)
def test_a_header_that_says_nonsense_is_refused_and_changes_nothing(tmp_path, kept):
    path, network = tmp_path / "w.safetensors", attended()
    save_weights(network, path)
    with safe_open(path, "pt") as file:
        header = {name: json.loads(text) for name, text in file.metadata().items()}
    for content in header.values():
        content[VIRTUAL] = dict.fromkeys(content[VIRTUAL], kept)
    save_file(load_file(path), path, {name: json.dumps(content) for name, content in header.items()})
    other = load_model("resnet8", classes=5, vam=True)
    before = {name: tensor.clone() for name, tensor in other.state_dict().items()}
    with pytest.raises(ModelError, match="a positive temperature and whether to rescale"):
        load_weights(other, path)
    assert all(torch.equal(tensor, before[name]) for name, tensor in other.state_dict().items())
