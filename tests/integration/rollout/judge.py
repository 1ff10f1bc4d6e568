"""
An independent judge of a rollout: reads `content`, `rollout` and the outcomes as bytes, and computes each event's model anew.

It shares no code with the rollout: records are parsed as plain JSON, and marks are compared here.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from tagstream.stream.contract.event import Record

MOST_SHOWN = 5


@dataclass
class Judged:
    """What was found: wrong models, events with several, outcomes by one model that differ, events without one, records out of their place."""

    events: int = 0
    by_epoch: Counter[int] = field(default_factory=Counter)
    by_arm: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    several: list[str] = field(default_factory=list)
    conflicting: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    misplaced: list[str] = field(default_factory=list)

    @property
    def is_right(self) -> bool:
        """
        Every event has one outcome's model, that of its place, and all its outcomes are the same, but for their time.

        And no controller wrote what the protocol has no place for.
        """
        return not any(self.found().values())

    def found(self) -> dict[str, list[str]]:
        """All that is not right, by kind."""
        return {
            "wrong": self.wrong,
            "several": self.several,
            "conflicting": self.conflicting,
            "lost": self.lost,
            "misplaced": self.misplaced,
        }

    def __str__(self) -> str:
        found = self.found()
        by_epoch = ", ".join(f"{epoch}: {count}" for epoch, count in sorted(self.by_epoch.items()))
        counts = ", ".join(f"{len(cases)} {kind}" for kind, cases in found.items())
        words = f"{self.events} events of epochs {by_epoch}; {counts}; decisions by arm {dict(self.by_arm)}"
        return "\n".join([f"the judge of epochs: {words}", *(case for cases in found.values() for case in cases[:MOST_SHOWN])])


@dataclass
class Begins:
    """
    Where epochs begin.

    Attributes:
        plans: The plan of each epoch that has begun; that of 0 is the start.
        marks: Of each topic's partition: (offset, epoch), the newest epoch last.
        misplaced: Records for which the order start, plan, close, marks has no place.
    """

    plans: dict[int, Any] = field(default_factory=dict)
    marks: dict[tuple[str, int], list[tuple[int, int]]] = field(default_factory=dict)
    misplaced: list[str] = field(default_factory=list)
    _planned: Any = None
    _highest: int = 0
    _closing: bool = False

    def take(self, said: Any) -> bool:
        """The next record; false where it has no place."""
        number, kind = said["epoch"], said["kind"]
        if kind == "start" and not self.plans and number == 0:
            self.plans[0] = said
            self.marks = {(one["topic"], one["partition"]): [(0, 0)] for one in said["partitions"]}
        elif kind == "plan" and self.plans and not self._closing and number > self._highest:
            self._planned, self._highest = said, number
        elif kind in {"close", "abort"} and self._planned is not None and number == self._highest:
            if kind == "close" and self._closing:
                return False
            self._closing = kind == "close"
            self._planned = self._planned if self._closing else None
        elif kind == "marks":
            return self._mark({(one["at"]["topic"], one["at"]["partition"]): one["offset"] for one in said["marks"]}, number)
        else:
            return kind == "verdict"
        return True

    def _mark(self, listed: dict[tuple[str, int], int], number: int) -> bool:
        new = listed.keys() - self.marks.keys()
        if self._closing and number == self._highest and self.marks.keys() <= listed.keys():
            for partition, begun in self.marks.items():
                begun.append((listed[partition], number))
            self.plans[number], self._planned, self._closing = self._planned, None, False
        elif self._closing or not new or number != max(self.plans, default=None):
            return False
        self.marks |= {partition: [(0, number)] for partition in new}
        return True


def begins(rollout: Iterable[Record]) -> Begins:
    """Where epochs begin, by the bytes of the topic."""
    found = Begins()
    for record in rollout:
        said = json.loads(record.value or b"")
        if not found.take(said):
            found.misplaced.append(f"{said['kind']} {said['epoch']} at offset {record.offset}")
    return found


def asked_of(plan: Any, key: bytes | None, event_id: str) -> tuple[str, str]:
    """The arm and the digest that a plan gives an event, its arms drawn anew."""
    challenger = plan.get("challenger")
    if challenger is not None:
        unit = key if challenger["unit"] == "key" and key is not None else event_id.encode()
        drawn = int(hashlib.sha256(b"rollout:" + challenger["salt"].encode() + b":" + unit).hexdigest()[:16], 16)
        if drawn < challenger["share"] * 2**64:
            return "challenger", str(challenger["bundle"]["digest"])
    return "champion", str(plan["champion"]["digest"])


@dataclass(frozen=True, slots=True)
class _Expected:
    """What an event's place in the log asks for: epoch, arm and digest; and those of the champion that may stand in for a challenger."""

    place: str
    asked: tuple[int, str, str]
    stand_in: tuple[int, str, str]


def judge(content: Iterable[Record], rollout: Iterable[Record], outcomes: Iterable[Record]) -> Judged:
    """
    Compare the model of every outcome with the one that its event's place in the log asks for.

    Where a challenger is asked for, its champion may say that it stood in (`fallback`): such outcomes are counted apart, in `by_arm`.
    """
    log = begins(rollout)
    found = Judged(misplaced=log.misplaced)
    expected: dict[str, _Expected] = {}
    for record in content:
        marks = log.marks[record.topic, record.partition]
        epoch = next(epoch for offset, epoch in reversed(marks) if record.offset >= offset)
        event_id, plan = json.loads(record.value or b"")["id"], log.plans[epoch]
        expected[event_id] = _Expected(
            place=f"{record.partition}/{record.offset}, marks {marks}",
            asked=(epoch, *asked_of(plan, record.key, event_id)),
            stand_in=(epoch, "fallback", plan["champion"]["digest"]),
        )
        found.by_epoch[epoch] += 1
    found.events = len(expected)
    # Of each event: the decisions by each model that says it has decided.
    seen: dict[str, dict[tuple[int, str, str], set[str]]] = {}
    for record in outcomes:
        said = json.loads(record.value or b"")
        if said.get("decider") == "reviewer":
            # A person's, which stands above those of models.
            continue
        model, arm = said["model"], said["model"].get("arm", "champion")
        del said["tagged_at"]
        of_model = seen.setdefault(said["id"], {}).setdefault((int(model.get("epoch", 0)), arm, model["digest"]), set())
        of_model.add(json.dumps(said, sort_keys=True))
        found.by_arm[arm] += 1
    for event, one in expected.items():
        decided = seen.get(event, {})
        models = decided.keys() - ({one.stand_in} if one.asked[1] == "challenger" else set())
        if not decided:
            found.lost.append(event)
        elif len(models) > 1:
            found.several.append(f"{event} at {one.place}: {models}")
        elif models and models != {one.asked}:
            found.wrong.append(f"{event} at {one.place}: {models}, the log says {one.asked}")
        elif any(len(different) > 1 for different in decided.values()):
            found.conflicting.append(f"{event} at {one.place}: decisions of one model that differ")
    return found
