"""Whom a worker's death makes a suspect: what a process writes down of itself, and what the next one makes of it. Pure."""

import hashlib
from collections.abc import Iterable

import msgspec

from stream.contract.record import Record

Place = tuple[int, int]
"""Partition and offset."""


class InHand(msgspec.Struct, array_like=True, frozen=True):
    """An event in the model. `fingerprint` is empty where it had company."""

    partition: int
    offset: int
    fingerprint: str = ""


class Suspect(msgspec.Struct, array_like=True, frozen=True):
    """
    An event that was in the model as a process died.

    `deaths`: at how many, of which the first alone may have been in company. `fingerprint`: of its bytes, once it was alone.
    """

    partition: int
    offset: int
    deaths: int
    fingerprint: str = ""


class State(msgspec.Struct, array_like=True, frozen=True):
    """All that a file says: suspects, and what is in the model now, a list for every thread."""

    suspects: list[Suspect]
    in_hand: list[list[InHand]]


def inherited(states: Iterable[State]) -> dict[Place, Suspect]:
    """
    Whom dead processes leave as suspects.

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
    """Of an event's bytes and time: offsets come again where a topic is made anew, and its events must not be blamed."""
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
