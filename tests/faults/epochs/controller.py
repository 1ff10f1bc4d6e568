"""
The controller of the fault runs: the real commands `promote` and `canary`, which a run kills, stops or ends at a point between two of their steps.

Run as `python -m tests.faults.epochs.controller promote BUNDLE` (or `canary`, `rollback`) with TAGSTREAM_* in the environment.
"""

import os
import signal
import sys

import tagstream.stream.rollout.control
from tagstream.stream.cli.main import main as command
from tagstream.stream.contract.rollout_records import RolloutRecord
from tagstream.stream.rollout.writer import RolloutWriter

# A signal and a point, as "SIGKILL after close": before or after fencing, and before a record is sent, within its transaction, or
# after its commit.
POINT_VARIABLE = "TESTS_FAULTS_CONTROLLER"
STEPS = ("fence", "plan", "close", "marks")
POINTS = tuple(
    f"{moment} {step}"
    for step in STEPS
    for moment in (("before", "within", "after") if step != "fence" else ("before", "after"))
)


def reach(point: str) -> None:
    """Send this process the signal that is asked for here."""
    name, _, wanted = os.environ.get(POINT_VARIABLE, "").partition(" ")
    if wanted == point:
        os.kill(os.getpid(), signal.Signals[name])


class StruckWriter(RolloutWriter):
    """The real writer, with the points."""

    async def fence(self) -> None:
        """As the real one."""
        reach("before fence")
        await super().fence()
        reach("after fence")
        producer = self._producer
        assert producer is not None
        commit = producer.commit_transaction

        async def commit_transaction() -> None:
            reach(f"within {self._kind}")
            await commit()

        producer.commit_transaction = commit_transaction

    async def append(self, record: RolloutRecord) -> int:
        """As the real one."""
        self._kind = type(record).__name__.lower()
        reach(f"before {self._kind}")
        offset = await super().append(record)
        reach(f"after {self._kind}")
        return offset

    _kind = ""


def main() -> None:
    """Run the command of the arguments."""
    tagstream.stream.rollout.control.RolloutWriter = StruckWriter  # type: ignore[misc]
    sys.argv[1:] = ["rollout", *sys.argv[1:], "--why", "a fault run"]
    command()


if __name__ == "__main__":
    main()
