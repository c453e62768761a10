"""Some of the images of annotated data, in an order of their own, with their annotations brought to one size."""

from jaxtyping import Float, Int
from torch import Tensor

from kdlens.data.concepts.annotated import Annotation, ConceptData, fingerprint_of
from kdlens.data.resize import Fit, fit_image, fit_labels


class Part:
    """Some images of annotated data.

    Args:
        concepts: the data.
        indices: which of its images, in which order.
        size: height and width to bring images and annotations to; `None` leaves them.
        fit: how; see `kdlens.Images`.

    Example:
        >>> import torch
        >>> from kdlens.data.concepts import load_concepts
        >>> scenes = load_concepts("fashion-scenes", count=8)
        >>> part = Part(scenes, torch.tensor([5, 2]), size=(16, 16))
        >>> len(part), part.image(0).shape, part.annotation(1).pixels.shape
        (2, torch.Size([3, 16, 16]), torch.Size([3, 16, 16]))
    """

    def __init__(
        self,
        concepts: ConceptData,
        indices: Int[Tensor, " n"],
        *,
        size: tuple[int, int] | None = None,
        fit: Fit = "crop",
    ) -> None:
        self.name, self.vocabulary = concepts.name, concepts.vocabulary
        self.mean, self.std = concepts.mean, concepts.std
        self._of, self._indices = concepts, [int(index) for index in indices]
        self._size, self._fit = size, fit

    def __len__(self) -> int:
        return len(self._indices)

    def image(self, index: int) -> Float[Tensor, "c h w"]:
        """One image in [0, 1].

        Raises:
            DataError: it cannot be read; names the file.
        """
        image = self._of.image(self._indices[index])
        return image if self._size is None else fit_image(image[None], self._size, self._fit)[0]

    def annotation(self, index: int) -> Annotation:
        """What is known of one image.

        Raises:
            DataError: it cannot be read; names the file.
        """
        pixels, whole = self._of.annotation(self._indices[index])
        return Annotation(pixels if self._size is None else fit_labels(pixels, self._size, self._fit), whole)

    def fingerprint(self) -> str:
        """SHA-256 over the data, which of them these are, and a sample."""
        return fingerprint_of(self, (self._of.fingerprint(), self._indices, self._size, self._fit))
