"""Two threads beside the demo's own: one sends samples, one reads outcomes. Both put facts into one queue."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from queue import SimpleQueue

from stream.contract.record import Record
from stream.demo.people.answers import Given
from stream.demo.samples import Sample
from stream.demo.screen.opening import command
from stream.kafka import producer
from stream.kafka.reading import reader
from stream.settings.settings import Settings

# The client's own flush and close have 30 s each.
JOIN_SECONDS = 65.0
READER_SECONDS = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """A sample is about to be sent. The fact is queued before the client gets the sample, so before its outcome."""

    sample: Sample
    at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Came:
    """Records came out of the stream."""

    records: Sequence[Record]


@dataclass(frozen=True, slots=True, kw_only=True)
class Broke:
    """A thread has ended with an error."""

    error: BaseException


Fact = Sent | Came | Given | Broke


class Traffic:
    """
    Sender and reader of one run.

    Attributes:
        facts: In order: the `Sent` of a sample comes before the `Came` of its outcome. A `Given` may come at any time.
    """

    def __init__(self, settings: Settings, samples: Iterator[Sample], *, rate: float) -> None:
        """
        Make the threads; `reading` and `sending` start them.

        Args:
            settings: Brokers and topics.
            samples: Samples without end.
            rate: Samples a second.
        """
        self.facts: SimpleQueue[Fact] = SimpleQueue()
        self._settings = settings
        self._samples = samples
        self._rate = rate
        self._no_more = threading.Event()
        self._done = threading.Event()
        self._reading = threading.Event()
        self._sender = threading.Thread(target=self._guarded(self._send), name="demo-sender", daemon=True)
        self._reader = threading.Thread(target=self._guarded(self._read), name="demo-reader", daemon=True)

    def stop_sending(self) -> None:
        """Stop sending, and return when the broker has confirmed every sample."""
        self._no_more.set()
        _join(self._sender, JOIN_SECONDS)

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Read outcomes and findings while the context lasts; it is entered once the reader has its position."""
        self._reader.start()
        try:
            if not self._reading.wait(READER_SECONDS):
                msg = (
                    f"the reader did not find its place in the topics within {READER_SECONDS:.0f} s. "
                    f"Next: `{command()} doctor`."
                )
                raise TimeoutError(msg)
            yield
        finally:
            self._done.set()
            _join(self._reader, READER_SECONDS)

    @contextmanager
    def sending(self) -> Iterator[None]:
        """Send while the context lasts, or until told to stop."""
        self._sender.start()
        try:
            yield
        finally:
            self.stop_sending()

    def _send(self) -> None:
        content = self._settings.topics.content
        with producer.sender(self._settings) as sender:
            started = time.monotonic()
            for number, sample in enumerate(self._samples):
                if self._no_more.wait(max(0.0, started + number / self._rate - time.monotonic())):
                    break
                self.facts.put(Sent(sample=sample, at_ms=time.time_ns() // 1_000_000))
                sender.send(content, key=sample.key.encode(), value=sample.value)
            sender.flush()

    def _read(self) -> None:
        topics = self._settings.topics
        read = (topics.tagged, topics.review, topics.dlq, topics.reviewed, topics.drift)
        for records in reader.read(self._settings, read, from_beginning=True):
            self._reading.set()
            if records:
                self.facts.put(Came(records=records))
            if self._done.is_set():
                return

    def _guarded(self, run: Callable[[], None]) -> Callable[[], None]:
        def guarded() -> None:
            try:
                run()
            # Raised again in the demo's own thread.
            except BaseException as error:  # noqa: BLE001
                self.facts.put(Broke(error=error))
                self._reading.set()

        return guarded


def _join(thread: threading.Thread, seconds: float) -> None:
    if thread.ident is not None:
        thread.join(seconds)
        if thread.is_alive():
            msg = f"{thread.name} did not end within {seconds:.0f} s: the broker does not answer. Next: `{command()} doctor`."
            raise TimeoutError(msg)
