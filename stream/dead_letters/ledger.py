"""The ledger of replays: a compacted topic that says which dead letters were sent, and which a run is sending now.

It keeps the promise that no dead letter is replayed twice; docs/decisions/0007-dead-letter-replay.md says why in this way. A run
writes `sending` before it sends, and `sent` after the broker has confirmed. A later run that finds `sending` of a run that is over
reads the target to see whether the record arrived; the note says from which offsets on. A replayed record is recognised by a proof
that only a reader of the ledger can make (`proofs`).
"""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from enum import StrEnum

import msgspec

from stream.contract.dead_letter import DeadLetter
from stream.contract.record import Record
from stream.dead_letters import proofs
from stream.kafka.producer import VerbatimSender
from stream.kafka.reading.log import Log
from stream.terminal.text import counted

# A run that has written `sending` hands the record to its producer within the first of these, or not at all, and the producer gives
# it up `producer.DELIVERY_SECONDS` later. So after the second a run that has stopped can add no record to the target.
SEND_WITHIN_SECONDS = 10.0
HOLD_SECONDS = 30.0
# A note this old is of a run that is over, even if the clocks of the two machines differ.
LONG_OVER_SECONDS = 600.0


class LedgerError(Exception):
    """The broker did not confirm a note of the ledger: the message says how many, why, and the next step."""

    exit_code = 3


class State(StrEnum):
    """What a note says of one dead letter and one target."""

    SENDING = "sending"
    SENT = "sent"
    # The broker refused the record, or the run did not send it: it did not arrive.
    NOT_TAKEN = "not_taken"


class Note(msgspec.Struct, frozen=True, kw_only=True):
    """
    One record of the ledger; its key is `key_of`.

    Attributes:
        state: What the run did, or is doing.
        run: The id of the run that wrote the note.
        at_ms: When it was written, by the clock of the run's machine, Unix milliseconds.
        ends: The target's end offsets before the run began, by partition.
        proven: Does the record carry a proof? Earlier versions sent records without one.
    """

    state: State
    run: str
    at_ms: int
    ends: dict[int, int] = {}
    proven: bool = False


class Standing(StrEnum):
    """Whether a dead letter may be sent: only if it is FREE; ELSEWHERE means that another run may be sending it."""

    FREE = "free"
    SENT = "sent"
    ELSEWHERE = "elsewhere"
    UNKNOWN = "unknown"


def key_of(letter: DeadLetter, target: str) -> str:
    """The ledger's key of a dead letter and a target: a replay to another topic is another replay."""
    return f"{letter.identity}>{target}"


class Ledger:
    """The ledger as one run sees and writes it."""

    def __init__(self, log: Log, *, topic: str, run: str, target_ends: Mapping[int, int]) -> None:
        """
        Read the ledger to its end.

        Args:
            log: The log of the ledger's topic.
            topic: The name of that topic.
            run: An id that no other run has.
            target_ends: The target's end offsets, read before the ledger.
        """
        self._log = log
        self._topic = topic
        self._run = run
        self._ends = dict(target_ends)
        self._next: dict[int, int] = {}
        self._latest: dict[str, Note] = {}
        self._proof_keys: list[bytes] = []
        self._settled: dict[str, tuple[Note, Standing]] = {}
        self.catch_up()

    def catch_up(self) -> list[tuple[str, Note]]:
        """Read the notes that were written since the last call, and return them in order, with their keys."""
        ends = self._log.ends()
        found: list[tuple[str, Note]] = []
        for record in self._log.read(dict.fromkeys(ends, 0) | self._next, ends):
            note, proof_key = _note(record), proofs.key_in(record)
            if proof_key is not None:
                self._proof_keys.append(proof_key)
            elif note is not None and record.key is not None:
                found.append((record.key.decode("utf-8", errors="replace"), note))
        self._next = ends
        self._latest.update(found)
        return found

    def unfinished(self, topic: str, target: str) -> dict[str, Note]:
        """The notes of dead letters of `topic` that a run began to send to `target` and did not finish, by key."""
        return {
            key: note
            for key, note in self._latest.items()
            if note.state is State.SENDING and key.startswith(f"{topic}/") and key.endswith(f">{target}")
        }

    def settle(self, unfinished: Mapping[str, Note], target: Log) -> None:
        """
        Read the target to learn which of these dead letters arrived. The runs that wrote the notes must be over.

        A record counts only with its proof: any producer can write the header that names a dead letter.
        """
        if not unfinished:
            return
        starts, ends = target.starts(), target.ends()
        first = {number: min(note.ends.get(number, 0) for note in unfinished.values()) for number in ends}
        arrived = proofs.proven(unfinished, self._proof_keys, target.read(first, ends))
        for key, note in unfinished.items():
            if key in arrived:
                standing = Standing.SENT
            # An earlier version sent the record without a proof, retention has deleted a part of the target that may have held it,
            # or the target was made anew: whether it arrived cannot be known.
            elif not note.proven or any(
                starts[number] > note.ends.get(number, 0) or note.ends.get(number, 0) > ends[number] for number in ends
            ):
                standing = Standing.UNKNOWN
            else:
                standing = Standing.FREE
            self._settled[key] = (note, standing)

    def arrived(self) -> list[str]:
        """The keys of the settled dead letters that the target has."""
        return [key for key, (_, standing) in self._settled.items() if standing is Standing.SENT]

    def standing(self, key: str) -> Standing:
        """Whether a dead letter may be sent, as far as this run has read."""
        note = self._latest.get(key)
        if note is None or note.state is State.NOT_TAKEN:
            return Standing.FREE
        if note.state is State.SENT:
            return Standing.SENT
        settled, standing = self._settled.get(key, (None, Standing.ELSEWHERE))
        return standing if settled == note else Standing.ELSEWHERE

    def claim(self, keys: Sequence[str], sender: VerbatimSender) -> dict[str, str]:
        """
        Write that this run is sending these dead letters.

        Every run writes first and reads then. So of two runs at least one sees the other's claim, and both see the same order.

        Returns:
            The keys, in order, that no other run claimed before this one, each with the proof that its record must carry.

        Raises:
            LedgerError: The broker did not confirm a note.
        """
        # Of two first runs each may write a key; later runs know both.
        proof_key = [] if self._proof_keys else [proofs.new_key(self._topic, self._run)]
        self._append([*proof_key, *self._notes(dict.fromkeys(keys, State.SENDING))], sender)
        first: dict[str, Note] = {}
        for key, note in self.catch_up():
            # A dead letter that a run (also this one) has given up is unclaimed again: the next claim is the first.
            if note.state is State.SENDING:
                first.setdefault(key, note)
        mine = [key for key in keys if key in first and first[key].run == self._run]
        return {key: proofs.proof(key, self._proof_keys[-1]) for key in mine}

    def finish(self, states: Mapping[str, State], sender: VerbatimSender) -> None:
        """
        Write what became of claimed dead letters, by key.

        Raises:
            LedgerError: The broker did not confirm a note.
        """
        self._append(self._notes(states), sender)

    def _notes(self, states: Mapping[str, State]) -> list[Record]:
        now_ms = int(time.time() * 1000)
        notes = {
            key: Note(state=state, run=self._run, at_ms=now_ms, ends=self._ends if state is State.SENDING else {}, proven=True)
            for key, state in states.items()
        }
        return [Record(topic=self._topic, key=key.encode(), value=msgspec.json.encode(note)) for key, note in notes.items()]

    def _append(self, records: Sequence[Record], sender: VerbatimSender) -> None:
        if not records:
            return
        failed = [error for error in sender.deliver(records) if error is not None]
        if failed:
            msg = (
                f"the broker did not confirm {len(failed)} of {counted(len(records), 'note')} in {self._topic}: {failed[0]}. "
                f"Next: `tagstream doctor`; then run the replay again: it checks first which records have arrived."
            )
            raise LedgerError(msg) from failed[0]


def wait_until_over(
    notes: Collection[Note], *, say: Callable[[str], None], sleep: Callable[[float], None] = time.sleep
) -> None:
    """If a run wrote one of these notes just now, wait `HOLD_SECONDS`, after which it can send no more."""
    now_ms = time.time() * 1000
    recent = [note for note in notes if now_ms - note.at_ms < LONG_OVER_SECONDS * 1000]
    if recent:
        say(
            f"another replay began to send {counted(len(recent), 'dead letter')} and has not finished; "
            f"waiting {HOLD_SECONDS:g} s, after which it can send no more"
        )
        sleep(HOLD_SECONDS)


def _note(record: Record) -> Note | None:
    try:
        return msgspec.json.decode(record.value or b"", type=Note)
    except (msgspec.DecodeError, UnicodeDecodeError):
        # Written by another program: it is no claim on a dead letter.
        return None
