"""Slices (named kinds of rows, whose differences an average hides), and the figures of a classifier on each slice."""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from tagstream.model_export.bundle.model import Prediction
from tagstream.model_export.calibrate.intervals import Interval, bootstrap, confusion, weighted_f1, wilson
from tagstream.model_export.data.corpus import AUTHORED, PLAIN, REGISTERS
from tagstream.model_export.data.row import Row

# With fewer rows, an interval is wider than most differences that matter for a decision.
FEW_ROWS = 30
SHORT_WORDS = 6
# The most slices of one column: the most frequent values. A longer table is not readable.
MOST_VALUES = 20
LENGTHS = ((1, 6), (7, 15), (16, 25), (26, 40), (41, None))
LLM_TERMS = re.compile(
    r"\b(?:llms?|llmops|(?:large |small )?language models?|(?:chat)?gpt(?:-?\d\w*)?|rag|retrieval[- ]augmented|prompt(?:s|ing)?"
    r"|chatbots?|instruction[- ]tun\w+|lora|low-rank adapt\w+)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """
    One kind of row.

    Attributes:
        group: The property by which rows are sliced.
        name: One value of the property.
        holds: Returns True if a row is in the slice.
    """

    group: str
    name: str
    holds: Callable[[Row], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceReport:
    """
    The figures of a classifier on one slice.

    Attributes:
        group: The group of the slice.
        name: The name of the slice.
        rows: The number of rows.
        right: The number of rows with a right predicted label.
        accuracy: The share right, 0 to 1.
        interval: Wilson's 95 % interval of `accuracy`.
        weighted_f1: The weighted F1, 0 to 1.
        f1_interval: The 95 % bootstrap interval of `weighted_f1`.
    """

    group: str
    name: str
    rows: int
    right: int
    accuracy: float
    interval: Interval
    weighted_f1: float
    f1_interval: Interval

    @property
    def few(self) -> bool:
        """True if there are fewer than `FEW_ROWS` rows, so the figures are uncertain."""
        return self.rows < FEW_ROWS

    def as_json(self) -> dict[str, object]:
        """The record as plain values."""
        return {**asdict(self), "few": self.few}


def words(row: Row) -> int:
    """Return the number of words in a row's text, separated by white space."""
    return len(row.text.split())


def has_llm_terms(row: Row) -> bool:
    """Return True if a row contains a current term for language models."""
    return LLM_TERMS.search(row.text) is not None


def _between(least: int, most: int | None) -> Callable[[Row], bool]:
    return lambda row: least <= words(row) and (most is None or words(row) <= most)


def _of_source(source: str) -> Callable[[Row], bool]:
    return lambda row: row.source == source


def _of_register(register: str) -> Callable[[Row], bool]:
    return lambda row: row.register == register


SLICES = (
    Slice(group="text", name=f"short: {SHORT_WORDS} words at most", holds=_between(1, SHORT_WORDS)),
    Slice(group="text", name="no description", holds=lambda row: not row.described),
    Slice(group="text", name="with description", holds=lambda row: row.described),
    Slice(group="text", name="terms of language models", holds=has_llm_terms),
    Slice(group="text", name="not ASCII", holds=lambda row: not row.text.isascii()),
    *(
        Slice(
            group="length", name=f"{least} to {most} words" if most else f"{least} words or more", holds=_between(least, most)
        )
        for least, most in LENGTHS
    ),
    # Made With ML's rows have no slice here, because they are a separate part.
    Slice(group="authored", name="borderline", holds=_of_source(AUTHORED)),
    Slice(group="authored", name="plain", holds=_of_source(PLAIN)),
    *(Slice(group="register", name=register, holds=_of_register(register)) for register in REGISTERS),
)

# The slices that fit any rows. The other slices are about machine learning or the project's own corpus.
TEXT_SLICES = tuple(kind for kind in SLICES if kind.group in {"text", "length"} and kind.holds is not has_llm_terms)


def of_own(rows: Sequence[Row]) -> tuple[Slice, ...]:
    """Return the slices of a user's rows: kinds of text, sources if there are two or more, and the values of further columns."""
    sources = tuple(row.source for row in rows)
    kinds = list(TEXT_SLICES)
    if len(set(sources)) > 1:
        kinds += [Slice(group="source", name=value, holds=_of_source(value)) for value in _most_frequent(sources)]
    for place, (column, _) in enumerate(rows[0].columns if rows else ()):
        if column == "source" and len(set(sources)) > 1:
            continue
        values = [row.columns[place][1] for row in rows]
        kinds += [
            Slice(group=column, name=value or "(empty)", holds=_of_column(column, value)) for value in _most_frequent(values)
        ]
    return tuple(kinds)


def _most_frequent(values: Sequence[str]) -> list[str]:
    return sorted(value for value, _ in Counter(values).most_common(MOST_VALUES))


def _of_column(column: str, value: str) -> Callable[[Row], bool]:
    return lambda row: (column, value) in row.columns


def measure(
    rows: Sequence[Row], predictions: Sequence[Prediction], *, labels: Sequence[str], slices: Sequence[Slice] = SLICES
) -> tuple[SliceReport, ...]:
    """
    Measure every slice that has rows.

    Args:
        rows: The labelled rows.
        predictions: One prediction per row, in order.
        labels: All labels.
        slices: The slices to measure.

    Raises:
        ValueError: The numbers of rows and predictions differ.
    """
    if len(rows) != len(predictions):
        msg = f"{len(predictions)} predictions of {len(rows)} rows cannot be sliced: give one a row"
        raise ValueError(msg)
    found = []
    for kind in slices:
        places = [place for place, row in enumerate(rows) if kind.holds(row)]
        if places:
            found.append(_measure(kind, [rows[place] for place in places], [predictions[place] for place in places], labels))
    return tuple(found)


def _measure(kind: Slice, rows: Sequence[Row], predictions: Sequence[Prediction], labels: Sequence[str]) -> SliceReport:
    truth = np.array([labels.index(row.tag) for row in rows])
    found = np.array([labels.index(prediction.label) for prediction in predictions])
    counts = confusion(truth, found, len(labels))
    right = int((truth == found).sum())
    return SliceReport(
        group=kind.group,
        name=kind.name,
        rows=len(rows),
        right=right,
        accuracy=round(right / len(rows), 6),
        interval=wilson(right, len(rows)),
        weighted_f1=round(float(weighted_f1(counts)), 6),
        f1_interval=bootstrap(counts, weighted_f1),
    )


def as_table(title: str, reports: Sequence[SliceReport]) -> str:
    """Return the slices of one part as a table. Slices with few rows are marked."""
    group = max([10, *(len(report.group) for report in reports)])
    name = max([26, *(len(report.name) for report in reports)])
    lines = [
        f"slices of {title}",
        f"  {'':<{group}} {'slice':<{name}} {'rows':>5} {'right':>7}  {'95 %':<16} {'weighted F1':>11}  95 %",
    ]
    for report in reports:
        (low, high), (least, most) = report.interval, report.f1_interval
        note = f"   few rows (under {FEW_ROWS})" if report.few else ""
        lines.append(
            f"  {report.group:<{group}} {report.name:<{name}} {report.rows:>5} {report.accuracy:>7.3f}  [{low:.3f}, {high:.3f}]   "
            f"{report.weighted_f1:>11.3f}  [{least:.3f}, {most:.3f}]{note}"
        )
    return "\n".join(lines)
