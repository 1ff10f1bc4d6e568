"""The range of `content` that is decided again: from a time or offsets, up to a time, offsets, or the current ends."""

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
    """The range is not valid. The message gives the reason and the next step."""

    exit_code = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """
    A range of the topic.

    Attributes:
        first: The first offset of each partition.
        last: The end of each partition: the offset after the last one.
        since_ms: No record in the range is older than this time, Unix milliseconds; None if the range does not begin with a time.
        gone: The number of requested offsets that are not in the log any more.
    """

    first: Mapping[int, int]
    last: Mapping[int, int]
    since_ms: int | None = None
    gone: int = 0

    @property
    def offsets(self) -> int:
        """The number of offsets, including markers of transactions."""
        return sum(self.last[partition] - self.first[partition] for partition in self.first)


def bound_of(text: str, option: str) -> Bound:
    """
    Return the time or the offsets by partition in a text.

    Args:
        text: The text that a person wrote.
        option: The option's name, for the message.

    Raises:
        SpanError: The text is neither a time nor offsets.

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
    Return the offsets of a range.

    Args:
        settings: Brokers and the topic `content`.
        begin: A time or offsets; None for the beginning of the log. Partitions without an offset are read from their beginning.
        end: A time or offsets; None for the current ends. Partitions without an offset are read to their current end.

    Raises:
        SpanError: The range ends before it begins, or names a missing partition or an offset beyond the end.
        BrokerUnreachableError: No broker answered in time, or a broker refused us.
        TopicsMissingError: The topic does not exist.
        NotAuthorizedError: This user may not read the topic.
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
