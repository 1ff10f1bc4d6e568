"""
The first answers of people about a stream whose labels are known in words alone: which of them prove, and which only teach.

    by lot       an event that its id drew (`data.random_half`): learned from, and certificates, figures and the drift reference rest on it
    by doubt     any other: learned from, and nothing rests on it, since a model chose it
    left out     answers of none of the labels, repeats, texts on which answers differ, and texts that the words of a label nearly say
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from tagstream.model_export.data import random_half
from tagstream.model_export.data.duplicates import split_near_duplicates
from tagstream.model_export.data.own.answers import stand
from tagstream.model_export.data.own.labels import LabelsInWords
from tagstream.model_export.data.own.rows import OwnRow, OwnRows, refuse_unknown
from tagstream.model_export.data.own.split import together
from tagstream.model_export.data.reader import RowsError
from tagstream.model_export.data.row import Row

BY_LOT, BY_DOUBT = "by-lot", "by-doubt"
# Of fewer texts no head can be judged by others.
LEAST_ANSWERS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstAnswers:
    """
    People's answers, each text once.

    Attributes:
        rows: Those with a label; their source is `BY_LOT` or `BY_DOUBT`.
        none: Texts of which people said that they have none of the labels.
        left_out: How many answers count for nothing.
        digests: The SHA-256 of their file, by its name.
    """

    rows: tuple[Row, ...]
    none: tuple[Row, ...]
    left_out: int
    digests: dict[str, str]


def sort_out(words: LabelsInWords, given: OwnRows) -> FirstAnswers:
    """
    Sort answers out.

    Args:
        words: The labels.
        given: The answers, with the ids of their events.

    Raises:
        RowsError: An answer has another label, or too few are left.
    """
    own = words.rows()
    found = stand(own, given)
    refuse_unknown(given, found.unknown, tuple(sorted(words.labels)), words.name)
    fresh, _ = split_near_duplicates(found.fresh.rows, own.rows, key=lambda answer: answer.row.text)
    if len(fresh) < LEAST_ANSWERS:
        msg = (
            f"{given.name} has {len(fresh)} answers to learn from, and {LEAST_ANSWERS} are the least. Next: answer some sixty events in the "
            "console, `tagstream review`, and export again."
        )
        raise RowsError(msg)
    rows = _by_source(together(fresh))
    return FirstAnswers(
        rows=rows,
        none=tuple(answer.row for answer in found.off_subject),
        left_out=len(given.rows) - len(rows) - len(found.off_subject),
        digests=given.digests,
    )


def _by_source(answers: Sequence[OwnRow]) -> tuple[Row, ...]:
    """The answers as rows that are judged; of texts that nearly repeat each other one proves, since they are one draw."""
    rows: list[Row] = []
    drawn: set[str] = set()
    for answer in answers:
        by_lot = random_half.is_drawn(answer.id) and answer.row.topic not in drawn
        if by_lot:
            drawn.add(answer.row.topic)
        rows.append(replace(answer.row, answered=False, source=BY_LOT if by_lot else BY_DOUBT))
    return tuple(rows)
