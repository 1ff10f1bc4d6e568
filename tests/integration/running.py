"""A worker process with the stub for a model, what it says over HTTP, and waiting for it with a bound."""

import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import TypeVar

from prometheus_client.parser import text_string_to_metric_families

from stream.broker.processes import Process
from tests.faults.checker import Evidence, Verdict, check
from tests.faults.inputs import Input
from tests.faults.observer import TopicObserver

START_SECONDS = 60.0
WORK_SECONDS = 60.0
POLL_SECONDS = 0.1
T = TypeVar("T")


class RunningWorker:
    """A worker process with the stub for a model, and its HTTP server."""

    def __init__(self, process: Process) -> None:
        """Wait until it says where its metrics are."""
        self.process = process
        started = until(lambda: re.search(r'"metrics": "(http://[^"]+)/metrics"', process.output()), START_SECONDS)
        assert started is not None, process.output()
        self.url = started[1]

    def get(self, path: str) -> tuple[int, str]:
        """Status and body."""
        try:
            with urllib.request.urlopen(self.url + path, timeout=10) as answer:  # noqa: S310 - loopback
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def metric(self, name: str) -> float:
        """The sum over all series of this name."""
        families = text_string_to_metric_families(self.get("/metrics")[1])
        return sum(sample.value for family in families for sample in family.samples if sample.name == name)

    def series(self, name: str, label: str) -> dict[str, float]:
        """The series of this name by one label."""
        families = text_string_to_metric_families(self.get("/metrics")[1])
        return {s.labels[label]: s.value for family in families for s in family.samples if s.name == name}

    def stop(self) -> tuple[int | None, float]:
        """SIGTERM; the exit code and how long it took, at most a minute."""
        asked = time.monotonic()
        self.process.ask_to_end()
        assert self.process.wait(60), self.process.output()
        return self.process.exit_code, time.monotonic() - asked


Start = Callable[..., RunningWorker]
"""Starts a worker of the test's group: `seconds_per_batch`, and further variables of its environment, as named arguments."""


def until(look: Callable[[], T], seconds: float) -> T:
    """What `look` gives as soon as it is true, or the last that it gave."""
    deadline = time.monotonic() + seconds
    while True:
        found = look()
        if found or time.monotonic() > deadline:
            return found
        time.sleep(POLL_SECONDS)


def all_written(observer: TopicObserver, count: int) -> bool:
    """Are there so many outcomes, within the time that work may take?"""
    return bool(until(lambda: sum(observer.sample().written.values()) >= count, WORK_SECONDS))


def all_committed(observer: TopicObserver) -> bool:
    """Do the commits reach the ends of the log? Prints where they stand if they do not."""
    found = bool(until(lambda: observer.committed() == observer.ends(), WORK_SECONDS))
    if not found:
        print(f"committed {observer.committed()}, ends {observer.ends()}")  # noqa: T201 - pytest shows it with the failure
    return found


def verdict(observer: TopicObserver, inputs: list[Input]) -> Verdict:
    """What the checker says now."""
    return check(
        Evidence(
            inputs=inputs,
            outcomes=observer.outcomes(),
            samples=[observer.sample()],
            ends=observer.ends(),
            idle_bound_seconds=60.0,
        )
    )
