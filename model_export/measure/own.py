"""Look at a user's rows with the figures of the certificate that they are for."""

from model_export.bundle.manifest import PRECISION
from model_export.calibrate.certificate import BOUND_LEVEL, least_rows
from model_export.data.own.findings import Look
from model_export.data.own.look import look
from model_export.data.own.rows import OwnRows
from model_export.data.splits import Splits


def look_at(
    rows: OwnRows, gold: OwnRows | None = None, *, base: Splits | None = None, target_precision: float = PRECISION
) -> Look:
    """
    Run every check of `look`, and say which labels have too few rows for a certificate of their own.

    Args:
        rows: The rows to learn from.
        gold: The rows that are only measured on.
        base: Rows of tagstream's own that are learned from too.
        target_precision: The share right that a bundle will promise, 0 to 1; at 1 there is no certificate.

    Raises:
        OwnDataError: As `look`.
    """
    needed = least_rows(target_precision, (1.0 - BOUND_LEVEL) / max(len(rows.labels), 1))
    return look(rows, gold, base=base, certificate_rows=int(needed) if needed < float("inf") else None)
