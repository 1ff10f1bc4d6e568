"""Events, what becomes of them, and trials without a process."""

from collections.abc import Callable, Sequence

from tagstream.stream.contract.event import Record
from tagstream.stream.contract.outcome import Publication
from tagstream.stream.contract.refusal import Refusal
from tagstream.stream.decide.from_settings import pipeline_of
from tagstream.stream.deliver.crash.trial import Died, NotHeld
from tagstream.stream.settings.settings import Settings
from tests.fakes import deciding
from tests.replacing import replace

SEGFAULT = Died("signal SIGSEGV")
KILLED = NotHeld("signal SIGKILL")
GOOD = b'{"title":"deployment"}'
PIPELINE = pipeline_of(Settings(), decider=deciding())


def event(offset: int, value: bytes = b"{}", partition: int = 0) -> Record:
    """A record on `content`."""
    return Record(topic="content", partition=partition, offset=offset, timestamp_ms=5, key=None, value=value)


def decided(events: Sequence[Record], refusal: Refusal | None = None, /) -> list[Publication]:
    """One publication for each event."""
    return PIPELINE.publications([replace(one, value=GOOD) for one in events], refusal)


class FakeTrials:
    """Implements `Trials`: an event survives, unless its trials are told otherwise."""

    def __init__(self) -> None:
        """Hold none yet."""
        self.told: dict[int, list[Died | NotHeld | None]] = {}
        self.held: list[int] = []
        self.ends = 0

    def hold(self, event: Record, wanted: Callable[[], bool]) -> Publication | Died | NotHeld | None:
        """The next of what was told for this offset."""
        self.held.append(event.offset)
        if not wanted():
            return None
        told = self.told.get(event.offset)
        return told.pop(0) if told else decided([event])[0]

    def end(self) -> None:
        """Count it."""
        self.ends += 1
