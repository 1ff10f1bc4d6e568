"""Check a user's rows, including the number of rows that a certificate needs."""

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
    Run all checks of `look`, and report the labels with too few rows for their own certificate.

    Args:
        rows: The user's rows.
        gold: The gold set, only for measurement.
        base: Tagstream's own rows, which are used for training too.
        answers: People's answers, as in `look`.
        multilabel: As in `look`.
        promise: The promise of the bundle; None: the default promise.
        encoder: The encoder to train; None: the encoder of the shipped bundle.

    Raises:
        RowsError: As `look`.
    """
    asked = promise or Promise()
    # If the promise is about all labels together, a label's own certificate is about the floor.
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
