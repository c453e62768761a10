"""Two passes over annotated images: one finds the thresholds, one counts. All networks and layers share both.

Nothing grows with the number of images. Images come in blocks of a fixed random order, so that batches, which follow
memory, change nothing; within a block the masks are also dealt to other images, which shows what chance would count.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from kdlens.data.concepts.annotated import ConceptData
from kdlens.errors import DataError
from kdlens.questions.dissection.block import Block, deal_out
from kdlens.questions.dissection.examples import Examples
from kdlens.questions.dissection.labelled import Labelled
from kdlens.questions.dissection.plan import Plan
from kdlens.questions.dissection.tally import LabelSums, Tally
from kdlens.questions.dissection.thresholds import TopValues

T = TypeVar("T")

Reader = Callable[[Float[Tensor, "n c h w"]], Mapping[str, Float[Tensor, "n units h w"]]]
"""From images in [0, 1] to the activation maps of every layer."""

Key = tuple[str, str]
"""Network and layer."""

BLOCK = 32
"""Images a block: masks are dealt among them, and their labels are held at once."""


@dataclass(eq=False)
class Counted:
    """What is counted of one layer of one network, as it is or turned.

    Attributes:
        rotation: orthogonal matrix the units are turned with; None as they are.
        top: the largest values, for the thresholds.
        examples: images of largest activation.
        thresholds: of the units.
        tally: under the images' own masks.
        dealt: under masks dealt to other images, a group a deal.
    """

    rotation: Float[Tensor, "units units"] | None
    top: TopValues
    examples: Examples
    thresholds: Float[Tensor, " units"] = field(init=False)
    tally: Tally = field(init=False)
    dealt: Tally = field(init=False)

    def turned(self, maps: Float[Tensor, "n units h w"]) -> Float[Tensor, "n units h w"]:
        """The maps in this one's basis."""
        if self.rotation is None:
            return maps
        return torch.einsum("vu,nuhw->nvhw", self.rotation.to(maps), maps)


@dataclass(eq=False)
class Passes:
    """The two passes, over the same images.

    Attributes:
        readers: network -> its activations.
        concepts: annotated images.
        plan: what to do.
        say: told what is being done.
        found: network and layer -> what was counted of it as it is, then turned.
        problems: image -> why it was left out.
    """

    readers: Mapping[str, Reader]
    concepts: ConceptData
    plan: Plan
    say: Callable[[str], None] = lambda text: None
    found: dict[Key, list[Counted]] = field(default_factory=dict)
    problems: dict[int, str] = field(default_factory=dict)

    def find_thresholds(self) -> None:
        """First pass: the threshold of every unit, and the images of largest activation."""
        blocks = self._blocks()
        for number, block in enumerate(blocks):
            self.say(f"finding thresholds, block {number + 1} of {len(blocks)}")
            for indices, images in self._images(block):
                self._see_values(indices, images)
        for counted in self.found.values():
            for one in counted:
                one.thresholds = one.top.thresholds()

    def count(self) -> None:
        """Second pass: what lies above the thresholds, under the images' own labels and those dealt to them.

        Raises:
            DataError: no image could be used.
        """
        words, plan = self.concepts.vocabulary, self.plan
        sums = LabelSums(words, plan.groups), LabelSums(words, plan.shuffles)
        for counted in self.found.values():
            for one in counted:
                one.tally = Tally(len(one.thresholds), sums[0])
                one.dealt = Tally(len(one.thresholds), sums[1] if one.rotation is None else LabelSums(words, 0))
        used, blocks = 0, self._blocks()
        for number, indices in enumerate(blocks):
            self.say(f"counting, block {number + 1} of {len(blocks)}")
            block = self._labelled(number, indices)
            block.see_labels(*sums)
            self._see_units(block)
            used += len(block.labels)
        if not used:
            why = next(iter(self.problems.values()), "it holds none")
            raise DataError(f"no image of {self.concepts.name} could be used: {why}")

    def _blocks(self) -> tuple[Int[Tensor, " b"], ...]:
        generator = torch.Generator().manual_seed(self.plan.seed)
        order = torch.randperm(len(self.concepts), generator=generator)
        return order.tensor_split(max(1, -(-len(order) // BLOCK)))

    def _images(self, block: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Images of a block that can be read, those of one size together."""
        sizes: dict[tuple[int, ...], list[tuple[int, Tensor]]] = {}
        for index in block.tolist():
            image = self._unless_broken(index, self.concepts.image)
            if image is not None:
                sizes.setdefault(tuple(image.shape), []).append((index, image))
        for images in sizes.values():
            yield torch.tensor([index for index, _ in images]), torch.stack([image for _, image in images])

    def _see_values(self, indices: Tensor, images: Tensor) -> None:
        for network, reader in self.readers.items():
            for layer, maps in reader(images).items():
                if (network, layer) not in self.found:
                    self.found[network, layer] = self._begin(layer, maps)
                as_it_is, *_ = counted = self.found[network, layer]
                as_it_is.examples.update(maps, indices)
                for one in counted:
                    one.top.update(one.turned(maps))

    def _begin(self, layer: str, maps: Tensor) -> list[Counted]:
        plan, units = self.plan, maps.shape[1]
        # a seed of its own for every layer, the same for all networks that have one of this name
        generator = torch.Generator().manual_seed(_seed(plan.seed, layer))
        rotations = [torch.linalg.qr(torch.randn(units, units, generator=generator))[0] for _ in range(plan.rotations)]
        places = len(self.concepts) * maps.shape[2] * maps.shape[3]
        return [
            Counted(rotation, TopValues(places, level=plan.level, rule=plan.threshold_rule), Examples(plan.examples))
            for rotation in (None, *rotations)
        ]

    def _see_units(self, block: Block) -> None:
        for places, images in self._images(torch.tensor(list(block.labels), dtype=torch.int64)):
            for network, reader in self.readers.items():
                for layer, maps in reader(images).items():
                    for one in self.found[network, layer]:
                        block.see_units(places.tolist(), one.turned(maps), one.thresholds, one.tally, one.dealt)

    def _labelled(self, number: int, indices: Tensor) -> Block:
        read = lambda index: Labelled.of(self.concepts.annotation(index), self.concepts.vocabulary)  # noqa: E731
        found = {index: self._unless_broken(index, read) for index in indices.tolist()}
        labels = {index: image for index, image in found.items() if image is not None}
        groups = {index: (number * BLOCK + place) % self.plan.groups for place, index in enumerate(labels)}
        return Block(labels, groups, deal_out(labels, self.plan.shuffles, _seed(self.plan.seed, number)))

    def _unless_broken(self, index: int, read: Callable[[int], T]) -> T | None:
        """What is read of an image; None where that was in vain, now or before."""
        if index in self.problems:
            return None
        try:
            return read(index)
        except DataError as error:
            self.problems[index] = str(error)
            return None


def _seed(*parts: object) -> int:
    return int.from_bytes(hashlib.sha256("/".join(map(str, parts)).encode()).digest()[:6], "big")
