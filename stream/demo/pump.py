"""Takes the facts of a run to its two accounts, and what is worth a line to the view."""

import queue
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec

from monitoring.drift.findings import Finding
from stream.contract.record import Record
from stream.demo.ledger import Ledger
from stream.demo.people.answers import Answers, Given
from stream.demo.process import Worker
from stream.demo.screen.watch import REFRESH_SECONDS, Watch
from stream.demo.traffic import Broke, Came, Fact, Sent, Traffic
from stream.settings.topics import Topics


@dataclass(frozen=True, slots=True, kw_only=True)
class Accounts:
    """
    All that is known of a run in the end.

    Attributes:
        events: Samples and their outcomes.
        answers: People's answers.
        findings: What moved.
    """

    events: Ledger
    answers: Answers
    findings: Sequence[Finding]


class Pump:
    """One thread takes the facts, in the order in which they were queued."""

    def __init__(
        self, traffic: Traffic, ledger: Ledger, view: Watch, running: Worker, topics: Topics, first: Callable[[], None]
    ) -> None:
        """
        Take nothing yet.

        Args:
            traffic: Where the facts are queued.
            ledger: The account of the events.
            view: Shows them.
            running: Looked at again and again.
            topics: Their names.
            first: Called when an outcome has come, again with each.
        """
        self._answers = Answers()
        self._findings: list[Finding] = []
        self._topics = topics
        self._facts = traffic.facts
        self._ledger = ledger
        self._view = view
        self._running = running
        self._first = first
        self._due = time.monotonic()

    @property
    def accounts(self) -> Accounts:
        """The accounts so far."""
        return Accounts(events=self._ledger, answers=self._answers, findings=tuple(self._findings))

    def run(self, enough: Callable[[bool], bool], *, at_most_seconds: float | None, phase: str) -> None:
        """Go on until `enough`, which is told whether an outcome is still missing, says yes or the time is over."""
        end = float("inf") if at_most_seconds is None else time.monotonic() + at_most_seconds
        while True:
            now = time.monotonic()
            if now >= self._due:
                self.refresh(phase)
                self._running.check()
                self._due = now + REFRESH_SECONDS
            waiting = not self._facts.empty() or self._ledger.waiting > 0 or self._answers.waiting > 0
            if enough(waiting) or now >= end:
                return
            try:
                fact = self._facts.get(timeout=max(0.001, min(self._due, end) - now))
            except queue.Empty:
                continue
            self._take(fact, self._view)

    def refresh(self, phase: str) -> None:
        """Show the present state."""
        self._view.refresh(self._ledger.totals(), phase, self._answers.totals())

    def take_the_rest(self) -> None:
        """Enter what is queued, and show nothing of it."""
        while not self._facts.empty():
            self._take(self._facts.get_nowait(), None)

    def _take(self, fact: Fact, view: Watch | None) -> None:
        match fact:
            case Sent(sample=sample, at_ms=at_ms):
                self._ledger.sent(sample, at_ms)
            case Came(records=records):
                for record in records:
                    self._came(record, view)
            case Given():
                self._answers.given(fact)
            case Broke(error=error):
                raise error

    def _came(self, record: Record, view: Watch | None) -> None:
        if record.topic == self._topics.drift:
            finding = msgspec.json.decode(record.value or b"", type=Finding)
            self._findings.append(finding)
            if view is not None:
                view.moved(finding)
            return
        if record.topic in {self._topics.reviewed, self._topics.tagged}:
            enter = self._answers.reviewed if record.topic == self._topics.reviewed else self._answers.tagged
            reached = enter(record)
            if reached is not None and view is not None:
                view.reached(reached)
        if record.topic != self._topics.reviewed:
            landing = self._ledger.received(record)
            if landing is not None and view is not None:
                view.landed(landing)
                self._first()
