"""Look at a user's rows with the figures of the certificate that they are for."""

from tagstream.model_export.bundle.promise.promise import Promise
from tagstream.model_export.calibrate.certificate import BOUND_LEVEL, least_rows
from tagstream.model_export.data.own.look import RowsReport, look
from tagstream.model_export.data.own.rows import OwnRows
from tagstream.model_export.data.own.texts import TokenCounter
from tagstream.model_export.data.splits import Splits


def look_at(
    rows: OwnRows,
    gold: OwnRows | None = None,
    *,
    base: Splits | None = None,
    answers: OwnRows | None = None,
    multilabel: bool = False,
    promise: Promise | None = None,
    encoder: TokenCounter | None = None,
) -> RowsReport:
    """
    Run every check of `look`, and say which labels have too few rows for a certificate of their own.

    Args:
        rows: The rows to learn from.
        gold: The rows that are only measured on.
        base: Rows of tagstream's own that are learned from too.
        answers: People's answers, as of `look`.
        multilabel: As of `look`.
        promise: The promise of a bundle of these rows; the default one unless given.
        encoder: The encoder that learns from them; that of the shipped bundle unless given.

    Raises:
        RowsError: As `look`.
    """
    asked = promise or Promise()
    # A label has its own certificate at the floor where the precision is about all labels together.
    target = asked.precision if asked.kind == "per-label" else asked.least
    needed = least_rows(target, (1.0 - BOUND_LEVEL) / max(len(rows.labels), 1))
    return look(
        rows,
        gold,
        base=base,
        answers=answers,
        multilabel=multilabel,
        encoder=encoder,
        certificate_rows=int(needed) if needed < float("inf") else None,
    )
