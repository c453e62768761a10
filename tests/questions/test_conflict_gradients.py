"""Gradient conflict: known numbers, the plain loop as the oracle, a network left as it was, and bad input."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import kdlens
from kdlens.errors import ConfigError, DataError, LayerNotFoundError, ModelError
from kdlens.models.weights import weights_fingerprint
from kdlens.nn import insert_vam, marginal_logits
from kdlens.questions.conflict import gram
from kdlens.questions.conflict.cotangents import Cotangents
from kdlens.questions.conflict.dealing import dealt
from kdlens.questions.conflict.gram import Losses, gram_matrix
from kdlens.questions.conflict.result import cosines_of
from kdlens.questions.conflict.shared import shared_parameters

NETWORKS = {  # a network of the zoo, its logits, and layers of it
    "resnet8": ("softmax", ["layer3", "layer3.0", "layer3.0.conv2", "layer1"]),
    "wrn_10_1": ("softmax", ["layer3", "layer2"]),
    "vgg8": ("softmax", ["layer5"]),
    "hme_resnet8": ("sigmoid", ["trunk", "levels.0.1"]),
    "vit_tiny_cifar": ("softmax", ["blocks.5", "blocks.1"]),
}


def network_of(name, classes=5, dtype=torch.float64):
    torch.manual_seed(0)
    return kdlens.load_model(f"zoo:{name}", classes=classes).to(dtype).eval()


def data(n=12, classes=5, dtype=torch.float64, size=32):
    generator = torch.Generator().manual_seed(1)
    return torch.rand(n, 3, size, size, generator=generator).to(dtype), torch.arange(n) % classes


def plain_loop(network, images, labels, layer, *, kind, task="binary", classes=5):
    """Per class: the batch forwards, the loss, the whole network backwards, the layer's gradients flattened."""
    rows = []
    for c in range(classes):
        network.zero_grad()
        if task == "images":
            z = network(images[labels == c])
            y = labels[labels == c]
            if kind == "softmax":
                loss = F.cross_entropy(z, y)
            else:
                loss = (
                    F.binary_cross_entropy_with_logits(z, F.one_hot(y, classes).to(z), reduction="none").sum(1).mean()
                )
        else:
            z = network(images)
            u = marginal_logits(z)[:, c] if kind == "softmax" else z[:, c]
            loss = F.binary_cross_entropy_with_logits(u, (labels == c).to(u))
        loss.backward()
        found = [p.grad for p in network.get_submodule(layer).parameters()]
        rows.append(torch.cat([g.flatten() for g in found]))
    network.zero_grad()
    rows = torch.stack(rows).double()
    return cosines_of(rows @ rows.T)


def one_batch(network, images, labels, layer, **options):
    return kdlens.gradient_conflict(network, images, labels, layer=layer, batch_size=len(labels), **options)


def test_known_numbers():
    """h = W x with heads (1, 0), (-1, 0), (0, 1), (1, 1): opposite heads with opposite labels are no conflict."""
    heads = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    network = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 4, bias=False)).double()
    with torch.no_grad():
        network[0].weight.copy_(torch.eye(2))
        network[1].weight.copy_(heads)
    x, labels = torch.tensor([[1.0, 2.0]]).double(), torch.tensor([0])
    found = kdlens.gradient_conflict(network, x, labels, layer="0", kind="sigmoid")
    root = math.sqrt(0.5)
    wanted = [[1, 1, 0, -root], [1, 1, 0, -root], [0, 0, 1, root], [-root, -root, root, 1]]
    torch.testing.assert_close(found.cosines, torch.tensor(wanted, dtype=torch.float64), atol=1e-12, rtol=0)
    assert found.rate.value == pytest.approx(2 / 6)
    assert found.mean_cosine.value == pytest.approx(0.04881554, abs=1e-8)
    lengths = [math.hypot(*pair) for pair in ((0.26894142, 0.53788284), (0.26894142, 0.53788284))]
    assert found.norms[:2].tolist() == pytest.approx(lengths, abs=1e-7)
    assert found.norms[3].item() == pytest.approx(math.sqrt(2 * (0.95257413**2 + 1.90514825**2)), abs=1e-7)


@pytest.mark.parametrize(
    ("name", "layer"), [(name, layer) for name, (_, layers) in NETWORKS.items() for layer in layers]
)
def test_the_plain_loop_gives_the_same(name, layer):
    network, (images, labels), kind = network_of(name, 3), data(4, 3), NETWORKS[name][0]
    cosines, norms = plain_loop(network, images, labels, layer, kind=kind, classes=3)
    found = one_batch(network, images, labels, layer)
    assert found.kind == kind
    torch.testing.assert_close(found.cosines, cosines, atol=1e-10, rtol=1e-10)
    torch.testing.assert_close(found.norms, norms, atol=0, rtol=1e-10)


def test_single_precision_agrees_to_five_digits():
    network, (images, labels) = network_of("resnet8", dtype=torch.float32), data(dtype=torch.float32)
    cosines, norms = plain_loop(network, images, labels, "layer3", kind="softmax")
    found = one_batch(network, images, labels, "layer3")
    torch.testing.assert_close(found.cosines, cosines, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found.norms, norms, atol=0, rtol=1e-5)


@pytest.mark.parametrize("name", ["resnet8", "hme_resnet8"])
def test_images_of_a_class_as_task(name):
    layer = NETWORKS[name][1][0]
    network, (images, labels), kind = network_of(name), data(), NETWORKS[name][0]
    cosines, norms = plain_loop(network, images, labels, layer, kind=kind, task="images")
    found = one_batch(network, images, labels, layer, task="images")
    torch.testing.assert_close(found.cosines, cosines, atol=1e-10, rtol=1e-10)
    torch.testing.assert_close(found.norms, norms, atol=0, rtol=1e-10)


def small(classes=3, seed=0):
    torch.manual_seed(seed)
    return (
        nn.Sequential(
            nn.Conv2d(1, 3, 3, padding=1),
            nn.BatchNorm2d(3),
            nn.ReLU(),
            nn.Conv2d(3, 4, 3),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(64, classes),
        )
        .double()
        .eval()
    )


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 99),
    classes=st.integers(2, 6),
    n=st.integers(2, 9),
    portion=st.integers(1, 9),
    most_bytes=st.integers(1, 9000),
    task=st.sampled_from(["binary", "images"]),
    kind=st.sampled_from(["softmax", "sigmoid"]),
    layer=st.sampled_from(["0", "3", "1"]),
)
def test_memory_changes_nothing(seed, classes, n, portion, most_bytes, task, kind, layer):
    """However images and parameters are portioned, inner products are those of the plain loop."""
    network = small(classes, seed)
    labels = torch.arange(n) % classes
    images = torch.randn(n, 1, 6, 6, generator=torch.Generator().manual_seed(seed)).double()
    parameters = shared_parameters(network, layer)
    losses = Losses(task, kind, portion)
    found = gram_matrix(network, images, labels, parameters, losses, classes=classes, most_bytes=most_bytes)
    present = labels.unique().tolist()
    cosines, norms = cosines_of(found)
    wanted, lengths = (
        plain_loop(network, images, labels, layer, kind=kind, task="binary", classes=classes)
        if (task == "binary")
        else plain_loop(network, images, labels, layer, kind=kind, task=task, classes=len(present))
        if (len(present) == classes)
        else (None, None)
    )
    if wanted is not None:
        torch.testing.assert_close(norms, lengths, atol=1e-12, rtol=1e-9)
        torch.testing.assert_close(cosines, wanted, atol=1e-9, rtol=1e-9, equal_nan=True)
    else:
        assert cosines[[k for k in range(classes) if k not in present]].isnan().all()


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.floats(-60, 60), min_size=3, max_size=3),
    st.sampled_from(["binary", "images"]),
    st.sampled_from(["softmax", "sigmoid"]),
    st.integers(0, 2),
)
def test_closed_forms_are_the_gradients(values, task, kind, c):
    """Against automatic differentiation, also for logits far apart."""
    z = torch.tensor([values, values[::-1]], dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([c, c]) if task == "images" else torch.tensor([0, 1])
    if task == "binary":
        u = marginal_logits(z)[:, c] if kind == "softmax" else z[:, c]
        loss = F.binary_cross_entropy_with_logits(u, (labels == c).double(), reduction="sum")
    elif kind == "softmax":
        loss = F.cross_entropy(z, labels, reduction="sum")
    else:
        loss = F.binary_cross_entropy_with_logits(z, F.one_hot(labels, 3).double(), reduction="sum")
    (wanted,) = torch.autograd.grad(loss, z)
    torch.testing.assert_close(Cotangents(z.detach(), labels, task, kind).of(c), wanted, atol=1e-9, rtol=1e-6)


def test_a_certain_network_keeps_its_direction():
    """Where p_c rounds to 1 the gradient is tiny, not zero, and points where it does for a less certain network."""
    z = torch.tensor([[60.0, 1.0, 0.0]])
    found = Cotangents(z, torch.tensor([0]), "binary", "softmax").of(0)[0]
    assert found[0] < 0
    ratio = found / found[0].abs()
    torch.testing.assert_close(ratio, torch.tensor([-1.0, 0.7310586, 0.2689414]), atol=1e-5, rtol=1e-4)


def test_the_network_comes_back_as_it_was():
    network = network_of("resnet8", dtype=torch.float32).train()
    network.layer1.requires_grad_(False)
    network.fc.weight.grad = torch.ones_like(network.fc.weight)
    before, flags = weights_fingerprint(network), [p.requires_grad for p in network.parameters()]
    images, labels = data(dtype=torch.float32)
    with torch.no_grad():
        found = one_batch(network, images, labels, "layer1")
    assert found.norms.min() > 0  # frozen as it is, the layer is measured
    assert weights_fingerprint(network) == before
    assert [p.requires_grad for p in network.parameters()] == flags
    assert network.training
    assert network.layer3.training
    assert [p.grad is None for p in network.layer1.parameters()] == [True] * 6
    assert (network.fc.weight.grad == 1).all()


def test_a_batch_passes_once_and_only_the_layer_is_differentiated(monkeypatch):
    network, (images, labels) = network_of("resnet8", dtype=torch.float32), data(dtype=torch.float32)
    passes, asked = [], []
    network.register_forward_hook(lambda *_: passes.append(1))
    grad = torch.autograd.grad
    monkeypatch.setattr(gram.torch.autograd, "grad", lambda z, p, *a, **k: asked.append(len(p)) or grad(z, p, *a, **k))
    one_batch(network, images, labels, "layer3.0.conv2")
    assert len(passes) == 2  # once to see how many classes there are
    assert asked == [1] * 5
    del passes[:]
    one_batch(network, images, labels, "layer3.0.conv2", portion=4)
    assert len(passes) == 1 + 3


def test_vam_and_wrappers():
    network, (images, labels) = network_of("resnet8"), data()
    insert_vam(network)
    cosines, _ = plain_loop(network, images, labels, "layer3", kind="softmax")
    found = one_batch(nn.DataParallel(network), images, labels, "layer3")
    torch.testing.assert_close(found.cosines, cosines, atol=1e-10, rtol=1e-10)


def test_layers_chosen_where_none_is_named():
    images, labels = data(dtype=torch.float32)
    chosen = {
        name: kdlens.gradient_conflict(network_of(name, dtype=torch.float32), images, labels).layer
        for name in ("resnet8", "hme_resnet8", "vit_tiny_cifar")
    }
    assert chosen == {"resnet8": "layer3", "hme_resnet8": "trunk", "vit_tiny_cifar": "blocks.5"}
    without = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5))
    assert kdlens.gradient_conflict(without, images, labels).layer == "0"


def test_batches_are_alike_and_averaged():
    network, (images, labels) = small(), data(n=14, classes=3)
    images = images[:, :1, :6, :6]
    batches = dealt(labels, 4)
    assert [len(b) for b in batches] == [4, 4, 4]
    assert not set(batches[0].tolist()) & set(batches[1].tolist())
    assert all(torch.bincount(labels[b], minlength=3).min() >= 1 for b in batches)
    found = kdlens.gradient_conflict(network, images, labels, layer="3", batch_size=4)
    each = [one_batch(network, images[b], labels[b], "3").cosines for b in batches]
    torch.testing.assert_close(found.by_batch, torch.stack(each))
    torch.testing.assert_close(found.cosines, torch.stack(each).mean(0))
    assert found.images == 12
    assert found.rate.n == 3
    assert found.mean_cosine.low < found.mean_cosine.value < found.mean_cosine.high


def test_shuffled_labels_are_other_tasks_with_the_same_counts():
    network, (images, labels) = small(), data(n=12, classes=3)
    images = images[:, :1, :6, :6]
    plain = one_batch(network, images, labels, "3")
    mixed = one_batch(network, images, labels, "3", shuffle=0)
    assert torch.equal(plain.counts, mixed.counts)
    assert not torch.allclose(plain.cosines, mixed.cosines)
    torch.testing.assert_close(mixed.cosines, one_batch(network, images, labels, "3", shuffle=0).cosines)


def test_a_class_without_images():
    network, (images, labels) = small(4), data(n=12, classes=3)
    images = images[:, :1, :6, :6]
    binary = one_batch(network, images, labels, "3", classes=["a", "b", "c", "d"])
    assert binary.without_images == ("d",)
    assert not binary.cosines.isnan().any()  # it has heard "no" from every image
    pulled = one_batch(network, images, labels, "3", task="images", classes=["a", "b", "c", "d"])
    assert pulled.without_gradient == ("d",)
    assert pulled.cosines[3].isnan().all()
    assert pulled.rate.value in (0, 1 / 3, 2 / 3, 1)
    assert "without images: 1 class: d" in repr(pulled)


def test_gradients_that_are_all_zero():
    network, (images, labels) = small(), data(n=6, classes=3)
    with torch.no_grad():
        network[3].bias.fill_(-1e3)  # nothing passes the ReLU behind it
    found = one_batch(network, images[:, :1, :6, :6], labels, "0")
    assert found.cosines.isnan().all()
    assert found.without_gradient == ("0", "1", "2")
    assert math.isnan(found.rate.value)
    assert "conflict rate undefined" in repr(found)
    assert found.pairs() == []


def test_an_expert_that_nobody_reads():
    network, (images, labels) = network_of("hme_resnet8"), data()
    network.temperature = 0.0
    unread = next(i for i in range(4) if i not in network.experts_read()[0])
    assert len(one_batch(network, images, labels, f"levels.0.{unread}").without_gradient) == 5


def test_what_it_shows():
    network, (images, labels) = small(), data(n=6, classes=3)
    found = kdlens.gradient_conflict(network, images[:, :1, :6, :6], labels, layer="3", classes=["cat", "dog", "car"])
    assert repr(found).startswith("GradientConflict at 3 (112 parameters): ")
    assert "pairs of 3 classes" in repr(found)
    pairs = found.pairs()
    assert all(value < 0 for *_, value in pairs)
    assert [value for *_, value in pairs] == sorted(value for *_, value in pairs)


def broken():
    network = small()
    with torch.no_grad():
        network[6].bias.fill_(torch.nan)
    return network


@pytest.mark.parametrize(
    ("network", "options", "error", "text"),
    [
        (small(1), {}, DataError, "one class has nothing to be in conflict with"),
        (small(2), {}, DataError, "label 2 is outside the 2 classes"),
        (small(), {"layer": "9"}, LayerNotFoundError, 'layer "9" not found'),
        (small(), {"layer": "2"}, ModelError, r'layer "2" \(ReLU\) has no parameters; .* before it is "0"'),
        (broken(), {"layer": "3"}, ModelError, "NaN or infinite logits for 6 of 6 images"),
        (small(), {"task": "pairs"}, ConfigError, 'task must be "binary" or "images"'),
        (small(), {"kind": "probit"}, ConfigError, "kind must be"),
        (small(), {"batch_size": 0}, ConfigError, "batch_size must be 1 or more"),
        (small(), {"classes": ["a"]}, DataError, "1 class names are given, and the network has 3 outputs"),
        (nn.Sequential(nn.ReLU(), nn.Flatten(), nn.ReLU()), {"layer": "0"}, ModelError, "has no parameters$"),
    ],
)
def test_bad_input(network, options, error, text):
    images, labels = data(n=6, classes=3)
    with pytest.raises(error, match=text):
        kdlens.gradient_conflict(network, images[:, :1, :6, :6], labels, **{"layer": "0", **options})


def test_labels_that_do_not_fit():
    images, labels = data(n=6, classes=3)
    with pytest.raises(DataError, match="images"):
        kdlens.gradient_conflict(small(), images[:, :1, :6, :6], labels[:5])
    with pytest.raises(DataError, match="class indices"):
        kdlens.gradient_conflict(small(), images[:, :1, :6, :6], labels.float())
