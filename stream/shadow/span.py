"""The part of `content` that is decided again: from a time or offsets on, up to a time, offsets, or the ends of now."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from tagstream.stream.contract.published import milliseconds
from tagstream.stream.kafka import admin
from tagstream.stream.kafka.reading.log import Log, log_of
from tagstream.stream.kafka.rights import Operation
from tagstream.stream.settings.settings import Settings

OFFSETS = re.compile(r"\d{1,9}:\d{1,18}(,\d{1,9}:\d{1,18})*")

Bound = int | Mapping[int, int]
"""Unix milliseconds, or offsets by partition."""


class SpanError(Exception):
    """The range cannot be read as it was given: the message says why, and the next step."""

    exit_code = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """
    A range of the topic.

    Attributes:
        first: The offset with which each partition begins.
        last: The offset before which each partition ends.
        since_ms: No event of the range is older, by the time of its record, Unix milliseconds; None where nothing is known of that.
        gone: Offsets that were asked for and are not in the log any more.
    """

    first: Mapping[int, int]
    last: Mapping[int, int]
    since_ms: int | None = None
    gone: int = 0

    @property
    def offsets(self) -> int:
        """How many there are; markers of transactions are among them."""
        return sum(self.last[partition] - self.first[partition] for partition in self.first)


def bound_of(text: str, option: str) -> Bound:
    """
    A time, or offsets by partition.

    Args:
        text: As a person wrote it.
        option: For the message.

    Raises:
        SpanError: It is neither.

    >>> bound_of("2023-11-14T22:13:20.123Z", "--since"), bound_of("0:120,3:7", "--until")
    (1700000000123, {0: 120, 3: 7})
    """
    if OFFSETS.fullmatch(text):
        pairs = [pair.split(":") for pair in text.split(",")]
        found = {int(partition): int(offset) for partition, offset in pairs}
        if len(found) < len(pairs):
            msg = f"{option} {text} names a partition twice. Next: give one offset for each."
            raise SpanError(msg)
        return found
    try:
        return milliseconds(text)
    except ValueError as error:
        msg = (
            f"{option} {text!r} is neither a time nor offsets. Next: write a time as 2026-01-31T12:00Z, or an offset for each partition "
            f"as 0:1200,1:1350."
        )
        raise SpanError(msg) from error


def span_of(settings: Settings, begin: Bound | None, end: Bound | None) -> Span:
    """
    The offsets of a range.

    Args:
        settings: Brokers and the topic `content`.
        begin: None: the beginning of the log. Offsets: partitions that are not named are read from their beginning.
        end: None: the ends of now. Offsets: partitions that are not named are read to their end of now.

    Raises:
        SpanError: It ends before it begins, names a partition that is not there, or an offset behind the end.
        BrokerUnreachableError: No broker answered in time, or one refused us.
        TopicsMissingError: There is no such topic.
        NotAuthorizedError: This user may not read it.
    """
    topic = settings.topics.content
    admin.require(settings, {"content": topic}, operations={"content": Operation.READ})
    with log_of(settings, topic) as log:
        starts, ends = log.starts(), log.ends()
        asked = starts | _offsets(log, begin, ends, topic, "--since")
        last = ends | _offsets(log, end, ends, topic, "--until")
    if isinstance(begin, int) and isinstance(end, int) and begin > end:
        msg = "--since lies after --until. Next: exchange them."
        raise SpanError(msg)
    first = {partition: max(asked[partition], starts[partition]) for partition in starts}
    for partition in sorted(first):
        if asked[partition] > last[partition]:
            msg = (
                f"--since lies after --until in partition {partition} of {topic}: {asked[partition]} and {last[partition]}. "
                f"Next: exchange them, or leave --until out for the end of now."
            )
            raise SpanError(msg)
    return Span(
        first=first,
        last={partition: max(first[partition], last[partition]) for partition in first},
        since_ms=begin if isinstance(begin, int) else None,
        gone=sum(first[partition] - asked[partition] for partition in first),
    )


def _offsets(log: Log, bound: Bound | None, ends: Mapping[int, int], topic: str, option: str) -> dict[int, int]:
    if bound is None:
        return {}
    if isinstance(bound, int):
        return log.offsets_since(bound)
    for partition, offset in bound.items():
        if partition not in ends:
            msg = f"{option} names partition {partition}, and {topic} has {len(ends)}, from 0 on. Next: correct it."
            raise SpanError(msg)
        if offset > ends[partition]:
            msg = f"{option} names offset {offset} of partition {partition}, and {topic} ends there at {ends[partition]}. Next: correct it."
            raise SpanError(msg)
    return dict(bound)
