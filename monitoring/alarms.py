"""The alarms, one record each. These records make the alerts of Prometheus, the list on the page and in `top`, the lines and links of
the boards, the head of each runbook and the index of the runbooks.

An alert of Prometheus looks at an hour and waits before it fires. The page and `top` judge the present, over the span that their figures
name. Both use the same figures and limits (`figures.limited`), and both judge a constant figure in the same way:
`tests/unit/monitoring/prometheus/test_judgements.py`. `python -m docs.generate` writes the files. `make check` fails if a file is not
current, or if an alarm has no case in `monitoring/prometheus/tests`.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import NamedTuple, TypeAlias

from tagstream.monitoring import limits
from tagstream.monitoring.figures.figures import Figures, Measure, Trouble
from tagstream.monitoring.figures.limited import (
    CHANGES,
    DEAD_LETTERS,
    DISTANCES,
    HELD,
    LABEL_MIX,
    LATE,
    MODELS,
    OPEN_BREAKERS,
    OPEN_TRANSACTION,
    REFUSALS,
    REVIEW_BUDGET,
    REVIEW_RISE,
    STRANGE,
    UNDESCRIBED,
    UNLIKE_BUNDLE,
    UNSEEN_SOURCES,
    Limited,
)
from tagstream.monitoring.signals import CONFIDENCE, ENERGY, SIGNALS, TOKENS_PER_WORD
from tagstream.monitoring.vocabulary import DriftScore, score_in_words


class Tier(StrEnum):
    """Urgency, the most urgent first. Page: users are affected now. Ticket: look at it in working hours. Info: good to know."""

    PAGE = "page"
    TICKET = "ticket"
    INFO = "info"


class BoardName(StrEnum):
    """The boards, by the name of their file."""

    OVERVIEW = "overview"
    QUALITY = "quality"
    REVIEW = "review"
    PEOPLE = "people"

    @property
    def uid(self) -> str:
        """Grafana's id of the board. Links from alerts and other boards contain it, so it must not change."""
        return f"tagstream-{self.value}"


class Line(NamedTuple):
    """A threshold drawn across a panel, in the panel's unit. Values above it are bad; with `below`, values under it are bad."""

    value: float
    colour: str = "red"
    below: bool = False


class Told(NamedTuple):
    """
    The present details of an alarm, for the page and `top`.

    Attributes:
        figures: The current figures, shown after the headline; empty for the headline alone.
        next: A next step that replaces the record's next step; empty for the record's next step.
        labels: The values of the labels in the headline.
        headline: A headline that replaces the record's headline, for example to name one worker; empty for the record's headline.
    """

    figures: str = ""
    next: str = ""
    labels: Mapping[str, str] = {}
    headline: str = ""


Judge: TypeAlias = Callable[[Figures], Iterable[Told]]


class Unseen(NamedTuple):
    """The reason why the page and `top` do not judge an alarm of Prometheus."""

    because: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """
    The record of one alarm.

    Attributes:
        name: The name of the alarm and of its runbook.
        tier: The urgency.
        because: The reason for the limits and for the form of the expression; a comment above the alert in alerts.yml.
        expr: A PromQL expression. Each series of its result is an alert.
        wait: How long `expr` must hold before the alert fires, as a duration of Prometheus; empty to fire at once.
        labels: Labels beside the tier, for an `expr` without labels.
        summary: A headline under 80 characters; a template of Prometheus.
        says: The fact that the alert reports; a template of Prometheus.
        next: The next step, with commands in backticks.
        board: The board that has the panel of the alarm.
        panel: The title of the panel.
        lines: The limits of the alarm, drawn across the panel.
        symptom: A rank for an alarm about a change of the stream; 0 for every other alarm. One change of the stream moves many figures.
            Of several such alarms, the alarm with the least rank is shown, because it is nearest to the cause, and it names the other
            alarms. The ranks have gaps for future alarms.
        of_model: True if a change of the model can cause the alarm. Its runbook then asks for a change of the model first.
        told: Judges the figures of the page and `top`, once for each worker or figure over the limit; or the reason why they do not.
        apart: Why the page and `top` judge another figure than Prometheus; empty if they judge a constant figure in the same way.
    """

    name: str
    tier: Tier
    because: str = ""
    expr: str
    wait: str = ""
    labels: Mapping[str, str] | None = None
    summary: str
    says: str
    next: str
    board: BoardName
    panel: str
    lines: tuple[Line, ...] = ()
    symptom: int = 0
    of_model: bool = False
    told: Judge | Unseen
    apart: str = ""

    @property
    def description(self) -> str:
        """The fact and the next step; a template of Prometheus."""
        return f"{self.says} Next: {self.next}"

    @property
    def runbook(self) -> str:
        """Path of the runbook from the project's root."""
        return f"docs/runbooks/{self.name}.md"

    def alarms(self, figures: Figures) -> Iterator["Alarm"]:
        """Yield this alarm for the page and `top` if these figures raise it: the headline with the figures, and the next step."""
        for told in () if isinstance(self.told, Unseen) else self.told(figures):
            headline = told.headline or _filled(self.summary, told.labels)
            what = f"{headline}: {told.figures}." if told.figures else f"{headline}."
            yield Alarm(name=self.name, tier=self.tier, what=what, next=told.next or self.next.replace("`", ""))


def _filled(template: str, labels: Mapping[str, str]) -> str:
    """
    Fill these labels into a template of Prometheus.

    >>> _filled("The {{ $labels.signal }} of the events have changed", {"signal": "words"})
    'The words of the events have changed'
    """
    return re.sub(r"{{ \$labels\.(\w+) }}", lambda label: labels[label[1]], template)


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Alerts that Prometheus evaluates in order, every `interval`."""

    name: str
    interval: str = "1m"
    about: str = ""
    alerts: tuple[Alert, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """
    An alarm that the current figures raise.

    Attributes:
        name: The name of the alert.
        tier: The urgency.
        what: A sentence with the figures.
        next: The next step.
        also: The names of other alerts with the same cause.
    """

    name: str
    tier: Tier
    what: str
    next: str
    also: tuple[str, ...] = ()


# A jump of a worker's figure within this time counts as the cause of the present alarms.
ONE_CAUSE_SECONDS = 3600.0


def alarms(figures: Figures) -> list[Alarm]:
    """Return all alarms that these figures raise, pages before tickets."""
    found: list[Alarm] = []
    moved: list[tuple[int, Alarm]] = []
    for alert in ALERTS:
        for alarm in alert.alarms(figures):
            if alert.symptom:
                moved.append((alert.symptom, alarm))
            else:
                found.append(alarm)
    found += _one_cause(figures, [alarm for _, alarm in sorted(moved, key=lambda one: one[0])])
    return sorted(found, key=lambda alarm: list(Tier).index(alarm.tier))


def _one_cause(figures: Figures, found: list[Alarm]) -> list[Alarm]:
    """Merge the alarms about a change of the stream into the one nearest to the cause, with the time of the change and the other names."""
    if not found:
        return []
    first, *others = found
    since = figures.detectors.last_change
    clock = datetime.fromtimestamp(since, UTC).strftime("%H:%M UTC") if since is not None else ""
    # An older jump may have another cause.
    recent = since is not None and figures.at - since < ONE_CAUSE_SECONDS
    what = f"{first.what.removesuffix('.')}, since {clock}." if recent else first.what
    return [replace(first, what=what, also=tuple(dict.fromkeys(other.name for other in others if other.name != first.name)))]


# The judgements of the page and `top`.


def _workers(which: Callable[[Trouble], bool], so: str) -> Judge:
    """
    Return a judge that reports each worker in this kind of trouble. The worker's own next step, if there is one, replaces the record's.

    The worker's readiness decides, by the worker's own settings. Prometheus has only series of the whole job.
    """

    def judge(figures: Figures) -> Iterator[Told]:
        for trouble in figures.troubles:
            if which(trouble) and not trouble.no_fault:
                why, _, step = trouble.why.partition(" Next: ")
                headline = f"The worker {trouble.worker} {so}"
                yield Told(why.removesuffix("."), f"{step.removesuffix('.')}." if step else "", headline=headline)

    return judge


def _over(figure: Limited, said: Callable[[Figures, Measure], str], step: Callable[[Figures], str] = lambda _: "") -> Judge:
    """Return a judge that reports measures over the limit of this figure, if there are enough events to judge them."""

    def judge(figures: Figures) -> Iterator[Told]:
        for one in (*figures.distances, *figures.shares):
            limit = figure.at(one.reference)
            if one.name == figure.name and one.over and limit is not None and (one.value or 0.0) > limit:
                yield Told(said(figures, one), step(figures))

    return judge


def _beside(_: Figures, one: Measure) -> str:
    return f"{one.value:.1%}, in the reference {one.reference:.1%}"


def _ks(_: Figures, one: Measure) -> str:
    return f"KS {one.value:.2f}"


def _what_moved(figures: Figures) -> str:
    """Return the next step of a drift alarm. Before its first full window, a worker has no finding to read."""
    found = figures.detectors
    if found.compared_seconds_ago is not None or not found.window_events:
        return DRIFT
    return (
        f"tagstream tail content shows the events; no window of {found.window_events:.0f} decisions has been compared with the "
        f"reference yet, so no finding names words, labels or sources."
    )


# A finding names words, labels, sources and example events. No metric says whether a worker has learnt a reference for words and sources.
DRIFT = (
    "tagstream tail drift --from-beginning says which labels and events moved, and which words and sources, if the worker has a "
    "reference for them (docs/drift.md)."
)
# The next step if the keyword rules decide. Drift is not the cause then, and no worker looks for drift.
RULES = "find out why the model does not decide, then set TAGSTREAM_DECIDER=model."


def _open_transactions(figures: Figures) -> Iterator[Told]:
    found = [one for one in figures.position.open_transactions if one.seconds > OPEN_TRANSACTION.limit]
    if found:
        waiting = ", ".join(f"{one.events} of partition {one.partition} for {one.seconds:.0f} s" for one in found)
        yield Told(waiting, labels={"partition": ", ".join(one.partition for one in found)})


def _most_frequent(reasons: Mapping[str, int]) -> str:
    """
    Return the most frequent reason with its count, so that a rare reason is not taken for the main reason.

    >>> _most_frequent({"invalid_json": 3, "wrong_type": 2, "empty": 9})
    '; most frequent reason: empty (9 of 14)'
    """
    if not reasons:
        return ""
    most = max(reasons, key=lambda reason: reasons[reason])
    return f"; most frequent reason: {most} ({reasons[most]} of {sum(reasons.values())})"


def _models(figures: Figures) -> Iterator[Told]:
    if len({(model.digest, model.arithmetic) for model in figures.models}) <= MODELS.limit:
        return
    if len({model.digest for model in figures.models}) > 1:
        versions = ", ".join(sorted(f"{model.version} ({model.digest[:8]})" for model in figures.models))
        yield Told(f"{versions}; drift is not judged until they agree", "finish or undo the roll-out.")
    else:
        ways = ", ".join(sorted(model.arithmetic or "as the bundle's maker" for model in figures.models))
        yield Told(f"one bundle on different processors, {ways}", "run all workers on processors of one kind.")


def _rollout_hangs(figures: Figures) -> Iterator[Told]:
    # Prometheus also fires if an epoch has been closing for minutes. The page and `top` do not: every change closes an epoch for a moment.
    found = figures.rollout
    if found is not None and found.held_seconds > HELD.limit:
        why = "no epoch lists their partition" if found.closing is None else f"epoch {found.closing} does not begin"
        yield Told(f"{found.held_events} events for {found.held_seconds:.0f} s, {why}")


def _epochs_differ(figures: Figures) -> Iterator[Told]:
    found = figures.rollout
    if (
        found is not None
        and (len(found.epochs) > 1 or found.apart)
        and (found.settled_seconds or 0.0) > limits.SETTLING_SECONDS
    ):
        epochs = " and ".join([*map(str, found.epochs), *(["none"] if found.apart else [])])
        yield Told(f"{epochs}; the last of them took over a model {found.settled_seconds:.0f} s ago")


def _refused(figures: Figures) -> Iterator[Told]:
    found = figures.rollout
    if found is not None and found.refusals > REFUSALS.limit:
        yield Told("1 refusal" if found.refusals == 1 else f"{found.refusals} refusals")


def _rules_decide(figures: Figures) -> bool:
    # The rules have no predictions, so the decisions beyond the predictions are theirs.
    return figures.window.decided - figures.window.decisions > figures.window.decided / 2


def _over_budget(figures: Figures, one: Measure) -> str:
    so = (
        "the keyword rules decide, and they are sure of no event"
        if _rules_decide(figures)
        else f"the budget is {REVIEW_BUDGET.limit:.0%}"
    )
    return f"{one.value:.0%}; {so}"


def _label_mix(figures: Figures, one: Measure) -> str:
    moved = max(figures.labels, key=lambda label: label.psi_term or 0.0, default=None)
    return f"PSI {one.value:.2f}" + (f", mostly in {moved.label}" if moved and moved.psi_term else "")


def _jumps(figures: Figures) -> Iterator[Told]:
    means = {signal.name: signal.mean.called for signal in SIGNALS if signal.mean is not None}
    jumped = [means.get(name, name) for name, count in figures.detectors.changes.items() if count > CHANGES.limit]
    if jumped:
        first, *others = jumped
        called = " and ".join([first, *(other[0].lower() + other[1:] for other in others)])
        yield Told(next=DRIFT, labels={"signal": called})


# The label mix is left out, because a recording rule judges it over all workers. Sources come before words: new producers bring new words.
WINDOW_SCORES = sorted(set(DriftScore) - {DriftScore.LABELS}, key=lambda score: (score is not DriftScore.SOURCES, score))


def _windows(figures: Figures) -> Iterator[Told]:
    if figures.window.decisions < limits.LEAST_DECISIONS:
        return
    for signal in WINDOW_SCORES:
        score, threshold = figures.detectors.scores.get(signal), figures.detectors.thresholds.get(signal)
        if score is not None and threshold and score >= threshold:
            flood = figures.detectors.floods.get(signal)
            so = f"; a flood of one source, {flood:.0%} of the events, which finding and log name" if flood else ""
            yield Told(f"{_of_window(signal, score)}{so}", DRIFT, {"signal": signal})


def _of_window(signal: DriftScore, score: float) -> str:
    if signal is DriftScore.SOURCES:
        return f"{score:.0%} of the events are from producers that the reference does not have, beyond chance"
    if signal is DriftScore.WORDS:
        return f"words that were rare are now in many events (z {score:.1f})"
    return f"the {signal} of a window are unlike the reference ({score_in_words(signal)}: {score:.2f})"


# A comparison with the reference is overdue after this time, if COMPARED_WINDOWS windows of decisions came in meanwhile.
# A window counts as at least COMPARED_LEAST decisions.
COMPARED_HOURS = 6
COMPARED_WINDOWS, COMPARED_LEAST = 3, 1000


def _unwatched(figures: Figures) -> Iterator[Told]:
    # Prometheus and a worker's page judge one worker; `top` judges all its workers together.
    silent, window = figures.detectors.silent_seconds or 0.0, figures.window
    if silent > COMPARED_HOURS * 3600 and window.seconds:
        meanwhile = window.decisions / window.seconds * COMPARED_HOURS * 3600
        if meanwhile > COMPARED_WINDOWS * max(COMPARED_LEAST, figures.detectors.window_events):
            yield Told(f"no comparison for {silent / 3600:.0f} h", "search the workers' logs for drift, then restart them.")


_WINDOWS = f"{COMPARED_WINDOWS} * clamp_min(max by (job, instance) (tagstream_drift_window_events), {COMPARED_LEAST})"


def _unlike(figures: Figures) -> Iterator[Told]:
    far = max((figures.detectors.from_bundle.get(name, 0.0) for name in ("confidence", "energy")), default=0.0)
    if far > UNLIKE_BUNDLE.limit:
        yield Told(f"KS {far:.2f}, so its promise need not hold here")


# The records.

UNANSWERED_SECONDS = 60
CONTROLLERS = Unseen("A series of the controller of a rollout, which page and `top` do not ask.")
CONSOLES = Unseen("A series of the review console, which page and `top` do not ask.")
STOPPED = "has stopped and waits for a person"
# The share of outcomes that may be later than STALE_SECONDS.
STALE_BUDGET = 0.01
# At this multiple of the allowed share, 5 % of a month's budget is used up in six hours.
SLOW_BURN = 6
OLDEST_ITEM_SECONDS = 259200
GAP_RATIO, SLIP_RATIO = 0.02, 0.1
FAILED_ESTIMATES = 10
# `rollout watch` looks once a minute, and once an hour while a worker refuses a change.
UNWATCHED_SECONDS = 5400

PAGES = (
    Alert(
        name="WorkerAbsent",
        tier=Tier.PAGE,
        because="`absent(up)` alone is silent for a target that is configured and down. Two minutes are eight scrapes.",
        expr='absent(up{job="tagstream"} == 1)',
        wait="2m",
        labels={"job": "tagstream"},
        summary="No tagstream worker answers",
        says="For two minutes no target of the job tagstream could be scraped. Events stay in Kafka and none is decided.",
        next="find out why the workers do not run (their last log lines, then `tagstream doctor`).",
        board=BoardName.OVERVIEW,
        panel="Workers up",
        lines=(Line(1, below=True),),
        told=_workers(lambda one: not (one.answers or one.breaker_open or one.brokers_silent), "does not answer"),
        apart="`top` reports each worker that does not answer while others answer. If no worker answers, `top` has no figures and says so.",
    ),
    Alert(
        name="Stalled",
        tier=Tier.PAGE,
        because="The largest lag of the window, because a worker that restarts reports none for a moment.",
        expr="""
sum by (job) (increase(tagstream_events_published_total[5m])) == 0
  and on (job)
max_over_time(job:tagstream_readable_lag:sum[5m]) > 0
""",
        wait="5m",
        summary="Events wait and no outcome is published",
        says="The workers of {{ $labels.job }} have published no outcome for five minutes while events wait in Kafka.",
        next="read the reason at a worker's /readyz, and its last log line.",
        board=BoardName.OVERVIEW,
        panel="Events in and out",
        told=_workers(lambda one: one.answers and not (one.breaker_open or one.brokers_silent), "is not ready"),
    ),
    Alert(
        name="BrokersUnreachable",
        tier=Tier.PAGE,
        because=(
            "Stalled and the freshness alerts do not see this: workers that had caught up report no lag, and no outcome is late. The "
            "gauge is 0 before the first answer."
        ),
        expr=f"min by (job) (time() - (tagstream_position_timestamp_seconds > 0)) > {UNANSWERED_SECONDS}",
        wait="2m",
        summary="No worker gets an answer from Kafka",
        says=(
            "For {{ $value | humanizeDuration }} no worker of {{ $labels.job }} has had an answer from the brokers, so the lag is "
            "unknown. Events that producers can still send stay in Kafka."
        ),
        next="run `tagstream doctor` on a worker's host; it checks each broker.",
        board=BoardName.OVERVIEW,
        panel="Time since the brokers answered",
        lines=(Line(UNANSWERED_SECONDS),),
        told=_workers(lambda one: one.brokers_silent and not one.breaker_open, "gets no answer from Kafka"),
    ),
    Alert(
        name="OpenTransaction",
        tier=Tier.PAGE,
        because=(
            "Stalled does not count these events, because no worker may read them. Without `for`, scraped and evaluated every 15 s, a "
            "transaction that stays open is an alert within a minute."
        ),
        expr=OPEN_TRANSACTION.exceeded,
        summary="Events wait behind an open transaction in partition {{ $labels.partition }}",
        says=(
            "For {{ $value | humanizeDuration }} a producer's transaction in partition {{ $labels.partition }} has been open, and no "
            "worker of {{ $labels.job }} may read the events behind it."
        ),
        next="`tagstream doctor` says how many and since when; the runbook ends the transaction.",
        board=BoardName.OVERVIEW,
        panel="Committed lag",
        told=_open_transactions,
    ),
    Alert(
        name="FreshnessBurn",
        tier=Tier.PAGE,
        because=(
            "Promise: 99 % of outcomes within 60 s. 14.4 times the allowed share uses up 2 % of a month's budget in an hour; 6 times the "
            "allowed share uses up 5 % in six hours (SRE workbook, chapter 5). Each pair needs a long window and a short window. The "
            "slower pair also needs the last five minutes, so that the alert ends soon after an outage. After an outage, the backlog's "
            "late outcomes stay in the last five minutes; with the wait of eight minutes, the alert fires only if late outcomes come for "
            "at least three minutes. Fewer than ten late events do not wake a person. Events from before the group began have no age."
        ),
        expr=f"""
(
  (job:tagstream_event_age:stale_ratio1h > {LATE.limit} and on (job) {LATE.exceeded})
    or on (job)
  (
    job:tagstream_event_age:stale_ratio6h > {SLOW_BURN * STALE_BUDGET}
      and on (job)
    job:tagstream_event_age:stale_ratio30m > {SLOW_BURN * STALE_BUDGET}
      and on (job)
    job:tagstream_event_age:stale_ratio5m > {SLOW_BURN * STALE_BUDGET}
  )
)
  and on (job)
(
  sum by (job) (increase(tagstream_event_age_seconds_count[1h]))
    - on (job)
  sum by (job) (increase(tagstream_event_age_seconds_bucket{{le="{limits.STALE_SECONDS}"}}[1h]))
) >= {limits.LEAST_BAD_EVENTS}
""",
        wait="8m",
        summary="Outcomes are published too late",
        says=(
            "{{ $value | humanizePercentage }} of the outcomes of {{ $labels.job }} came more than 60 s after their event, where 1 % is "
            "allowed, and it continues."
        ),
        next="look at the lag. If it grows, add workers; if it falls, a backlog is being worked off.",
        board=BoardName.OVERVIEW,
        panel="Freshness burn",
        lines=(Line(SLOW_BURN, "orange"), Line(round(LATE.limit / STALE_BUDGET, 3))),
        # Only the fast pair is judged: a worker keeps ten minutes of figures, and the slow pair needs six hours.
        told=_over(
            LATE,
            lambda _, one: f"{one.value:.1%} came more than {limits.STALE_SECONDS:.0f} s after their event, and it continues",
        ),
    ),
    Alert(
        name="DeadLetterRatio",
        tier=Tier.PAGE,
        expr=f"""
{DEAD_LETTERS.exceeded}
  and on (job)
sum by (job) (increase(tagstream_events_published_total{{destination="dlq"}}[10m])) >= {limits.LEAST_BAD_EVENTS}
""",
        wait="10m",
        summary="Too many events become dead letters",
        says=(
            "{{ $value | humanizePercentage }} of the events of {{ $labels.job }} in ten minutes became dead letters. Their bytes are kept."
        ),
        next="`tagstream tail dlq --max 20` shows the next twenty with stage, reason and bytes.",
        board=BoardName.OVERVIEW,
        panel="Dead-letter share",
        lines=(Line(DEAD_LETTERS.limit),),
        told=_over(
            DEAD_LETTERS,
            lambda figures, one: f"{one.value:.1%}{_most_frequent(figures.dead_letters)}",
            # `tail` shows later dead letters; these dead letters already exist.
            lambda _: "tagstream dlq list --since 1h shows each with its reason.",
        ),
    ),
    Alert(
        name="CircuitBreakerOpen",
        tier=Tier.PAGE,
        because="`Stalled` does not see this, because a worker that waits for a person reports no lag.",
        expr=OPEN_BREAKERS.exceeded,
        wait="1m",
        summary=f"A worker {STOPPED}",
        says=(
            "{{ $value }} workers of {{ $labels.job }} saw too many dead letters, have stopped and wait for a person. Events stay in Kafka."
        ),
        next="read /readyz of the worker; it names the limit that was exceeded and how to close the breaker.",
        board=BoardName.OVERVIEW,
        panel="Events that break the model",
        told=_workers(lambda one: one.breaker_open, STOPPED),
    ),
    Alert(
        name="RolloutHangs",
        tier=Tier.PAGE,
        because=(
            "An ordinary change closes an epoch for tens of milliseconds, so at most one scrape sees it, and the window of two minutes "
            "is over before the wait of three. Workers that hold events end after 30 s and start again; the window bridges the restart. "
            "Events of a partition that no epoch lists are held although no epoch is closing."
        ),
        expr=f"""
max by (job) (max_over_time(tagstream_rollout_closing_epoch[2m])) > 0
  or on (job)
{HELD.exceeded}
""",
        wait="3m",
        summary="Events are held between two epochs of a rollout",
        says=(
            "For three minutes an epoch of {{ $labels.job }} has been about to begin, or events have been held since no epoch lists "
            "their partition. None of them is decided; none is lost."
        ),
        next="`tagstream rollout status`, then `tagstream rollout finish`: it begins what is closing, and lists new partitions.",
        board=BoardName.OVERVIEW,
        panel="Held by a rollout",
        told=_rollout_hangs,
    ),
)

FLOW = (
    Alert(
        name="FreshnessSlow",
        tier=Tier.TICKET,
        because="The promise is the same as for FreshnessBurn.",
        expr=(
            f"job:tagstream_event_age:stale_ratio3d > {STALE_BUDGET} and on (job) "
            f"job:tagstream_event_age:stale_ratio6h > {STALE_BUDGET}"
        ),
        wait="15m",
        summary="Freshness is slowly falling below its target",
        says=(
            "Over three days {{ $value | humanizePercentage }} of the outcomes of {{ $labels.job }} came more than 60 s after their "
            "event, where 1 % is allowed, and it continues."
        ),
        next="compare the rate of arrivals with the throughput of the workers.",
        board=BoardName.OVERVIEW,
        panel="Freshness burn",
        lines=(Line(1, "yellow"),),
        told=Unseen(
            "The alert looks at three days, and a worker keeps ten minutes. FreshnessBurn reports outcomes that are late now."
        ),
    ),
    Alert(
        name="ReviewShareOverBudget",
        tier=Tier.TICKET,
        because="The budget is yours: job:tagstream_review_budget:ratio in recording.yml.",
        expr=f"""
{REVIEW_BUDGET.series} > on (job) job:tagstream_review_budget:ratio
  and on (job)
job:tagstream_decisions:count1h >= {limits.LEAST_DECISIONS}
""",
        wait="30m",
        summary="More decisions go to people than the budget allows",
        # The template has two endings: Prometheus prints the end of `says` if the rules decide, otherwise `next`.
        says=(
            "{{ $value | humanizePercentage }} of the decisions of {{ $labels.job }} in an hour went to `review`, over the budget in "
            "recording.yml.{{ if printf \"tagstream_model_info{job='%s', name='keyword-rules'}\" $labels.job | query }} The keyword "
            f"rules decide, and they send every event to a person. Next: {RULES}{{{{ else }}}}"
        ),
        next="check whether the confidence moved (ConfidenceDrift) or a threshold was raised.{{ end }}",
        board=BoardName.REVIEW,
        panel="Review share and budget",
        of_model=True,
        told=_over(REVIEW_BUDGET, _over_budget, lambda figures: RULES if _rules_decide(figures) else _what_moved(figures)),
    ),
    Alert(
        name="ModelVersionSkew",
        tier=Tier.TICKET,
        because="A roll-out takes less than a quarter of an hour.",
        expr=MODELS.exceeded,
        wait="15m",
        summary="Workers decide with different bundles, or compute differently",
        says=(
            "{{ $value }} models decide at once in {{ $labels.job }}: different bundles, or processors that compute differently. The "
            "same event may get different tags, and between bundles drift is not judged."
        ),
        next=(
            "finish or undo the roll-out; `count by (digest, version, arithmetic) (tagstream_model_info)` shows who has which."
        ),
        board=BoardName.OVERVIEW,
        panel="Model",
        told=_models,
    ),
    Alert(
        name="RolloutVersionsDiffer",
        tier=Tier.TICKET,
        because=(
            "Workers take over an epoch within a second. A worker that starts loads its models first, which may take four minutes. Each "
            "worker is judged alone, because a roll-out replaces one worker after the other. A worker without partitions decides "
            "nothing, and a worker of an older version has no series of a rollout."
        ),
        expr="""
max by (job, instance) (tagstream_rollout_epoch and on (job, instance) (tagstream_rollout_followed == 1))
  < on (job) group_left ()
max by (job) (tagstream_rollout_epoch)
  or on (job, instance)
max by (job, instance) (tagstream_assigned_partitions > 0)
  unless on (job, instance)
(tagstream_rollout_followed == 1)
  and on (job)
(tagstream_rollout_followed == 1)
""",
        wait="10m",
        summary="Workers of one group decide by different epochs",
        says=(
            "For ten minutes {{ $labels.instance }} of {{ $labels.job }} has decided by an earlier epoch than other workers, or has "
            "followed no rollout while they do. Events of its partitions are decided by another model than the rollout says."
        ),
        next=(
            "`tagstream rollout status` has what each worker says; restart this one with the version and settings of the others, and "
            "without TAGSTREAM_DECIDER=rules."
        ),
        board=BoardName.OVERVIEW,
        panel="Epoch of the rollout",
        told=_epochs_differ,
    ),
    Alert(
        name="RolloutRefused",
        tier=Tier.TICKET,
        because="A plan is given up as soon as one worker refuses it, so the plan's state is gone before the next scrape. The count stays.",
        expr=REFUSALS.exceeded,
        summary="A worker refused the model of a planned epoch",
        says=("In an hour workers of {{ $labels.job }} refused planned epochs. Nothing has changed: the model before decides."),
        next="search the workers' logs for `rollout_refused`, which has the reason; correct it, and promote again.",
        board=BoardName.OVERVIEW,
        panel="Plan of the rollout",
        told=_refused,
    ),
    Alert(
        name="RolloutUnwatched",
        tier=Tier.TICKET,
        because=(
            "A controller that never ran does not fire the alert: a rollout by hand needs no controller. A controller looks once a "
            "minute, and once an hour while a worker refuses a change. The window of a week finds a controller that has ended. Workers "
            "and controller are two jobs."
        ),
        expr=f"""
time() - max by (job) (max_over_time(tagstream_controller_look_timestamp_seconds[7d])) > {UNWATCHED_SECONDS}
  and on ()
sum(increase(tagstream_rollout_decisions_total{{arm=~"challenger|fallback"}}[15m])) > 0
""",
        wait="5m",
        summary="A challenger decides events, and no controller has looked at it",
        says=(
            "The last look of {{ $labels.job }} at the rollout was {{ $value | humanizeDuration }} ago, and a challenger decides events. "
            "If it does harm, it does not go back by itself; if it is better, it is not promoted."
        ),
        next="read the last lines of its log, then start `tagstream rollout watch` again; `tagstream rollout rollback` ends the canary.",
        board=BoardName.PEOPLE,
        panel="Looks of the controller",
        lines=(Line(UNWATCHED_SECONDS),),
        told=CONTROLLERS,
    ),
    Alert(
        name="RolloutVerdictWaits",
        tier=Tier.TICKET,
        because=(
            "A verdict that ends a canary is carried out within one look. Most verdicts wait for answers, which is normal while answers "
            "come. A day without an answer that counts is a fault. The last condition makes sure that the canary is a day old."
        ),
        expr="""
max by (job, decision) (tagstream_controller_verdict{decision=~"promote|roll_back|not_proven|frozen"}) > 0
  or on (job)
max by (job, decision) (tagstream_controller_verdict{decision="wait"}) > 0
  and on (job)
max by (job) (max_over_time(tagstream_controller_evidence_events{kind="answered"}[1d]))
  - on (job)
min by (job) (min_over_time(tagstream_controller_evidence_events{kind="answered"}[1d]))
  == 0
  and on (job)
max by (job) (tagstream_controller_challenger_epoch offset 1d) > 0
""",
        wait="30m",
        summary="The verdict on a challenger does not come, or is not carried out",
        says=(
            "For half an hour the verdict of {{ $labels.job }} has been `{{ $labels.decision }}`. `wait`: for a day people have answered "
            "no question on which the two models differ. `frozen`: no answer counts. Any other one ends the canary, and was not carried out."
        ),
        next=(
            "`tagstream rollout status --verdict` says what is missing; where it is `wait`, see whether `tagstream rollout shadow` runs and people "
            "answer; where a change fails, the controller's log has the reason."
        ),
        board=BoardName.PEOPLE,
        panel="Verdict on the challenger",
        told=CONTROLLERS,
    ),
    Alert(
        name="EventBreaksModel",
        tier=Tier.TICKET,
        because="A single event fires the alert: each such event shows a defect of tagstream or is an attack.",
        expr='sum by (job) (increase(tagstream_events_dead_lettered_total{reason=~"model_raised|crashes_worker"}[1h])) > 0',
        summary="Events break the model",
        says=(
            "In an hour {{ $value | humanize }} events of {{ $labels.job }} were well-formed but made the model raise or the worker "
            "die. They are dead letters; their bytes are kept."
        ),
        next=(
            "`tagstream dlq list --since 1h --stage infer` lists them with place and reason, `tagstream dlq show PARTITION/OFFSET` "
            "shows one."
        ),
        board=BoardName.OVERVIEW,
        panel="Dead letters by reason",
        told=Unseen(
            "The alert counts single events in an hour, and a worker keeps ten minutes. The page lists dead letters by reason."
        ),
    ),
    Alert(
        name="UnsignedAnswers",
        tier=Tier.TICKET,
        because="Fires only if workers have keys to check answers (docs/security.md).",
        expr='sum by (job) (increase(tagstream_answers_dead_lettered_total{reason="unsigned_answer"}[1h])) > 0',
        summary="Answers came that no console has signed",
        says=(
            "In an hour {{ $value | humanize }} answers for {{ $labels.job }} had no signature by a key that its workers accept. None "
            "of them became a decision; they are dead letters."
        ),
        next=("`tagstream dlq list --since 1h --code unsigned_answer` lists them; find out who may write the topic reviewed."),
        board=BoardName.OVERVIEW,
        panel="Dead letters by reason",
        told=Unseen(
            "The alert counts single answers in an hour, and a worker keeps ten minutes. The page has no figures of answers."
        ),
    ),
)

ENOUGH = f"job:tagstream_predictions:count1h >= {limits.LEAST_DECISIONS}"
ENOUGH_DECIDED = f"job:tagstream_decisions:count1h >= {limits.LEAST_DECISIONS}"
CHANCE = "How often chance alone exceeds the limit: docs/error-rates.md."


def _compared(figure: Limited, enough: str = ENOUGH) -> str:
    """Return PromQL for a figure over a limit from a bundle's reference: only with enough decisions and one bundle within the hour."""
    return f"""
{figure.exceeded}
  and on (job)
{enough}
  unless on (job)
max_over_time(job:tagstream_model_digests:count[1h]) > 1
"""


DRIFTS = (
    Alert(
        name="PredictionDrift",
        tier=Tier.TICKET,
        because=CHANCE,
        expr=_compared(LABEL_MIX),
        wait="30m",
        summary="The mix of tags differs from the reference",
        says=(
            'The population stability index of the tags of {{ $labels.job }} is {{ $value | printf "%.2f" }} over an hour (ordinary: '
            "under 0.1).{{ with printf \"topk(1, job_label:tagstream_prediction_drift:psi_term1h{job='%s'})\" $labels.job | query }} "
            'Most of it is the tag {{ . | first | label "label" }}.{{ end }}'
        ),
        next="the drift event says what moved (words, labels, sources, example ids): `tagstream tail drift --from-beginning`.",
        board=BoardName.QUALITY,
        panel="Drift of the label mix (PSI)",
        lines=(Line(LABEL_MIX.limit),),
        symptom=50,
        of_model=True,
        told=_over(LABEL_MIX, _label_mix, _what_moved),
    ),
    Alert(
        name="ConfidenceDrift",
        tier=Tier.TICKET,
        because=CHANCE,
        expr=_compared(DISTANCES[CONFIDENCE]),
        wait="30m",
        summary="The confidence of the model differs from the reference",
        says=(
            'The confidence of {{ $labels.job }} is {{ $value | printf "%.2f" }} away from the reference over an hour (largest '
            "difference of the two distributions)."
        ),
        next="the drift event says what moved: `tagstream tail drift --from-beginning`.",
        board=BoardName.QUALITY,
        panel="Distances from the reference (KS)",
        lines=(Line(DISTANCES[CONFIDENCE].limit),),
        symptom=70,
        of_model=True,
        told=_over(DISTANCES[CONFIDENCE], _ks, _what_moved),
    ),
    Alert(
        name="EnergyDrift",
        tier=Tier.TICKET,
        because=CHANCE,
        expr=_compared(DISTANCES[ENERGY]),
        wait="30m",
        summary="Texts look less, or more, familiar to the model than they did",
        says=(
            'The energy of {{ $labels.job }} is {{ $value | printf "%.2f" }} away from the reference over an hour (largest difference '
            "of the two distributions)."
        ),
        next="the drift event says what moved: `tagstream tail drift --from-beginning`.",
        board=BoardName.QUALITY,
        panel="Distances from the reference (KS)",
        lines=(Line(DISTANCES[ENERGY].limit),),
        symptom=80,
        of_model=True,
        told=_over(DISTANCES[ENERGY], _ks, _what_moved),
    ),
    Alert(
        name="TokensPerWordDrift",
        tier=Tier.TICKET,
        because=CHANCE,
        expr=_compared(DISTANCES[TOKENS_PER_WORD]),
        wait="30m",
        summary="The language or the format of the texts has changed",
        says=(
            'Tokens a word in {{ $labels.job }} are {{ $value | printf "%.2f" }} away from the reference over an hour: another '
            "language, markup or identifiers."
        ),
        next="the drift event names the words: `tagstream tail drift --from-beginning`.",
        board=BoardName.QUALITY,
        panel="Distance of tokens per word (KS)",
        lines=(Line(DISTANCES[TOKENS_PER_WORD].limit),),
        symptom=10,
        told=_over(
            DISTANCES[TOKENS_PER_WORD],
            lambda _, one: f"at least {one.value:.0%} of them are others, by their tokens per word",
            _what_moved,
        ),
    ),
    Alert(
        name="OutOfDistributionShare",
        tier=Tier.TICKET,
        because=(
            "A reference of a thousand rows gives its 0.995 quantile only roughly; the factor of five allows for that. At a factor of "
            "three, 3 % of the windows without drift are over the limit."
        ),
        expr=_compared(STRANGE),
        wait="30m",
        summary="Many texts are unlike the training text",
        says=(
            "{{ $value | humanizePercentage }} of the texts of {{ $labels.job }} in an hour are out of distribution, more than five "
            "times the reference."
        ),
        next=(
            "read some in `review` (reason out_of_distribution); the drift event says what moved: "
            "`tagstream tail drift --from-beginning`."
        ),
        board=BoardName.QUALITY,
        panel="Out-of-distribution share",
        symptom=60,
        of_model=True,
        told=_over(STRANGE, _beside, _what_moved),
    ),
    Alert(
        name="WithoutDescriptionShare",
        tier=Tier.TICKET,
        because=CHANCE,
        expr=_compared(UNDESCRIBED),
        wait="30m",
        summary="More events than usual have no description",
        says=(
            "{{ $value | humanizePercentage }} of the events of {{ $labels.job }} in an hour had a title alone, a fifth more than the "
            "reference."
        ),
        next="find the producer; the drift event names sources and example ids: `tagstream tail drift --from-beginning`.",
        board=BoardName.QUALITY,
        panel="Without a description",
        symptom=20,
        told=_over(UNDESCRIBED, _beside, _what_moved),
    ),
    Alert(
        name="UnseenSourceShare",
        tier=Tier.TICKET,
        because="The sources are compared with a list and not with a distribution, so it does not matter which bundle decides.",
        expr=f"""
{UNSEEN_SOURCES.exceeded}
  and on (job)
{ENOUGH}
""",
        wait="30m",
        summary="Events come from producers that known_sources does not name",
        says=(
            "{{ $value | humanizePercentage }} of the events of {{ $labels.job }} in an hour come from no source in `known_sources`."
        ),
        next=(
            "the drift event names the sources (`tagstream tail drift --from-beginning`); add those that are meant to be there."
        ),
        board=BoardName.QUALITY,
        panel="Unseen or missing sources",
        lines=(Line(UNSEEN_SOURCES.limit),),
        symptom=30,
        told=_over(UNSEEN_SOURCES, lambda _, one: f"{one.value:.0%} of them", _what_moved),
    ),
    Alert(
        name="SuddenChange",
        tier=Tier.TICKET,
        because="The detector of a worker, or of `serve`: docs/drift.md.",
        expr=CHANGES.exceeded,
        summary="{{ $labels.signal }} jumped in at least one process",
        says="A process of {{ $labels.job }} saw the mean of {{ $labels.signal }} change at once within the last hour.",
        next="the drift event has both means and example ids: `tagstream tail drift --from-beginning`.",
        board=BoardName.QUALITY,
        panel="Sudden changes (ADWIN)",
        symptom=100,
        of_model=True,
        told=_jumps,
    ),
    Alert(
        name="ContentDrift",
        tier=Tier.TICKET,
        because=(
            "The recording rules do not see a new subject whose texts have the usual length, confidence and tags. The windows of the "
            "workers do; their thresholds are settings of the workers."
        ),
        expr=f"""
max by (job, signal) (
  tagstream_drift_score{{signal=~"{"|".join(sorted(WINDOW_SCORES, reverse=True))}"}}
    >= on (job, instance, signal)
  (tagstream_drift_threshold > 0)
)
  and on (job)
{ENOUGH}
""",
        summary="The {{ $labels.signal }} of the events have changed",
        says=(
            "The last window of a process of {{ $labels.job }} has {{ $labels.signal }} that the reference does not explain (score "
            '{{ $value | printf "%.2f" }}).'
        ),
        next=(
            "the drift event names them, with shares, example ids and the one source of a flood: `tagstream tail drift "
            "--from-beginning`."
        ),
        board=BoardName.QUALITY,
        panel="Words of the last window",
        symptom=40,
        told=_windows,
    ),
    Alert(
        name="DriftEvaluationStale",
        tier=Tier.TICKET,
        because=(
            "A worker compares each window of decisions (by default 1,000) with the reference. Six hours, because under 500 decisions "
            "an hour no drift alert fires anyway. The gauge is 0 in a worker that has never compared a window. Such a worker is "
            "reported after three windows of its own; the last condition leaves out decisions from before a restart."
        ),
        expr=f"""
time() - max by (job, instance) (tagstream_drift_last_evaluated_timestamp_seconds) > {COMPARED_HOURS} * 3600
  and on (job, instance)
sum by (job, instance) (increase(tagstream_predictions_total[{COMPARED_HOURS}h]))
  > on (job, instance)
{_WINDOWS}
  and on (job, instance)
sum by (job, instance) (tagstream_predictions_total)
  > on (job, instance)
{_WINDOWS}
""",
        wait="15m",
        summary="A process decides without looking for drift",
        says=(
            "{{ $labels.instance }} of {{ $labels.job }} has decided more than three windows of events in six hours and compared none "
            "with the reference. Until it does, its drift goes unnoticed."
        ),
        next="search its log for `drift`, then restart it.",
        board=BoardName.QUALITY,
        panel="Last evaluation",
        told=_unwatched,
    ),
    Alert(
        name="ReviewShareRise",
        tier=Tier.TICKET,
        because=(
            "ReviewShareOverBudget compares with the capacity of the reviewers. A rise from 31 % to 54 % in an hour may stay below that "
            "budget and must be reported; this alert finds it after 39 minutes plus the wait."
        ),
        expr=_compared(REVIEW_RISE, ENOUGH_DECIDED),
        wait="15m",
        summary="More decisions than usual go to people",
        says=(
            "{{ $value | humanizePercentage }} of the decisions of {{ $labels.job }} in an hour went to `review`, over 15 points more "
            "than in its reference."
        ),
        next="the drift event says what moved: `tagstream tail drift --from-beginning`.",
        board=BoardName.REVIEW,
        panel="Review share and budget",
        symptom=90,
        of_model=True,
        told=_over(REVIEW_RISE, _beside, _what_moved),
    ),
    Alert(
        name="StreamUnlikeBundle",
        tier=Tier.INFO,
        because=(
            "This is not drift: the stream has not changed since the group learned its reference, but it differs from the rows that the "
            "bundle was tuned on. The limit is the distance at which ConfidenceDrift and EnergyDrift fire."
        ),
        expr=UNLIKE_BUNDLE.exceeded,
        summary="The stream is unlike the texts that the model was tuned on",
        says=(
            'The ordinary stream of {{ $labels.job }} is {{ $value | printf "%.2f" }} away from the calibration rows of its bundle '
            "(largest difference of confidence or energy), so the promise of the bundle need not hold for it."
        ),
        next="let people answer audits, and read the live quality (docs/quality.md).",
        board=BoardName.QUALITY,
        panel="Reference against the bundle",
        lines=(Line(UNLIKE_BUNDLE.limit),),
        told=_unlike,
    ),
)

PEOPLE = (
    Alert(
        name="AccuracyBelowPromise",
        tier=Tier.TICKET,
        because=(
            "Judged by the upper end of the 95 % interval, so that chance alone seldom fires it. Under 50 answers the value is NaN, which "
            "compares as false."
        ),
        expr="""
max by (job) (tagstream_quality_accuracy_ratio{scope="published", bound="high"})
  < on (job)
max by (job) (tagstream_quality_promise_ratio)
""",
        wait="1h",
        summary="Published decisions are less often right than promised",
        says=(
            "People who audited what {{ $labels.job }} published found that at most {{ $value | humanizePercentage }} of it is right, "
            "less than the promise."
        ),
        next="`tagstream quality` names the labels; raise their thresholds by `tagstream model calibrate`.",
        board=BoardName.PEOPLE,
        panel="Accuracy of what is published",
        of_model=True,
        told=CONSOLES,
    ),
    Alert(
        name="ConfidenceGap",
        tier=Tier.TICKET,
        because="Judged by the lower end of the 95 % interval: the confidence is above the accuracy that people found by at least two points.",
        expr=f'max by (job) (tagstream_quality_gap_ratio{{bound="low"}}) > {GAP_RATIO}',
        wait="1h",
        summary="The model expects more of itself than people find",
        says=(
            "The confidence in {{ $labels.job }} lies at least {{ $value | humanizePercentage }} over the accuracy that people found. "
            "A figure that rests on confidence alone is too good by as much."
        ),
        next="`tagstream quality` shows both by label; read the mistakes.",
        board=BoardName.PEOPLE,
        panel="Expected minus measured accuracy",
        lines=(Line(GAP_RATIO),),
        of_model=True,
        told=CONSOLES,
    ),
    Alert(
        name="ReviewBacklogOld",
        tier=Tier.TICKET,
        because="Three days are a weekend and a day.",
        expr=f"time() - min by (job) (tagstream_queue_oldest_timestamp_seconds) > {OLDEST_ITEM_SECONDS}",
        wait="30m",
        summary="An event has waited for a reviewer for more than three days",
        says=(
            "The oldest item in the queue of {{ $labels.job }} has waited for {{ $value | humanizeDuration }}. Its consumers have no "
            "decision of a person."
        ),
        next="see which door it waits at, and ask for more reviewers or send fewer events to people.",
        board=BoardName.PEOPLE,
        panel="Age of the oldest item",
        lines=(Line(OLDEST_ITEM_SECONDS),),
        told=CONSOLES,
    ),
    Alert(
        name="ReviewersDisagree",
        tier=Tier.TICKET,
        because=(
            "If one answer in ten is a slip, one in ten audits of a right decision contradicts it, and second opinions are most of the work."
        ),
        expr=f'max by (job) (tagstream_quality_slip_ratio{{bound="low"}}) > {SLIP_RATIO}',
        wait="1h",
        summary="More than a tenth of the reviewers' first answers are overturned",
        says=(
            "At least {{ $value | humanizePercentage }} of the first answers in {{ $labels.job }} are slips, by the second opinions on audits."
        ),
        next="read the overturned answers together; a rule of the guidelines is missing, or read in two ways.",
        board=BoardName.PEOPLE,
        panel="Reviewers' slips",
        lines=(Line(SLIP_RATIO),),
        told=CONSOLES,
    ),
    Alert(
        name="QualityRecordsUnused",
        tier=Tier.TICKET,
        because=(
            "An answer may be read a moment before its decision, and an hour is long enough for that. One record is enough to fire the "
            "alert: a writer of one such record can write more."
        ),
        expr="sum by (job) (max by (job, kind) (tagstream_quality_unused_records)) > 0",
        wait="1h",
        summary="Live quality leaves out records that nobody should have written",
        says=(
            "{{ $value }} records in the window of {{ $labels.job }} follow from no decision that its console has read, or were made "
            "by no worker. The figures do without them."
        ),
        next="`tagstream quality` says which kind; see who may write to `reviewed` and `audit`.",
        board=BoardName.PEOPLE,
        panel="Records that live quality does not use",
        told=CONSOLES,
    ),
    Alert(
        name="QualityNotMeasured",
        tier=Tier.TICKET,
        because="The estimate is made once a minute; a database that was away for a moment fails one or two.",
        expr=f"min by (job) (increase(tagstream_quality_failures_total[30m])) > {FAILED_ESTIMATES}",
        summary="Live quality is not estimated, and its figures are old",
        says=(
            '{{ $value | printf "%.0f" }} estimates of {{ $labels.job }} failed in half an hour. People can answer as before; accuracy '
            "and the other figures stay as they were."
        ),
        next="search the console's log for `quality_not_measured`, which has the reason.",
        board=BoardName.PEOPLE,
        panel="Estimates that failed",
        told=CONSOLES,
    ),
    Alert(
        name="ReviewConsoleDown",
        tier=Tier.TICKET,
        because="The alert needs a console that ran within the last day, so it never fires in a deployment without a console.",
        expr="""
max by (job) (max_over_time(up{job="tagstream-review"}[1d])) == 1
  unless on (job)
max by (job) (up{job="tagstream-review"}) == 1
""",
        wait="5m",
        summary="No review console answers",
        says=(
            "For five minutes no console of {{ $labels.job }} could be scraped, and one ran within the last day. People cannot answer; "
            "events wait in Kafka and none is lost."
        ),
        next="read the last lines of its log, then start it again.",
        board=BoardName.PEOPLE,
        panel="Consoles up",
        told=CONSOLES,
    ),
)

GROUPS = (
    Group(name="tagstream_pages", interval="15s", alerts=PAGES),
    Group(name="tagstream_flow_tickets", alerts=FLOW),
    Group(name="tagstream_drift_tickets", alerts=DRIFTS),
    Group(
        name="tagstream_people_tickets",
        about=(
            "Served by the review console, job tagstream-review. Several consoles give the same figures, so `max by (job)` takes one of them."
        ),
        alerts=PEOPLE,
    ),
)
ALERTS = tuple(alert for group in GROUPS for alert in group.alerts)
