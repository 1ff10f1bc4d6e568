"""A worker ends within its bounds when its log is not read, its event loop is blocked and no thread can be started."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from tagstream.stream.broker.ports import free_ports
from tagstream.stream.deliver.fatal import EXIT_BROKEN
from tagstream.stream.settings.settings import Settings
from tagstream.stream.worker.ending import EXIT_SHUTDOWN_TIMED_OUT
from tests.faults.cluster.topics import send
from tests.faults.inputs import plant
from tests.faults.observer import TopicObserver
from tests.faults.worker.failpoints import Point
from tests.faults.worker.fleet import ROOT, without_settings
from tests.integration.running import SAME_MEMBER, Start, all_committed, get, verdict
from tests.pipes import fill
from tests.waiting import HANG_SECONDS, until

pytestmark = [pytest.mark.broker, pytest.mark.slow]

BEFORE, AFTER = 100, 400


class Unread:
    """A worker with the stub model that works, and whose standard error is a full pipe."""

    def __init__(self, running: "subprocess.Popen[bytes]", port: int) -> None:
        self._running = running
        self._address = f"http://127.0.0.1:{port}/readyz"

    def until_ready(self, status: int = 200) -> str:
        """Wait until /readyz answers with this status and return the sentence."""

        def look() -> str | None:
            assert self._running.poll() is None, f"it ended with {self._running.returncode}"
            found, why = get(self._address)
            return why if found == status else None

        why = until(look, f"/readyz answers {status}")
        assert why is not None
        return why

    def break_at(self, *points: Point) -> None:
        """Let it break at the next passing of these points."""
        for point in points:
            os.kill(self._running.pid, point.value)

    def terminate(self) -> None:
        """Send SIGTERM."""
        self._running.terminate()

    def end(self) -> int:
        """Wait until it ends by itself; its exit code."""
        return self._running.wait(HANG_SECONDS)


@pytest.fixture
def start_unread(environ: dict[str, str]) -> Iterator[Callable[..., Unread]]:
    """Starts workers whose log is not read; further TAGSTREAM_* as arguments."""
    with contextlib.ExitStack() as stack:

        def run(**settings: str) -> Unread:
            port = free_ports(1)[0]
            reading, writing = os.pipe()
            for descriptor in (reading, writing):
                stack.callback(os.close, descriptor)
            running = stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-m", "tests.faults.worker"],
                    env={
                        **without_settings(os.environ),
                        **environ,
                        **SAME_MEMBER,
                        **settings,
                        "PYTHONPATH": str(ROOT),
                        "TAGSTREAM_METRICS_PORT": str(port),
                    },
                    stdin=subprocess.DEVNULL,
                    stderr=writing,
                )
            )
            stack.callback(running.kill)

            worker = Unread(running, port)
            worker.until_ready()
            fill(writing)
            return worker

        yield run


@pytest.mark.parametrize(
    "points",
    [(Point.EXCEPTION,), (Point.NO_MORE_THREADS, Point.BLOCKED_FOR_EVER)],
    ids=["dies", "blocked without threads"],
)
def test_a_broken_worker_ends_though_its_log_is_not_read(
    points: tuple[Point, ...],
    start_unread: Callable[..., Unread],
    start: Start,
    settings: Settings,
    observer: TopicObserver,
) -> None:
    """The process ends with code 70, its partitions go to a successor, and each event has one outcome."""
    worker = start_unread()
    inputs = send(settings, plant(BEFORE, malformed=1, seed="before"))
    all_committed(observer)
    worker.break_at(*points)
    inputs += send(settings, plant(AFTER, malformed=4, seed="after", first=BEFORE))
    assert worker.end() == EXIT_BROKEN

    start(**SAME_MEMBER)
    all_committed(observer)
    assert verdict(observer, inputs).broken == []


def test_a_blocked_worker_hears_sigterm(
    start_unread: Callable[..., Unread], settings: Settings, observer: TopicObserver
) -> None:
    """SIGTERM ends a worker within its bound though its event loop is blocked, its log unread, and no thread can be started."""
    worker = start_unread(TAGSTREAM_SHUTDOWN_TIMEOUT_SECONDS="3", TAGSTREAM_STALL_TIMEOUT_SECONDS="2")
    worker.break_at(Point.NO_MORE_THREADS, Point.BLOCKED_FOR_EVER)
    send(settings, plant(BEFORE, malformed=1, seed="blocked"))
    assert "the event loop has not run" in worker.until_ready(503)
    worker.terminate()
    # Without the signal it would end with 70.
    assert worker.end() == EXIT_SHUTDOWN_TIMED_OUT
    assert sum(observer.committed().values()) == 0
