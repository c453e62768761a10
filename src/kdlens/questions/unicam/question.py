"""Where does the student look that the baseline did not, and what did it drop?"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import ClassVar

from kdlens.answer import Answer
from kdlens.errors import ConfigError, DataError, StatisticsError
from kdlens.questions.context import Context, Trio, by_student
from kdlens.questions.options import at_least, one_of
from kdlens.questions.pairing import foreign_pairs
from kdlens.questions.unicam.checked import Checks
from kdlens.questions.unicam.findings import (
    say_alerts,
    say_checks,
    say_empty_maps,
    say_knowledge,
    say_shares,
    say_undefined,
)
from kdlens.questions.unicam.gallery import gallery
from kdlens.questions.unicam.joint.forms import Attribution, form_of
from kdlens.questions.unicam.joint.study_maps import JointMaps
from kdlens.questions.unicam.joint.temperatures import Temperatures
from kdlens.questions.unicam.maps import Features
from kdlens.questions.unicam.notes import notes
from kdlens.questions.unicam.protocols import PROTOCOLS
from kdlens.questions.unicam.rows import DIRECTIONS, Found, add_knowledge, find_knowledge
from kdlens.questions.unicam.score import FEWEST
from kdlens.questions.unicam.shares import Shares
from kdlens.questions.unicam.study_maps import PublishedMaps, StudyMaps
from kdlens.questions.unicam.view import View


@dataclass(frozen=True)
class UniCAMQuestion:
    """Where does the student look that the baseline did not, and what did it drop?

    Attributes:
        layer: layer of the published maps; `"auto"` is the last one of each network. Joint maps need none.
        features: compare `"pooled"` or `"flat"` features.
        gallery: number of pictures.
        images: images the statistics rest on; at least the study's reference set.
        draws: resamples and permutations.
        protocol: what the maps show: `"joint"` or `"published"`; see `kdlens.unicam`.
        attribution: of joint maps: `"gradients"`, fast, or `"occlusion"`, slow and trusted.
        checks: whether the maps are checked: deletion and insertion, shuffled weights.
    """

    name: ClassVar[str] = "unicam"

    layer: str = "auto"
    features: Features = "pooled"
    gallery: int = 24
    images: int = 128
    draws: int = 500
    protocol: str = "joint"
    attribution: Attribution = "gradients"
    checks: bool = True

    def __post_init__(self) -> None:
        one_of(self, features=("pooled", "flat"))
        at_least(self, gallery=0, images=FEWEST, draws=1)
        if self.protocol not in ("joint", "published"):
            PROTOCOLS[self.protocol]  # an unknown name is told apart from one that is not for studies
            raise ConfigError(f'a study has UniCAM\'s protocols "joint" and "published", not "{self.protocol}"')
        form_of(self.attribution)

    def answer(self, context: Context) -> Answer:
        """Compare every student with its baseline, in both directions, and draw the maps.

        Raises:
            LayerNotFoundError: a student or baseline has no such layer.
            LayerShapeError: the layer of the maps has no places.
        """
        answer = Answer(self.name, notes(self.protocol, asdict(self) | foreign_pairs(context, teacher=False)))
        view = View(context, images=self.images, layer=self.layer, features=self.features)
        if len(view.reference) < FEWEST:
            text = f"UniCAM compares at least {FEWEST} images, but the data has {len(view.reference)}"
            answer.say(f"{text}; nothing was computed.", kind="alert", tone="bad")
            return answer
        temperatures = Temperatures(context)
        maps = self._maps(view, temperatures)
        shares, checks = Shares(view, maps), Checks(view, maps, temperatures) if self.checks else None
        judged = []
        for trios in by_student(context):
            found = self._knowledge(answer, view, trios, shares, checks)
            if found:
                add_knowledge(answer, found)
                judged.append(found)
        shares.finish(answer)
        students = [found[0].trio for found in judged]
        if checks is not None:
            answer.arrays |= checks.finish(answer, students)
        self._say(answer, students, view)
        firsts = [trio for trio in students if trio.student.seed == students[0].student.seed]
        if firsts and self.gallery:
            context.progress(f"unicam: maps of {self.gallery} images")
            answer.arrays |= gallery(view, maps, firsts, self.gallery)
        return answer

    def _maps(self, view: View, temperatures: Temperatures) -> StudyMaps:
        if self.protocol == "published":
            return PublishedMaps(view)
        return JointMaps(view, self.attribution, temperatures)

    def _say(self, answer: Answer, students: Sequence[Trio], view: View) -> None:
        for trio in students:
            say_shares(answer, trio.student.name)
            say_checks(answer, trio.student.name)
            say_knowledge(answer, trio.student.name)
            say_empty_maps(answer, trio.student.name)
        say_alerts(answer, classes=len(view.context.class_names), images=len(view.reference))

    def _knowledge(
        self, answer: Answer, view: View, trios: Sequence[Trio], shares: Shares, checks: Checks | None
    ) -> list[Found]:
        """Both directions of one student, all seeds; a seed that cannot be judged is reported and left out."""
        found: list[Found] = []
        for trio in trios:
            student, seed = trio.student.name, f" (seed {trio.student.seed})" if len(trios) > 1 else ""
            view.context.progress(f"unicam: {student}{seed} and {trio.baseline.name}")
            try:
                here = find_knowledge(view, trio, draws=self.draws)
                shares.add_trio(answer, trio)
                if checks is not None:
                    checks.add_trio(answer, trio)
            except (StatisticsError, DataError) as error:
                answer.say(f"{student}{seed} could not be compared: {error}.", kind="alert", tone="bad")
                continue
            found += here
            reasons = {direction: [getattr(one, direction).reason for one in here] for direction in DIRECTIONS}
            say_undefined(answer, f"{student}{seed}", reasons)
        return found
