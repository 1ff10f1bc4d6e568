"""What `tagstream rollout` prints."""

import asyncio
import contextlib
import datetime as dt
import signal
import time
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from tagstream.model_export.verify import TRIAL_SECONDS
from tagstream.monitoring.metrics.controller import ControllerMetrics
from tagstream.stream.cli.show.metrics import metrics_at
from tagstream.stream.contract.outcome import timestamp
from tagstream.stream.contract.published import milliseconds
from tagstream.stream.contract.rollout import (
    Abort,
    BundleName,
    Challenger,
    Close,
    GuardedSlice,
    Guards,
    Marks,
    Partition,
    Plan,
    Start,
    Verdict,
)
from tagstream.stream.rollout import change
from tagstream.stream.rollout.arm_size import ArmSize
from tagstream.stream.rollout.change import Audience, Begun, Entry, NoRolloutError, RolloutError, Standing, Then
from tagstream.stream.rollout.controller import ControllerError
from tagstream.stream.rollout.epochs import Models
from tagstream.stream.rollout.verdict import Decision
from tagstream.stream.rollout.watch import Judged, NothingWatchedError, Watch
from tagstream.stream.rollout.watch import watch as watching
from tagstream.stream.settings.settings import Settings
from tagstream.stream.terminal import console
from tagstream.stream.terminal.text import counted

DIGITS = 12
T = TypeVar("T")
# Clocks that a time server sets differ by far less.
CLOCK_SECONDS = 60.0
NOT_BEGUN = "no rollout has begun: the workers decide by the bundle of their settings"
SILENT = (
    "without a word on the rollout: one of an older version, or that decides by rules, takes its own model for every event. "
    "Next: run this version on all of them, or end them"
)


class EndedBySignalError(RolloutError):
    """A signal ended a command before it changed anything."""

    exit_code = 130

    def __init__(self) -> None:
        """Say so."""
        super().__init__("a signal ended this command before it changed the model; nothing has changed.")


def promote(settings: Settings, bundle: Path, *, asks_people: bool, without_workers: bool, why: str) -> None:
    """Raises as `change.promote`."""
    _say_trying(bundle)
    begun = change.promote(settings, bundle, asks_people=asks_people, without_workers=without_workers, why=why)
    _say_begun(_changed(begun))


def guarded(named: Sequence[str]) -> tuple[GuardedSlice, ...]:
    """
    Slices with their margins, as the option names them: `SLICE` or `SLICE=MARGIN`.

    Raises:
        RolloutError: A margin is no number from 0 to 0.5, or a slice is named twice.
    """
    found: dict[str, GuardedSlice] = {}
    for one in named:
        name, given, margin = one.rpartition("=")
        try:
            wanted = {"name": name, "margin": float(margin)} if given else {"name": one}
            guard = msgspec.convert(wanted, GuardedSlice)
        except (ValueError, msgspec.ValidationError) as error:
            msg = f"--guard {one} is no slice with a margin from 0 to 0.5: {error}. Next: give it as in --guard 'source: web=0.02'."
            raise RolloutError(msg) from error
        if guard.name in found:
            msg = f"--guard names {guard.name!r} twice. Next: leave one out."
            raise RolloutError(msg)
        found[guard.name] = guard
    return tuple(found.values())


def canary(
    settings: Settings, bundle: Path, audience: Audience, *, guards: Guards | None, without_workers: bool, why: str
) -> None:
    """Raises as `change.canary`."""
    _say_trying(bundle)
    begun = change.canary(settings, bundle, audience, guards=guards, without_workers=without_workers, why=why, tell=_say_size)
    _say_begun(_changed(begun))


def _say_size(challenger: Challenger, size: ArmSize) -> None:
    """How many events the arm is, before it is one."""
    what = f"{challenger.share:.4g}{_of_sources(challenger)} by {challenger.unit}"
    if size.unknown:
        console.talk(f"{what}: how many events that is, is not known: {size.unknown}")
    elif not size.events:
        console.talk(f"{what}: how many events that is, is not known: there are none yet")
    else:
        heaviest = (
            f"; one key alone has {size.heaviest / size.events:.1%}" if challenger.unit == "key" and size.heaviest else ""
        )
        console.talk(
            f"{what}: it would have decided {size.its / size.events:.1%} of the newest {counted(size.events, 'event')}{heaviest}"
        )


def verdict(settings: Settings, *, as_json: bool) -> None:
    """Raises as `Watch.look`."""
    judged = asyncio.run(Watch(settings).look())
    found = judged.verdict
    if as_json:
        console.show_json(
            {**_models(judged.models), "decision": found.decision, "says": found.says, "days": found.days, "gates": found.gates}
        )
        return
    console.talk(f"epoch {judged.models.epoch}: {_decides(judged.models)}")
    console.show(f"{found.decision.replace('_', ' ')}: {found.says}")
    for gate in found.gates:
        console.show(f"  {gate.state:<8} {gate.name}: {gate.says}")
    if judged.unseen:
        console.talk(
            f"not there, or this user may not read them: {', '.join(judged.unseen)}; they count as empty. Next: `tagstream rollout shadow` writes to "
            f"{settings.topics.shadow}; grant READ on the others"
        )
    if judged.unread:
        console.talk(f"{counted(judged.unread, 'record')} of shadow, reviewed or reports cannot be read, and count for nothing")


def watch(settings: Settings, *, every_seconds: float, metrics_port: int) -> None:
    """Say each verdict that is new, and count every look, until SIGINT or SIGTERM."""
    metrics = ControllerMetrics.alone(tuple(Decision))
    said: list[str] = []
    # The verdict on which an epoch is begun.
    decided: list[Decision] = []

    def say(line: str) -> None:
        if said[-1:] != [line]:
            said[:] = [line]
            console.talk(line)

    def tell(judged: Judged) -> None:
        found = judged.verdict
        decided[:] = [found.decision]
        answers = next(gate for gate in found.gates if gate.name == "answers")
        metrics.judged(judged.models.epoch, found.decision, answers.figures)
        say(f"epoch {judged.models.epoch}: {found.decision.replace('_', ' ')}: {found.says}")

    def began(begun: Begun) -> None:
        metrics.changed(decided[-1])
        _say_begun(begun)

    def failed(error: Exception) -> None:
        told = {
            NothingWatchedError: metrics.no_challenger,
            NoRolloutError: metrics.no_challenger,
            ControllerError: metrics.change_failed,
        }
        next((how for kind, how in told.items() if isinstance(error, kind)), metrics.failed)(str(error))
        say(str(error))

    with metrics_at(settings, metrics_port, metrics) as address:
        console.talk(f"metrics at http://{address}/metrics")
        with contextlib.suppress(asyncio.CancelledError):
            work = watching(settings, every_seconds=every_seconds, tell=tell, began=began, failed=failed)
            asyncio.run(_until_told(work, signal.SIGINT, signal.SIGTERM))


async def _until_told(work: Coroutine[Any, Any, T], *signs: signal.Signals) -> T:
    """Run until it ends, or is cancelled by one of these signals."""
    task = asyncio.ensure_future(work)
    for sign in signs:
        asyncio.get_running_loop().add_signal_handler(sign, task.cancel)
    return await task


def _changed(change: Coroutine[Any, Any, T]) -> T:
    """
    Run a change of the model, which a signal does not leave half done.

    Raises:
        RolloutError: A signal ended it before an epoch was closed; its plan is given up.
    """
    try:
        return asyncio.run(_until_told(change, signal.SIGINT, signal.SIGTERM, signal.SIGHUP))
    except asyncio.CancelledError as error:
        raise EndedBySignalError from error


def rollback(settings: Settings, *, why: str) -> None:
    """Raises as `change.rollback`."""

    def tell(models: Models, words: str) -> None:
        console.talk(_back(models, words))

    _say_begun(_changed(change.rollback(settings, why=why, tell=tell)))


def finish(settings: Settings) -> None:
    """Raises as `change.finish`."""
    epochs = _changed(change.finish(settings))
    console.talk(
        f"epoch {epochs.newest}: {_decides(epochs.models(epochs.newest))}; nothing is held" if epochs.started else NOT_BEGUN
    )


def store(settings: Settings, bundle: Path) -> None:
    """Raises as `change.store`."""
    console.talk(f"stored: {_named(change.store(settings, bundle))} in {settings.rollout.bundles}")


def status(settings: Settings, *, as_json: bool) -> None:
    """Raises as `change.status`."""
    found = asyncio.run(change.status(settings))
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
    """Which epoch decides where, what is planned, and what is held."""
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
        "how many wait, this user may not know"
        if found.waiting is None
        else f"{counted(sum(found.waiting.values()), 'event')} of the group wait"
    )


def _closing_seconds(found: Standing) -> float:
    """By the clocks of two machines; None of them is compared by the protocol."""
    return 0.0 if found.closed_at is None else max(0.0, time.time() - milliseconds(found.closed_at) / 1000)


def log(settings: Settings, *, at: str | None, partition: int | None, as_json: bool) -> None:
    """
    Print the records, or which model decided at a time.

    Raises:
        RolloutError: The time cannot be read or has not come yet, or there is no such partition.
        NoRolloutError: There is no rollout, or the time lies before its first record.
    """
    entries, epochs = asyncio.run(change.history(settings))
    if at is None:
        _print([(_line_of(entry), _value_of(entry)) for entry in entries], as_json=as_json)
        return
    if not epochs.started:
        msg = "no rollout has begun, so the topic does not say which model decided"
        raise NoRolloutError(msg)
    moment_ms = _moment(at)
    began = change.begun_at(entries, moment_ms)
    models = epochs.models(began.record.epoch)
    value = {"at": timestamp(moment_ms), **_models(models), "since": timestamp(began.written_ms), "record": began.offset}
    found = change.first_events(settings, epochs, moment_ms, partition)
    _print(
        [
            (f"{value['at']}: epoch {models.epoch}, {_decides(models)}, since {value['since']} (record {began.offset})", value),
            *((_line_then(then), _value_then(then)) for then in found),
        ],
        as_json=as_json,
    )


def _line_then(then: Then) -> str:
    place = f"  {_place(then.partition)}"
    if not then.is_there:
        return f"{place} of the topic {then.partition.topic_id}: that topic is gone, and no event of it can be asked for; its marks are in the log"
    if then.models is None or then.written_ms is None:
        return f"{place}: no event from then on"
    return f"{place}: the first event from then on has offset {then.offset}, {timestamp(then.written_ms)}: epoch {then.models.epoch}, {_decides(then.models)}"


def _value_then(then: Then) -> dict[str, object]:
    models = {"epoch": None, "champion": None, "challenger": None} if then.models is None else _models(then.models)
    written = None if then.written_ms is None else timestamp(then.written_ms)
    return {"partition": then.partition, "offset": then.offset, "written_at": written, **models}


def _print(lines: Sequence[tuple[str, object]], *, as_json: bool) -> None:
    for words, value in lines:
        if as_json:
            console.show_json(value)
        else:
            console.show(words)


def _moment(text: str) -> int:
    """Unix milliseconds."""
    try:
        found = dt.datetime.fromisoformat(text)
        # The same words mean the same moment on every machine.
        known = found if found.tzinfo is not None else found.replace(tzinfo=dt.UTC)
        return int(known.timestamp() * 1000)
    except (ValueError, OverflowError) as error:
        msg = f"{text!r} is no time. Next: write it as 2026-01-31T12:00Z."
        raise RolloutError(msg) from error


def _say_trying(bundle: Path) -> None:
    console.talk(f"verifying {bundle}, for {TRIAL_SECONDS:.0f} s at most; then the workers do")


def _say_begun(begun: Begun) -> None:
    places = [f"{mark.at.topic}/{mark.at.partition}:{mark.offset}" for mark in begun.marks if mark.offset is not None]
    console.talk(f"epoch {begun.models.epoch} has begun: {_decides(begun.models)}")
    console.talk(f"  from {', '.join(places)} on; no event could begin for {begun.closed_seconds * 1000:.0f} ms")
    if begun.by_another:
        console.talk("  a worker or a `rollout watch` began it, since this command was late")
    if abs(begun.ahead_seconds) > CLOCK_SECONDS:
        console.talk(
            f"  this machine's clock is wrong, or that of the brokers: it is {_off(begun.ahead_seconds)} theirs. The topic has their time; `at` and tokens "
            "are by this one. Next: set the clock of this machine by a time server"
        )
    if not begun.workers:
        console.talk("  the group has no worker now, so none was asked whether it is ready")


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
    So far a clock is ahead of another one, or behind it.

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
    """By the number of the partition, and by its topic too where there are several."""
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
