"""Measure the gate for foreign texts on ordinary rows (about machine learning) and on foreign rows (about other subjects)."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from tagstream.model_export.bundle.model import OodLimits, Prediction
from tagstream.model_export.data.corpus import NOT_ML
from tagstream.model_export.data.row import Row
from tagstream.model_export.data.splits import Splits


@dataclass(frozen=True, slots=True, kw_only=True)
class OodGate:
    """
    The measured gate for foreign texts: the shares of ordinary and of foreign rows that the gate sends to a person.

    Attributes:
        ood_energy: The energy above which a text is strange; None if the bundle has no such limit.
        ood_unfamiliar: The share of unfamiliar words above which a text is strange; None if the bundle has no such limit.
        ood_strangeness: The strangeness above which a text is strange; None if the bundle has no such limit.
        false_rejection: The share of ordinary rows that the gate calls strange, by part. The limits were set on `calibration`, each
            for a requested share; the other parts measure the limits.
        not_ml_rows: The number of corpus rows that are not about machine learning. A student was distilled on these rows, without labels,
            and a gate may have been trained on them as strange rows.
        not_ml_rejection: The share of these rows that the gate calls strange.
        not_ml_review: The share of these rows that go to a person, because of the gate or low confidence.
    """

    ood_energy: float | None
    ood_unfamiliar: float | None
    false_rejection: dict[str, float]
    not_ml_rows: int
    not_ml_rejection: float | None
    not_ml_review: float | None
    ood_strangeness: float | None = None

    def as_json(self) -> dict[str, object]:
        """The record as plain values."""
        return asdict(self)

    def as_text(self) -> str:
        """Return the record as a few lines of text."""
        wrongly = ", ".join(f"{share:.2%} of {part}" for part, share in self.false_rejection.items())
        limits = {
            "energy": self.ood_energy,
            "share of unfamiliar words": self.ood_unfamiliar,
            "strangeness": self.ood_strangeness,
        }
        named = " or ".join(f"{name} above {limit:.4f}" for name, limit in limits.items() if limit is not None)
        lines = [f"out of distribution: {named}", f"  called strange though it is not: {wrongly}"]
        if self.not_ml_rejection is not None and self.not_ml_review is not None:
            lines.append(
                f"  of {self.not_ml_rows} rows that are not about machine learning: {self.not_ml_rejection:.2%} called strange, "
                f"{self.not_ml_review:.2%} to a person for any reason"
            )
        return "\n".join(lines)


def foreign(splits: Splits) -> list[Row]:
    """Return the rows that are not about machine learning. The other unlabelled rows are titles about machine learning."""
    return [row for row in splits.unlabelled if row.tag == NOT_ML]


def count(
    ordinary: Mapping[str, Sequence[Prediction]],
    foreign: Sequence[Prediction],
    *,
    thresholds: Mapping[str, float],
    limits: OodLimits,
) -> OodGate:
    """
    Count the rows that the gate sends to a person.

    Args:
        ordinary: The predictions of rows about machine learning, by part. Each part has rows.
        foreign: The predictions of rows that are not about machine learning.
        thresholds: The least confidence of a published prediction, by predicted label.
        limits: The limits above which a text is strange.
    """
    strange = [limits.is_strange(one) for one in foreign]
    unsure = [one.confidence < thresholds[one.label] for one in foreign]
    return OodGate(
        ood_energy=limits.energy,
        ood_unfamiliar=limits.unfamiliar,
        ood_strangeness=limits.strangeness,
        false_rejection={part: _share([limits.is_strange(one) for one in rows]) for part, rows in ordinary.items()},
        not_ml_rows=len(foreign),
        not_ml_rejection=_share(strange) if foreign else None,
        not_ml_review=_share([one or other for one, other in zip(strange, unsure, strict=True)]) if foreign else None,
    )


def _share(flags: Sequence[bool]) -> float:
    return round(sum(flags) / len(flags), 6)
