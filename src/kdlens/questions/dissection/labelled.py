"""The labels of one image in the form the counting needs."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

from kdlens.data.concepts.annotated import Annotation
from kdlens.data.concepts.vocabulary import Vocabulary
from kdlens.errors import DataError
from kdlens.questions.dissection.enlarge import Size
from kdlens.questions.dissection.surface import Arranged, Surface


@dataclass(frozen=True, eq=False)
class Labelled:
    """One image's labels, those that occur numbered from 1.

    Attributes:
        numbers: labels that occur at pixels, ascending, as the vocabulary numbers them.
        pixels: `(channels, H, W)`, 0 for none, k for `numbers[k - 1]`; of the smallest integers that hold them.
        counts: pixels of each of `numbers`, channels counted one by one.
        whole: labels of the whole image.
        categories: `(labels, categories)`, 1 where a category is the primary one of one of `numbers`.
        by_whole: categories of which the whole image has a label.
    """

    numbers: Int[Tensor, " labels"]
    pixels: Int[Tensor, "channels H W"]
    counts: Int[Tensor, " labels"]
    whole: Int[Tensor, " w"]
    categories: Float[Tensor, "labels categories"]
    by_whole: Bool[Tensor, " categories"]

    @classmethod
    def of(cls, annotation: Annotation, vocabulary: Vocabulary) -> "Labelled":
        """Number what occurs.

        Raises:
            DataError: a label number that the vocabulary does not have.
        """
        pixels, whole = annotation.pixels, torch.tensor(annotation.whole, dtype=torch.int64)
        for found in (pixels, whole):
            if found.numel() and (int(found.min()) < 0 or int(found.max()) >= len(vocabulary.names)):
                raise DataError(
                    f"labels run from 1 to {len(vocabulary.names) - 1}, but {int(found.min())} to {int(found.max())} "
                    "were found"
                )
        counts = pixels.flatten().bincount(minlength=1)
        counts[0] = 0
        numbers = counts.nonzero()[:, 0]
        local = torch.zeros(len(counts), dtype=torch.uint8 if len(numbers) < 256 else torch.int32)
        local[numbers] = torch.arange(1, len(numbers) + 1).to(local)
        of_pixels, of_whole = (_categories(labels, vocabulary) for labels in (numbers, whole))
        return cls(numbers, local[pixels.int()], counts[numbers], whole, of_pixels, of_whole.any(0))

    @property
    def size(self) -> Size:
        """Rows and columns of the masks."""
        return self.pixels.shape[1], self.pixels.shape[2]

    @property
    def present(self) -> Bool[Tensor, " categories"]:
        """Categories of which the image has a label, anywhere."""
        return self.categories.any(0) | self.by_whole

    def arranged(self, surface: Surface) -> Arranged:
        """The labels in the order of the surface's cells."""
        return surface.arrange(self.pixels, len(self.numbers))


def _categories(labels: Tensor, vocabulary: Vocabulary) -> Float[Tensor, "labels categories"]:
    shifted = functional.one_hot(vocabulary.primary[labels] + 1, len(vocabulary.categories) + 1)
    return shifted[:, 1:].float()  # the first column stands for labels of none of the categories
