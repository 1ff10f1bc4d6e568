"""The options of a replay, and the report of what it did."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from stream.contract.dead_letter import DeadLetter, Place
from stream.dead_letters.refusals import NotReplayed, still_refused
from stream.dead_letters.selection import Selection


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayPlan:
    """
    Which dead letters to replay, and how.

    Attributes:
        selection: Which dead letters.
        target: The topic to send to.
        only_from: Send only dead letters that were read on this topic, and leave all others.
        leave_from: Leave dead letters that were read on this topic to a replay with another target.
        most_replays: An event that was replayed this often is refused.
        again: Also send dead letters that were replayed already, or may have been.
        refused: Called with the place of each dead letter that is refused, and a sentence that says why.
        say: Called with a sentence when the replay has to wait.
        advance: Called after each dead letter that was sent.
    """

    selection: Selection
    target: str
    most_replays: int
    again: bool
    refused: Callable[[Place, str], None]
    say: Callable[[str], None]
    advance: Callable[[], None] = lambda: None
    only_from: str | None = None
    leave_from: str | None = None

    def takes(self, letter: DeadLetter | None) -> bool:
        """Is this dead letter, or the record that is none, a matter of this replay?"""
        if self.only_from is not None:
            return letter is not None and letter.origin_topic == self.only_from
        return letter is None or letter.origin_topic != self.leave_from


@dataclass(slots=True, kw_only=True)
class ReplayReport:
    """
    What a replay did, or would do.

    Attributes:
        target: The topic that was sent to.
        sent: Number of dead letters sent.
        returned: How many of these came back: their event had been replayed before and became another dead letter.
        hopeless: How many of these become the same dead letter again, by code: this version still refuses their bytes for it.
        already: Number of dead letters that an earlier run replayed.
        refused: Number of dead letters refused, by reason.
        left: Number of dead letters that are left to a replay with another target.
    """

    target: str
    sent: int = 0
    returned: int = 0
    hopeless: Counter[str] = field(default_factory=Counter)
    already: int = 0
    refused: Counter[NotReplayed] = field(default_factory=Counter)
    left: int = 0

    def count(self, letter: DeadLetter) -> None:
        """Count a dead letter that was sent."""
        self.sent += 1
        self.returned += letter.replays > 0
        if still_refused(letter):
            self.hopeless[letter.code] += 1

    def refuse(self, place: Place, reason: NotReplayed, sentence: str, plan: ReplayPlan) -> None:
        """Count a dead letter that is refused, and tell the caller."""
        self.refused[reason] += 1
        plan.refused(place, sentence)

    @property
    def refusals(self) -> int:
        """Number of dead letters refused; those that an earlier run replayed are not among them."""
        return self.refused.total()
