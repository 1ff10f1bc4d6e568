"""
The words about running workers, in their order: the same in a terminal, in the demo and on a worker's page.

`figures` has the numbers, and `alarms` judges them. This file decides which numbers and alarms are shown, by which name and in which
sentence. The renderers `top.panel` (terminal) and `server/page` (browser) add only shape and colour.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tagstream.monitoring import limits
from tagstream.monitoring.alarms import Alarm, Tier, alarms
from tagstream.monitoring.figures.figures import Figures, LabelFigures, leading
from tagstream.monitoring.vocabulary import Arm, few

URGENCY = {Tier.PAGE: "now", Tier.TICKET: "soon", Tier.INFO: "note"}
DASH = "\N{EN DASH}"
MINUTES_FROM, HOURS_FROM, WHOLE_FROM = 120, 7200, 10
MOST_ALWAYS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Number:
    """A number of this moment. `kind` selects its colour: a destination, `latency`, or empty."""

    name: str
    value: str
    kind: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownAlarm:
    """An alarm. `what` is its sentence, which also names other alerts of the same cause; `urgency` is the tier in words."""

    name: str
    tier: Tier
    urgency: str
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Screen:
    """
    The words of one moment.

    Attributes:
        models: The bundles that decide.
        numbers: Flow, latency and position.
        rollout: The rollout of a model; empty if no worker follows a rollout.
        span: The time that the rates and latencies cover.
        notes: Facts that people must know although they are not alarms: a worker that waits, a reference that is being learned.
        alarms: The alarms.
        steps: The next steps of the alarms, each step once.
        calm: A sentence if there is no alarm; empty otherwise.
        tags: The tags of the list, with one line for the tags that are left out.
        asked: The thresholds below which a person is asked.
        judged: The decisions on which drift is judged.
        changes: Sudden changes in the judged span, one entry for each signal.
        compared: When words, tags and sources were last compared.
        dead_letters: Reasons of dead letters with their counts, the most frequent first.
        totals: Events since the start, by destination.
    """

    models: str
    numbers: tuple[Number, ...]
    rollout: tuple[Number, ...]
    span: str
    notes: tuple[str, ...]
    alarms: tuple[ShownAlarm, ...]
    steps: tuple[str, ...]
    calm: str
    tags: tuple[LabelFigures, ...]
    asked: str
    judged: str
    changes: tuple[str, ...]
    compared: str
    dead_letters: tuple[str, ...]
    totals: tuple[str, ...]


def screen(figures: Figures) -> Screen:
    """Return the words for these figures."""
    found, detectors, totals = alarms(figures), figures.detectors, figures.totals
    changed = [f"{signal.replace('_', ' ')} {times}" for signal, times in detectors.changes.items() if times]
    looked = detectors.compared_seconds_ago
    dead = sorted(figures.dead_letters.items(), key=lambda one: -one[1])
    return Screen(
        models=", ".join(f"{model.name} {model.version} {model.digest[:8]}" for model in figures.models) or "no model yet",
        numbers=tuple(_numbers(figures)),
        rollout=tuple(_rollout(figures)),
        span=f"rates and latency of the last {seconds(figures.flow.seconds)}"
        if figures.flow.seconds
        else "no rates yet: they need two looks, a second apart",
        notes=tuple(_notes(figures)),
        alarms=tuple(_told(one) for one in found),
        steps=tuple(dict.fromkeys(alarm.next for alarm in found)),
        calm="" if found else _calm(figures),
        tags=leading(figures.labels),
        asked=asked_below(figures.confidence.thresholds),
        judged=f"{figures.window.decisions} decisions, "
        + ("since the start" if figures.window.since_start else f"last {seconds(figures.window.seconds)}"),
        changes=tuple(changed or ["none"]),
        compared="none yet" if looked is None else f"{seconds(looked)} ago",
        dead_letters=tuple(f"{reason.replace('_', ' ')} {times}" for reason, times in dead),
        totals=(f"{totals.tagged} tagged", f"{totals.review} review", f"{totals.dlq} dead"),
    )


def _numbers(figures: Figures) -> Iterator[Number]:
    flow, position = figures.flow, figures.position
    yield Number(name="tagged/s", value=rate(flow.tagged), kind="tagged")
    yield Number(name="review/s", value=rate(flow.review), kind="review")
    yield Number(name="dead/s", value=rate(flow.dlq), kind="dlq")
    yield Number(name="p50", value=("> " if flow.p50_more else "") + seconds(flow.p50_seconds), kind="latency")
    yield Number(name="p99", value=("> " if flow.p99_more else "") + seconds(flow.p99_seconds), kind="latency")
    yield Number(name="waiting", value=DASH if position.lag is None else str(position.lag))
    yield Number(name="oldest", value=seconds(position.oldest_seconds))
    yield Number(name="confidence", value=score(figures.confidence.mean, 3))


def _rollout(figures: Figures) -> Iterator[Number]:
    found = figures.rollout
    if found is None:
        return
    yield Number(
        name="epoch", value=DASH.join(map(str, (found.epochs[0], found.epochs[-1]) if len(found.epochs) > 1 else found.epochs))
    )
    for arm in Arm:
        share = found.arms.get(arm)
        if share or arm is Arm.CHAMPION:
            yield Number(name=arm.value, value=percent(share))
    yield Number(name="held", value=f"{found.held_events} for {seconds(found.held_seconds)}" if found.held_events else "0")
    yield Number(name="following", value=f"{found.workers} of {figures.workers}")
    if found.planned is not None:
        states = ", ".join(f"{workers} {state}" for state, workers in found.states.items())
        yield Number(name="plan", value=f"{found.planned}: {states}")


def _notes(figures: Figures) -> Iterator[str]:
    for trouble in figures.troubles:
        if trouble.no_fault:
            yield f"The worker {trouble.worker} is not ready, which is no alarm: {trouble.why.removesuffix('.')}."
    learned = figures.detectors.learned
    if learned < 1:
        yield f"Learning what is ordinary in this stream ({learned:.0%}); until then drift is no alarm."


def _calm(figures: Figures) -> str:
    judged = figures.window.decisions >= limits.LEAST_DECISIONS
    return "No alarm." if judged else f"No alarm; drift is judged from {limits.LEAST_DECISIONS} decisions on."


def _told(alarm: Alarm) -> ShownAlarm:
    what = f"{alarm.what} Also: {', '.join(alarm.also)}." if alarm.also else alarm.what
    return ShownAlarm(name=alarm.name, tier=alarm.tier, urgency=URGENCY[alarm.tier], what=what)


def asked_below(thresholds: Mapping[str, float]) -> str:
    """
    Return, in a few words, the thresholds below which a person is asked.

    >>> asked_below({"mlops": 0.865, "other": 0.95, "nlp": 1.0001})
    'a person below 0.865 to 0.95, always: nlp'
    """
    reachable = [f"{value:g}" for value in sorted({round(value, 4) for value in thresholds.values() if value <= 1})]
    always = few([label for label, value in sorted(thresholds.items()) if value > 1], MOST_ALWAYS)
    below = " to ".join(dict.fromkeys((reachable[0], reachable[-1]))) if reachable else DASH
    return f"a person below {below}{f', always: {always}' if always else ''}"


def seconds(value: float | None) -> str:
    """
    Write a duration in its largest fitting unit.

    >>> seconds(0.0405), seconds(3.21), seconds(90), seconds(600)
    ('40 ms', '3.2 s', '90 s', '10 min')
    """
    if value is None:
        return DASH
    if value < 1:
        return f"{value * 1000:.0f} ms"
    if value < MINUTES_FROM:
        return f"{value:.1f} s" if value < WHOLE_FROM else f"{value:.0f} s"
    return f"{value / 60:.0f} min" if value < HOURS_FROM else f"{value / 3600:.0f} h"


def rate(value: float | None) -> str:
    """Write a number of events a second."""
    return DASH if value is None else f"{value:.1f}"


def percent(value: float | None) -> str:
    """Write a share, 0 to 1, in percent."""
    return DASH if value is None else f"{value:.1%}"


def score(value: float | None, digits: int = 2) -> str:
    """Write a figure between 0 and 1 that is not a share."""
    return DASH if value is None else f"{value:.{digits}f}"
