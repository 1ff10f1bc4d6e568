"""Which events the death of a worker makes suspects: the state that a worker writes down, and how the next one reads it. Pure."""

import hashlib
from collections.abc import Iterable

import msgspec

from stream.contract.record import Record

Place = tuple[int, int]
"""Partition and offset."""


class InHand(msgspec.Struct, array_like=True, frozen=True):
    """An event in the model."""

    partition: int
    offset: int


class Suspect(msgspec.Struct, array_like=True, frozen=True):
    """
    An event that was in the model when a worker died.

    Attributes:
        partition: Its partition of `content`.
        offset: Its offset.
        deaths: How many processes died with it: a worker, which counts once however often, and those of its trials.
        fingerprint: Of its bytes, once it was tried.
    """

    partition: int
    offset: int
    deaths: int = 1
    fingerprint: str = ""


class State(msgspec.Struct, array_like=True, frozen=True):
    """
    The content of a crash file.

    Attributes:
        suspects: What earlier processes left.
        in_hand: The events that are in the model now, one list for each thread.
        tried: Did trials count the deaths? Files of 0.1.0 count deaths of workers, which prove nothing.
    """

    suspects: list[Suspect]
    in_hand: list[list[InHand]]
    tried: bool = False


def inherited(states: Iterable[State]) -> dict[Place, Suspect]:
    """
    The suspects after processes with these states have died.

    >>> one = State([Suspect(0, 8, 2, "f")], [[InHand(0, 7), InHand(0, 8)]], tried=True)
    >>> [suspect.deaths for suspect in inherited([one]).values()]
    [2, 1]
    """
    found: dict[Place, Suspect] = {}
    for state in states:
        for suspect in _left(state):
            place = (suspect.partition, suspect.offset)
            if place not in found or found[place].deaths < suspect.deaths:
                found[place] = suspect
    return found


def fingerprint(event: Record) -> str:
    """A hash of an event's bytes and time. A topic that is made anew reuses offsets, and its events must not be blamed for old ones."""
    head = f"{event.timestamp_ms}:{-1 if event.key is None else len(event.key)}:".encode()
    return hashlib.blake2b(b"".join((head, event.key or b"", event.value or b"")), digest_size=8).hexdigest()


def _left(state: State) -> Iterable[Suspect]:
    for suspect in state.suspects:
        yield suspect if state.tried else Suspect(suspect.partition, suspect.offset)
    for batch in state.in_hand:
        for event in batch:
            yield Suspect(event.partition, event.offset)
