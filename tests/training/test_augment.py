"""What augmentation does to single pixels."""

import pytest
import torch

from kdlens.errors import ConfigError
from kdlens.training.augment import CropFlip, Flip, make_augmentation


def test_flip_mirrors_the_images_drawn_and_no_others():
    images = torch.randn(4, 3, 5, 6)
    changed = Flip().apply(images, torch.tensor([[0.1], [0.9], [0.5], [0.49]]))
    torch.testing.assert_close(changed, torch.stack([images[0], images[1].flip(2), images[2].flip(2), images[3]]))


def test_crop_flip_is_a_window_of_the_padded_image():
    images = torch.randn(3, 2, 16, 16)
    padded = torch.nn.functional.pad(images, (2, 2, 2, 2))
    drawn = torch.tensor([[0.0, 0.0, 0.0], [0.999, 0.45, 0.2], [0.45, 0.45, 0.7]])
    changed = CropFlip().apply(images, drawn)
    torch.testing.assert_close(changed[0], padded[0, :, 0:16, 0:16])
    torch.testing.assert_close(changed[1], padded[1, :, 4:20, 2:18])
    torch.testing.assert_close(changed[2], images[2].flip(2))


def test_every_shift_happens():
    drawn = CropFlip().draw(2000, torch.Generator().manual_seed(0))
    assert set((drawn[:, 0] * 9).long().tolist()) == set(range(9))


def test_the_same_generator_draws_the_same():
    first, second = (CropFlip().draw(5, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(first, second)


def test_a_users_function_gets_a_generator_and_must_keep_the_shape():
    noise = make_augmentation(lambda x, g: x + torch.randn(x.shape, generator=g))
    images = torch.zeros(2, 1, 3, 3)
    drawn = noise.draw(2, torch.Generator().manual_seed(0))
    assert torch.equal(noise.apply(images, drawn), noise.apply(images, drawn))
    with pytest.raises(ConfigError, match="must return images of shape"):
        make_augmentation(lambda x, g: None).apply(images, drawn)


def test_an_unknown_name_is_an_error():
    with pytest.raises(ConfigError, match='unknown augmentation "crop"; did you mean "crop-flip"'):
        make_augmentation("crop")
