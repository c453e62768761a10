"""What the doctor says: one check each, and the whole."""

import html
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

Status = Literal["fail", "warn", "ok", "skipped"]

_ORDER: tuple[Status, ...] = ("fail", "warn", "ok", "skipped")
_COLOURS = {"fail": "#b3261e", "warn": "#8a5300", "ok": "#1b6e3c", "skipped": "#5f6368"}


@dataclass(frozen=True)
class Check:
    """The result of one check.

    Attributes:
        name: what was checked.
        status: `"fail"`, numbers would be wrong; `"warn"`, read them with care; `"ok"`; `"skipped"`, not applicable.
        message: what was found, with numbers.
        advice: what to do, where there is something.
        value: the number behind it, if there is one.
    """

    name: str
    status: Status
    message: str
    advice: str = ""
    value: float | None = None

    def __str__(self) -> str:
        advice = f"\n         -> {self.advice}" if self.advice else ""
        return f"{self.status:<8} {self.name}: {self.message}{advice}"


def together(found: Sequence[Check]) -> Check:
    """Several results of one check as one: the worst status with its value, every message, every advice once.

    Example:
        >>> print(together([Check("outputs", "warn", "A.", "Mend it."), Check("outputs", "fail", "B.", "Mend it.")]))
        fail     outputs: A. B.
                 -> Mend it.
    """
    worst = min(found, key=lambda check: _ORDER.index(check.status))
    advice = dict.fromkeys(check.advice for check in found if check.advice)
    return replace(worst, message=" ".join(check.message for check in found), advice=" ".join(advice))


@dataclass(frozen=True)
class Diagnosis:
    """All checks, the worst first.

    Example:
        >>> fine, bad = Check("images", "ok", "2,000 images."), Check("teacher", "fail", "It guesses.", "Train it.")
        >>> found = Diagnosis([fine, bad])
        >>> print(found)
        kdlens doctor: 1 failed, 0 warnings, 1 fine, 0 skipped
        fail     teacher: It guesses.
                 -> Train it.
        ok       images: 2,000 images.
        >>> found.ok
        False
    """

    checks: Sequence[Check]

    def __post_init__(self) -> None:
        object.__setattr__(self, "checks", tuple(sorted(self.checks, key=lambda check: _ORDER.index(check.status))))

    @property
    def ok(self) -> bool:
        """Whether nothing failed (there may be warnings)."""
        return not any(check.status == "fail" for check in self.checks)

    @property
    def alerts(self) -> list[str]:
        """What failed or needs care, as sentences for a report."""
        return [f"{c.name}: {c.message} {c.advice}".strip() for c in self.checks if c.status in ("fail", "warn")]

    def __getitem__(self, name: str) -> Check:
        """The check called `name`; `KeyError` if there is none."""
        return {check.name: check for check in self.checks}[name]

    def __iter__(self) -> Iterator[Check]:
        return iter(self.checks)

    def __len__(self) -> int:
        return len(self.checks)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return {"ok": self.ok, "checks": [asdict(check) for check in self.checks]}

    def __str__(self) -> str:
        return "\n".join([f"kdlens doctor: {self._summary()}", *map(str, self.checks)])

    def _summary(self) -> str:
        count = {status: sum(check.status == status for check in self.checks) for status in _ORDER}
        warnings = f"{count['warn']} warning{'' if count['warn'] == 1 else 's'}"
        return f"{count['fail']} failed, {warnings}, {count['ok']} fine, {count['skipped']} skipped"

    def _repr_html_(self) -> str:
        rows = "".join(
            f'<tr><td style="color:{_COLOURS[c.status]};font-weight:600">{c.status}</td>'
            f"<td>{html.escape(c.name)}</td>"
            f'<td style="text-align:left">{html.escape(c.message)} <em>{html.escape(c.advice)}</em></td></tr>'
            for c in self.checks
        )
        return f"<table><caption>kdlens doctor: {self._summary()}</caption>{rows}</table>"
