"""
Two bundles on the same events or rows, compared and counted: which tag became which, which door, how many go to people, and who was right.

Pure: no model, no broker, no file, no clock. `rollout shadow` fills it from the stream and its past, `model evaluate --against` from labelled rows, and
the verdict on a challenger counts with its `SliceCount`. A comparison is a value that JSON can keep, so that a run can be continued.
"""

import hashlib
from collections.abc import Iterable
from typing import Literal

import msgspec

from tagstream.model_export.measure.slices import MOST_VALUES

SOURCE = "source"
# Rows that a summary shows; all others are in the file of rows.
MOST_SHOWN = 20
OTHER_SOURCES = "(other)"
FIGURES_BYTES = 16

Door = Literal["tagged", "review"]
Counts = dict[str, dict[str, int]]
"""How often one value became another: by the old one, then by the new one."""


class RowDecision(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """
    What one bundle says of an event or a row.

    Attributes:
        tag: Its tag.
        confidence: That of the tag.
        destination: The topic of the outcome.
        figures: See `figures_of`: two decisions with the same ones are the same.
        digest: The bundle's; empty where one bundle has made all decisions of its end.
    """

    tag: str
    confidence: float
    destination: Door
    figures: bytes
    digest: str = ""

    def differs_from(self, other: "RowDecision") -> bool:
        """Whether tag or door are other ones."""
        return self.tag != other.tag or self.destination != other.destination


def figures_of(*said: object) -> bytes:
    """A hash of all that the model and the thresholds made of a text."""
    return hashlib.blake2b(msgspec.json.encode(said), digest_size=FIGURES_BYTES).digest()


class SliceCount(msgspec.Struct, kw_only=True):
    """Events, of one slice or all: compared, with another tag, with another door, and those for people by either end."""

    compared: int = 0
    discordant: int = 0
    moved: int = 0
    old_review: int = 0
    new_review: int = 0

    def count(self, *, discordant: bool, old_review: bool, new_review: bool) -> None:
        """Count an event: whether the tags differ, and whether each end sends it to people."""
        self.compared += 1
        self.discordant += discordant
        self.moved += old_review != new_review
        self.old_review += old_review
        self.new_review += new_review

    def share(self, events: int) -> float | None:
        """The part of the compared events that these are, 0 to 1; None without any."""
        return events / self.compared if self.compared else None

    @property
    def agreement(self) -> float | None:
        """The share of compared events with the same tag; None without any."""
        return self.share(self.compared - self.discordant)

    @property
    def more_review(self) -> float:
        """So much more of the events the new end sends to people, -1 to 1; 0 without any."""
        return self.share(self.new_review - self.old_review) or 0.0


class LabelCount(msgspec.Struct, kw_only=True):
    """Events that either end calls by one label, and those of them for people."""

    old: int = 0
    old_review: int = 0
    new: int = 0
    new_review: int = 0


class DifferingRow(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """
    An event on which the ends differ in the tag or in the door.

    Attributes:
        id: The event's.
        topic: Where it lies.
        partition: Its partition there.
        offset: Its offset there.
        old: The decision of the older end; `figures` is left out.
        new: That of the newer end.
        answer: The tag that a person gave; None where nobody was asked.
        title: Only where texts were asked for.
        description: Likewise.
    """

    id: str
    topic: str
    partition: int
    offset: int
    old: dict[str, str | float]
    new: dict[str, str | float]
    answer: str | None = None
    title: str | None = None
    description: str | None = None


class Comparison(SliceCount, kw_only=True):
    """
    All that is counted of one run.

    Attributes:
        events: Records that were read; labelled rows.
        drawn: Of these, the ones that belong to the sample; dead letters that have no id are among them.
        dead_letters: Of the drawn ones, those that either end refuses: they are not compared.
        refused_by_new: Of these, the ones that the new end alone refuses.
        refused_by_old: Of these, the ones that the old end alone refuses.
        unrecorded: Drawn events of which the old end knows no decision.
        same: Of the compared ones, those whose decisions are equal in every figure.
        tags: The old tag, and what became of it.
        doors: The old door, and what became of it.
        labels: By tag.
        slices: By the name of a group of slices, and of the slice.
        answered: Discordant events that a person has answered.
        new_right: Of these, the ones to which the person gave the new tag.
        old_right: Of these, the ones to which the person gave the old tag.
        old_digests: How many compared decisions of the old end each bundle made.
        shown: The first rows that differ in tag or door.
    """

    events: int = 0
    drawn: int = 0
    dead_letters: int = 0
    refused_by_new: int = 0
    refused_by_old: int = 0
    unrecorded: int = 0
    same: int = 0
    tags: Counts = {}
    doors: Counts = {}
    labels: dict[str, LabelCount] = {}
    slices: dict[str, dict[str, SliceCount]] = {}
    answered: int = 0
    new_right: int = 0
    old_right: int = 0
    old_digests: dict[str, int] = {}
    shown: list[DifferingRow] = []

    @property
    def neither_right(self) -> int:
        """Answered discordant events to which the person gave a third tag."""
        return self.answered - self.new_right - self.old_right

    def add(self, old: RowDecision, new: RowDecision, slices: Iterable[tuple[str, str]], *, answer: str | None = None) -> None:
        """
        Count an event on which both ends have decided.

        Args:
            old: Of the older end.
            new: Of the newer end.
            slices: Those that it is in, each by its group and its name.
            answer: The tag that a person gave; None where nobody was asked.
        """
        seen = {
            "discordant": old.tag != new.tag,
            "old_review": old.destination == "review",
            "new_review": new.destination == "review",
        }
        self.count(**seen)
        self.same += old.figures == new.figures
        _count(self.tags, old.tag, new.tag)
        _count(self.doors, old.destination, new.destination)
        if old.digest:
            self.old_digests[old.digest] = self.old_digests.get(old.digest, 0) + 1
        before = self.labels.setdefault(old.tag, LabelCount())
        before.old += 1
        before.old_review += seen["old_review"]
        after = self.labels.setdefault(new.tag, LabelCount())
        after.new += 1
        after.new_review += seen["new_review"]
        for group, name in slices:
            known = self.slices.setdefault(group, {})
            # Names of sources come from events: the first ones are told apart.
            told = group != SOURCE or name in known or len(known) < MOST_VALUES
            known.setdefault(name if told else OTHER_SOURCES, SliceCount()).count(**seen)
        if seen["discordant"] and answer is not None:
            self.answered += 1
            self.new_right += answer == new.tag
            self.old_right += answer == old.tag

    def show(self, row: DifferingRow) -> None:
        """Keep a row that differs, if it is one of the first."""
        if len(self.shown) < MOST_SHOWN:
            self.shown.append(row)

    def refuse(self, *, by_old: bool, by_new: bool) -> None:
        """Count an event that is a dead letter for at least one end."""
        self.dead_letters += 1
        self.refused_by_new += by_new and not by_old
        self.refused_by_old += by_old and not by_new

    def as_json(self) -> dict[str, object]:
        """The counts and what follows from them, as plain values."""
        counted: dict[str, object] = msgspec.to_builtins(self)
        # First what was read.
        return {"events": self.events, **counted, "agreement": self.agreement, "neither_right": self.neither_right}


def _count(counts: Counts, old: str, new: str) -> None:
    row = counts.setdefault(old, {})
    row[new] = row.get(new, 0) + 1
