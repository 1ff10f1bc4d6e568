"""The demo's threads: one sends samples, one reads the records that come out, one answers as a reviewer. All write into one account."""

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

# The client's flush and close are bounded by 30 s each; saving an answer is bounded by 90 s.
JOIN_SECONDS = 95.0
READER_SECONDS = 30.0


class Traffic:
    """The records that one run sends and receives. Thread-safe."""

    def __init__(self, settings: Settings, tell: Callable[[Landing | Reached | Finding], None]) -> None:
        """
        Open the account; no thread starts yet.

        Args:
            settings: Brokers and topics.
            tell: Called in the reader's thread with each item to show; see `Account.came`.
        """
        self._settings = settings
        self._tell = tell
        self._account = Account(settings.topics)
        self._lock = threading.Lock()
        self._errors: list[BaseException] = []

    def check(self) -> None:
        """If a thread has failed, raise its error. Each error is raised once."""
        if self._errors:
            raise self._errors.pop(0)

    def counts(self) -> AccountTotals:
        """Return the figures so far."""
        with self._lock:
            return self._account.totals()

    def is_balanced(self) -> bool:
        """Return True if every outcome and every answer has arrived."""
        with self._lock:
            return self._account.waiting == 0

    def answered(self, one: SavedAnswer) -> None:
        """Enter a saved answer."""
        with self._lock:
            self._account.given(one)

    @contextmanager
    def reading(self) -> Iterator[Account]:
        """
        Read the records that come out while the context lasts.

        The context is entered after the reader's first poll. On exit, the account is complete.
        """
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
        """Send `rate` samples a second while the context lasts. On exit, the broker has confirmed every sample."""
        over, content = threading.Event(), self._settings.topics.content

        def send() -> None:
            with producer.sender(self._settings) as sender:
                started = time.monotonic()
                for number, sample in enumerate(samples):
                    if over.wait(max(0.0, started + number / rate - time.monotonic())):
                        break
                    # The sample is entered before the client gets it, so before its outcome can arrive.
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
            name: The name of the thread.
            run: The work of the thread; returns soon after `over` is set.
            over: Set on exit from the context.

        Raises:
            TimeoutError: The thread did not end.
        """

        def guarded() -> None:
            try:
                run()
            # `check` raises the error again in the demo's main thread.
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
