"""The record of an evaluation: a bundle, and the other models that were measured on the same rows."""

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

# The parts of the data that are measured on, by their name in the record: the name in a report, and a description.
PARTS = {
    "holdout": ("holdout", "Made With ML's gold rows, never learned from and never used to choose"),
    "gold": ("gold set", "labelled rows of your own"),
    "corpus_test": ("corpus test", "authored rows on topics that training never saw"),
}
BETTER, WORSE, UNDECIDED = "better", "worse", "not told apart"


@dataclass(frozen=True, slots=True, kw_only=True)
class Versus:
    """
    The bundle against one other model.

    Attributes:
        test: The paired test on the same rows.
        corrected_p: Its p-value, corrected for the number of models compared on these rows.
        comparison: What becomes of the rows where the bundle takes the place of another bundle; None beside a model that is none.
    """

    test: Paired
    corrected_p: float
    comparison: Comparison | None = None

    @property
    def verdict(self) -> str:
        """`better` or `worse` than the other model where chance is unlikely, else `not told apart`."""
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
        rows: All rows of the part.
        kept: Those at or above the threshold of their predicted label.
        right: Those of `kept` whose label is right.
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
        """The share right of the published rows, 0 to 1; None if none is published."""
        return self.right / self.kept if self.kept else None

    def as_json(self) -> dict[str, object]:
        """The record as plain values."""
        return {**asdict(self), "share": round(self.share, 6), "precision": self.precision and round(self.precision, 6)}


@dataclass(frozen=True, slots=True, kw_only=True)
class PartReport:
    """One model on one part of the data; `versus` is the bundle against it, and None for the bundle itself."""

    evaluation: RowsEvaluation
    published: PublishedRows
    reliability: tuple[ReliabilityBin, ...]
    risk_coverage: RiskCoverage
    slices: tuple[SliceReport, ...]
    versus: Versus | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelReport:
    """One model on everything; `kind` as in `contestants.Contestant`, `gate` of a bundle that has one."""

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
        digest: Of the bundle.
        labels: Of all models, in the order of every confusion matrix.
        target_precision: The share right that the bundle's thresholds promise.
        models: The bundle first, then the others as they were given.
        trade: The shares that other promises of the bundle would publish.
    """

    digest: str
    labels: tuple[str, ...]
    target_precision: float
    models: tuple[ModelReport, ...]
    trade: tuple[Trade, ...] = ()

    @property
    def certified_trade(self) -> tuple[Trade, ...]:
        """The promises that the calibration rows can certify, from the least to the most precise."""
        return tuple(each for each in self.trade if each.confidence is not None)

    @property
    def bundle(self) -> ModelReport:
        """The bundle that the evaluation is about."""
        return self.models[0]

    @property
    def others(self) -> tuple[ModelReport, ...]:
        """The models that it was compared with."""
        return self.models[1:]

    def records(self) -> Iterator[dict[str, object]]:
        """The record as plain values in pieces, each with the name of its kind under `record`."""
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
    """The name of a part of the data in a report; an unknown part keeps its own."""
    return PARTS[part][0] if part in PARTS else part
