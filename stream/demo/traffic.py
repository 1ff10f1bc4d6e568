"""Threads beside the demo's own: one sends samples, one reads what comes out, one answers as a reviewer. All write into one account."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tagstream.monitoring.drift.findings import Finding
from tagstream.stream.demo.account import Account, AccountTotals, Landing, Reached, SavedAnswer
from tagstream.stream.demo.samples import SampleRecord
from tagstream.stream.demo.view import command
from tagstream.stream.kafka import producer
from tagstream.stream.kafka.reading import tail
from tagstream.stream.settings.settings import Settings

# The client's own flush and close have 30 s each; an answer under way has its word within 90 s.
JOIN_SECONDS = 95.0
READER_SECONDS = 30.0


class Traffic:
    """The records that go in and out of one run. Every method may be called from any thread."""

    def __init__(self, settings: Settings, tell: Callable[[Landing | Reached | Finding], None]) -> None:
        """
        Start no thread yet.

        Args:
            settings: Brokers and topics.
            tell: Called in the reader's thread with what is worth telling of the records that come out.
        """
        self._settings = settings
        self._tell = tell
        self._account = Account(settings.topics)
        self._lock = threading.Lock()
        self._errors: list[BaseException] = []

    def check(self) -> None:
        """Raise the error with which one of the threads has ended, once."""
        if self._errors:
            raise self._errors.pop(0)

    def counts(self) -> AccountTotals:
        """The figures so far."""
        with self._lock:
            return self._account.totals()

    def is_balanced(self) -> bool:
        """Whether no outcome and no answer is missing now."""
        with self._lock:
            return self._account.waiting == 0

    def answered(self, one: SavedAnswer) -> None:
        """Enter an answer that is saved."""
        with self._lock:
            self._account.given(one)

    @contextmanager
    def reading(self) -> Iterator[Account]:
        """Read what comes out while the context lasts; it is entered once the reader has its position. The account is whole when it is left."""
        over, begun = threading.Event(), threading.Event()
        topics = self._settings.topics

        def read() -> None:
            names = (topics.tagged, topics.review, topics.dlq, topics.reviewed, topics.drift)
            try:
                for records in tail.read(self._settings, names, from_beginning=True):
                    begun.set()
                    with self._lock:
                        told = [self._account.came(record) for record in records]
                    for one in told:
                        if one is not None:
                            self._tell(one)
                    if over.is_set():
                        return
            finally:
                begun.set()

        with self.thread("demo-reader", read, over):
            if not begun.wait(READER_SECONDS):
                msg = f"the reader did not find its place in the topics within {READER_SECONDS:.0f} s. Next: `{command()} doctor`."
                raise TimeoutError(msg)
            yield self._account
        self.check()

    @contextmanager
    def sending(self, samples: Iterator[SampleRecord], *, rate: float) -> Iterator[None]:
        """Send so many samples a second while the context lasts; when it is left, the broker has confirmed every one."""
        over, content = threading.Event(), self._settings.topics.content

        def send() -> None:
            with producer.sender(self._settings) as sender:
                started = time.monotonic()
                for number, sample in enumerate(samples):
                    if over.wait(max(0.0, started + number / rate - time.monotonic())):
                        break
                    # Before the client gets it, so before its outcome.
                    with self._lock:
                        self._account.sent(sample, time.time_ns() // 1_000_000)
                    sender.send(content, key=sample.key.encode(), value=sample.value)
                sender.flush()

        with self.thread("demo-sender", send, over):
            yield
        self.check()

    @contextmanager
    def thread(self, name: str, run: Callable[[], None], over: threading.Event) -> Iterator[None]:
        """
        Run a thread while the context lasts; `check` raises its error.

        Args:
            name: Of the thread.
            run: Its work, which ends when `over` is set.
            over: Is set when the context is left.

        Raises:
            TimeoutError: The thread did not end.
        """

        def guarded() -> None:
            try:
                run()
            # Raised again in the demo's own thread.
            except BaseException as error:  # noqa: BLE001
                self._errors.append(error)

        thread = threading.Thread(target=guarded, name=name, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join(JOIN_SECONDS)
            if thread.is_alive():
                msg = f"{name} did not end within {JOIN_SECONDS:.0f} s: the broker does not answer. Next: `{command()} doctor`."
                raise TimeoutError(msg)
