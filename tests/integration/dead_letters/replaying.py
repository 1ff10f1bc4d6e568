"""`tagstream dlq replay` whose send to a broker fails: `python -m tests.integration.dead_letters.replaying FAULT NUMBER`."""

import math
import os
import signal
import sys
from collections.abc import Sequence
from enum import StrEnum

from tagstream.stream.cli import main
from tagstream.stream.contract.event import Record
from tagstream.stream.kafka import producer
from tagstream.stream.kafka.producer import UndeliveredError, VerbatimSender


class Fault(StrEnum):
    """The fault at one send."""

    KILLED_BEFORE_LETTER = "killed-before-letter"
    KILLED_BEFORE_NOTE = "killed-before-note"
    NOTE_UNCONFIRMED = "note-unconfirmed"


class Failing(VerbatimSender):
    """The real sender, with a fault at the send of the letter, or of the note, with the given number."""

    fault: Fault
    left: int

    def deliver(self, records: Sequence[Record], *, until: float = math.inf) -> list[UndeliveredError | None]:
        """Deliver as the real sender does, or fail."""
        is_note = records[0].topic.endswith(".replays")
        if is_note is not (Failing.fault is Fault.KILLED_BEFORE_LETTER):
            if Failing.left == 0 and Failing.fault is Fault.NOTE_UNCONFIRMED:
                return [UndeliveredError("no word")]
            if Failing.left == 0:
                # As the out-of-memory killer does.
                os.kill(os.getpid(), signal.SIGKILL)
            Failing.left -= 1
        return super().deliver(records, until=until)


if __name__ == "__main__":
    Failing.fault, Failing.left = Fault(sys.argv[1]), int(sys.argv[2])
    producer.VerbatimSender = Failing  # type: ignore[misc]
    sys.argv[1:] = ["dlq", "replay"]
    main.main()
