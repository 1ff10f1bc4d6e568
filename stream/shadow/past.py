"""
`tagstream rollout shadow --since`: decides a range of `content` again and compares, at a bounded rate, in bounded memory, and goes on after a kill.

The state is a file that is replaced in one step: the counts, and the offset of each partition up to which they count. What differs is
streamed into a file of rows, which a run that goes on cuts to the length that its state knows.
"""

import asyncio
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import msgspec

from tagstream.model_export.compare.comparison import Comparison, RowDecision
from tagstream.stream.contract.event import Record
from tagstream.stream.contract.outcome import Outcome
from tagstream.stream.contract.refusal import Refusal
from tagstream.stream.decide.from_settings import pipeline_of
from tagstream.stream.decide.pipeline import Decider, Pipeline
from tagstream.stream.kafka.reading.content import content_range
from tagstream.stream.registry.unframing import unframing_of
from tagstream.stream.settings.settings import Settings
from tagstream.stream.shadow.comparison import add, decided_of
from tagstream.stream.shadow.decision_sources import DecisionSource, KnownAnswers, Sample, named_model
from tagstream.stream.shadow.span import Span

STATE_SECONDS = 5.0


class PastError(Exception):
    """The run cannot go on: the message says why, what is kept, and the next step."""

    exit_code = 1


class ChangedError(PastError):
    """The state is of another run: the message names the difference."""

    exit_code = 2


class PastState(msgspec.Struct, kw_only=True):
    """
    Where a run stands.

    Attributes:
        asked: What was asked for, by name: a run that goes on must ask for the same.
        first: As `Span.first`.
        last: As `Span.last`: the ends of now are those of the first run.
        next: The offset of each partition up to which the counts count.
        rows_bytes: The length of the file of rows.
        comparison: The counts.
    """

    asked: dict[str, str]
    first: dict[int, int]
    last: dict[int, int]
    next: dict[int, int]
    rows_bytes: int = 0
    comparison: Comparison

    @property
    def done(self) -> int:
        """Offsets that count already."""
        return sum(self.next[partition] - self.first[partition] for partition in self.first)

    @property
    def is_finished(self) -> bool:
        """Does the whole range count?"""
        return self.next == self.last


@dataclass(frozen=True, slots=True, kw_only=True)
class PastOrder:
    """
    What is decided again, and how.

    Attributes:
        bundle: The newer end: a folder, or a digest.
        against: The older end: likewise, or `recorded`; None for the bundle of the settings.
        since: A time, or offsets, or `beginning`; None for the beginning.
        until: A time, or offsets; None for the ends of now.
        sample: The share of the events, above 0, to 1.
        rate: The most events a second; None for no bound.
        rows: The file of the rows that differ in tag or door, JSON Lines; None for none.
        state: The file of the state; None: a run that is stopped begins anew.
        with_text: Put titles and descriptions into the rows.
    """

    bundle: str
    against: str | None = None
    since: str | None = None
    until: str | None = None
    sample: float = 1.0
    rate: float | None = None
    rows: Path | None = None
    state: Path | None = None
    with_text: bool = False


def begun(path: Path | None, asked: dict[str, str]) -> PastState | None:
    """
    The state that a run goes on from; None where there is none yet.

    Args:
        path: Of the file; None for none.
        asked: See `PastState`.

    Raises:
        ChangedError: It is of another run, or no state.
        PastError: It cannot be read.
    """
    if path is None:
        return None
    try:
        found = msgspec.json.decode(path.read_bytes(), type=PastState)
    except FileNotFoundError:
        return None
    except OSError as error:
        msg = f"the state {path} cannot be read: {error.strerror}. Next: give the right to read it, or name another file by --state."
        raise PastError(msg) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        msg = f"{path} is no state of `rollout shadow` of this version. Next: name another file by --state, or move it away."
        raise ChangedError(msg) from error
    for name in asked.keys() | found.asked.keys():
        before, now = found.asked.get(name, "none"), asked.get(name, "none")
        if before != now:
            msg = (
                f"the state {path} is of another comparison: {name} was {before}, and is {now}. "
                f"Next: ask for the same, name another file by --state, or move this one away."
            )
            raise ChangedError(msg)
    return found


def fresh(span: Span, asked: dict[str, str]) -> PastState:
    """The state before the first event."""
    return PastState(asked=asked, first=dict(span.first), last=dict(span.last), next=dict(span.first), comparison=Comparison())


class Past:
    """One run. Deciding is done in a thread, one batch at a time."""

    def __init__(
        self, settings: Settings, order: PastOrder, *, new: Decider, old: DecisionSource, sample: Sample, answers: KnownAnswers
    ) -> None:
        """
        Join the parts.

        Args:
            settings: Brokers, topics, limits and the Schema Registry.
            order: See there.
            new: The newer end.
            old: The older end.
            sample: The events that are decided.
            answers: What people answered.
        """
        self._settings = settings
        self._order = order
        self._new: Pipeline = pipeline_of(settings, decider=new, unframe=unframing_of(settings))
        self._old = old
        self._sample = sample
        self._answers = answers
        self._names = f"{named_model(new)} or {old.name}"

    async def run(
        self, state: PastState, stop: threading.Event, *, told: Callable[[int, int, float], None] = lambda *_: None
    ) -> None:
        """
        Decide what is left of the range, and count it into the state; return at the end, or soon after `stop` is set.

        Args:
            state: Changed here.
            stop: Ends the run.
            told: Told of events, of those that were compared, and of the offsets that are done.

        Raises:
            BrokerUnreachableError: The brokers do not send what is outstanding.
            PastError: A model raised for texts that it is known to decide, or a file cannot be written.
        """
        if state.is_finished:
            return
        with _rows(self._order.rows, state.rows_bytes) as rows:
            async with content_range(self._settings) as content:
                saved = time.monotonic()
                for partition in sorted(state.last):
                    async for records, behind in content.read(partition, state.next[partition], state.last[partition]):
                        await self._take(records, state, rows, stop)
                        if stop.is_set():
                            break
                        state.next[partition] = behind
                        counts = state.comparison
                        told(counts.events, counts.compared, float(state.done))
                        if time.monotonic() - saved > STATE_SECONDS:
                            self._save(state, rows)
                            saved = time.monotonic()
                    if stop.is_set():
                        break
            self._save(state, rows)

    async def _take(self, records: Sequence[Record], state: PastState, rows: BinaryIO | None, stop: threading.Event) -> None:
        """Decide a poll, in parts of a second at the rate of the order; each part counts at once."""
        rate = self._order.rate
        size = len(records) if rate is None else max(1, min(len(records), int(rate)))
        for start in range(0, len(records), size or 1):
            if stop.is_set():
                return
            began, part = time.monotonic(), records[start : start + size]
            await asyncio.to_thread(self._compare, part, state, rows)
            state.next[part[-1].partition] = part[-1].offset + 1
            if rate is not None:
                await asyncio.sleep(max(0.0, len(part) / rate - (time.monotonic() - began)))

    def _compare(self, records: Sequence[Record], state: PastState, rows: BinaryIO | None) -> None:
        counts = state.comparison
        drawn = self._sample.of(records)
        outcomes, old = self._decided(drawn)
        counts.events += len(records)
        counts.drawn += len(drawn)
        written: list[bytes] = []
        for outcome, before in zip(outcomes, old, strict=True):
            after = decided_of(outcome)
            if isinstance(outcome, Refusal) or after is None:
                counts.refuse(by_new=True, by_old=not isinstance(before, RowDecision))
            elif isinstance(before, Refusal):
                counts.refuse(by_new=False, by_old=True)
            elif before is None:
                counts.unrecorded += 1
            else:
                row = add(counts, outcome.event, before, after, answer=self._answers.tag, with_text=self._order.with_text)
                if row is not None:
                    written.append(msgspec.json.encode(row) + b"\n")
        if rows is not None:
            with _writing(self._order.rows):
                state.rows_bytes += rows.write(b"".join(written))

    def _decided(self, records: Sequence[Record]) -> tuple[list[Outcome], list[RowDecision | Refusal | None]]:
        try:
            outcomes = [publication.outcome for publication in self._new.publications(records)] if records else []
            return outcomes, self._old.decide(records, outcomes) if records else []
        # A model raises whatever its runtime raises. The class alone is told: a message may quote the text of an event.
        except Exception as error:
            if hasattr(error, "exit_code"):
                raise
            failure = type(error).__name__
        kept = "" if self._order.state is None else " What was counted before is kept in the state."
        msg = f"{self._names} raised {failure} for texts that it is known to decide.{kept} Next: `tagstream model verify` of both bundles."
        raise PastError(msg)

    def _save(self, state: PastState, rows: BinaryIO | None) -> None:
        path = self._order.state
        if rows is not None:
            with _writing(self._order.rows):
                rows.flush()
                os.fsync(rows.fileno())
        if path is None:
            return
        with _writing(path):
            part = path.with_name(f"{path.name}.part")
            with part.open("wb") as content:
                content.write(msgspec.json.encode(state))
                content.flush()
                os.fsync(content.fileno())
            part.replace(path)


@contextmanager
def _rows(path: Path | None, length: int) -> Iterator[BinaryIO | None]:
    """The file of rows, cut to the length that the state knows; what a run that was killed wrote behind it is written again."""
    if path is None:
        yield None
        return
    with _writing(path):
        content = path.open("r+b" if length else "wb")
    with content:
        with _writing(path):
            if content.seek(0, os.SEEK_END) < length:
                msg = f"{path} is shorter than the state knows. Next: move the state and this file away, and begin anew."
                raise ChangedError(msg)
            content.truncate(length)
            content.seek(length)
        yield content


@contextmanager
def _writing(path: Path | None) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        msg = f"{error.filename or path} cannot be written: {error.strerror}. Next: make room, or give the right to write there; the same command then goes on from its --state."
        raise PastError(msg) from error
