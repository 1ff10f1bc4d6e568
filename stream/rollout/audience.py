"""What people, readers and viewers said about each arm of a canary, from the records of one epoch. It judges nothing."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import groupby

import numpy as np

from tagstream.monitoring.quality.amounts import minute_of
from tagstream.monitoring.quality.feedback import ONE_ANSWER_MS, PAUSE_MS, Feedback, ViewersAnswers
from tagstream.monitoring.vocabulary import Arm
from tagstream.stream.contract.answers import Answer, answer_id, order
from tagstream.stream.contract.published import Order, milliseconds
from tagstream.stream.contract.reports import Report

# The most answers, reported events, asked decisions and votes that are kept: more than people give in the days of a canary.
MOST_ANSWERS = 500_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmLine:
    """
    One arm of the epoch.

    Attributes:
        name: `champion` or `challenger`. A decision of the champion in the challenger's place is the champion's.
        events: The number of events that the arm decided.
        feedback: What people, readers and viewers said about these decisions.
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
    """People's answers, readers' reports and viewers' votes, each counted once, in any order. One thread uses it."""

    _answers: dict[str, _Given] = field(default_factory=dict)
    _reported: set[str] = field(default_factory=set)
    # By the decision's id: the arm. By this id and the viewer: the newest vote's time, and whether it denies.
    _asked: dict[str, Arm] = field(default_factory=dict)
    _votes: dict[tuple[str, str], tuple[int, bool]] = field(default_factory=dict)

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

    def asked(self, prediction_id: str, arm: Arm) -> None:
        """Count a decision that viewers are asked about."""
        if prediction_id in self._asked or len(self._asked) < MOST_ANSWERS:
            self._asked[prediction_id] = arm

    def voted(self, vote: Report, at_ms: int) -> None:
        """Count a vote that was given at this time, Unix milliseconds. Of one viewer on one decision the newest counts."""
        key = vote.prediction_id or "", vote.viewer or ""
        if key in self._votes or len(self._votes) < MOST_ANSWERS:
            # Of two votes of one moment the denial counts, as in the console's store.
            self._votes[key] = max(self._votes.get(key, (0, False)), (at_ms, vote.answer == "no"))

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
        viewers = self._viewers()

        def line(arm: Arm, *decided: Arm) -> ArmLine:
            given, told, denied = (sum(counted[one] for one in decided) for counted in (answers, reported, confirmed))
            minutes = None if minute is None else minute.times(given).amount
            return ArmLine(
                name=arm.value,
                events=sum(events.get(one, 0) for one in decided),
                feedback=Feedback(
                    answers=given,
                    minutes=minutes,
                    reported=told,
                    confirmed=denied,
                    viewers=sum((viewers[one] for one in decided), ViewersAnswers()),
                ),
            )

        return line(Arm.CHAMPION, Arm.CHAMPION, Arm.FALLBACK), line(Arm.CHALLENGER, Arm.CHALLENGER)

    def _viewers(self) -> dict[Arm, ViewersAnswers]:
        """Return what viewers said, by the arm that decided."""
        asked, answered, votes, right = Counter(self._asked.values()), set[str](), Counter[Arm](), Counter[Arm]()
        for (decision, _), (_, denies) in self._votes.items():
            if (arm := self._asked.get(decision)) is not None:
                answered.add(decision)
                votes[arm] += 1
                right[arm] += not denies
        heard = Counter(self._asked[decision] for decision in answered)
        return {arm: ViewersAnswers(asked=asked[arm], answered=heard[arm], votes=votes[arm], right=right[arm]) for arm in Arm}
