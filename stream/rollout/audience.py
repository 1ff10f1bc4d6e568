"""What people and readers said about each arm of a canary, from the records of one epoch. It judges nothing."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import groupby

import numpy as np

from tagstream.monitoring.quality.amounts import minute_of
from tagstream.monitoring.quality.feedback import ONE_ANSWER_MS, PAUSE_MS, Feedback
from tagstream.monitoring.vocabulary import Arm
from tagstream.stream.contract.answers import Answer, answer_id, order
from tagstream.stream.contract.published import Order, milliseconds

# The most answers and the most reported events that are kept: more than people give in the days of a canary.
MOST_ANSWERS = 500_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmLine:
    """
    One arm of the epoch.

    Attributes:
        name: `champion` or `challenger`. A decision of the champion in the challenger's place is the champion's.
        events: The number of events that the arm decided.
        feedback: What people and readers said about these decisions.
    """

    name: str
    events: int
    feedback: Feedback


@dataclass(frozen=True, slots=True, kw_only=True)
class _Given:
    """An answer. `order` ranks the answers on an event, and `denies` is as in `evidence.Answered`."""

    event_id: str
    # The console shows the next item to the same person at once. The answers of an import are those of another program.
    person: tuple[str, bool]
    decided_ms: int
    order: Order
    denies: bool


@dataclass(slots=True)
class Audience:
    """People's answers and readers' reports, each counted once, in any order. One thread uses it."""

    _answers: dict[str, _Given] = field(default_factory=dict)
    _reported: set[str] = field(default_factory=set)

    def answered(self, answer: Answer) -> None:
        """Count a person's answer."""
        if len(self._answers) < MOST_ANSWERS:
            self._answers[answer_id(answer)] = _Given(
                event_id=answer.event_id,
                person=(answer.reviewer, answer.asked_by == "import"),
                decided_ms=milliseconds(answer.decided_at),
                order=order(answer),
                denies=answer.tag != answer.model_tag,
            )

    def reported(self, event_id: str) -> None:
        """Count a reader's report on an event."""
        if len(self._reported) < MOST_ANSWERS:
            self._reported.add(event_id)

    def lines(self, events: Mapping[Arm, int], arm_of: Callable[[str], Arm | None]) -> tuple[ArmLine, ...]:
        """
        Return the lines of champion and challenger.

        Args:
            events: The number of events that each arm decided.
            arm_of: Returns the arm that decided an event, by the event's id; None for an event of another epoch.
        """
        answers, times_ms = Counter[Arm | None](), list[int]()
        last = dict[str, _Given]()
        ordered = sorted(self._answers.items(), key=lambda one: (one[1].person, one[1].decided_ms, one[0]))
        for (_, imported), given in groupby((one for _, one in ordered), key=lambda one: one.person):
            before: int | None = None
            for one in given:
                pause_ms = None if before is None else one.decided_ms - before
                before = one.decided_ms
                if imported or pause_ms is None or pause_ms >= ONE_ANSWER_MS:
                    answers[arm_of(one.event_id)] += 1
                if not imported and pause_ms is not None and ONE_ANSWER_MS <= pause_ms <= PAUSE_MS:
                    times_ms.append(pause_ms)
                if one.event_id not in last or one.order > last[one.event_id].order:
                    last[one.event_id] = one
        reported = Counter(map(arm_of, self._reported))
        confirmed = Counter(arm_of(one) for one in self._reported if one in last and last[one].denies)
        minute = minute_of(np.array(times_ms, dtype=np.int64))

        def line(arm: Arm, *decided: Arm) -> ArmLine:
            given, told, denied = (sum(counted[one] for one in decided) for counted in (answers, reported, confirmed))
            minutes = None if minute is None else minute.times(given).amount
            return ArmLine(
                name=arm.value,
                events=sum(events.get(one, 0) for one in decided),
                feedback=Feedback(answers=given, minutes=minutes, reported=told, confirmed=denied),
            )

        return line(Arm.CHAMPION, Arm.CHAMPION, Arm.FALLBACK), line(Arm.CHALLENGER, Arm.CHALLENGER)
