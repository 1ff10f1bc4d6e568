"""
Requirements on a bundle that is measured: what is asked of which figure, how a person writes it, and whether it holds.

`FIGURES` is the one table of the figures that can be asked for: help, errors, pages and the reading follow it. The command's help needs it
at once, so the records of an evaluation, which bring PyTorch, are imported for their types alone.
"""

import operator
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tagstream.model_export.compare.measured import Measured, ModelReport, Versus

NOT_WORSE = "not-worse"
NO_OTHER = "there is no other bundle to compare with (--against FOLDER)"
EXAMPLE = "f1>=0.93,published>=0.7"
OPERATORS: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}
# As the other figures of `--json`.
DECIMALS = 6
_CONDITION = re.compile(r"([a-z0-9_]+)\s*(>=|<=|>|<)\s*(\S+)", re.ASCII)


class RequirementError(Exception):
    """A requirement cannot be read, or can never be judged: the message says why, and the next step."""

    exit_code = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """
    A figure of a bundle that can be asked for.

    Attributes:
        meaning: The figure in words.
        place: The record of `--json` that has it, and the field; or of what it is made.
        read: From the bundle, the name of the part of the rows, and the other bundle; None where there is no such figure.
        beside: Whether it compares the bundle with another one.
    """

    meaning: str
    place: str
    read: Callable[["ModelReport", str, "ModelReport"], float | None]
    beside: bool = False

    @property
    def least(self) -> float:
        """The least value that it can have; the greatest is 1."""
        return -1.0 if self.beside else 0.0


FIGURES = {
    "f1": Figure(
        meaning="weighted F1",
        place="`weighted_f1` of `evaluation`",
        read=lambda bundle, part, _: bundle.parts[part].evaluation.weighted_f1,
    ),
    "f1_low": Figure(
        meaning="lower end of its 95 % interval",
        place="`weighted_f1_interval` of `evaluation`",
        read=lambda bundle, part, _: bundle.parts[part].evaluation.weighted_f1_interval[0],
    ),
    "macro_f1": Figure(
        meaning="mean F1 of the labels, each counting the same",
        place="`macro_f1` of `evaluation`",
        read=lambda bundle, part, _: bundle.parts[part].evaluation.macro_f1,
    ),
    "weakest_f1": Figure(
        meaning="F1 of the label that has the least, of those with rows",
        place="the least `f1` of `classes` of `evaluation`",
        read=lambda bundle, part, _: min(each.f1 for each in bundle.parts[part].evaluation.classes if each.rows),
    ),
    "accuracy": Figure(
        meaning="share right of all rows",
        place="`accuracy` of `evaluation`",
        read=lambda bundle, part, _: bundle.parts[part].evaluation.accuracy,
    ),
    "published": Figure(
        meaning="share of the rows that reach the threshold of the label that they are given",
        place="`share` of `published`",
        read=lambda bundle, part, _: bundle.parts[part].published.share,
    ),
    "published_precision": Figure(
        meaning="share right of these; no figure if none is published",
        place="`precision` of `published`",
        read=lambda bundle, part, _: bundle.parts[part].published.precision,
    ),
    "published_precision_low": Figure(
        meaning="lower end of its 95 % interval",
        place="`interval` of `published`",
        read=lambda bundle, part, _: bundle.parts[part].published.interval[0],
    ),
    "calibration_error": Figure(
        meaning="mean gap of confidence and share right",
        place="`calibration_error` of `evaluation`",
        read=lambda bundle, part, _: bundle.parts[part].evaluation.calibration_error,
    ),
    "called_strange": Figure(
        meaning="share of the rows that the gate for unusual texts sends to people; no figure of a bundle without one",
        place="`false_rejection` of `out_of_distribution`",
        read=lambda bundle, part, _: None if bundle.gate is None else bundle.gate.false_rejection[part],
    ),
    "behaviour": Figure(
        meaning="share of the behaviour cases that hold; no figure without a suite",
        place="`passed` by `cases` of all `behaviour`",
        read=lambda bundle, _part, _: _share_of_cases(bundle),
    ),
    "f1_difference": Figure(
        meaning="weighted F1 less that of the other bundle",
        place="`difference` of `paired`",
        read=lambda _, part, other: _versus(other, part).test.difference,
        beside=True,
    ),
    "f1_difference_low": Figure(
        meaning="lower end of its 95 % interval",
        place="`interval` of `paired`",
        read=lambda _, part, other: _versus(other, part).test.interval[0],
        beside=True,
    ),
    "published_difference": Figure(
        meaning="`published` less that of the other bundle",
        place="`share` of the two `published`",
        read=lambda bundle, part, other: bundle.parts[part].published.share - other.parts[part].published.share,
        beside=True,
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """
    A figure must be on one side of a number.

    >>> str(Condition(name="f1", comparison=">=", wanted=0.930))
    'f1>=0.93'
    """

    name: str
    comparison: str
    wanted: float

    def holds(self, found: float | None) -> bool:
        """Whether it holds of this figure; of none it does not."""
        return found is not None and OPERATORS[self.comparison](found, self.wanted)

    def __str__(self) -> str:
        return f"{self.name}{self.comparison}{self.wanted:.15g}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """
    One requirement, judged.

    Attributes:
        condition: The condition; None for `not-worse`.
        found: The figure, or the verdict beside the other bundle; None where there is no such figure.
        held: Whether it holds.
        against: The other bundle, where the requirement is about two.
        note: The counts that the verdict rests on.
    """

    condition: Condition | None
    found: float | str | None
    held: bool
    against: str | None = None
    note: str = ""

    @property
    def said(self) -> str:
        """
        The requirement, and what was found, in words.

        >>> Check(condition=Condition(name="f1", comparison=">=", wanted=0.93), found=0.9, held=False).said
        'f1>=0.93: it is 0.9'
        >>> Check(condition=None, found="worse", held=False, against="main", note="9 rows lost").said
        'not-worse (main): it is worse, 9 rows lost'
        """
        beside = f" ({self.against})" if self.against else ""
        shown = f"{self.found:.{DECIMALS}g}" if isinstance(self.found, float) else self.found
        found = "there is no such figure" if shown is None else f"it is {shown}"
        return f"{self.condition or NOT_WORSE}{beside}: {found}{self.note and f', {self.note}'}"

    def as_json(self) -> dict[str, object]:
        """The check as plain values."""
        asked = self.condition
        return {
            "requirement": str(asked or NOT_WORSE),
            "figure": asked and asked.name,
            "comparison": asked and asked.comparison,
            "wanted": asked and asked.wanted,
            "found": self.found,
            "held": self.held,
            "against": self.against,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """All requirements of a bundle, judged on one part of the rows."""

    model: str
    part: str
    rows: int
    checks: tuple[Check, ...]

    @property
    def missed(self) -> tuple[Check, ...]:
        """The requirements that do not hold."""
        return tuple(check for check in self.checks if not check.held)

    def records(self) -> Iterator[dict[str, object]]:
        """All as plain values, a piece for each requirement."""
        where = {"record": "requirement", "model": self.model, "part": self.part, "rows": self.rows}
        yield from ({**where, **check.as_json()} for check in self.checks)

    def as_text(self) -> str:
        """A line for each requirement."""
        lines = [f"required of {self.model}, judged on {self.part}: {self.rows} rows"]
        lines += [f"  {'holds' if check.held else 'MISSED':<6}  {check.said}" for check in self.checks]
        return "\n".join(lines)

    def refusal(self) -> str:
        """The requirements that are missed, as a sentence."""
        return (
            f"{self.model} misses {len(self.missed)} of {len(self.checks)} requirements, judged on {self.part}, {self.rows} rows: "
            f"{'; '.join(check.said for check in self.missed)}. Next: keep the bundle that decides now; slices and mistakes above, or "
            f"--report FOLDER, show where this one is wrong."
        )


def parse(given: Sequence[str], *, beside: bool) -> tuple[Condition, ...]:
    """
    Read requirements as a person writes them: a figure, a comparison and a number, between commas or on lines of their own.

    Args:
        given: Each value of the option.
        beside: Whether there is another bundle. Then `not-worse` may be named too; it is judged in any case, and is no condition.

    Raises:
        RequirementError: One cannot be read, names no figure, or can never hold.

    >>> [str(each) for each in parse(["f1 >= 0.93, published>0.7"], beside=False)]
    ['f1>=0.93', 'published>0.7']
    """
    asked = [piece.strip() for one in given for piece in re.split(r"[,\n]", one) if piece.strip()]
    if not asked:
        raise _refused(" ".join(given), "it is empty")
    if not beside and NOT_WORSE in asked:
        raise _refused(NOT_WORSE, NO_OTHER)
    return tuple(_condition(each, beside=beside) for each in asked if each != NOT_WORSE)


def _condition(asked: str, *, beside: bool) -> Condition:
    found = _CONDITION.fullmatch(asked)
    if found is None:
        raise _refused(asked, "it is no figure, comparison and number")
    name, comparison, number = found.groups()
    figure = FIGURES.get(name)
    if figure is None:
        raise _refused(asked, f"there is no figure {name!r}")
    if figure.beside and not beside:
        raise _refused(asked, NO_OTHER)
    try:
        wanted = float(number)
    except ValueError:
        raise _refused(asked, f"{number!r} is no number") from None
    # `nan` is not between them either.
    if not figure.least <= wanted <= 1:
        raise _refused(asked, f"{name} is between {figure.least:g} and 1")
    return Condition(name=name, comparison=comparison, wanted=wanted)


def _refused(asked: str, why: str) -> RequirementError:
    return RequirementError(
        f"--require {asked!r} cannot be judged: {why}. Next: name figures with one of {' '.join(OPERATORS)} and a number, as in "
        f"--require '{EXAMPLE}'. The figures are {names()}."
    )


def names() -> str:
    """The names of all figures, as a sentence lists them."""
    alone = ", ".join(name for name, figure in FIGURES.items() if not figure.beside)
    beside = ", ".join(name for name, figure in FIGURES.items() if figure.beside)
    return f"{alone}; with --against also {beside}, {NOT_WORSE}"


def judge(measured: "Measured", conditions: Sequence[Condition]) -> Judged:
    """
    Judge a bundle on the first part of the rows: the gold set or the holdout where there is one.

    Beside each other bundle it must also not be worse: by the verdict of the record, so that chance alone refuses none.

    Args:
        measured: The record of the evaluation. Of the other models, bundles alone are compared with.
        conditions: What is asked of its figures; of a figure that compares, beside each other bundle.
    """
    from tagstream.model_export.compare.contestants import BUNDLE

    part, found = next(iter(measured.bundle.parts.items()))
    others = [model for model in measured.others if model.kind == BUNDLE]
    checks = []
    for condition in conditions:
        beside = FIGURES[condition.name].beside
        checks += [_checked(condition, measured.bundle, part, other) for other in (others if beside else [None])]
    checks += [_not_worse(other, part) for other in others]
    return Judged(model=measured.bundle.name, part=part, rows=found.evaluation.rows, checks=tuple(checks))


def _checked(condition: Condition, bundle: "ModelReport", part: str, other: "ModelReport | None") -> Check:
    read = FIGURES[condition.name].read(bundle, part, other or bundle)
    found = None if read is None else round(read, DECIMALS)
    return Check(
        condition=condition,
        found=found,
        held=condition.holds(found),
        against=None if other is None else other.name,
    )


def _not_worse(other: "ModelReport", part: str) -> Check:
    from tagstream.model_export.compare.measured import WORSE

    versus = _versus(other, part)
    return Check(
        condition=None,
        found=versus.verdict,
        held=versus.verdict != WORSE,
        against=other.name,
        note=f"{versus.test.only_ours} rows right in this one alone, {versus.test.only_theirs} in the other alone",
    )


def _versus(other: "ModelReport", part: str) -> "Versus":
    """The bundle against this other one."""
    found = other.parts[part].versus
    assert found is not None, "the bundle itself is not beside itself"
    return found


def _share_of_cases(bundle: "ModelReport") -> float | None:
    cases = sum(group.cases for group in bundle.behaviour)
    return sum(group.passed for group in bundle.behaviour) / cases if cases else None
