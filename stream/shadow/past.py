"""
`tagstream rollout shadow --since`: decides a range of `content` again and compares the decisions. Rate and memory are bounded.

A killed run can be continued. The state is a file that is replaced atomically: the counts, and for each partition the offset up to which
events are counted. Differing decisions are streamed into a file of rows. A continued run cuts this file to the length in its state.
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
    """The run cannot go on. The message gives the reason, the kept results, and the next step."""

    exit_code = 1


class ChangedError(PastError):
    """The state belongs to another run. The message names the difference."""

    exit_code = 2


class PastState(msgspec.Struct, kw_only=True):
    """
    The state of a run.

    Attributes:
        asked: The requested comparison, by option. A continued run must request the same.
        first: As `Span.first`.
        last: As `Span.last`. The first run fixes the ends of the partitions.
        next: For each partition, the offset up to which events are counted.
        rows_bytes: The length of the file of rows in bytes.
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
        """The number of offsets that are counted already."""
        return sum(self.next[partition] - self.first[partition] for partition in self.first)

    @property
    def is_finished(self) -> bool:
        """True if the whole range is counted."""
        return self.next == self.last


@dataclass(frozen=True, slots=True, kw_only=True)
class PastOrder:
    """
    The options of a run.

    Attributes:
        bundle: The newer end: a folder, or a digest.
        against: The older end: a folder, a digest, or `recorded`; None for the bundle of the settings.
        since: A time, offsets, or `beginning`; None for the beginning.
        until: A time, or offsets; None for the current ends of the partitions.
        sample: The share of the events, above 0, to 1.
        rate: The most events a second; None for no bound.
        rows: The JSON Lines file of the rows that differ in tag or door; None for no file.
        state: The file of the state; None for no state, so that a stopped run begins anew.
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
    Return the state to continue from; None if there is no state yet.

    Args:
        path: The file of the state; None for no file.
        asked: See `PastState`.

    Raises:
        ChangedError: The state belongs to another run, or the file is not a state.
        PastError: The file cannot be read.
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
        msg = f"{path} is not a state of `rollout shadow` of this version. Next: name another file by --state, or move it away."
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
    """Return the state before the first event."""
    return PastState(asked=asked, first=dict(span.first), last=dict(span.last), next=dict(span.first), comparison=Comparison())


class Past:
    """One run. A thread decides one batch at a time."""

    def __init__(
        self, settings: Settings, order: PastOrder, *, new: Decider, old: DecisionSource, sample: Sample, answers: KnownAnswers
    ) -> None:
        """
        Join the parts.

        Args:
            settings: Brokers, topics, limits and the Schema Registry.
            order: The options.
            new: The newer end.
            old: The older end.
            sample: The events that are decided.
            answers: People's answers.
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
        Decide the rest of the range and count the decisions into the state. Return at the end, or soon after `stop` is set.

        Args:
            state: The state, which is changed.
            stop: Ends the run.
            told: Called with three numbers: events, compared events, and counted offsets.

        Raises:
            BrokerUnreachableError: The brokers do not send the outstanding records.
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
        """Decide the records of a poll. With a rate, each part has the events of one second. Each part is counted at once."""
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
        # A model's runtime may raise any exception. Only its class is shown, because the message may quote the text of an event.
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
    """Open the file of rows, cut to the length in the state. Rows that a killed run wrote after that length are written again."""
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
