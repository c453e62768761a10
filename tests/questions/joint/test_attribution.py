"""Tracing evidence back to the image: both forms, where the truth is known exactly."""

import pytest
import torch
from torch import nn

from kdlens.errors import ConfigError, ModelError
from kdlens.questions.unicam.joint.blur import blurred, smooth
from kdlens.questions.unicam.joint.evidence import of_label
from kdlens.questions.unicam.joint.forms import FORMS, effects_of, form_of
from kdlens.questions.unicam.joint.gradients import SMOOTHING
from kdlens.questions.unicam.joint.occlusion import _boxes


class Squares(nn.Module):
    """Says class 0 in proportion to the squared contrast in the top left, class 1 in the bottom right."""

    def forward(self, x):
        size = x.shape[2] // 2
        return torch.stack([x[:, 0, :size, :size].pow(2).sum((1, 2)), x[:, 0, size:, size:].pow(2).sum((1, 2))], 1)


@pytest.fixture
def images():
    return torch.randn(6, 3, 32, 32, generator=torch.Generator().manual_seed(0))


LABELS = torch.tensor([0, 1, 0, 1, 0, 1])


def test_gradients_add_up_to_the_difference_from_the_blurred_image(images):
    """Exactly for a quadratic network: three middles integrate a line."""
    (effects,) = effects_of(FORMS["gradients"], Squares(), images, LABELS)
    expected = of_label(Squares()(images), LABELS) - of_label(Squares()(blurred(images)), LABELS)
    assert torch.allclose(effects.sum((1, 2)), expected, rtol=1e-3, atol=1e-2)


def test_dealing_out_keeps_both_sums_and_brings_evidence_back_to_where_it_comes_from():
    """A bar, two pixels wide, with less evidence against beside it: smoothed, most of it would lie beside the bar."""
    effects = torch.zeros(3, 32, 32)
    effects[:, 8:24, 15:17] = torch.tensor([1.0, 5.0, -2.0])[:, None, None]
    effects[:, 4:6, 24:28] = torch.tensor([-1.0, 0.0, 3.0])[:, None, None]
    maps, coarse = FORMS["gradients"].draw((effects,), (32, 32)), smooth(effects, SMOOTHING)
    for part in (maps, -maps):
        wanted = (coarse if part is maps else -coarse).clamp(min=0).sum((1, 2))
        assert torch.allclose(part.clamp(min=0).sum((1, 2)), wanted, rtol=1e-4, atol=1e-5)
    near = slice(13, 19)
    for one, smoothed in zip(maps[:2], coarse[:2], strict=True):
        share, before = (m.clamp(min=0)[:, near].sum() / m.clamp(min=0).sum() for m in (one, smoothed))
        assert before < 0.8
        assert share > 0.95
    assert torch.allclose(FORMS["gradients"].draw((-effects,), (32, 32)), -maps, atol=1e-6)
    assert torch.allclose(FORMS["gradients"].draw((1e-6 * effects,), (32, 32)), 1e-6 * maps, atol=1e-11)
    assert not FORMS["gradients"].draw((torch.zeros(1, 32, 32),), (32, 32)).any()


def test_occlusion_is_what_is_lost_with_the_patch(images):
    effects = effects_of(FORMS["occlusion"], Squares(), images, LABELS)
    for effect, boxes in zip(effects, _boxes((32, 32)), strict=True):
        place = len(boxes) // 3
        changed = images.clone()
        changed[(slice(None), slice(None), *boxes[place])] = blurred(images)[(slice(None), slice(None), *boxes[place])]
        lost = of_label(Squares()(images), LABELS) - of_label(Squares()(changed), LABELS)
        assert torch.allclose(effect[:, place], lost, atol=1e-4)


@pytest.mark.parametrize("name", FORMS)
def test_maps_lie_where_the_evidence_is(images, name):
    form = FORMS[name]
    maps = form.draw(effects_of(form, Squares(), images, torch.zeros(6, dtype=torch.int64)), (32, 32))
    positive, negative = maps.clamp(min=0), (-maps).clamp(min=0)
    for part, corner in ((positive, maps[:, :18, :18]), (negative, maps[:, 14:, 14:])):
        inside = corner.clamp(min=0).sum() if part is positive else (-corner).clamp(min=0).sum()
        assert inside > 0.9 * part.sum()


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("size", [(32, 32), (24, 40), (33, 17)])
def test_any_size_and_any_batch(make_network, name, size):
    images = torch.rand(5, 3, *size, generator=torch.Generator().manual_seed(1))
    net, labels, form = make_network(1), torch.arange(5) % 4, FORMS[name]
    whole = form.draw(effects_of(form, net, images, labels), size)
    parts = form.draw(effects_of(form, net, images, labels, batch_size=2), size)
    assert whole.shape == (5, *size)
    assert torch.allclose(whole, parts, atol=1e-6)


def test_the_forms_agree(make_network, make_pictures):
    images, labels, _ = make_pictures(16, 4, seed=3)
    fast, slow = (
        form.draw(effects_of(form, make_network(1), images, labels), (16, 16)).flatten(1) for form in FORMS.values()
    )
    agreement = nn.functional.cosine_similarity(fast - fast.mean(1, True), slow - slow.mean(1, True))
    assert agreement.mean() > 0.6


@pytest.mark.parametrize("shape", [(1, 3, 32, 32), (2, 1, 20, 30)])
def test_blurring_keeps_light_and_smoothing_keeps_sums(shape):
    images = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(blurred(torch.ones(shape)), torch.ones(shape), atol=1e-5)
    assert blurred(images).std() < 0.3 * images.std()
    maps = images[:, 0]
    assert torch.allclose(smooth(maps, 2.5 / 32).sum((1, 2)), maps.sum((1, 2)), rtol=1e-4)


def test_a_network_no_gradient_passes_is_named(images):
    class Hard(nn.Module):
        def forward(self, x):
            return (x.detach() > 0).float().mean((2, 3))

    with pytest.raises(ModelError, match=r'no gradient of Hard reaches the image; use attribution="occlusion"'):
        effects_of(FORMS["gradients"], Hard(), images, LABELS)
    assert effects_of(FORMS["occlusion"], Hard(), images, LABELS)[0].shape[0] == 6


def test_an_unknown_form_is_named():
    with pytest.raises(ConfigError, match='not "ocluded"'):
        form_of("ocluded")
