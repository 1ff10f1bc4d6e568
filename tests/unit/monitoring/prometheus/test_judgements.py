"""
Prometheus and the page judge the same series, and agree.

The series are those of real workers: two looks at their metrics, a minute apart, go on as they went. Each case makes one figure worse in
steps. The page says at which step it begins to tell; promtool judges the last step before it, that step, and both ends.
"""

import functools
import math
import random
import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest
import yaml

from tagstream.monitoring.alarms import ALERTS, Unseen, alarms
from tagstream.monitoring.figures.compute import figures, trouble_of
from tagstream.monitoring.figures.history import History
from tagstream.monitoring.figures.scrape import Labels, Scrape, of_families
from tagstream.monitoring.health import Progress
from tagstream.monitoring.observer import Observation
from tagstream.monitoring.vocabulary import Destination, Reason, ReviewReason
from tests.fakes import Clock
from tests.observations import Stream, decision, reference
from tests.replacing import replace
from tests.waiting import HANG_SECONDS

FOLDER = Path(__file__).parents[4] / "monitoring" / "prometheus"
FILES = ("recording.yml", "alerts.yml")
RULES = {name: yaml.safe_load((FOLDER / name).read_text(encoding="utf-8"))["groups"] for name in FILES}
# Longer than the longest wait.
MINUTES = 45
# What the page needs for its spans, at so many events a minute.
SEEN_MINUTES = 4
# Events of a minute. A prime number: no limit is a whole number of them.
EVENTS = 997
# Timestamps of records are ages for a worker, on a clock of their own.
WRITTEN_MS = 1_764_000_000_000
STALL_SECONDS = 20.0
STARTED = 1.0


def _events(*, drifted: bool) -> list[Observation]:
    random_ = random.Random(3)  # noqa: S311
    made = [decision(random_, drifted=drifted) for _ in range(EVENTS)]
    return [
        Observation(destination=Destination.TAGGED, created_ms=WRITTEN_MS, label=label, confidence=confidence, signals=signals)
        for label, confidence, signals in made
    ]


ORDINARY, DRIFTED = _events(drifted=False), _events(drifted=True)


class Recorded:
    """Two workers of one job, with a minute of ordinary events before each look."""

    def __init__(self) -> None:
        """Workers that have just started."""
        self.streams = (Stream(start=STARTED), Stream(start=STARTED, seed=8))
        self.clock = Clock()
        self.progress = Progress(stall_seconds=STALL_SECONDS, monotonic=self.clock)
        self.progress.assigned(6)

    @property
    def first(self) -> Stream:
        """The worker whose figures become worse."""
        return self.streams[0]

    @property
    def now(self) -> float:
        """The workers' clock, Unix seconds."""
        return self.first.now

    def publish(self, events: list[Observation]) -> None:
        """The first worker's events of a minute."""
        self.first.metrics.published(events, WRITTEN_MS)

    def look(self) -> tuple[Scrape, ...]:
        """The metrics of both."""
        return tuple(of_families(stream.registry.collect(), at=stream.now) for stream in self.streams)


# Drives the workers through a minute at so many steps from what is ordinary.
Drive = Callable[[Recorded, int], None]


@dataclass(frozen=True)
class Case:
    """
    How the figure of an alert becomes worse.

    Attributes:
        drive: A minute of it.
        steps: The worst step.
        ends: Only the ends are compared: readiness judges by a setting of the worker.
        before: So many ordinary minutes come first.
        minutes: For so long it is worse.
    """

    drive: Drive
    steps: int
    ends: bool = False
    before: int = 0
    minutes: int = MINUTES


def changed(which: Callable[[Observation], Observation]) -> Drive:
    """So many of the minute's events are changed in this way."""
    return lambda recorded, step: recorded.publish([*map(which, ORDINARY[:step]), *ORDINARY[step:]])


def ordinary(do: Drive) -> Drive:
    """Something beside ordinary events."""

    def drive(recorded: Recorded, step: int) -> None:
        recorded.publish(ORDINARY)
        do(recorded, step)

    return drive


def _drift(recorded: Recorded, step: int) -> None:
    recorded.publish([*DRIFTED[:step], *ORDINARY[step:]])


def _reviewed(recorded: Recorded, step: int) -> None:
    for stream in recorded.streams:
        stream.metrics.drift_reference({**reference(), "review_ratio": 0.3})
    asked = [
        msgspec.structs.replace(one, destination=Destination.REVIEW, review_reasons=(ReviewReason.LOW_CONFIDENCE,))
        for one in ORDINARY[:step]
    ]
    recorded.publish([*asked, *ORDINARY[step:]])


def _models(recorded: Recorded, step: int) -> None:
    recorded.publish(ORDINARY)
    for stream, digest in zip(recorded.streams, ("a", "b" if step else "a"), strict=True):
        stream.metrics.model_loaded(name="tagstream-default", version="1", digest=digest, now=STARTED, reference=reference())


def _epochs(recorded: Recorded, step: int) -> None:
    """The other worker is an epoch behind, or follows none."""
    recorded.first.metrics.rollout.decides_by(4)
    if step < 2:
        recorded.streams[1].metrics.rollout.decides_by(4 - step)


def _held(recorded: Recorded, step: int) -> None:
    recorded.first.metrics.rollout.decides_by(4)
    # The gauge of what is held is a function of the clock.
    recorded.first.metrics.rollout._rollout.held_seconds.set_function(lambda: float(step))


def _changes(recorded: Recorded, step: int) -> None:
    for _ in range(step):
        recorded.first.metrics.drift_change("confidence", recorded.now)


def _refusals(recorded: Recorded, step: int) -> None:
    recorded.first.metrics.rollout.decides_by(4)
    for _ in range(step):
        recorded.first.metrics.rollout.refused()


def _content(recorded: Recorded, step: int) -> None:
    recorded.first.metrics.drift_plan(1000, {"words": 6.0})
    recorded.first.metrics.drift_evaluated(1000, {"words": step / 10}, recorded.now)


def _compared(recorded: Recorded, step: int) -> None:
    for stream in recorded.streams:
        stream.metrics.drift_evaluated(1000, {}, recorded.now - step * 60)


def _unlike(recorded: Recorded, step: int) -> None:
    recorded.first.metrics._drift.from_bundle.labels("energy").set(step / 100)


def _stalled(recorded: Recorded, step: int) -> None:
    """Events wait, and none moves."""
    if not step:
        recorded.publish(ORDINARY)
        recorded.progress.moved()
    for stream in recorded.streams:
        stream.metrics.position(partitions=6, lag=7 * step, inflight=0, last_commit=None)
    recorded.progress.ticked(lag=7 * step)


def _silent(recorded: Recorded, step: int) -> None:
    """The brokers have answered once."""
    recorded.publish(ORDINARY)
    recorded.progress.ticked(lag=None if step and recorded.now > 60 else 0)
    for stream in recorded.streams:
        stream.metrics.position(
            partitions=6, lag=None if step else 0, inflight=0, last_commit=None, known_at=1.0 if step else recorded.now
        )


DRIFT, REVIEW = Case(_drift, EVENTS), Case(_reviewed, EVENTS)
CASES = {
    "Stalled": Case(_stalled, 1, ends=True),
    "BrokersUnreachable": Case(_silent, 1, ends=True),
    "OpenTransaction": Case(
        ordinary(lambda now, step: now.first.metrics.open_transactions({"3": (5, now.now - step)} if step else {})), 60
    ),
    # An hour: over six hours fewer late outcomes are an alert, which the page cannot see.
    "FreshnessBurn": Case(
        changed(lambda one: msgspec.structs.replace(one, created_ms=WRITTEN_MS - 100_000)), EVENTS, before=360, minutes=75
    ),
    "DeadLetterRatio": Case(
        changed(lambda one: Observation(destination=Destination.DLQ, created_ms=one.created_ms, rejection=Reason.INVALID_JSON)),
        EVENTS,
    ),
    "CircuitBreakerOpen": Case(ordinary(lambda now, step: now.first.metrics.circuit_breaker(is_open=bool(step))), 1),
    "RolloutHangs": Case(ordinary(_held), 60),
    "ReviewShareOverBudget": REVIEW,
    "ModelVersionSkew": Case(_models, 1),
    "RolloutVersionsDiffer": Case(ordinary(_epochs), 2),
    "RolloutRefused": Case(ordinary(_refusals), 2),
    "PredictionDrift": DRIFT,
    "ConfidenceDrift": DRIFT,
    "EnergyDrift": DRIFT,
    "TokensPerWordDrift": DRIFT,
    "OutOfDistributionShare": DRIFT,
    "WithoutDescriptionShare": DRIFT,
    "UnseenSourceShare": DRIFT,
    "SuddenChange": Case(ordinary(_changes), 2),
    "ContentDrift": Case(ordinary(_content), 200),
    "DriftEvaluationStale": Case(ordinary(_compared), 600),
    "ReviewShareRise": REVIEW,
    "StreamUnlikeBundle": Case(ordinary(_unlike), 100),
}


@functools.cache
def looks(case: Case, step: int) -> tuple[Recorded, tuple[Scrape, ...], tuple[Scrape, ...]]:
    """The workers, and two looks at them, a minute apart."""
    recorded, found = Recorded(), []
    for minute in (1, 2):
        recorded.clock.now += 60
        for stream in recorded.streams:
            stream.now = minute * 60.0
        if not case.ends:
            recorded.progress.ticked(lag=0)
        case.drive(recorded, step)
        found.append(recorded.look())
    return recorded, found[0], found[1]


def later(before: Scrape, after: Scrape, minutes: int) -> Scrape:
    """The metrics so many minutes after the first look, if all goes on as it went between the two."""
    counters = {
        name: {key: value + minutes * (after.counters[name][key] - value) for key, value in series.items()}
        for name, series in before.counters.items()
    }
    gauges = {
        name: {key: (value + minutes * (after.gauges[name][key][0] - value),) for key, (value,) in series.items()}
        for name, series in before.gauges.items()
    }
    at = before.at + minutes * (after.at - before.at)
    return replace(before, at=at, seconds=at - STARTED, counters=counters, gauges=gauges)


@functools.cache
def told(case: Case, step: int) -> frozenset[str]:
    """The alarms that the page tells at the end."""
    recorded, first, second = looks(case, step)
    history, verdict = History(), recorded.progress.verdict()
    for minutes in range(MINUTES - SEEN_MINUTES, MINUTES + 1):
        now = {str(number): later(*pair, minutes) for number, pair in enumerate(zip(first, second, strict=True))}
        look = history.see(now)
    troubles = [trouble_of(name, one, ready=verdict.ready, why=verdict.why) for name, one in now.items()]
    found = alarms(figures(look, [one for one in troubles if one is not None]))
    return frozenset(name for alarm in found for name in (alarm.name, *alarm.also))


def first_told(alert: str, case: Case) -> int:
    """The least step at which the page tells of the alert."""
    silent, telling = 0, case.steps
    assert alert not in told(case, silent)
    assert alert in told(case, telling)
    while telling - silent > 1:
        middle = (silent + telling) // 2
        silent, telling = (silent, middle) if alert in told(case, middle) else (middle, telling)
    return telling


def series(case: Case, step: int, names: set[str]) -> list[dict[str, str]]:
    """The workers' series of these names, as promtool reads them: none in the first minute, the ordinary minutes, then the others."""
    found = []
    for instance, (calm, worse) in enumerate(zip(minute(case, 0), minute(case, step), strict=True)):
        for name, labels in sorted(key for key in worse if key[0] in names):
            begin, change = worse[name, labels]
            # Prometheus reads a lag that is not known as NaN, which its rules leave out.
            if math.isnan(begin):
                continue
            values = ""
            if case.before:
                first, usual = calm[name, labels]
                values, begin = f"{first!r}{usual:+}x{case.before - 1} ", first + case.before * usual
            selector = "".join(f', {label}="{worth}"' for label, worth in labels)
            found.append(
                {
                    "series": f'{name}{{job="tagstream", instance="{instance}"{selector}}}',
                    "values": f"_ {values}{begin!r}{change:+}x{case.minutes}",
                }
            )
    return found


def minute(case: Case, step: int) -> list[dict[tuple[str, Labels], tuple[float, float]]]:
    """Of each worker, every series at the first look, and by how much it changes in a minute."""

    def flat(one: Scrape) -> dict[tuple[str, Labels], float]:
        gauges = {(name, key): value for name, by in one.gauges.items() for key, (value,) in by.items()}
        return gauges | {(name, key): value for name, by in one.counters.items() for key, value in by.items()}

    _, before, after = looks(case, step)
    pairs = [(flat(one), flat(then)) for one, then in zip(before, after, strict=True)]
    return [{key: (value, then[key] - value) for key, value in one.items()} for one, then in pairs]


def read_by(alert: str) -> set[str]:
    """The workers' series that the rule of an alert reads, also through recorded ones."""
    rules = [rule for name in FILES for group in RULES[name] for rule in group["rules"]]
    expressions = {rule.get("record") or rule["alert"]: rule["expr"] for rule in rules}
    found, open_ = set(), [alert]
    while open_:
        names = set(re.findall(r"[a-z_:0-9]*tagstream_[a-z_:0-9]+", expressions[open_.pop()]))
        open_ += names & expressions.keys()
        found |= names - expressions.keys()
    return found


def test_every_alert_that_both_judge_is_compared() -> None:
    """An alert is compared, or its record says why the page does not judge it, or judges something else."""
    both = {alert.name for alert in ALERTS if not isinstance(alert.told, Unseen) and not alert.apart}
    assert CASES.keys() == both
    reasons = [alert.told.because for alert in ALERTS if isinstance(alert.told, Unseen)]
    assert all([*reasons, *(alert.apart for alert in ALERTS if alert.name not in both and not isinstance(alert.told, Unseen))])


@pytest.mark.slow
@pytest.mark.needs("promtool")
@pytest.mark.parametrize("alert", CASES)
def test_prometheus_and_the_page_judge_alike(alert: str, tmp_path: Path) -> None:
    """Both are silent one step before the limit, and tell at the next; and so at both ends."""
    case = CASES[alert]
    least = first_told(alert, case)
    steps = {0, case.steps} if case.ends else {0, least - 1, least, case.steps}
    firing = f'count(ALERTS{{alertname="{alert}", alertstate="firing"}}) > bool 0 or vector(0)'
    cases = [
        {
            "name": f"{alert} at step {step} of {case.steps}, where the page {'tells' if step >= least else 'is silent'}",
            "interval": "1m",
            "input_series": series(case, step, read_by(alert)),
            "promql_expr_test": [
                {
                    "expr": firing,
                    "eval_time": f"{case.before + case.minutes + 1}m",
                    "exp_samples": [{"labels": "{}", "value": int(step >= least)}],
                }
            ],
        }
        for step in sorted(steps)
    ]
    file = tmp_path / "cases.yml"
    order = [group["name"] for name in FILES for group in RULES[name]]
    rules = {"rule_files": [str(FOLDER / name) for name in FILES], "evaluation_interval": "1m", "group_eval_order": order}
    file.write_text(yaml.safe_dump({**rules, "tests": cases}), encoding="utf-8")
    done = subprocess.run(
        ["promtool", "test", "rules", str(file)], capture_output=True, text=True, timeout=HANG_SECONDS, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
