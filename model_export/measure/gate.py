"""The gate for foreign texts, measured on rows about machine learning and on rows that are not."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from tagstream.model_export.bundle.model import OodLimits, Prediction
from tagstream.model_export.data.corpus import NOT_ML
from tagstream.model_export.data.row import Row
from tagstream.model_export.data.splits import Splits


@dataclass(frozen=True, slots=True, kw_only=True)
class OodGate:
    """
    The gate for foreign texts: the shares of ordinary and of foreign rows that it sends to a person.

    Attributes:
        ood_energy: The energy above which a text is strange; None where the bundle does not say.
        ood_unfamiliar: The share of unfamiliar words above which it is; None likewise.
        ood_strangeness: The strangeness above which it is; None likewise.
        false_rejection: The share of ordinary rows that are called strange, by part. `calibration` chose both limits,
            each for the share that was asked for; the other parts measure them.
        not_ml_rows: Rows of the corpus that are not about machine learning. A student was distilled on them, without
            labels, and a gate may have learned them as strange.
        not_ml_rejection: The share of them that is called strange.
        not_ml_review: The share of them about which a person is asked, for this reason or because of low confidence.
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
        """The record as a few lines of text."""
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
    """The rows that are not about machine learning; the titles that are unlabelled beside them are."""
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
        ordinary: Predictions of rows about machine learning, by part; no part is empty.
        foreign: Predictions of rows that are not.
        thresholds: By predicted label, the confidence from which a prediction is published without asking.
        limits: The figures above which a text is strange.
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
