"""The ledger of a fault run: the events that lie on `content`, and up to where workers can read them."""

from collections.abc import Sequence

from tagstream.stream.settings.settings import Settings
from tests.faults.cluster.topics import send_to
from tests.faults.inputs import Input, Planted, Transaction, plant
from tests.faults.journal import Journal
from tests.faults.observer import TopicObserver
from tests.faults.upstream.producers import end_hung

# To each partition that is added.
ADDED_EVENTS = 200


class Ledger:
    """
    The events of a run.

    Attributes:
        inputs: Whose outcomes are expected; grows when partitions are added.
        ends: By partition, the offset after the last event that a worker can read now.

    Args:
        settings: The harness's own, past the network.
        sent: All records that were sent. Those of transactions that are not committed are no inputs.
        observer: Looks at the brokers.
        journal: Keeps the records that are added, those of an earlier process too.
        seed: Fixes the records that are added.
    """

    def __init__(
        self, settings: Settings, sent: Sequence[Input], *, observer: TopicObserver, journal: Journal, seed: str
    ) -> None:
        """Add nothing to what was sent."""
        self._settings = settings
        self._observer = observer
        self._journal = journal
        self._seed = seed
        self._malformed = 2 if any(one.planted.event_id is None for one in sent) else 0
        self.inputs = [one for one in sent if one.planted.is_event]
        # By partition, the offset at which a transaction is open: no worker reads beyond it.
        self._hung: dict[int, int] = {}
        for one in sent:
            if one.planted.transaction is Transaction.HUNG:
                self._hung.setdefault(one.partition, one.offset)
        self._recall_additions()
        self.ends = self._readable()

    @property
    def is_hung(self) -> bool:
        """Whether a transaction is open, with events behind it."""
        return bool(self._hung)

    def end_hung(self) -> None:
        """Let the transaction that hangs be aborted; the events behind it can be read from now on."""
        end_hung(self._settings)
        self._hung = {}
        self.ends = self._readable()

    def add_partition(self) -> None:
        """Add one partition, with events in it."""
        added, first = self._observer.add_partition(), len(self.inputs)
        inputs = send_to(self._settings, self._planted(added, first), [added])
        self._journal.added(partition=added, first=first, inputs=inputs)
        self.inputs += inputs
        self.ends = self._readable()

    def extend(self, inputs: Sequence[Input]) -> None:
        """These were sent meanwhile, to partitions without a transaction that is open."""
        self.inputs += inputs
        for one in inputs:
            self.ends[one.partition] = max(self.ends.get(one.partition, 0), one.offset + 1)

    def _readable(self) -> dict[int, int]:
        ends = dict.fromkeys(self._observer.ends(), 0)
        for one in self.inputs:
            if one.offset < self._hung.get(one.partition, one.offset + 1):
                ends[one.partition] = max(ends[one.partition], one.offset + 1)
        return ends

    def _planted(self, partition: int, first: int) -> list[Planted]:
        return plant(ADDED_EVENTS, malformed=self._malformed, seed=f"{self._seed}:{partition}", first=first)

    def _recall_additions(self) -> None:
        for addition in self._journal.additions():
            planted = self._planted(addition["partition"], addition["first"])
            self.inputs += [
                Input(planted=one, partition=partition, offset=offset)
                for one, (partition, offset) in zip(planted, addition["places"], strict=True)
            ]
