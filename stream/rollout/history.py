"""The records of a rollout, looked at afterwards: which model decided when, and from which event on."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

from tagstream.stream.contract.outcome import timestamp
from tagstream.stream.contract.published import milliseconds
from tagstream.stream.contract.rollout_records import Marks, Partition, RolloutRecord, Start
from tagstream.stream.kafka.reading.log import log_of
from tagstream.stream.rollout.epochs import Epochs, Models
from tagstream.stream.rollout.errors import NoRolloutError, RolloutError
from tagstream.stream.rollout.presence import rollout_topic
from tagstream.stream.rollout.topic import rollout_reader
from tagstream.stream.settings.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """
    A record of the topic.

    Attributes:
        record: It.
        offset: Its offset.
        counts: Whether it counts.
        written_ms: When it was written, Unix milliseconds (`RolloutReader.written_ms`).
    """

    record: RolloutRecord
    offset: int
    counts: bool
    written_ms: int

    @property
    def ahead_seconds(self) -> float:
        """So far the clock of whoever wrote it was ahead of the brokers', negative behind it; about 0 where the topic has no time of theirs."""
        return (milliseconds(self.record.at) - self.written_ms) / 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstEvent:
    """
    The first event of a partition from a moment on.

    Attributes:
        partition: Which one.
        is_there: Its topic is still the one that the records list.
        offset: Of the first event that was written at that moment or later; None where there is none yet, or the topic is gone.
        written_ms: When that event was written, by its producer, Unix milliseconds.
        models: Of that event's epoch; None without an event.
    """

    partition: Partition
    is_there: bool = True
    offset: int | None = None
    written_ms: int | None = None
    models: Models | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DecidedAt:
    """
    What decided at a moment.

    Attributes:
        moment_ms: The moment, Unix milliseconds.
        began: The record with which the epoch of then began.
        models: The models of that epoch.
        events: The first event of each partition from then on.
    """

    moment_ms: int
    began: Entry
    models: Models
    events: Sequence[FirstEvent]


def require_rollout(settings: Settings) -> dict[str, str]:
    """
    The ids of the topic `rollout` and of the content topics by their names.

    Raises:
        NoRolloutError: There is no topic `rollout`.
        RolloutRecordError: There was one, and it is gone (`rollout_topic`).
        BrokerUnreachableError: No broker answered.
    """
    found = rollout_topic(settings)
    if found is None:
        msg = (
            f"there is no topic {settings.rollout.topic}: the workers decide by the bundle of their settings. "
            "Next: `tagstream rollout promote BUNDLE` makes it."
        )
        raise NoRolloutError(msg)
    return found


def require_group(settings: Settings, epochs: Epochs) -> None:
    """
    Is the rollout that of this group?

    Raises:
        RolloutError: It is another one's.
    """
    if epochs.started and epochs.group != settings.group:
        msg = (
            f"the topic {settings.rollout.topic} is that of the group {epochs.group!r}, and the settings name {settings.group!r}. "
            "Next: set TAGSTREAM_GROUP, or give each group a topic of its own by TAGSTREAM_ROLLOUT__TOPIC."
        )
        raise RolloutError(msg)


async def history(settings: Settings) -> tuple[list[Entry], Epochs]:
    """
    Every record of the topic, and what they come to.

    Raises:
        NoRolloutError: There is no topic `rollout`.
    """
    await asyncio.to_thread(require_rollout, settings)
    found: list[tuple[RolloutRecord, int, bool]] = []
    async with rollout_reader(settings, lambda *taken: found.append(taken)) as reader:
        epochs = await reader.read_to(await reader.end())
        return [
            Entry(record=record, offset=offset, counts=counts, written_ms=reader.written_ms(offset))
            for record, offset, counts in found
        ], epochs


def decided_at(
    settings: Settings, entries: Sequence[Entry], epochs: Epochs, moment_ms: int, partition: int | None = None
) -> DecidedAt:
    """
    Which models decided at a moment, and from which events on.

    Args:
        settings: Brokers and topics.
        entries: All records of the topic, in their order.
        epochs: What the records come to.
        moment_ms: Unix milliseconds.
        partition: The first event of this partition alone; None for all.

    Raises:
        NoRolloutError: No rollout has begun, or the moment lies before its first record.
        RolloutError: The moment has not come yet, or the topic has no such partition, or no record lists it.
    """
    if not epochs.started:
        msg = "no rollout has begun, so the topic does not say which model decided"
        raise NoRolloutError(msg)
    began = begun_at(entries, moment_ms)
    events = first_events(settings, epochs, moment_ms, partition)
    return DecidedAt(moment_ms=moment_ms, began=began, models=epochs.models(began.record.epoch), events=events)


def begun_at(entries: Sequence[Entry], moment_ms: int) -> Entry:
    """
    The record with which the epoch began that was the newest one at a moment: its marks, or the start.

    A record counts from the latest time of those up to it on. So one that is written later, by whichever clock, changes no answer about the time before the
    others.

    Args:
        entries: All records of the topic, in their order.
        moment_ms: Unix milliseconds.

    Raises:
        NoRolloutError: The moment lies before the first record.
        RolloutError: It has not come yet.
    """
    counted = [entry for entry in entries if entry.counts]
    began: Entry | None = None
    for entry in counted:
        if entry.written_ms > moment_ms:
            break
        # Later marks of the same epoch list partitions that are new.
        if isinstance(entry.record, Start | Marks) and (began is None or entry.record.epoch > began.record.epoch):
            began = entry
    if began is None:
        first = f"its first record is of {timestamp(counted[0].written_ms)}" if counted else "it has no record"
        msg = (
            f"what decided at {timestamp(moment_ms)} is not known from the topic: {first}. Next: each decision on `tagged` and `review` names its bundle by "
            "`model.digest`."
        )
        raise NoRolloutError(msg)
    now_ms = max(int(time.time() * 1000), counted[-1].written_ms)
    if moment_ms > now_ms:
        msg = f"{timestamp(moment_ms)} has not come yet: this machine's clock says {timestamp(now_ms)}. Next: give a time that is over."
        raise RolloutError(msg)
    return began


def first_events(settings: Settings, epochs: Epochs, moment_ms: int, partition: int | None = None) -> list[FirstEvent]:
    """
    The first event of each listed partition from a moment on, by the times of the events, and what decides it.

    Args:
        settings: Brokers and topics.
        epochs: The records of the topic.
        moment_ms: Unix milliseconds.
        partition: Of this one alone; None for all.

    Raises:
        RolloutError: The topic has no such partition, or no record lists it.
    """
    ids = require_rollout(settings)
    events: dict[tuple[str, int], tuple[int, int] | None] = {}
    for topic in settings.content_topics:
        with log_of(settings, topic) as log:
            events |= {(topic, number): event for number, event in log.first_since(moment_ms).items()}
    listed = {place for place in epochs.partitions if partition in {None, place.partition}}
    there = {place for place in listed if ids.get(place.topic) == place.topic_id and (place.topic, place.partition) in events}
    topics = " and ".join(settings.content_topics)
    if partition is not None and partition not in {number for _, number in events}:
        most = 1 + max(number for _, number in events)
        msg = f"{topics} {'have' if settings.contents else 'has'} no partition {partition}; there are {most}, from 0 on."
        raise RolloutError(msg)
    if partition is not None and not there:
        msg = f"partition {partition} of {topics} is in no record, so its events are held. Next: `tagstream rollout finish` lists it."
        raise RolloutError(msg)

    def then(place: Partition) -> FirstEvent:
        if place not in there:
            # Offsets of a topic that was made again under the same name are those of other events.
            return FirstEvent(partition=place, is_there=False)
        event = events[place.topic, place.partition]
        if event is None:
            return FirstEvent(partition=place)
        offset, written_ms = event
        return FirstEvent(
            partition=place, offset=offset, written_ms=written_ms, models=epochs.models(epochs.epoch_of(place, offset))
        )

    return sorted(
        map(then, listed),
        key=lambda one: (not one.is_there, one.partition.topic, one.partition.topic_id, one.partition.partition),
    )
