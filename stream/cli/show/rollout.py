"""The output of `tagstream rollout`: turns records into sentences and JSON. This module changes nothing on the stream."""

import datetime as dt
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from itertools import groupby
from pathlib import Path
from typing import Any

from tagstream.model_export.verify import TRIAL_SECONDS
from tagstream.monitoring.metrics.controller import ControllerMetrics
from tagstream.stream.contract.outcome import timestamp
from tagstream.stream.contract.published import milliseconds
from tagstream.stream.contract.rollout_records import (
    MAX_OUTCOMES,
    Abort,
    BundleName,
    Challenger,
    Close,
    Marks,
    Partition,
    Plan,
    Start,
    Verdict,
)
from tagstream.stream.rollout.arm_size import ArmSize
from tagstream.stream.rollout.as_of import Champion
from tagstream.stream.rollout.audience import ArmLine
from tagstream.stream.rollout.control import Begun
from tagstream.stream.rollout.controller import ControllerError
from tagstream.stream.rollout.epochs import Epochs, Models
from tagstream.stream.rollout.errors import NoRolloutError
from tagstream.stream.rollout.history import DecidedAt, Entry, FirstEvent
from tagstream.stream.rollout.measured import MOST_VALUES
from tagstream.stream.rollout.standing import Standing
from tagstream.stream.rollout.verdict import RolloutStep
from tagstream.stream.rollout.watch import Judged, NothingWatchedError
from tagstream.stream.settings.settings import Settings
from tagstream.stream.terminal import console
from tagstream.stream.terminal.text import counted

DIGITS = 12
# A larger difference of two clocks is reported. Clocks that a time server sets differ by far less.
CLOCK_SECONDS = 60.0
NOT_BEGUN = "no rollout has begun: the workers decide by the bundle of their settings"
SILENT = (
    "without a word on the rollout: a worker of an older version, or one that decides by rules, uses its own model for every event. "
    "Next: run this version on all of them, or end them"
)


def trying(bundle: Path) -> None:
    """Print the most seconds that the verification of a bundle takes."""
    console.talk(f"verifying {bundle}, for {TRIAL_SECONDS:.0f} s at most; then the workers do")


def arm(challenger: Challenger, size: ArmSize) -> None:
    """Print how many of the newest events would have been in the challenger's arm."""
    what = f"{challenger.share:.4g}{_of_sources(challenger)} by {challenger.unit}"
    if size.unknown:
        console.talk(f"{what}: the number of events is not known: {size.unknown}")
    elif not size.events:
        console.talk(f"{what}: the number of events is not known: there are none yet")
    else:
        heaviest = (
            f"; one key alone has {size.heaviest / size.events:.1%}" if challenger.unit == "key" and size.heaviest else ""
        )
        console.talk(
            f"{what}: it would have decided {size.its / size.events:.1%} of the newest {counted(size.events, 'event')}{heaviest}"
        )


def begun(epoch: Begun) -> None:
    """Print the epoch that has begun, its first offsets, and how long no event could begin."""
    places = [f"{mark.at.topic}/{mark.at.partition}:{mark.offset}" for mark in epoch.marks if mark.offset is not None]
    console.talk(f"epoch {epoch.models.epoch} has begun: {_decides(epoch.models)}")
    console.talk(f"  from {', '.join(places)} on; no event could begin for {epoch.closed_seconds * 1000:.0f} ms")
    if epoch.by_another:
        console.talk("  a worker or a `rollout watch` began it, since this command was late")
    if abs(epoch.ahead_seconds) > CLOCK_SECONDS:
        console.talk(
            f"  this machine's clock is wrong, or the brokers' clock is: it is {_off(epoch.ahead_seconds)} theirs. The topic "
            "has the brokers' time; `at` and tokens have this machine's time. Next: set the clock of this machine by a time server"
        )
    if not epoch.workers:
        console.talk("  the group has no worker now, so none was asked whether it is ready")


def rolls_back(models: Models, words: str) -> None:
    """Print the models to which a rollback goes."""
    console.talk(_back(models, words))


def finished(epochs: Epochs) -> None:
    """Print the deciding models after `rollout finish`."""
    console.talk(
        f"epoch {epochs.newest}: {_decides(epochs.models(epochs.newest))}; nothing is held" if epochs.started else NOT_BEGUN
    )


def stored(settings: Settings, bundle: BundleName) -> None:
    """Print the stored bundle and its place."""
    console.talk(f"stored: {_named(bundle)} in {settings.rollout.bundles}")


def verdict(settings: Settings, judged: Judged, *, as_json: bool) -> None:
    """Print the verdict, the state of each gate, and the topics and records that could not be read."""
    found = judged.verdict
    if as_json:
        console.show_json(
            {
                **_models(judged.models),
                "decision": found.decision,
                "says": found.says,
                "days": found.days,
                "gates": found.gates,
                "arms": [{"name": line.name, "events": line.events, **asdict(line.feedback)} for line in judged.lines],
                "unread": judged.unread,
                "unknown_outcomes": judged.unknown,
            }
        )
        return
    console.talk(f"epoch {judged.models.epoch}: {_decides(judged.models)}")
    console.show(f"{found.decision.replace('_', ' ')}: {found.says}")
    for gate in found.gates:
        console.show(f"  {gate.state:<8} {gate.name}: {gate.says}")
    for line in judged.lines:
        console.show(f"  {line.name} (not judged): {_said_of(line)}")
    if judged.unseen:
        console.talk(
            f"not there, or this user may not read them: {', '.join(judged.unseen)}; they count as empty. Next: `tagstream rollout shadow` writes to "
            f"{settings.topics.shadow}; grant READ on the others"
        )
    if judged.unread:
        console.talk(
            f"{counted(judged.unread, 'record')} of shadow, reviewed, reports or outcomes cannot be read, and do not count; the last: "
            f"{judged.why_unread}"
        )
    outcomes = settings.topics.outcomes
    if judged.unknown:
        console.talk(
            f"{counted(judged.unknown, 'record')} of {outcomes} on events that this epoch has not decided do not count"
        )
    if judged.beyond:
        console.talk(
            f"{counted(judged.beyond, 'record')} of {outcomes} do not count: the verdict keeps {MAX_OUTCOMES} names and {MOST_VALUES:,} values"
        )


def _said_of(line: ArmLine) -> str:
    """Return what people, readers and viewers said about the decisions of an arm."""
    said = line.feedback
    viewers = f", viewers answered {said.viewers.in_words()}" if said.viewers.asked else ""
    minutes = "minutes not known" if said.minutes is None else f"{said.minutes.value:,.0f} minutes"
    return (
        f"{counted(line.events, 'event')}, {counted(said.answers, 'answer')} ({minutes}), {said.reported:,} reported by readers, "
        f"{said.confirmed:,} of these found wrong by a person{viewers}"
    )


def metrics(address: str) -> None:
    """Print the address of a watch's metrics."""
    console.talk(f"metrics at http://{address}/metrics")


class WatchTurns:
    """Prints each new verdict of a watch, and counts all its turns."""

    def __init__(self, metrics: ControllerMetrics) -> None:
        """Count the turns in `metrics`."""
        self._metrics = metrics
        self._said = ""
        # The verdict that caused the epoch that is about to begin.
        self._decision: RolloutStep | None = None

    def judged(self, judged: Judged) -> None:
        """Count a verdict, and print it if it differs from the last one."""
        found = judged.verdict
        self._decision = found.decision
        answers = next(gate for gate in found.gates if gate.name == "answers")
        self._metrics.judged(judged.models.epoch, found.decision, answers.figures)
        self._say(f"epoch {judged.models.epoch}: {found.decision.replace('_', ' ')}: {found.says}")

    def begun(self, epoch: Begun) -> None:
        """Count and print an epoch that the verdict has caused."""
        assert self._decision is not None, "a watch judges before it acts"
        self._metrics.changed(self._decision)
        begun(epoch)

    def failed(self, error: Exception) -> None:
        """Count a turn that failed, and print its error if it differs from the last line."""
        told = {
            NothingWatchedError: self._metrics.no_challenger,
            NoRolloutError: self._metrics.no_challenger,
            ControllerError: self._metrics.change_failed,
        }
        next((how for kind, how in told.items() if isinstance(error, kind)), self._metrics.failed)(str(error))
        self._say(str(error))

    def _say(self, line: str) -> None:
        if line != self._said:
            self._said = line
            console.talk(line)


def standing(settings: Settings, found: Standing, *, as_json: bool) -> None:
    """Print the deciding model of each partition, the planned epoch, the held events, and the state of each worker."""
    if as_json:
        console.show_json(_status(found))
        return
    if not found.epochs.started:
        console.talk(NOT_BEGUN)
    else:
        for line in _standing(found):
            console.talk(line)
    if not found.workers:
        console.talk(f"the group {settings.group} has no worker now")
    for host, state in sorted(found.workers, key=lambda one: one[0]):
        if state is None:
            console.talk(f"  {host}: has said nothing; it is of an older version, decides by rules, or has just started")
        else:
            why = f": {state.why}" if state.why else ""
            console.talk(
                f"  {host}: {state.state}, epoch {state.epoch}, bundle {state.digest[:DIGITS]}, version {state.version}{why}"
            )
    if found.silent:
        console.talk(f"{counted(len(found.silent), 'member')} of the group {SILENT}")


def _standing(found: Standing) -> Iterator[str]:
    """Yield lines on the deciding epoch of each partition, the target of a rollback, the planned epoch, and the held events."""
    epochs = found.epochs
    now = epochs.models(epochs.newest)
    yield f"epoch {now.epoch}: {_decides(now)}"
    newest = sorted((epochs.begins(place)[-1][1], place.topic, place.partition, place) for place in epochs.partitions)
    for epoch, places in groupby(newest, key=lambda one: one[0]):
        where = ", ".join(f"{_place(place)}:{epochs.begins(place)[-1][0]}" for *_, place in places)
        yield f"  epoch {epoch} decides from {where} on"
    yield f"  `tagstream rollout rollback`: {'there is nothing before' if found.back is None else _back(*found.back)}"
    if epochs.closing is not None:
        yield (
            f"epoch {epochs.closing} is closing, since {found.closed_at} ({_closing_seconds(found):.0f} s): the workers hold their events "
            f"({_waiting(found)}) until a controller marks it. Next: `tagstream rollout finish`"
        )
    elif epochs.planned is not None:
        yield f"planned: epoch {epochs.planned.epoch}, {_decides(epochs.planned)}"
    if found.unlisted:
        yield (
            f"in no record: {', '.join(map(_place, found.unlisted))}; their events are held ({_waiting(found)}). "
            "Next: `tagstream rollout finish` lists them"
        )


def _waiting(found: Standing) -> str:
    return (
        "this user may not see how many wait"
        if found.waiting is None
        else f"{counted(sum(found.waiting.values()), 'event')} of the group wait"
    )


def _closing_seconds(found: Standing) -> float:
    """Return the seconds since the close, by the clocks of two machines. The protocol itself does not compare these clocks."""
    return 0.0 if found.closed_at is None else max(0.0, time.time() - milliseconds(found.closed_at) / 1000)


def log(entries: Sequence[Entry], *, as_json: bool) -> None:
    """Print the records of the rollout's topic."""
    _print([(_line_of(entry), _value_of(entry)) for entry in entries], as_json=as_json)


def decided_at(found: DecidedAt, *, as_json: bool) -> None:
    """Print the models that decided at a moment, and each partition's first event from that moment on."""
    models, began, at = found.models, found.began, timestamp(found.moment_ms)
    since = timestamp(began.written_ms)
    _print(
        [
            (
                f"{at}: epoch {models.epoch}, {_decides(models)}, since {since} (record {began.offset})",
                {"at": at, **_models(models), "since": since, "record": began.offset},
            ),
            *((_line_of_event(event), _value_of_event(event)) for event in found.events),
        ],
        as_json=as_json,
    )


def champion(as_of: str, found: Champion) -> None:
    """Print the champion that decides for a command with `--as-of`, and a canary, whose share it decides too."""
    models = found.models
    alone = replace(models, challenger=None)
    console.talk(f"as of {as_of}: epoch {models.epoch}, {_decides(alone)}, since {timestamp(found.since_ms)}")
    if models.challenger is not None:
        console.talk(f"  the epoch has a canary ({_decides(models)}): here the champion decides every row")


def _line_of_event(event: FirstEvent) -> str:
    place = f"  {_place(event.partition)}"
    if not event.is_there:
        return (
            f"{place} of the topic {event.partition.topic_id}: that topic was deleted with its events; its marks are in the log"
        )
    if event.models is None or event.written_ms is None:
        return f"{place}: no event from then on"
    return f"{place}: the first event from then on has offset {event.offset}, {timestamp(event.written_ms)}: epoch {event.models.epoch}, {_decides(event.models)}"


def _value_of_event(event: FirstEvent) -> dict[str, object]:
    models = {"epoch": None, "champion": None, "challenger": None} if event.models is None else _models(event.models)
    written = None if event.written_ms is None else timestamp(event.written_ms)
    return {"partition": event.partition, "offset": event.offset, "written_at": written, **models}


def _print(lines: Sequence[tuple[str, object]], *, as_json: bool) -> None:
    for words, value in lines:
        if as_json:
            console.show_json(value)
        else:
            console.show(words)


def _named(bundle: BundleName) -> str:
    return f"{bundle.name} {bundle.version} ({bundle.digest[:DIGITS]})"


def _decides(models: Models) -> str:
    asked = ", and a person is asked about every event" if models.asks_people else ""
    challenger = models.challenger
    if challenger is None:
        return f"{_named(models.champion)} decides{asked}"
    what = f"{challenger.share:.4g}{_of_sources(challenger)} by {challenger.unit}"
    return f"{_named(models.champion)} decides, and {_named(challenger.bundle)} {what}{asked}"


def _of_sources(challenger: Challenger) -> str:
    return f" of the events from {', '.join(challenger.sources)}" if challenger.sources else ""


def _back(models: Models, words: str) -> str:
    return f"{words}: {_decides(models)}"


def _off(seconds: float) -> str:
    """
    Return how far a clock is ahead of another clock, or behind it.

    >>> _off(7200.4), _off(-90)
    ('2:00:00 ahead of', '0:01:30 behind')
    """
    return f"{dt.timedelta(seconds=round(abs(seconds)))} {'ahead of' if seconds > 0 else 'behind'}"


def _models(models: Models) -> dict[str, Any]:
    found = {"epoch": models.epoch, "champion": models.champion, "challenger": models.challenger}
    return {**found, "asks_people": True} if models.asks_people else found


def _status(found: Standing) -> dict[str, Any]:
    epochs = found.epochs
    closing = None if found.closed_at is None else {"since": found.closed_at, "seconds": round(_closing_seconds(found), 1)}
    return {
        "started": epochs.started,
        "now": _models(epochs.models(epochs.newest)) if epochs.started else None,
        "rollback": None if found.back is None else _models(found.back[0]),
        "planned": None if epochs.planned is None else _models(epochs.planned),
        "closing": epochs.closing,
        "closed": closing,
        "begins": [
            {"partition": place, "epochs": [{"epoch": epoch, "offset": offset} for offset, epoch in epochs.begins(place)]}
            for place in sorted(epochs.partitions, key=lambda one: (one.topic, one.topic_id, one.partition))
        ],
        "unlisted": list(found.unlisted),
        "waiting": None if found.waiting is None else _by_partition(found.waiting),
        "workers": [{"host": host, "state": state} for host, state in found.workers],
        "silent": found.silent,
    }


def _by_partition(waiting: Mapping[tuple[str, int], int]) -> dict[str, int]:
    """Return the counts by partition number; with several topics, by topic and partition number."""
    several = len({topic for topic, _ in waiting}) > 1
    return {f"{topic}/{number}" if several else str(number): count for (topic, number), count in waiting.items()}


def _value_of(entry: Entry) -> dict[str, object]:
    return {"offset": entry.offset, "counts": entry.counts, "record": entry.record}


def _line_of(entry: Entry) -> str:
    record = entry.record
    words = " ".join(
        [*_words(entry), *([f"({record.why})"] if record.why else []), *([] if entry.counts else ["[does not count]"])]
    )
    if abs(entry.ahead_seconds) > CLOCK_SECONDS:
        words = f"{words} [written at {timestamp(entry.written_ms)}: the clock of {record.by} was {_off(entry.ahead_seconds)} the brokers']"
    return f"{entry.offset}  {record.at}  {record.by}  {words}"


def _words(entry: Entry) -> Iterator[str]:
    record = entry.record
    match record:
        case Start():
            yield f"start: {_named(record.champion)} has decided {counted(len(record.partitions), 'partition')}"
        case Plan():
            yield f"plan {record.epoch}: {_decides(Models.of(record))}"
        case Close():
            yield f"close {record.epoch}"
        case Marks():
            yield f"marks {record.epoch}: {', '.join(f'{_place(mark.at)}:{mark.offset}' for mark in record.marks)}"
        case Abort():
            yield f"abort {record.epoch}"
        case Verdict():
            yield f"verdict {record.epoch}: {record.decision} on {_named(record.challenger)} after {record.days:.1f} days"


def _place(partition: Partition) -> str:
    return f"{partition.topic}/{partition.partition}"
