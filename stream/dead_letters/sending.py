"""Sends dead letters in batches: claims them in the ledger, sends one by one, and notes what became of each."""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from stream.contract.dead_letter import DeadLetter, replayed
from stream.dead_letters.choose import Found
from stream.dead_letters.ledger import SEND_WITHIN_SECONDS, Ledger, Standing, State, key_of
from stream.dead_letters.plan import ReplayPlan, ReplayReport
from stream.dead_letters.refusals import NotReplayed, not_replayed
from stream.kafka.producer import TooLargeError, TooLateError, UndeliveredError, VerbatimSender
from stream.terminal.text import counted

BATCH_LETTERS = 100
BATCH_BYTES = 8 * 1024 * 1024
REFUSED_STANDINGS = {
    Standing.ELSEWHERE: (NotReplayed.ELSEWHERE, "another replay is working on it"),
    Standing.UNKNOWN: (
        NotReplayed.UNKNOWN,
        "an earlier replay stopped while it sent this, and the target cannot tell whether it arrived; name the place, with --again, to send it",
    ),
}


class ReplayError(Exception):
    """The broker stopped answering during a replay: the message says how many were sent, and the next step."""

    exit_code = 3


def sendable(letters: Iterable[Found], ledger: Ledger, plan: ReplayPlan, report: ReplayReport) -> Iterator[DeadLetter]:
    """The dead letters that may be sent, as far as the ledger is read; the others are counted in `report`."""
    for found in letters:
        letter = found.letter
        if not plan.takes(letter):
            report.left += 1
            continue
        if letter is None:
            report.refuse(found.place, NotReplayed.NOT_OURS, found.why, plan)
            continue
        standing = ledger.standing(key_of(letter, plan.target))
        known = (Standing.SENT, Standing.UNKNOWN)
        if standing is Standing.SENT and not plan.again:
            report.already += 1
        elif standing in REFUSED_STANDINGS and not (plan.again and standing in known):
            report.refuse(letter.place, *REFUSED_STANDINGS[standing], plan)
        elif (why := not_replayed(letter, most_replays=plan.most_replays)) is not None:
            report.refuse(letter.place, *why, plan)
        else:
            yield letter


def batches(letters: Iterable[DeadLetter]) -> Iterator[list[DeadLetter]]:
    """Dead letters in batches of at most `BATCH_LETTERS`, each ended by the letter that brings it to `BATCH_BYTES`."""
    batch: list[DeadLetter] = []
    size = 0
    for letter in letters:
        batch.append(letter)
        size += letter.size_bytes
        if len(batch) >= BATCH_LETTERS or size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


@dataclass(frozen=True, slots=True, kw_only=True)
class Sending:
    """Sends the batches of one run."""

    ledger: Ledger
    sender: VerbatimSender
    plan: ReplayPlan
    report: ReplayReport

    def send(self, batch: list[DeadLetter]) -> None:
        """
        Send a batch; dead letters that another run claims are refused.

        Raises:
            LedgerError: The broker did not confirm a note of the ledger.
            ReplayError: The broker did not confirm a record, or answers too slowly to send any.
        """
        while batch:
            late = self._send_in_time(batch)
            if len(late) == len(batch):
                msg = (
                    f"the notes in the ledger for {counted(len(batch), 'dead letter')} and the first record for {self.plan.target} took more "
                    f"than {SEND_WITHIN_SECONDS:g} s, after which another run may take over; {counted(self.report.sent, 'dead letter')} "
                    f"replayed. Next: `tagstream doctor`; then run the replay again."
                )
                raise ReplayError(msg)
            batch = late

    def _send_in_time(self, batch: list[DeadLetter]) -> list[DeadLetter]:
        """Send for `SEND_WITHIN_SECONDS`; returns the dead letters for which there was no time left, of which none was sent."""
        until = time.monotonic() + SEND_WITHIN_SECONDS
        letters = {key_of(letter, self.plan.target): letter for letter in batch}
        claimed = self.ledger.claim(list(letters), self.sender)
        for key, letter in letters.items():
            if key not in claimed:
                self.report.refuse(letter.place, *REFUSED_STANDINGS[Standing.ELSEWHERE], self.plan)
        states: dict[str, State] = {}
        late: list[DeadLetter] = []
        for key, proof in claimed.items():
            letter = letters[key]
            if time.monotonic() > until:
                states[key] = State.NOT_TAKEN
                late.append(letter)
                continue
            # One record at a time: only then is the producer's error about this very record.
            (error,) = self.sender.deliver([replayed(letter, self.plan.target, proof)], until=until)
            if isinstance(error, TooLateError):
                states[key] = State.NOT_TAKEN
                late.append(letter)
            elif isinstance(error, TooLargeError):
                states[key] = State.NOT_TAKEN
                sentence = f"{self.plan.target} does not take a record of its size ({letter.size_bytes} bytes and headers)"
                self.report.refuse(letter.place, NotReplayed.TOO_LARGE, sentence, self.plan)
            elif error is not None:
                self.ledger.finish(states, self.sender)
                raise self._unconfirmed(error) from error
            else:
                states[key] = State.SENT
                self.report.count(letter)
                self.plan.advance()
        self.ledger.finish(states, self.sender)
        return late

    def _unconfirmed(self, error: UndeliveredError) -> ReplayError:
        return ReplayError(
            f"the broker did not confirm a record for {self.plan.target}: {error}; {counted(self.report.sent, 'dead letter')} replayed. "
            f"Next: `tagstream doctor`; then run the replay again: it checks first which records have arrived."
        )
