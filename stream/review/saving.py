"""From what a person said to the topics: produce with the word of all replicas, then mark in the store, then say "saved"."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from stream.review.store.facts import Given, Lapsed, TooMany


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """
    All replicas have the answers.

    Attributes:
        answer: The one on the item that was shown.
        also: Those on its near-duplicates.
    """

    answer: Given
    also: tuple[Given, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsaved:
    """
    The broker did not confirm the record within the bound. The page keeps what was typed.

    Attributes:
        message: A sentence for the reviewer, with the next step.
        arrived: False: it is sure that nothing was written, so the same answer can be sent again. None: it is not known; the
            item comes back by itself if the answer did not arrive.
    """

    message: str
    arrived: bool | None


class Saving(Protocol):
    """Saves answers and reports. Its methods may be called from several threads; each ends within a minute."""

    def save(
        self, event_id: str, token: str, tag: str, *, note: str | None = None, also: Sequence[str] = ()
    ) -> Saved | Lapsed | Unsaved:
        """
        Save the answer of the reviewer who holds the item by this token.

        Args:
            event_id: Of the claim.
            token: Of the claim.
            tag: A label of the decision's `probabilities`, or `OFF_SUBJECT`.
            note: The reviewer's words, if any.
            also: Near-duplicates (`Store.duplicates`) that get the same answer. Those that were taken meanwhile are left out.

        Raises:
            ValueError: The tag is no label of the decision; the message is a sentence.
        """

    def report(
        self, caller: str, event_id: str, *, tag: str | None = None, note: str | None = None, reporter: str | None = None
    ) -> TooMany | Unsaved | None:
        """
        Send a reader's report to the topic `reports`. None: all replicas have it.

        Args:
            caller: Whose rate is counted: an address, or the name of a site.
            event_id: Of the event; whether anybody knows it is not asked here.
            tag: The label that the reader suggests.
            note: The reader's words.
            reporter: The reader's name, if it is given.
        """
