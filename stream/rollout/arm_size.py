"""Counts how many of the newest events of the stream fall into a challenger's arm."""

import itertools
import time
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from tagstream.stream.contract.event import decode
from tagstream.stream.contract.refusal import Refusal
from tagstream.stream.contract.rollout_records import Challenger
from tagstream.stream.kafka import admin
from tagstream.stream.kafka.errors import BrokerUnreachableError, NotAuthorizedError
from tagstream.stream.kafka.reading.log import log_of
from tagstream.stream.kafka.rights import Operation
from tagstream.stream.registry.avro import MissingExtraError
from tagstream.stream.registry.client import RegistryError
from tagstream.stream.registry.unframing import unframing_of
from tagstream.stream.rollout.arms import is_challengers
from tagstream.stream.settings.secret_files import SecurityError
from tagstream.stream.settings.settings import Settings

# The number of newest records that are read of a topic, over all partitions, and the longest time for reading them.
MOST_READ = 5_000
MOST_SECONDS = 10.0
BATCH = 500
LEAST_PART = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmSize:
    """
    The size of a challenger's arm among the newest events.

    Attributes:
        events: The number of events that were examined, from one period that all partitions share.
        its: The number of these events that the challenger would have decided.
        heaviest: The number of the challenger's events that have the most frequent key.
        unknown: Why events were not counted; empty if they were.
    """

    events: int = 0
    its: int = 0
    heaviest: int = 0
    unknown: str = ""


def arm_size(settings: Settings, challenger: Challenger) -> ArmSize:
    """
    Count the newest events that fall into a challenger's arm. An error is returned in `unknown` and not raised.

    Args:
        settings: Brokers and topics.
        challenger: The challenger with its final salt, since the salt decides whether a heavy key is in its arm.
    """
    try:
        found = [_of_topic(one, challenger) for one in settings.each_content]
    except (BrokerUnreachableError, NotAuthorizedError, MissingExtraError, RegistryError, SecurityError) as error:
        return ArmSize(unknown=str(error))
    return ArmSize(
        events=sum(one.events for one in found),
        its=sum(one.its for one in found),
        heaviest=max(one.heaviest for one in found),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """An event: its partition, when it was written (Unix milliseconds), its key, and whether the challenger would have decided it."""

    partition: int
    written_ms: int
    key: bytes | None
    its: bool


def _of_topic(settings: Settings, challenger: Challenger) -> ArmSize:
    topic = settings.topics.content
    admin.require(settings, {"content": topic}, operations={"content": Operation.READ})
    unframe, until = unframing_of(settings), time.monotonic() + MOST_SECONDS
    seen: list[Seen] = []
    with log_of(settings, topic) as log:
        starts, ends = log.starts(), log.ends()
        first = {number: max(starts[number], end - MOST_READ // len(ends)) for number, end in ends.items()}
        records = log.read(first, ends)
        # Records are read batch by batch, since events may be large.
        while time.monotonic() < until and (batch := list(itertools.islice(records, BATCH))):
            for record in batch if unframe is None else unframe(batch):
                event = record if isinstance(record, Refusal) else decode(record, settings.limits)
                if isinstance(event, Refusal):
                    continue
                key = event.record.key
                its = is_challengers(challenger, key=key, event_id=event.id, source=event.source)
                seen.append(Seen(partition=event.record.partition, written_ms=event.record.timestamp_ms, key=key, its=its))
    events = of_one_time(seen, {number for number in ends if first[number] > starts[number]})
    keys = Counter(event.key for event in events if event.its and event.key is not None)
    return ArmSize(events=len(events), its=sum(event.its for event in events), heaviest=max(keys.values(), default=0))


def of_one_time(seen: Sequence[Seen], partly: Collection[int]) -> Sequence[Seen]:
    """
    Return the events of the period that was read in every partition.

    A heavy key fills its own partition faster. The same number of events from each partition would hide that.

    Args:
        seen: The newest events of each partition.
        partly: The partitions that were not read from their beginning.

    >>> busy = [Seen(partition=0, written_ms=ms, key=b"heavy", its=True) for ms in (60, 70, 80, 90)]
    >>> quiet = [Seen(partition=1, written_ms=ms, key=b"light", its=False) for ms in (20, 40, 60, 80)]
    >>> [len(of_one_time([*busy, *quiet], partly)) for partly in ((), (0, 1), (1,))]
    [8, 6, 8]
    """
    oldest: dict[int, int] = {}
    for event in seen:
        oldest.setdefault(event.partition, event.written_ms)
    since = max((ms for partition, ms in oldest.items() if partition in partly), default=0)
    found = [event for event in seen if event.written_ms >= since]
    # Producers set these times, so the times may be wrong. Then all events are taken.
    return found if len(found) >= LEAST_PART * len(seen) else seen
