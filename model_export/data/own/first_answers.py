"""
People's first answers about a stream whose labels are only described in words, sorted by their use.

    by lot       a drawn event (`data.random_half`): used for training, certificates, figures and the drift reference
    by doubt     any other event: used for training only, since a model chose it
    left out     answers of none of the labels, repeats, texts with different answers, and near-duplicates of a label's own words
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
# With fewer texts, cross-fitting is not possible.
LEAST_ANSWERS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstAnswers:
    """
    People's answers, each text once.

    Attributes:
        rows: The answers with a label. The source of a row is `BY_LOT` or `BY_DOUBT`.
        none: The texts for which people found none of the labels.
        left_out: The number of answers that are not used.
        digests: The SHA-256 of the file of answers, by file name.
    """

    rows: tuple[Row, ...]
    none: tuple[Row, ...]
    left_out: int
    digests: dict[str, str]


def sort_out(words: LabelsInWords, given: OwnRows) -> FirstAnswers:
    """
    Sort answers by their use.

    Args:
        words: The labels in words.
        given: The answers, with the ids of their events.

    Raises:
        RowsError: The label of an answer is not in `words`, or too few answers are left.
    """
    own = words.rows()
    found = stand(own, given)
    refuse_unknown(given, found.unknown, tuple(sorted(words.labels)), words.name)
    fresh, _ = split_near_duplicates(found.fresh.rows, own.rows, key=lambda answer: answer.row.text)
    if len(fresh) < LEAST_ANSWERS:
        msg = (
            f"{given.name} has {len(fresh)} answers to learn from; it needs at least {LEAST_ANSWERS}. Next: answer some sixty events in "
            "the console, `tagstream review`, and export again."
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
    """Return the answers as training rows with their sources. Among near-duplicates, only the first drawn text counts as drawn."""
    rows: list[Row] = []
    drawn: set[str] = set()
    for answer in answers:
        by_lot = random_half.is_drawn(answer.id) and answer.row.topic not in drawn
        if by_lot:
            drawn.add(answer.row.topic)
        rows.append(replace(answer.row, answered=False, source=BY_LOT if by_lot else BY_DOUBT))
    return tuple(rows)
