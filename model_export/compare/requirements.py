"""
The requirements that `tagstream model evaluate` checks: least values of figures, and verdicts against other bundles.

`FIGURES` lists all figures that can be required. The help, the errors, the documentation and the parser use this table. The command's help
must start fast, so the records of an evaluation, which import PyTorch, are only imported for type checking.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tagstream.model_export.compare.evaluation_record import Measured, ModelReport, Versus

NOT_WORSE = "not-worse"
EXAMPLE = "--at-least f1=0.93"
# The same number of decimals as for the other figures of `--json`.
DECIMALS = 6


class RequirementError(Exception):
    """A requirement cannot be parsed or can never be judged. The message names the reason and the next step."""

    exit_code = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """
    A figure of a bundle that can be required.

    Attributes:
        meaning: The figure in words.
        place: The field and the record of `--json` that contain the figure, or the fields from which the figure is computed.
        read: Returns the figure for the results of the bundle and the name of the part of the rows. None: the figure does not exist.
        beside: True if the figure compares the bundle with another bundle. Then `read` takes the results of the other bundle.
    """

    meaning: str
    place: str
    read: Callable[["ModelReport", str], float | None]
    beside: bool = False

    @property
    def least(self) -> float:
        """The least possible value of the figure. The greatest is 1."""
        return -1.0 if self.beside else 0.0


FIGURES = {
    "f1": Figure(
        meaning="weighted F1",
        place="`weighted_f1` of `evaluation`",
        read=lambda bundle, part: bundle.parts[part].evaluation.weighted_f1,
    ),
    "f1_low": Figure(
        meaning="lower end of its 95 % interval",
        place="`weighted_f1_interval` of `evaluation`",
        read=lambda bundle, part: bundle.parts[part].evaluation.weighted_f1_interval[0],
    ),
    "macro_f1": Figure(
        meaning="mean F1 of the labels, each counting the same",
        place="`macro_f1` of `evaluation`",
        read=lambda bundle, part: bundle.parts[part].evaluation.macro_f1,
    ),
    "weakest_f1": Figure(
        meaning="F1 of the label that has the least, of those with rows",
        place="the least `f1` of `classes` of `evaluation`",
        read=lambda bundle, part: min(each.f1 for each in bundle.parts[part].evaluation.classes if each.rows),
    ),
    "accuracy": Figure(
        meaning="share right of all rows",
        place="`accuracy` of `evaluation`",
        read=lambda bundle, part: bundle.parts[part].evaluation.accuracy,
    ),
    "published": Figure(
        meaning="share of the rows that reach the threshold of the label that they are given",
        place="`share` of `published`",
        read=lambda bundle, part: bundle.parts[part].published.share,
    ),
    "published_precision": Figure(
        meaning="share right of these; no figure if none is published",
        place="`precision` of `published`",
        read=lambda bundle, part: bundle.parts[part].published.precision,
    ),
    "published_precision_low": Figure(
        meaning="lower end of its 95 % interval",
        place="`interval` of `published`",
        read=lambda bundle, part: bundle.parts[part].published.interval[0],
    ),
    "behaviour": Figure(
        meaning="share of the behaviour cases that hold; no figure without a suite",
        place="`passed` by `cases` of all `behaviour`",
        read=lambda bundle, _: _share_of_cases(bundle),
    ),
    "f1_difference_low": Figure(
        meaning="weighted F1 less that of the other bundle: lower end of its 95 % interval",
        place="`interval` of `paired`",
        read=lambda other, part: _versus(other, part).test.interval[0],
        beside=True,
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class AtLeast:
    """
    The least value of a figure.

    >>> str(AtLeast(name="f1", least=0.930))
    'f1>=0.93'
    """

    name: str
    least: float

    def holds(self, found: float | None) -> bool:
        """Return True if the value is at least `least`. None (no figure) returns False."""
        return found is not None and found >= self.least

    def __str__(self) -> str:
        return f"{self.name}>={self.least:.15g}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """
    One judged requirement.

    Attributes:
        asked: The least value of the figure; None for `not-worse`.
        found: The figure, or the verdict against the other bundle. None if the figure does not exist.
        held: True if the requirement holds.
        against: The name of the other bundle; None if the requirement is about one bundle.
        note: The counts behind the verdict.
    """

    asked: AtLeast | None
    found: float | str | None
    held: bool
    against: str | None = None
    note: str = ""

    @property
    def said(self) -> str:
        """
        The requirement and the result, in words.

        >>> Check(asked=AtLeast(name="f1", least=0.93), found=0.9, held=False).said
        'f1>=0.93: it is 0.9'
        >>> Check(asked=None, found="worse", held=False, against="main", note="9 rows lost").said
        'not-worse (main): it is worse, 9 rows lost'
        """
        beside = f" ({self.against})" if self.against else ""
        shown = f"{self.found:.{DECIMALS}g}" if isinstance(self.found, float) else self.found
        found = "there is no such figure" if shown is None else f"it is {shown}"
        return f"{self.asked or NOT_WORSE}{beside}: {found}{self.note and f', {self.note}'}"

    def as_json(self) -> dict[str, object]:
        """The check as plain values."""
        return {
            "requirement": str(self.asked or NOT_WORSE),
            "figure": self.asked and self.asked.name,
            "wanted": self.asked and self.asked.least,
            "found": self.found,
            "held": self.held,
            "against": self.against,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """All judged requirements of a bundle on one part of the rows."""

    model: str
    part: str
    rows: int
    checks: tuple[Check, ...]

    @property
    def missed(self) -> tuple[Check, ...]:
        """The requirements that do not hold."""
        return tuple(check for check in self.checks if not check.held)

    def records(self) -> Iterator[dict[str, object]]:
        """Yield one record of plain values for each requirement."""
        where = {"record": "requirement", "model": self.model, "part": self.part, "rows": self.rows}
        yield from ({**where, **check.as_json()} for check in self.checks)

    def as_text(self) -> str:
        """Return the requirements as text, one line each."""
        lines = [f"required of {self.model}, judged on {self.part}: {self.rows} rows"]
        lines += [f"  {'holds' if check.held else 'MISSED':<6}  {check.said}" for check in self.checks]
        return "\n".join(lines)

    def refusal(self) -> str:
        """Return a sentence about the missed requirements."""
        return (
            f"{self.model} misses {len(self.missed)} of {len(self.checks)} requirements, judged on {self.part}, {self.rows} rows: "
            f"{'; '.join(check.said for check in self.missed)}. Next: keep the bundle that decides now; slices and mistakes above, or "
            f"--report FOLDER, show where this one is wrong."
        )


def parse(given: str, *, beside: bool) -> AtLeast:
    """
    Parse `FIGURE=NUMBER`.

    Args:
        given: The value of the option.
        beside: True if `--not-worse-than` gives another bundle.

    Raises:
        RequirementError: The value cannot be parsed, the figure is unknown, or the number is outside the range of the figure.

    >>> parse("f1=0.930", beside=False)
    AtLeast(name='f1', least=0.93)
    """
    name, _, number = given.partition("=")
    figure = FIGURES.get(name)
    if figure is None:
        raise _refused(given, f"there is no figure {name!r}")
    if figure.beside and not beside:
        raise _refused(given, "there is no other bundle to compare with (--not-worse-than FOLDER)")
    try:
        least = float(number)
    except ValueError:
        raise _refused(given, f"{number!r} is no number") from None
    # This condition also refuses `nan`.
    if not figure.least <= least <= 1:
        raise _refused(given, f"{name} is between {figure.least:g} and 1")
    return AtLeast(name=name, least=least)


def _refused(given: str, why: str) -> RequirementError:
    return RequirementError(
        f"--at-least {given!r} cannot be judged: {why}. Next: name a figure and a number, as in {EXAMPLE}. The figures are {names()}."
    )


def names() -> str:
    """Return the names of all figures, for a sentence."""
    alone = ", ".join(name for name, figure in FIGURES.items() if not figure.beside)
    beside = ", ".join(name for name, figure in FIGURES.items() if figure.beside)
    return f"{alone}; with --not-worse-than also {beside}"


def judge(measured: "Measured", asked: Sequence[AtLeast], *, bars: int) -> Judged:
    """
    Judge a bundle on the first part of the rows: the gold set or the holdout, if there is one.

    "Worse" is the verdict of the paired test in the record, so an insignificant difference does not refuse a bundle.

    Args:
        measured: The record of the evaluation.
        asked: The least values of figures. A figure that compares two bundles is checked against each bar.
        bars: The number of bars. Bars are the first of the other models; the bundle must not be worse than a bar.
    """
    part, found = next(iter(measured.bundle.parts.items()))
    others = measured.others[:bars]
    checks = []
    for one in asked:
        if FIGURES[one.name].beside:
            checks += [_checked(one, other, part, against=other.name) for other in others]
        else:
            checks.append(_checked(one, measured.bundle, part))
    checks += [_not_worse(other, part) for other in others]
    return Judged(model=measured.bundle.name, part=part, rows=found.evaluation.rows, checks=tuple(checks))


def _checked(asked: AtLeast, model: "ModelReport", part: str, *, against: str | None = None) -> Check:
    read = FIGURES[asked.name].read(model, part)
    found = None if read is None else round(read, DECIMALS)
    return Check(asked=asked, found=found, held=asked.holds(found), against=against)


def _not_worse(other: "ModelReport", part: str) -> Check:
    from tagstream.model_export.compare.evaluation_record import WORSE

    versus = _versus(other, part)
    return Check(
        asked=None,
        found=versus.verdict,
        held=versus.verdict != WORSE,
        against=other.name,
        note=f"{versus.test.only_ours} rows right in this one alone, {versus.test.only_theirs} in the other alone",
    )


def _versus(other: "ModelReport", part: str) -> "Versus":
    """Return the comparison of the bundle with the other model."""
    found = other.parts[part].versus
    assert found is not None, "the bundle itself is not beside itself"
    return found


def _share_of_cases(bundle: "ModelReport") -> float | None:
    cases = sum(group.cases for group in bundle.behaviour)
    return sum(group.passed for group in bundle.behaviour) / cases if cases else None
