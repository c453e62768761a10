"""Where does the student look that the baseline did not, and what did it drop?"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import ClassVar

from kdlens.answer import Answer, Notes
from kdlens.errors import ConfigError, StatisticsError
from kdlens.questions.context import Context, Trio
from kdlens.questions.pairing import foreign_pairs
from kdlens.questions.unicam.findings import say_alerts, say_empty_maps, say_knowledge, say_shares, say_undefined
from kdlens.questions.unicam.gallery import gallery
from kdlens.questions.unicam.maps import Features
from kdlens.questions.unicam.protocols import PROTOCOLS
from kdlens.questions.unicam.rows import DIRECTIONS, Found, Shares, add_knowledge, find_knowledge
from kdlens.questions.unicam.score import FEWEST
from kdlens.questions.unicam.view import View


@dataclass(frozen=True)
class UniCAMQuestion:
    """Where does the student look that the baseline did not, and what did it drop?

    Attributes:
        layer: layer of the maps; `"auto"` is the last one of each network.
        features: compare `"pooled"` or `"flat"` features.
        gallery: number of pictures.
        images: images the statistics rest on; at least the study's reference set.
        draws: resamples and permutations.
        protocol: what UniCAM means; a study has `"published"`.
    """

    name: ClassVar[str] = "unicam"

    layer: str = "auto"
    features: Features = "pooled"
    gallery: int = 24
    images: int = 128
    draws: int = 500
    protocol: str = "published"

    def __post_init__(self) -> None:
        if self.features not in ("pooled", "flat"):
            raise ConfigError(f'features must be "pooled" or "flat", got "{self.features}"')
        if self.gallery < 0 or self.images < FEWEST or self.draws < 1:
            raise ConfigError(
                f"unicam needs gallery >= 0, images >= {FEWEST} and draws >= 1, got gallery={self.gallery}, "
                f"images={self.images} and draws={self.draws}"
            )
        if self.protocol != "published":
            PROTOCOLS[self.protocol]  # an unknown name is told apart from one that is not for studies
            raise ConfigError(f'a study has UniCAM\'s protocol "published" only, got "{self.protocol}"')

    def answer(self, context: Context) -> Answer:
        """Compare every student with its baseline, in both directions, and draw the maps.

        Raises:
            LayerNotFoundError: a student or baseline has no such layer.
            LayerShapeError: the layer of the maps has no places.
        """
        answer = Answer(self.name, _notes(self, foreign_pairs(context, teacher=False)))
        view = View(context, images=self.images, layer=self.layer, features=self.features)
        if len(view.reference) < FEWEST:
            text = f"UniCAM compares at least {FEWEST} images, but the data has {len(view.reference)}"
            answer.say(f"{text}; nothing was computed.", kind="alert", tone="bad")
            return answer
        shares, judged = Shares(view), []
        for trios in _by_student(context):
            found = self._knowledge(answer, view, trios, shares)
            if found:
                add_knowledge(answer, found)
                judged.append(found)
        shares.finish(answer)
        for found in judged:
            say_knowledge(answer, found[0].trio.student.name)
            say_shares(answer, found[0].trio.student.name)
            say_empty_maps(answer, found[0].trio.student.name)
        say_alerts(answer, classes=len(context.class_names), images=len(view.reference))
        firsts = [found[0].trio for found in judged if found[0].trio.student.seed == judged[0][0].trio.student.seed]
        if firsts and self.gallery:
            context.progress(f"unicam: maps of {self.gallery} images")
            answer.arrays = gallery(view, firsts, self.gallery)
        return answer

    def _knowledge(self, answer: Answer, view: View, trios: Sequence[Trio], shares: Shares) -> list[Found]:
        """Both directions of one student, all seeds; a seed that cannot be judged is reported and left out."""
        found: list[Found] = []
        for trio in trios:
            student, seed = trio.student.name, f" (seed {trio.student.seed})" if len(trios) > 1 else ""
            view.context.progress(f"unicam: {student}{seed} and {trio.baseline.name}")
            try:
                here = find_knowledge(view, trio, draws=self.draws)
                shares.add_trio(answer, trio)
            except StatisticsError as error:
                answer.say(f"{student}{seed} could not be compared: {error}.", kind="alert", tone="bad")
                continue
            found += here
            reasons = {direction: [getattr(one, direction).reason for one in here] for direction in DIRECTIONS}
            say_undefined(answer, f"{student}{seed}", reasons)
        return found


def _by_student(context: Context) -> list[list[Trio]]:
    """The trios of each student, in the order of the study."""
    groups: dict[str, list[Trio]] = {}
    for trio in context.trios():
        groups.setdefault(trio.student.name, []).append(trio)
    return list(groups.values())


def _notes(question: UniCAMQuestion, pairs: dict[str, str]) -> Notes:
    return Notes(
        question="Where does the student look that the baseline did not, and what did it drop?",
        method=(
            "Every network's features put the images of a fixed, class-balanced comparison set at certain distances. "
            "From the student's U-centred distance matrix the baseline's is projected out, M = P_s - (<P_s, P_b> / "
            "<P_b, P_b>) P_b; the unique fraction is |M|^2 / |P_s|^2, and the relevance R* = <M, P_labels> / (|M| "
            "|P_labels|). A map weights each channel by the spatial mean of R*'s gradient. Distilled: student given "
            "baseline; residual: baseline given student; plain maps: nothing given. Each gallery image is compared "
            "with the comparison set alone; shares on the object are of the comparison set's own maps. Intervals come "
            "from half-samples of the images without repetition, over seeds with the spread of the seeds added in "
            "quadrature; p from permuting the labels' images, corrected for the number of layers (Holm)."
        ),
        how_to_read=(
            "R* is 0 on average when what is unique is not about the labels, and at most 1. The maps of all networks "
            "and images share one scale: positive where more activation would raise R*. The share on the object is "
            "that of the positive part of a map inside the mask; chance is the object's part of the picture."
        ),
        limits=(
            "The gradient runs through one network only, so evidence that both networks share still lights up: read "
            "the maps beside the plain ones. A high R* with a unique fraction near 0 is about next to nothing. p "
            "speaks of these networks, the interval over several seeds of others trained alike. The relevance of two "
            "networks can be compared at the same layer and images only."
        ),
        sources=(
            "Adhane, Dehshibi, Vetter, Masip and Roig, On explaining knowledge distillation, WACV 2025, eq. 1-6",
            "Zhen et al., On the versatile uses of partial distance correlation in deep learning, ECCV 2022",
            "Szekely and Rizzo, Partial distance correlation with methods for dissimilarities, Ann. Stat. 42 (2014)",
        ),
        options=asdict(question) | pairs,
    )
