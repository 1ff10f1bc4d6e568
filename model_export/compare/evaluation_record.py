"""The record of an evaluation of a bundle and of other models on the same rows."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass

from msgspec import to_builtins

from tagstream.model_export.bundle.promise.promise import Trade
from tagstream.model_export.calibrate.intervals import Interval
from tagstream.model_export.compare.comparison import Comparison
from tagstream.model_export.measure.curves import ReliabilityBin, RiskCoverage
from tagstream.model_export.measure.evaluate import RowsEvaluation
from tagstream.model_export.measure.gate import OodGate
from tagstream.model_export.measure.paired import SIGNIFICANT, Paired
from tagstream.model_export.measure.slices import SliceReport
from tagstream.model_export.measure.speed import Speed
from tagstream.model_export.measure.suites import GroupReport

# The measured parts of the data, by their name in the record: the name in a report, and a description.
PARTS = {
    "holdout": ("holdout", "Made With ML's gold rows, never learned from and never used to choose"),
    "gold": ("gold set", "labelled rows of your own"),
    "corpus_test": ("corpus test", "authored rows on topics that training never saw"),
}
BETTER, WORSE, UNDECIDED = "better", "worse", "not told apart"


@dataclass(frozen=True, slots=True, kw_only=True)
class Versus:
    """
    The comparison of the bundle with one other model.

    Attributes:
        test: The paired test on the same rows.
        corrected_p: The p-value of the test, corrected for the number of models compared on these rows.
        comparison: The changes of the rows' decisions if the bundle replaces the other bundle. None if the other model is not a bundle.
    """

    test: Paired
    corrected_p: float
    comparison: Comparison | None = None

    @property
    def verdict(self) -> str:
        """`better` or `worse` if the bundle differs significantly from the other model, else `not told apart`."""
        if self.corrected_p >= SIGNIFICANT:
            return UNDECIDED
        return BETTER if self.test.only_ours > self.test.only_theirs else WORSE

    def as_json(self) -> dict[str, object]:
        """The record as plain values."""
        return {**self.test.as_json(), "corrected_p": self.corrected_p, "verdict": self.verdict}


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedRows:
    """
    The rows that would be published without asking a person.

    Attributes:
        rows: The number of all rows of the part.
        kept: The number of rows at or above the threshold of their predicted label.
        right: The number of rows in `kept` with a right label.
        interval: Wilson's 95 % interval of `right / kept`.
        asked_below: The thresholds, by predicted label.
    """

    rows: int
    kept: int
    right: int
    interval: Interval
    asked_below: dict[str, float]

    @property
    def share(self) -> float:
        """The published share of all rows, 0 to 1."""
        return self.kept / self.rows

    @property
    def precision(self) -> float | None:
        """The share right of the published rows, 0 to 1. None if no row is published."""
        return self.right / self.kept if self.kept else None

    def as_json(self) -> dict[str, object]:
        """The record as plain values."""
        return {**asdict(self), "share": round(self.share, 6), "precision": self.precision and round(self.precision, 6)}


@dataclass(frozen=True, slots=True, kw_only=True)
class PartReport:
    """The results of one model on one part of the data. `versus` compares the bundle with this model; None for the bundle itself."""

    evaluation: RowsEvaluation
    published: PublishedRows
    reliability: tuple[ReliabilityBin, ...]
    risk_coverage: RiskCoverage
    slices: tuple[SliceReport, ...]
    versus: Versus | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelReport:
    """All results of one model. `kind` is as in `contestants.Contestant`; `gate` is None for a model without a gate."""

    name: str
    kind: str
    megabytes: float | None
    parts: dict[str, PartReport]
    behaviour: tuple[GroupReport, ...]
    speed: Speed
    gate: OodGate | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """
    The whole record.

    Attributes:
        digest: The digest of the bundle.
        labels: The labels of all models, in the order of all confusion matrices.
        target_precision: The share right that the bundle's thresholds promise, 0 to 1.
        models: The bundle, then the other models in the given order.
        trade: The shares that the bundle would publish at other target precisions.
    """

    digest: str
    labels: tuple[str, ...]
    target_precision: float
    models: tuple[ModelReport, ...]
    trade: tuple[Trade, ...] = ()

    @property
    def certified_trade(self) -> tuple[Trade, ...]:
        """The target precisions that the calibration rows can certify, in ascending order, with their published shares."""
        return tuple(each for each in self.trade if each.confidence is not None)

    @property
    def bundle(self) -> ModelReport:
        """The results of the evaluated bundle."""
        return self.models[0]

    @property
    def others(self) -> tuple[ModelReport, ...]:
        """The results of the other models."""
        return self.models[1:]

    def records(self) -> Iterator[dict[str, object]]:
        """Yield the record in pieces of plain values. The key `record` of a piece names its kind."""
        yield {
            "record": "bundle",
            "name": self.bundle.name,
            "digest": self.digest,
            "labels": self.labels,
            "target_precision": self.target_precision,
            "trade": [to_builtins(each) for each in self.trade],
        }
        for model in self.models:
            for part, found in model.parts.items():
                where = {"model": model.name, "part": part}
                yield {"record": "evaluation", **where, **found.evaluation.as_json()}
                yield {"record": "published", **where, **found.published.as_json()}
                yield {"record": "reliability", **where, "bins": [asdict(each) for each in found.reliability]}
                yield {"record": "risk_coverage", **where, **asdict(found.risk_coverage)}
                yield from ({"record": "slice", **where, **each.as_json()} for each in found.slices)
                if found.versus is not None:
                    yield {"record": "paired", "against": self.bundle.name, **where, **found.versus.as_json()}
                    if (compared := found.versus.comparison) is not None:
                        yield {"record": "comparison", "against": self.bundle.name, **where, **compared.as_json()}
            if model.gate is not None:
                yield {"record": "out_of_distribution", "model": model.name, **model.gate.as_json()}
            yield from ({"record": "behaviour", "model": model.name, **each.as_json()} for each in model.behaviour)
            yield {"record": "speed", "model": model.name, "megabytes": model.megabytes, **model.speed.as_json()}


def title(part: str) -> str:
    """Return the name of a part of the data in a report. An unknown part keeps its name."""
    return PARTS[part][0] if part in PARTS else part
