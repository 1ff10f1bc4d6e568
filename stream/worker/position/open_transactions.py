"""Events that no consumer may read yet, because a transaction of a producer that began before them is still open."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from faust.types import TP

from monitoring.limits import OPEN_TRANSACTION_SECONDS
from stream.logs import logger

SAY_SECONDS = 60.0
log = logger("tagstream.position")


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenTransaction:
    """
    The events of one partition behind its last stable offset.

    Attributes:
        stable: The last stable offset: the first record of the oldest open transaction.
        events: Offsets from there to the end of the log; markers of transactions among them are counted too.
        since: When this worker first saw the last stable offset stand there, Unix seconds.
    """

    stable: int
    events: int
    since: float


class OpenTransactions:
    """
    Notices where the last stable offset stands still before the end of the log (KIP-98), and logs it once a minute.

    Consumers of committed records read up to the last stable offset. All events after it wait, also those of other producers and those
    without a transaction, until the transaction ends or the broker aborts it.
    """

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        """`now` is the time in Unix seconds."""
        self._now = now
        self._open: dict[TP, OpenTransaction] = {}
        self._said: dict[TP, float] = {}

    def see(self, ends: Mapping[TP, int], stable: Mapping[TP, int]) -> Mapping[TP, OpenTransaction]:
        """
        Look at the partitions of this worker; one that is not among them is forgotten.

        Args:
            ends: The end of each log, read before `stable`, so that records that are committed meanwhile are not counted.
            stable: The last stable offset of each.

        Returns:
            The partitions with events behind the last stable offset.
        """
        now, before = self._now(), self._open
        self._open = {}
        for tp, offset in stable.items():
            if (events := ends.get(tp, offset) - offset) > 0:
                known = before.get(tp)
                since = known.since if known is not None and known.stable == offset else now
                self._open[tp] = OpenTransaction(stable=offset, events=events, since=since)
        self._say(now)
        return self._open

    def _say(self, now: float) -> None:
        self._said = {tp: at for tp, at in self._said.items() if tp in self._open}
        for tp, found in self._open.items():
            if now - found.since >= OPEN_TRANSACTION_SECONDS and not 0 <= now - self._said.get(tp, -SAY_SECONDS) < SAY_SECONDS:
                self._said[tp] = now
                log.warning(
                    "transaction_open",
                    topic=tp.topic,
                    partition=tp.partition,
                    events=found.events,
                    from_offset=found.stable,
                    since_seconds=round(now - found.since),
                    why="a producer has neither committed nor aborted its transaction, so no consumer may read what follows",
                    next="docs/runbooks/OpenTransaction.md",
                )
