"""The queue of the review console: items, leases, answers and reports. It can be deleted at any time, since the topics fill it again."""

from collections.abc import Sequence
from typing import Protocol

from stream.review.store.facts import Claim, Complaint, Given, Item, Lapsed, Neighbour, Pace, Queue, TooMany


class Store(Protocol):
    """
    Everything that the console asks of the queue. All methods may be called from several threads and several processes.

    Times come from the store's clock. Every method raises `StoreUnavailableError` when the database does not answer within its bound.
    """

    def claim(self, reviewer: str) -> Claim | None:
        """
        The item that this reviewer holds already, else the first of the queue that nobody holds and that the reviewer did not skip.

        None when there is nothing to do.
        """

    def renew(self, event_id: str, token: str) -> Claim | Lapsed:
        """The claim of this token with a new `until_ms`. A lapsed one is renewed too, as long as nobody has taken the item."""

    def skip(self, event_id: str, token: str) -> None:
        """Give the item back; this reviewer is not given it again for an hour. A token that lapsed changes nothing."""

    def release(self, event_id: str, token: str) -> None:
        """Give the item back to the queue. A token that lapsed changes nothing."""

    def reopen(self, event_id: str, reviewer: str) -> Claim | Lapsed:
        """Hold an item for a correction: "undo, then answer anew". The answer that stands is valid until the new one is saved."""

    def item(self, event_id: str) -> Item | None:
        """The item of an event, held or not."""

    def own(self, reviewer: str, limit: int = 20) -> Sequence[Given]:
        """The newest answers of a reviewer that stand, the newest first: what can be undone."""

    def answers(self, event_id: str) -> Sequence[Given]:
        """All answers on an event, in their order; the last one stands."""

    def all_answers(self, since_ms: int = 0) -> Sequence[Given]:
        """Every answer that was decided at or after a moment, in the order of time: versions that were superseded too."""

    def reports(self, event_id: str) -> Sequence[Complaint]:
        """The reports on an event, the newest first."""

    def neighbours(self, event_id: str, limit: int = 3) -> Sequence[Neighbour]:
        """Decided events whose text is like the item's, the most alike first."""

    def duplicates(self, event_id: str, limit: int = 20) -> Sequence[Item]:
        """Open items of the door `review` with nearly the same text that nobody holds: one answer can settle them too."""

    def queue(self) -> Queue:
        """Figures of the whole queue."""

    def pace(self, reviewer: str) -> Pace:
        """Figures of one reviewer."""

    def admit_report(self, caller: str, event_id: str) -> TooMany | None:
        """Count a report of this caller (an address or a name) on this event; a refusal if there were too many within the hour."""
