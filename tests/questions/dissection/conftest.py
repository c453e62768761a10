import pytest
import torch

from kdlens.data.concepts.annotated import Annotation
from kdlens.data.concepts.vocabulary import Vocabulary
from kdlens.errors import DataError


class Held:
    """Annotated images in memory; the first channels of an image are what its units give."""

    name, mean, std = "held", None, None

    def __init__(self, images, annotations, vocabulary, broken=()):
        self.images, self.annotations, self.vocabulary, self.broken = images, annotations, vocabulary, broken

    def __len__(self):
        return len(self.images)

    def image(self, index):
        return self.images[index]

    def annotation(self, index):
        if index in self.broken:
            raise DataError(f"mask {index}.png, row {index + 2} of index.csv, is missing")
        return self.annotations[index]

    def fingerprint(self):
        return "held"


@pytest.fixture
def held():
    return Held


@pytest.fixture
def four_images():
    """One unit, four images of 4 x 4 cells; see the numbers in the tests."""
    vocabulary = Vocabulary(
        ("object", "part", "scene", "color"), ("", "one", "two", "p", "s", "c"), torch.tensor([-1, 0, 0, 1, 2, 3])
    )
    unit, nothing = torch.tensor([[[0.0, 0.0], [0.0, 4.0]]]), torch.zeros(1, 2, 2)
    colour, none = torch.full((4, 4), 5), torch.zeros(4, 4, dtype=torch.int64)
    thing, part, row, corner = none.clone(), none.clone(), none.clone(), none.clone()
    thing[2:], thing[:2] = 1, 2
    part[3, 3], row[0], corner[0, 0] = 3, 1, 2
    annotations = [
        Annotation(torch.stack([thing, part, colour]), (4,)),
        Annotation(torch.stack([row, colour]), ()),
        Annotation(torch.stack([colour]), (4,)),
        Annotation(torch.stack([corner, colour]), ()),
    ]
    return Held([unit, nothing, unit, unit], annotations, vocabulary)


@pytest.fixture
def anything():
    """Annotated images drawn at random: several masks an image, gaps in the numbers, labels of the whole image."""

    def make(n=23, units=12, small=(4, 4), large=(32, 32), seed=0, sparse=True):
        draw = torch.Generator().manual_seed(seed)
        names = ("", *(f"label {i}" for i in range(1, 12)))
        vocabulary = Vocabulary(("a", "b", "c"), names, torch.tensor([-1, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, -1]))
        images = torch.randn(n, units, *small, generator=draw)
        images = images.relu() if sparse else images
        annotations = []
        for i in range(n):
            coarse = torch.randint(0, 5, (1 + i % 3, 4, 4), generator=draw)
            masks = coarse.repeat_interleave(large[0] // 4, 1).repeat_interleave(large[1] // 4, 2)
            masks[1:] += 4 * (masks[1:] > 0)
            annotations.append(Annotation(masks.int(), (9 + i % 2,) if i % 4 else ()))
        return Held(list(images), annotations, vocabulary)

    return make
