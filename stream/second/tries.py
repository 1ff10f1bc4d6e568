"""
The tries of one second: where the present try of each cell begins, after the audits of what the second settled.

Audits are followed in the order in which their answers came, or became late. So a later answer never undoes a withdrawal. They may be put in
any order: after an earlier one, the following continues from the last mark before it.
"""

from bisect import bisect_left, insort
from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from tagstream.monitoring.quality.sample import Floats
from tagstream.stream.second import proof
from tagstream.stream.second.facts import Cell, Place

# So many audits are followed again at most when the newest but one comes last.
MARKED = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """
    An audit that has its answer, or has waited for too long.

    Attributes:
        place: When the answer came or became late, and the event's id.
        cell: The cell of the opinion.
        at_ms: The time of the opinion.
        probability: The probability with which the audit was drawn.
        wrong: Whether it counts as wrong.
    """

    place: Place
    cell: Cell
    at_ms: int
    probability: float
    wrong: bool


@dataclass(slots=True)
class Tries:
    """Where the present try of each cell begins, and how often its certificate was withdrawn; with the watches at that moment."""

    begins: dict[Cell, int] = field(default_factory=dict)
    withdrawn: Counter[Cell] = field(default_factory=Counter)
    of_all: int = 0
    all_begin: int = -1
    watch: dict[Cell, Floats] = field(default_factory=dict)
    watch_of_all: Floats = field(default_factory=proof.begun)

    def begin_of(self, cell: Cell) -> int:
        """Return the time after which opinions belong to the cell's present try, in milliseconds."""
        return max(self.begins.get(cell, -1), self.all_begin)

    def number_of(self, cell: Cell) -> int:
        """Return the number of the cell's present try, 1 for the first."""
        return 1 + self.withdrawn[cell] + self.of_all

    def copy(self) -> "Tries":
        """Return a copy that `follow` may change: it replaces arrays and never writes into them."""
        return Tries(
            begins=dict(self.begins),
            withdrawn=self.withdrawn.copy(),
            of_all=self.of_all,
            all_begin=self.all_begin,
            watch=dict(self.watch),
            watch_of_all=self.watch_of_all,
        )

    def follow(self, audit: Audit, *, promise: float, largest: float) -> None:
        """Take the next audit. One of an item from before the present try says nothing about it."""
        if audit.at_ms <= self.begin_of(audit.cell):
            return
        wrong, weight = np.array(float(audit.wrong)), np.array(1.0 / audit.probability)
        here = self.watch.get(audit.cell, proof.begun())
        here, everywhere = (
            proof.watched(logged, wrong, weight, promise=promise, largest=largest) for logged in (here, self.watch_of_all)
        )
        self.watch[audit.cell], self.watch_of_all = here, everywhere
        if proof.alarmed(everywhere):
            self.of_all, self.all_begin = self.of_all + 1, audit.place[0]
            self.watch, self.watch_of_all = {}, proof.begun()
        elif proof.alarmed(here):
            self.withdrawn[audit.cell] += 1
            self.begins[audit.cell] = audit.place[0]
            del self.watch[audit.cell]


class Audits:
    """The audits of one second."""

    def __init__(self, *, promise: float, largest: float) -> None:
        """Begin without an audit; `largest` is the largest weight that one can have."""
        self._promise, self._largest = promise, largest
        self._audits: dict[str, Audit] = {}
        self._order: list[Place] = []
        self._tries, self._followed, self._marks = Tries(), 0, [Tries()]

    def put(self, event_id: str, audit: Audit | None) -> None:
        """Set what is known of an event's audit; None: it waits for its answer, or is none."""
        known = self._audits.get(event_id)
        if known == audit:
            return
        if known is not None:
            del self._audits[event_id]
            del self._order[self._back_to(known.place)]
        if audit is not None:
            self._audits[event_id] = audit
            self._back_to(audit.place)
            insort(self._order, audit.place)

    def tries(self) -> Tries:
        """Return the tries after all audits; valid until the next `put`."""
        for _, event_id in self._order[self._followed :]:
            self._tries.follow(self._audits[event_id], promise=self._promise, largest=self._largest)
            self._followed += 1
            if self._followed % MARKED == 0:
                self._marks.append(self._tries.copy())
        return self._tries

    def _back_to(self, place: Place) -> int:
        """Forget what was followed from this place on, and return its index."""
        index = bisect_left(self._order, place)
        if index < self._followed:
            del self._marks[index // MARKED + 1 :]
            self._tries, self._followed = self._marks[-1].copy(), index // MARKED * MARKED
        return index
