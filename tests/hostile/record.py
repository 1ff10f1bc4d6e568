"""A hostile record and its expected outcome. Pure."""

import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from tagstream.monitoring.vocabulary import Reason, TextFlag
from tagstream.stream.contract.event import Headers, Record

# Each record carries its number, so that its outcome is found under any id.
NUMBER = "x-hostile-number"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hostile:
    """
    A record for `content`.

    Attributes:
        key: Of the record.
        value: Of the record.
        headers: Of the record.
        timestamp_ms: Of the record; None for the time of sending.
        codes: The codes of which a dead letter must have one; empty where the event must be tagged or go to review.
        flags: The text flags that it must have; None where any are right.
    """

    key: bytes | None = field(default=None, repr=False)
    value: bytes | None = field(repr=False)
    headers: Headers = field(default=(), repr=False)
    timestamp_ms: int | None = None
    codes: frozenset[Reason] = frozenset()
    flags: frozenset[TextFlag] | None = None

    def raw(self, offset: int = 0) -> Record:
        """The record as the worker gets it."""
        return Record(
            topic="content",
            partition=0,
            offset=offset,
            timestamp_ms=1_700_000_000_000 if self.timestamp_ms is None else self.timestamp_ms,
            key=self.key,
            value=self.value,
            headers=self.headers,
        )


Make = Callable[[random.Random, int], Hostile]
"""A class of hostile records: chance and a number that keeps its records apart, to one of them."""


def text(value: str | bytes) -> bytes:
    """The bytes of a value given as text."""
    return value.encode() if isinstance(value, str) else value


def dead(value: str | bytes | None, *codes: Reason, key: bytes | None = None, headers: Headers = ()) -> Hostile:
    """A record that must become a dead letter with one of these codes."""
    return Hostile(key=key, value=None if value is None else text(value), headers=headers, codes=frozenset(codes))


def decided(
    value: str | bytes, *, key: bytes | None = None, headers: Headers = (), flags: frozenset[TextFlag] | None = None
) -> Hostile:
    """A record that must be tagged or go to review."""
    return Hostile(key=key, value=text(value), headers=headers, flags=flags)


def event(number: int, title: str = "Attention over long documents", **fields: object) -> dict[str, object]:
    """A valid event."""
    return {"id": f"hostile-{number}", "title": title, **fields}


def encoded(chance: random.Random, fields: dict[str, object]) -> str:
    """JSON, with escapes at random."""
    return json.dumps(fields, ensure_ascii=chance.random() < 0.5)
