"""A replay in a process of its own, which can be made to die between two steps: `python -m tests.integration.dead_letters.replaying STEP NUMBER`."""

import math
import os
import signal
import sys
from collections.abc import Sequence

from stream.contract.record import Record
from stream.dead_letters import ledger, replay, show
from stream.dead_letters.ledger import Ledger
from stream.dead_letters.plan import ReplayPlan
from stream.dead_letters.selection import Selection
from stream.kafka import producer
from stream.kafka.producer import UndeliveredError, VerbatimSender
from stream.settings.loading import load
from stream.terminal import console


def die() -> None:
    """SIGKILL this process, as the out-of-memory killer does."""
    os.kill(os.getpid(), signal.SIGKILL)


class Dying(VerbatimSender):
    """The real sender, which dies before the send to `content` with the given number."""

    left = 0

    def deliver(self, records: Sequence[Record], *, until: float = math.inf) -> list[UndeliveredError | None]:
        """Deliver as the real sender does, or die."""
        if not records[0].topic.endswith(".replays"):
            if self.left == 0:
                die()
            self.left -= 1
        return super().deliver(records, until=until)


def main(step: str, number: int) -> None:
    """Replay everything, and die at the given step."""
    settings = load(os.environ).settings
    if step == "after-sends":
        Dying.left = number
        producer.VerbatimSender = Dying  # type: ignore[misc]
    if step == "before-finish":
        Ledger.finish = lambda _, states, __: die() if states else None  # type: ignore[assignment]
    ledger.HOLD_SECONDS = 0.2
    plan = ReplayPlan(
        selection=Selection(),
        target=settings.topics.content,
        most_replays=3,
        again=False,
        refused=show.refused,
        say=console.talk,
    )
    show.print_report(replay.replay(settings, plan), dry_run=False, as_json=False)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
