"""Everything that `tagstream model evaluate` measures, as one record: of a bundle, and of what was put beside it on the same rows."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace

from model_export.bundle.prediction import Prediction
from model_export.calibrate import intervals
from model_export.calibrate.intervals import Interval
from model_export.compare.contestants import Asked, Contestant
from model_export.data.splits import LABELS, Row
from model_export.measure import curves, gate, paired, slices, speed, suites
from model_export.measure.curves import Bin, RiskCoverage
from model_export.measure.evaluate import Evaluation, evaluate
from model_export.measure.gate import Gate
from model_export.measure.paired import SIGNIFICANT, Paired
from model_export.measure.slices import SliceReport
from model_export.measure.speed import Speed
from model_export.measure.suites import GroupReport

# The parts of the data that are measured on, as a reader may call them, and what they are.
PARTS = {
    "holdout": ("holdout", "Made With ML's gold rows, never learned from and never used to choose"),
    "corpus_test": ("corpus test", "authored rows on topics that training never saw"),
}
BETTER, WORSE, UNDECIDED = "better", "worse", "not told apart"


@dataclass(frozen=True, slots=True, kw_only=True)
class Versus:
    """The bundle against one other model, with the p-value corrected for how many others were asked of the same rows."""

    test: Paired
    corrected_p: float

    @property
    def verdict(self) -> str:
        """What may be said of the bundle: `better` or `worse` than the other where chance is unlikely, else `not told apart`."""
        if self.corrected_p >= SIGNIFICANT:
            return UNDECIDED
        return BETTER if self.test.only_ours > self.test.only_theirs else WORSE

    def as_json(self) -> dict[str, object]:
        """The record as plain values."""
        return {**self.test.as_json(), "corrected_p": self.corrected_p, "verdict": self.verdict}


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """What would be published without asking a person: of `rows` rows `kept`, and `right` of those; `asked_below` by predicted label."""

    rows: int
    kept: int
    right: int
    interval: Interval
    asked_below: dict[str, float]

    @property
    def share(self) -> float:
        """Of all rows."""
        return self.kept / self.rows

    @property
    def precision(self) -> float | None:
        """The share right of what is published; None where that is nothing."""
        return self.right / self.kept if self.kept else None

    def as_json(self) -> dict[str, object]:
        """The record as plain values."""
        return {**asdict(self), "share": round(self.share, 6), "precision": self.precision and round(self.precision, 6)}


@dataclass(frozen=True, slots=True, kw_only=True)
class PartReport:
    """One model on one part of the data; `versus` is the bundle against it, and None for the bundle itself."""

    evaluation: Evaluation
    published: Published
    reliability: tuple[Bin, ...]
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
    gate: Gate | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """
    The whole record.

    Attributes:
        digest: Of the bundle.
        labels: Of all models, in the order of every confusion matrix.
        target_precision: What the bundle's thresholds are to reach.
        models: The bundle first, then the others as they were given.
    """

    digest: str
    labels: tuple[str, ...]
    target_precision: float
    models: tuple[ModelReport, ...]

    @property
    def bundle(self) -> ModelReport:
        """The model that everything is about."""
        return self.models[0]

    @property
    def others(self) -> tuple[ModelReport, ...]:
        """What it was compared with."""
        return self.models[1:]

    def records(self) -> Iterator[dict[str, object]]:
        """The record as plain values in pieces, each with the name of its kind under `record`."""
        yield {
            "record": "bundle",
            "name": self.bundle.name,
            "digest": self.digest,
            "labels": self.labels,
            "target_precision": self.target_precision,
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
            if model.gate is not None:
                yield {"record": "out_of_distribution", "model": model.name, **model.gate.as_json()}
            yield from ({"record": "behaviour", "model": model.name, **each.as_json()} for each in model.behaviour)
            yield {"record": "speed", "model": model.name, "megabytes": model.megabytes, **model.speed.as_json()}


def measure(  # noqa: PLR0913 - all that is measured on
    contestants: Sequence[Contestant],
    parts: Mapping[str, Sequence[Row]],
    *,
    calibration: Sequence[Row] = (),
    foreign: Sequence[Row] = (),
    digest: str,
    target_precision: float,
    rounds: int = speed.ROUNDS,
    say: Callable[[str], None],
) -> Measured:
    """
    Measure all models on the same rows, the same suites and the same texts.

    Args:
        contestants: The bundle first.
        parts: Rows by the name of their part; a part without rows is left out.
        calibration: The rows that chose a bundle's promises; they measure nothing but the gate's own choice.
        foreign: Rows that are not about machine learning, for the gate.
        digest: Of the bundle.
        target_precision: What its thresholds are to reach.
        rounds: Rounds of the measurement of speed.
        say: Told what is being done: it takes minutes.

    Raises:
        ValueError: No part has rows.
    """
    given = {part: rows for part, rows in parts.items() if rows}
    if not given:
        msg = "no part of the data has rows: nothing can be measured"
        raise ValueError(msg)
    asked: dict[str, dict[str, list[Prediction]]] = {}
    gates: dict[str, Gate | None] = {}
    behaviour: dict[str, tuple[GroupReport, ...]] = {}
    for contestant in contestants:
        say(f"measuring {contestant.name} on {sum(map(len, given.values()))} rows and the behaviour suites")
        asked[contestant.name] = {part: contestant.predict([row.text for row in rows]) for part, rows in given.items()}
        gates[contestant.name] = _gate(contestant, asked[contestant.name], calibration, foreign)
        behaviour[contestant.name] = suites.run(Asked(contestant))
    texts = speed_texts([row for rows in given.values() for row in rows])
    say(f"measuring speed: {len(texts)} texts, {rounds} rounds, one core, all models in turn")
    speeds = speed.measure({contestant.name: contestant.predict for contestant in contestants}, texts, rounds=rounds)
    versus = _versus([contestant.name for contestant in contestants], asked, given)
    return Measured(
        digest=digest,
        labels=LABELS,
        target_precision=target_precision,
        models=tuple(
            ModelReport(
                name=each.name,
                kind=each.kind,
                megabytes=each.megabytes,
                parts={
                    part: replace(_part(rows, asked[each.name][part], each), versus=versus[part].get(each.name))
                    for part, rows in given.items()
                },
                behaviour=behaviour[each.name],
                speed=speeds[each.name],
                gate=gates[each.name],
            )
            for each in contestants
        ),
    )


def speed_texts(rows: Sequence[Row], texts: int = speed.TEXTS) -> list[str]:
    """
    The texts of rows spread evenly over all of them, so that every source and length is among them.

    >>> speed_texts([Row(text=str(n), tag="other", source="", topic="") for n in range(10)], 3)
    ['0', '3', '6']
    """
    wanted = min(texts, len(rows))
    return [rows[place * len(rows) // wanted].text for place in range(wanted)]


def _part(rows: Sequence[Row], predictions: Sequence[Prediction], contestant: Contestant) -> PartReport:
    confidences = [prediction.confidence for prediction in predictions]
    correct = [prediction.label == row.tag for prediction, row in zip(predictions, rows, strict=True)]
    return PartReport(
        evaluation=evaluate(predictions, [row.tag for row in rows], labels=LABELS, thresholds=contestant.asked_below),
        published=_published(predictions, correct, contestant.asked_below),
        reliability=curves.reliability(confidences, correct),
        risk_coverage=curves.risk_coverage(confidences, correct),
        slices=slices.measure(rows, predictions, labels=LABELS),
    )


def _gate(
    contestant: Contestant, asked: Mapping[str, Sequence[Prediction]], calibration: Sequence[Row], foreign: Sequence[Row]
) -> Gate | None:
    if contestant.ood_energy is None:
        return None
    chosen_on = {"calibration": contestant.predict([row.text for row in calibration])} if calibration else {}
    return gate.count(
        {**asked, **chosen_on},
        contestant.predict([row.text for row in foreign]),
        thresholds=contestant.asked_below,
        ood_energy=contestant.ood_energy,
    )


def _published(predictions: Sequence[Prediction], correct: Sequence[bool], asked_below: Mapping[str, float]) -> Published:
    kept = [
        right
        for prediction, right in zip(predictions, correct, strict=True)
        if prediction.confidence >= asked_below[prediction.label]
    ]
    return Published(
        rows=len(predictions),
        kept=len(kept),
        right=sum(kept),
        interval=intervals.wilson(sum(kept), len(kept)),
        asked_below=dict(asked_below),
    )


def _versus(
    names: Sequence[str], asked: Mapping[str, Mapping[str, list[Prediction]]], parts: Mapping[str, Sequence[Row]]
) -> dict[str, dict[str, Versus]]:
    """The bundle, the first of `names`, against each of the others, by part; corrected within the part."""
    found = {}
    for part, rows in parts.items():
        tags = [row.tag for row in rows]
        tests = [paired.compare(asked[names[0]][part], asked[name][part], tags, labels=LABELS) for name in names[1:]]
        corrected = intervals.holm([test.p_value for test in tests])
        found[part] = {
            name: Versus(test=test, corrected_p=p) for name, test, p in zip(names[1:], tests, corrected, strict=True)
        }
    return found


def title(part: str) -> str:
    """What a reader may call a part of the data; a part that is not known keeps its name."""
    return PARTS[part][0] if part in PARTS else part


def shown_p(value: float) -> str:
    """
    A p-value as it is shown: never as zero.

    >>> [shown_p(p) for p in (0.00001, 0.04)]
    ['< 0.0001', '0.0400']
    """
    return "< 0.0001" if value < 0.0001 else f"{value:.4f}"  # noqa: PLR2004 - the last digit that is shown


def render(measured: Measured) -> str:
    """The record as text for a terminal: the bundle in full, the others beside it."""
    blocks = []
    for part, found in measured.bundle.parts.items():
        blocks += [found.evaluation.render(part), slices.render(part, found.slices)]
    blocks += [_models(measured, part) for part in measured.bundle.parts]
    if measured.bundle.gate is not None:
        blocks.append(measured.bundle.gate.render())
    blocks += [_speeds(measured), suites.render(measured.bundle.behaviour)]
    return "\n".join(blocks)


def _models(measured: Measured, part: str) -> str:
    width = max(len(model.name) for model in measured.models)
    lines = [
        f"models on {part}: weighted F1, and the bundle less each other, on the same rows",
        f"  {'model':<{width}} {'F1':>6}  {'95 %':<16} {'difference':>10}  {'95 %':<18} {'alone right':>11} {'p':>8}  bundle is",
    ]
    for model in measured.models:
        evaluation, versus = model.parts[part].evaluation, model.parts[part].versus
        low, high = evaluation.weighted_f1_interval
        line = f"  {model.name:<{width}} {evaluation.weighted_f1:>6.3f}  [{low:.3f}, {high:.3f}]"
        if versus is not None:
            (least, most), test = versus.test.interval, versus.test
            line += f"   {test.difference:>+10.3f}  [{least:+.3f}, {most:+.3f}]   {test.only_ours:>5} :{test.only_theirs:>4}"
            line += f" {shown_p(versus.corrected_p):>8}  {versus.verdict}"
        lines.append(line)
    return "\n".join(lines)


def _speeds(measured: Measured) -> str:
    width = max(len(model.name) for model in measured.models)
    first = measured.bundle.speed
    lines = [
        f"speed: threads={first.threads}, tokenisation included, {first.texts} texts, median of {first.rounds} rounds in turn",
        f"  {'model':<{width}} {'texts/s':>9}  {'slowest to fastest':<21} {'cores':>5} {'MB':>6}",
    ]
    for model in measured.models:
        found = model.speed
        size = f"{model.megabytes:.1f}" if model.megabytes is not None else "-"
        extremes = f"{found.slowest:,.0f} to {found.fastest:,.0f}"
        lines.append(f"  {model.name:<{width}} {found.texts_per_second:>9,.0f}  {extremes:<21} {found.cores:>5.2f} {size:>6}")
    note = speed.shared([model.speed for model in measured.models])
    return "\n".join([*lines, f"  {note}"] if note else lines)
