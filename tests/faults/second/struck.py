"""
`tagstream second` of the fault runs: the real command, which ends or stops at a point between two of its steps.

Run as `python -m tests.faults.second.struck second ...` with TAGSTREAM_* and a point in the environment. A signal arms the point.
"""

import os
import signal
from collections.abc import Mapping, Sequence
from types import FrameType

import tagstream.stream.kafka.single_writer
import tagstream.stream.second.ledger
from tagstream.stream.cli.main import main as command
from tagstream.stream.contract.event import Record
from tagstream.stream.contract.second_opinions import SecondOpinion, read_opinion
from tagstream.stream.kafka.reading.reader import Place
from tagstream.stream.kafka.single_writer import SingleWriter

# A point, as "after opinions": before a transaction, within it before its commit, or after its commit.
POINT_VARIABLE = "TESTS_FAULTS_SECOND"
# A transaction has decisions, or opinions of which one settles; the others are passed by.
POINTS = tuple(f"{moment} {kind}" for kind in ("opinions", "decisions") for moment in ("before", "within", "after"))
# What the process sends itself at its next passing, by the signal that arms it.
ARMS = {signal.SIGUSR1: signal.SIGKILL, signal.SIGUSR2: signal.SIGSTOP}
# The process prints it after each transaction that has a kind.
WRITTEN = "written: "

_armed: list[signal.Signals] = []


def arm(number: int, _frame: FrameType | None) -> None:
    """Break at the next passing."""
    _armed.append(ARMS[signal.Signals(number)])


def reach(point: str) -> None:
    """Break if the point is armed."""
    if _armed and os.environ.get(POINT_VARIABLE) == point:
        os.kill(os.getpid(), _armed.pop())


def settling(record: Record) -> SecondOpinion | None:
    """The opinion that a record of `second` has, if it settles its item."""
    found = read_opinion(record)
    return found if isinstance(found, SecondOpinion) and found.settles else None


class StruckWriter(SingleWriter):
    """The real writer, with the points."""

    _kind = ""

    def write(self, records: Sequence[Record], after: Mapping[Place, int] | None = None) -> None:
        """As the real one."""
        topics = self._settings.topics
        is_opinions = any(one.topic == topics.second and settling(one) for one in records)
        is_decisions = any(one.topic == topics.tagged for one in records)
        self._kind = "opinions" if is_opinions else "decisions" if is_decisions else ""
        reach(f"before {self._kind}")
        producer, commit = self._producer, self._producer.commit_transaction

        def commit_transaction() -> None:
            reach(f"within {self._kind}")
            commit()

        producer.commit_transaction = commit_transaction
        try:
            super().write(records, after)
        finally:
            producer.commit_transaction = commit
        reach(f"after {self._kind}")
        if self._kind:
            print(f"{WRITTEN}{self._kind}", flush=True)  # noqa: T201 - the harness reads it


def main() -> None:
    """Run the command of the arguments."""
    for one in ARMS:
        signal.signal(one, arm)
    tagstream.stream.kafka.single_writer.SingleWriter = StruckWriter  # type: ignore[misc]
    # No run sees a second day: midnight must not ask about some items a third time.
    tagstream.stream.second.ledger.GOLD_MS = 10**15
    command()


if __name__ == "__main__":
    main()
