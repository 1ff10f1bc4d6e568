"""Measure a bundle and other models on the same rows, the same behaviour suites, and the same texts for speed."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from tagstream.model_export.bundle.model import NO_LIMITS, Prediction
from tagstream.model_export.bundle.promise.promise import Trade
from tagstream.model_export.calibrate import intervals
from tagstream.model_export.compare.comparison import Comparison, RowDecision, figures_of
from tagstream.model_export.compare.contestants import BUNDLE, Contestant
from tagstream.model_export.compare.evaluation_record import Measured, ModelReport, PartReport, PublishedRows, Versus
from tagstream.model_export.data.madewithml import LABELS
from tagstream.model_export.data.row import Row
from tagstream.model_export.measure import curves, gate, paired, slices, speed, suites
from tagstream.model_export.measure.evaluate import evaluate
from tagstream.model_export.measure.gate import OodGate
from tagstream.model_export.measure.slices import Slice
from tagstream.model_export.measure.suites import GroupReport


def measure(  # noqa: PLR0913 - the models, the rows and the clock
    contestants: Sequence[Contestant],
    parts: Mapping[str, Sequence[Row]],
    *,
    calibration: Sequence[Row] = (),
    foreign: Sequence[Row] = (),
    digest: str,
    target_precision: float,
    trade: Sequence[Trade] = (),
    suite: Path | None = None,
    rounds: int = speed.ROUNDS,
    kinds: Sequence[Slice] = slices.SLICES,
    say: Callable[[str], None],
) -> Measured:
    """
    Measure all models on the same rows, the same behaviour suites, and the same texts for speed.

    Args:
        contestants: The bundle, then the other models. The bundle's labels, in their order, are the labels of all confusion matrices.
        parts: The rows by the name of their part. A part without rows is left out.
        calibration: The rows that set the bundle's thresholds and the gate's limits. Only the gate is measured on these rows.
        foreign: Rows that are not about machine learning, for the gate.
        digest: The digest of the bundle.
        target_precision: The share right that the bundle's thresholds promise, 0 to 1.
        trade: The shares that the bundle would publish at other target precisions.
        suite: A user's file of behaviour cases; None: the project's suites, which only models with the shipped labels run.
        rounds: The rounds of the measurement of speed.
        kinds: The slices of every part.
        say: Called with a sentence before each step, because the measurement takes minutes.

    Raises:
        ValueError: No part has rows.
    """
    labels, given = contestants[0].labels, {part: rows for part, rows in parts.items() if rows}
    if not given:
        msg = "no part of the data has rows: nothing can be measured"
        raise ValueError(msg)
    asked: dict[str, dict[str, list[Prediction]]] = {}
    gates: dict[str, OodGate | None] = {}
    behaviour: dict[str, tuple[GroupReport, ...]] = {}
    for contestant in contestants:
        asked[contestant.name] = {}
        for part, rows in given.items():
            say(f"measuring {contestant.name}: {len(rows)} rows of {part}")
            asked[contestant.name][part] = contestant.predict([row.text for row in rows])
        if contestant.limits != NO_LIMITS:
            say(f"measuring {contestant.name}: limits of unusual texts, {len(calibration) + len(foreign)} rows")
        gates[contestant.name] = _gate(contestant, asked[contestant.name], calibration, foreign)
        say(f"measuring {contestant.name}: behaviour suites")
        behaviour[contestant.name] = _behaviour(contestant, suite)
    texts = speed_texts([row for rows in given.values() for row in rows])
    say(f"measuring speed: {len(texts)} texts, {rounds} rounds, one core, all models in turn")
    speeds = speed.measure({contestant.name: contestant.predict for contestant in contestants}, texts, rounds=rounds, say=say)
    say("computing the figures and their intervals")
    versus = _versus(contestants, asked, given, kinds)
    return Measured(
        digest=digest,
        labels=labels,
        target_precision=target_precision,
        trade=tuple(trade),
        models=tuple(
            ModelReport(
                name=each.name,
                kind=each.kind,
                megabytes=each.megabytes,
                parts={
                    part: replace(_part(rows, asked[each.name][part], each, labels, kinds), versus=versus[part].get(each.name))
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
    Return the texts of evenly spaced rows, so that every source and length occurs.

    >>> speed_texts([Row(text=str(n), tag="other", source="", topic="") for n in range(10)], 3)
    ['0', '3', '6']
    """
    count = min(texts, len(rows))
    return [rows[place * len(rows) // count].text for place in range(count)]


def _part(
    rows: Sequence[Row],
    predictions: Sequence[Prediction],
    contestant: Contestant,
    labels: Sequence[str],
    kinds: Sequence[Slice],
) -> PartReport:
    confidences = [prediction.confidence for prediction in predictions]
    correct = [prediction.label == row.tag for prediction, row in zip(predictions, rows, strict=True)]
    return PartReport(
        evaluation=evaluate(predictions, [row.tag for row in rows], labels=labels, thresholds=contestant.asked_below),
        published=_published(predictions, correct, contestant.asked_below),
        reliability=curves.reliability(confidences, correct),
        risk_coverage=curves.risk_coverage(confidences, correct),
        slices=slices.measure(rows, predictions, labels=labels, slices=kinds),
    )


def _behaviour(contestant: Contestant, suite: Path | None) -> tuple[GroupReport, ...]:
    if suite is not None:
        return suites.run_own(contestant, suite)
    return suites.run(contestant) if set(contestant.labels) == set(LABELS) else ()


def _gate(
    contestant: Contestant, asked: Mapping[str, Sequence[Prediction]], calibration: Sequence[Row], foreign: Sequence[Row]
) -> OodGate | None:
    if contestant.limits == NO_LIMITS:
        return None
    chosen_on = {"calibration": contestant.predict([row.text for row in calibration])} if calibration else {}
    return gate.count(
        {**asked, **chosen_on},
        contestant.predict([row.text for row in foreign]),
        thresholds=contestant.asked_below,
        limits=contestant.limits,
    )


def _published(predictions: Sequence[Prediction], correct: Sequence[bool], asked_below: Mapping[str, float]) -> PublishedRows:
    kept = [
        right
        for prediction, right in zip(predictions, correct, strict=True)
        if prediction.confidence >= asked_below[prediction.label]
    ]
    return PublishedRows(
        rows=len(predictions),
        kept=len(kept),
        right=sum(kept),
        interval=intervals.wilson(sum(kept), len(kept)),
        asked_below=dict(asked_below),
    )


def _versus(
    contestants: Sequence[Contestant],
    asked: Mapping[str, Mapping[str, list[Prediction]]],
    parts: Mapping[str, Sequence[Row]],
    kinds: Sequence[Slice],
) -> dict[str, dict[str, Versus]]:
    """Compare the bundle (the first contestant) with each other contestant, by part. The p-values are corrected within each part."""
    ours, others = contestants[0], contestants[1:]
    found = {}
    for part, rows in parts.items():
        tags = [row.tag for row in rows]
        tests = [paired.compare(asked[ours.name][part], asked[one.name][part], tags, labels=ours.labels) for one in others]
        corrected = intervals.holm([test.p_value for test in tests])
        sides = {
            one.name: [_decided(each, one) for each in asked[one.name][part]]
            for one in contestants
            if one is ours or one.kind == BUNDLE
        }
        found[part] = {
            one.name: Versus(
                test=test,
                corrected_p=p,
                comparison=_compared(rows, sides[one.name], sides[ours.name], kinds) if one.name in sides else None,
            )
            for one, test, p in zip(others, tests, corrected, strict=True)
        }
    return found


def _compared(
    rows: Sequence[Row], old: Sequence[RowDecision], new: Sequence[RowDecision], kinds: Sequence[Slice]
) -> Comparison:
    found = Comparison(events=len(rows), drawn=len(rows))
    for row, before, after in zip(rows, old, new, strict=True):
        found.add(before, after, [(kind.group, kind.name) for kind in kinds if kind.holds(row)], answer=row.tag)
    return found


def _decided(said: Prediction, contestant: Contestant) -> RowDecision:
    """Return the decision of a bundle about a row. Only the thresholds set the door, as in `PublishedRows`."""
    threshold = contestant.asked_below[said.label]
    return RowDecision(
        tag=said.label,
        confidence=said.confidence,
        destination="tagged" if said.confidence >= threshold else "review",
        figures=figures_of(
            said.label, said.tags, said.confidence, sorted(said.probabilities.items()), threshold, said.truncated
        ),
    )
