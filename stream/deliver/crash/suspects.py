"""Which events the death of a worker makes suspects: the state that a worker writes down, and how the next one reads it. Pure."""

import hashlib
from collections.abc import Iterable

import msgspec

from stream.contract.record import Record

Place = tuple[int, int]
"""Partition and offset."""


class InHand(msgspec.Struct, array_like=True, frozen=True):
    """An event in the model. `fingerprint` is empty unless it was alone in its batch."""

    partition: int
    offset: int
    fingerprint: str = ""


class Suspect(msgspec.Struct, array_like=True, frozen=True):
    """
    An event that was in the model when a process died.

    Attributes:
        partition: Its partition of `content`.
        offset: Its offset.
        deaths: How many processes died with it. At the first death other events may have been in the model too, later it was alone.
        fingerprint: Of its bytes, once it was alone.
    """

    partition: int
    offset: int
    deaths: int
    fingerprint: str = ""


class State(msgspec.Struct, array_like=True, frozen=True):
    """The content of a crash file: the suspects, and the events that are in the model now, one list for each thread."""

    suspects: list[Suspect]
    in_hand: list[list[InHand]]


def inherited(states: Iterable[State]) -> dict[Place, Suspect]:
    """
    The suspects after processes with these states have died.

    >>> company = State([], [[InHand(0, 7), InHand(0, 8)]])
    >>> alone = State([Suspect(0, 7, 1), Suspect(0, 8, 1)], [[InHand(0, 8, "f")]])
    >>> [suspect.deaths for suspect in inherited([company]).values()], inherited([alone])[0, 8].deaths
    ([1, 1], 2)
    """
    found: dict[Place, Suspect] = {}
    for state in states:
        for place, suspect in _blamed(state).items():
            known = found.get(place)
            if known is None or known.deaths < suspect.deaths:
                found[place] = suspect
    return found


def fingerprint(event: Record) -> str:
    """A hash of an event's bytes and time. A topic that is made anew reuses offsets, and its events must not be blamed for old ones."""
    head = f"{event.timestamp_ms}:{-1 if event.key is None else len(event.key)}:".encode()
    return hashlib.blake2b(b"".join((head, event.key or b"", event.value or b"")), digest_size=8).hexdigest()


def _blamed(state: State) -> dict[Place, Suspect]:
    suspects = {(suspect.partition, suspect.offset): suspect for suspect in state.suspects}
    in_hand = [event for batch in state.in_hand for event in batch]
    alone = len(in_hand) == 1
    for event in in_hand:
        place = (event.partition, event.offset)
        known = suspects.get(place)
        if known is None or (alone and known.fingerprint not in {"", event.fingerprint}):
            suspects[place] = Suspect(*place, deaths=1, fingerprint=event.fingerprint if alone else "")
        elif alone:
            suspects[place] = Suspect(*place, deaths=known.deaths + 1, fingerprint=event.fingerprint)
    return suspects
