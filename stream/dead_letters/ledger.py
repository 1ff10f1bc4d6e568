"""Which dead letters were replayed, and which a replay is just sending: a compacted topic, written before and after each send.

Owns the promise that no dead letter is replayed twice; why it is kept so is in docs/decisions/0007-dead-letter-replay.md. A run
writes `sending` before it sends and `sent` after the broker has confirmed. Whoever finds `sending` of a run that is no more looks
into the target whether the record arrived: the entry says from which offsets on.
"""

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from enum import StrEnum

import msgspec

from stream.contract.dead_letter import REPLAYED_FROM, DeadLetter
from stream.contract.record import Record
from stream.kafka.log import Log
from stream.kafka.producer import VerbatimSender

# A run sends within the first of these seconds after it has said so, or not at all, and its producer gives up
# `clients.DELIVERY_SECONDS` later: after the second, what a silent run has not sent will not come any more.
SEND_WITHIN_SECONDS = 10.0
HOLD_SECONDS = 30.0
# By the clocks of two machines: so old a run is over, whatever the clocks are worth.
LONG_OVER_SECONDS = 600.0


class LedgerError(Exception):
    """The broker did not take a note of the ledger: the message says what that means and what to do."""

    exit_code = 3


class State(StrEnum):
    """What is known of one dead letter and one target."""

    SENDING = "sending"
    SENT = "sent"
    # The broker has refused it for good: nothing arrived.
    NOT_TAKEN = "not_taken"


class Note(msgspec.Struct, frozen=True, kw_only=True):
    """
    One record of the ledger; its key is `of`.

    Attributes:
        state: What happened.
        run: Which replay says so.
        at_ms: When, by that machine's clock, Unix milliseconds.
        ends: Where the target ended before the run began, by partition.
    """

    state: State
    run: str
    at_ms: int
    ends: dict[int, int] = {}


class Standing(StrEnum):
    """May a dead letter be sent?"""

    FREE = "free"
    SENT = "sent"
    ELSEWHERE = "elsewhere"
    UNKNOWN = "unknown"


def of(letter: DeadLetter, target: str) -> str:
    """The ledger's key: to another topic is another replay."""
    return f"{letter.identity}>{target}"


class Ledger:
    """The ledger of one run."""

    def __init__(self, log: Log, *, topic: str, run: str, target_ends: Mapping[int, int]) -> None:
        """
        Read it to its end.

        Args:
            log: Of the ledger's topic.
            topic: Its name.
            run: Names this run; no two have the same.
            target_ends: Where the target ended, read before this.
        """
        self._log = log
        self._topic = topic
        self._run = run
        self._ends = dict(target_ends)
        self._next: dict[int, int] = {}
        self._latest: dict[str, Note] = {}
        self._settled: dict[str, tuple[Note, Standing]] = {}
        self.catch_up()

    def catch_up(self) -> list[tuple[str, Note]]:
        """Read what was written since the last time; returns it in order."""
        ends = self._log.ends()
        found: list[tuple[str, Note]] = []
        for record in self._log.read(dict.fromkeys(ends, 0) | self._next, ends):
            note = _note(record)
            if note is not None and record.key is not None:
                found.append((record.key.decode("utf-8", errors="replace"), note))
        self._next = ends
        self._latest.update(found)
        return found

    def unfinished(self, topic: str, target: str) -> dict[str, Note]:
        """Dead letters of `topic` of which a run said that it sends them to `target`, and no more."""
        return {
            key: note
            for key, note in self._latest.items()
            if note.state is State.SENDING and key.startswith(f"{topic}/") and key.endswith(f">{target}")
        }

    def settle(self, unfinished: Mapping[str, Note], target: Log) -> None:
        """Look into the target for what these runs may have sent; they must be over."""
        if not unfinished:
            return
        starts, ends = target.starts(), target.ends()
        first = {number: min(note.ends.get(number, 0) for note in unfinished.values()) for number in ends}
        arrived = marks(target.read(first, ends))
        for key, note in unfinished.items():
            if key.rpartition("@")[0] in arrived:
                standing = Standing.SENT
            # Gone by retention, or another topic of the same name: it cannot be known what was there.
            elif any(starts[number] > note.ends.get(number, 0) or note.ends.get(number, 0) > ends[number] for number in ends):
                standing = Standing.UNKNOWN
            else:
                standing = Standing.FREE
            self._settled[key] = (note, standing)

    def arrived(self) -> list[str]:
        """Of what was settled, the keys of those that the target has."""
        return [key for key, (_, standing) in self._settled.items() if standing is Standing.SENT]

    def standing(self, key: str) -> Standing:
        """May it be sent, as far as this run knows?"""
        note = self._latest.get(key)
        if note is None or note.state is State.NOT_TAKEN:
            return Standing.FREE
        if note.state is State.SENT:
            return Standing.SENT
        settled, standing = self._settled.get(key, (None, Standing.ELSEWHERE))
        return standing if settled == note else Standing.ELSEWHERE

    def claim(self, keys: Sequence[str], sender: VerbatimSender) -> list[str]:
        """
        Say that this run sends these, and return those, in order, that no other run has said so of before.

        Everyone writes first and reads then, so of two runs at least one sees the other, and both see the same order.

        Raises:
            LedgerError: The broker did not take a note.
        """
        self._write(dict.fromkeys(keys, State.SENDING), sender)
        first: dict[str, Note] = {}
        for key, note in self.catch_up():
            # What a run has given up, this one too, is no claim: whoever writes next that it sends is the first again.
            if note.state is State.SENDING:
                first.setdefault(key, note)
        return [key for key in keys if key in first and first[key].run == self._run]

    def finish(self, states: Mapping[str, State], sender: VerbatimSender) -> None:
        """
        Say what became of them.

        Raises:
            LedgerError: The broker did not take a note.
        """
        self._write(states, sender)

    def _write(self, states: Mapping[str, State], sender: VerbatimSender) -> None:
        now_ms = int(time.time() * 1000)
        notes = {
            key: Note(state=state, run=self._run, at_ms=now_ms, ends=self._ends if state is State.SENDING else {})
            for key, state in states.items()
        }
        records = [Record(topic=self._topic, key=key.encode(), value=msgspec.json.encode(note)) for key, note in notes.items()]
        if not records:
            return
        failed = [error for error in sender.deliver(records) if error is not None]
        if failed:
            msg = (
                f"the broker did not take {len(failed)} of {len(records)} notes in {self._topic}: {failed[0]}. "
                f"Next: `tagstream doctor`; then run the replay again: it looks first what has arrived."
            )
            raise LedgerError(msg) from failed[0]


def wait_until_over(
    notes: Collection[Note], *, say: Callable[[str], None], sleep: Callable[[float], None] = time.sleep
) -> None:
    """Wait, once and no longer than `HOLD_SECONDS`, until a run that wrote one of these can send no more."""
    now_ms = time.time() * 1000
    recent = [note for note in notes if now_ms - note.at_ms < LONG_OVER_SECONDS * 1000]
    if recent:
        say(
            f"a replay has begun to send {len(recent)} dead letters and not said that it is done; "
            f"waiting {HOLD_SECONDS:g} s until it can be sure to send no more"
        )
        sleep(HOLD_SECONDS)


def marks(records: Iterable[Record]) -> frozenset[str]:
    """The dead letters, `topic/partition/offset`, that these records are replays of."""
    return frozenset(
        (content or b"").decode("utf-8", errors="replace")
        for record in records
        for name, content in record.headers
        if name == REPLAYED_FROM
    )


def _note(record: Record) -> Note | None:
    try:
        return msgspec.json.decode(record.value or b"", type=Note)
    except (msgspec.DecodeError, UnicodeDecodeError):
        # Not a note of ours; what nobody can read binds nobody.
        return None
