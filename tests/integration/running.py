"""A worker process with the stub model, its HTTP answers, and waits that tests share."""

import math
import re
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from tagstream.stream.broker.processes import Process
from tests.faults.inputs import Input
from tests.faults.observer import TopicObserver
from tests.faults.verdict.checker import check
from tests.faults.verdict.evidence import Evidence, Verdict
from tests.faults.verdict.offline import offline
from tests.waiting import HANG_SECONDS, LOG_CHARACTERS, until

ANSWER_SECONDS = 120.0
# A worker that follows a dead one under the same name has its partitions at once; any other waits for the session's end.
SAME_MEMBER = {"TAGSTREAM_GROUP_INSTANCE_ID": "same"}


def get(url: str) -> tuple[int, str]:
    """Status and body of a request to a worker."""
    try:
        with urllib.request.urlopen(url, timeout=ANSWER_SECONDS) as answer:  # noqa: S310 - loopback
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


class RunningWorker:
    """A worker process with the stub model, and its HTTP server."""

    def __init__(self, process: Process) -> None:
        """Wait until the worker has logged the address of its metrics."""
        self.process = process
        pattern = re.compile(r'"metrics": "(http://[^"]+)/metrics"')
        started = until(lambda: pattern.search(process.output()), "the worker says where its metrics are", process=process)
        assert started is not None, process.output()
        self.url = started[1]

    def get(self, path: str) -> tuple[int, str]:
        """Status and body."""
        return get(self.url + path)

    def metric(self, name: str) -> float:
        """The sum over all series of this name."""
        families = text_string_to_metric_families(self.get("/metrics")[1])
        return sum(sample.value for family in families for sample in family.samples if sample.name == name)

    def series(self, name: str, label: str) -> dict[str, float]:
        """The series of this name by one label."""
        families = text_string_to_metric_families(self.get("/metrics")[1])
        return {s.labels[label]: s.value for family in families for s in family.samples if s.name == name}

    def until_metric(self, name: str, holds: Callable[[float], bool]) -> float:
        """Wait until the sum over all series of this name satisfies the condition, and return it."""
        found = [math.nan]

        def look() -> bool:
            found[0] = self.metric(name)
            return holds(found[0])

        until(look, f"{name} is as expected", state=lambda: f"{name} {found[0]}", process=self.process)
        return found[0]

    def until_ready(self, status: int = 200) -> str:
        """Wait until /readyz answers with this status, and return the body."""
        answer = until(
            lambda: found if (found := self.get("/readyz"))[0] == status else None,
            f"/readyz answers {status}",
            state=lambda: self.get("/readyz"),
            process=self.process,
        )
        assert answer is not None
        return answer[1]

    def end(self) -> int | None:
        """Wait until it ends by itself; its exit code."""
        return ended(self.process)

    def stop(self) -> int | None:
        """SIGTERM; the exit code."""
        self.process.ask_to_end()
        return ended(self.process)


def ended(process: Process) -> int | None:
    """Wait until a process ends; its exit code."""
    until(lambda: not process.running(), f"process {process.pid} ends", state=lambda: process.output()[-LOG_CHARACTERS:])
    return process.exit_code


Start = Callable[..., RunningWorker]
"""Starts a worker of the test's group: `seconds_per_batch`, and further variables of its environment, as named arguments."""


def peak_bytes(process: Process | subprocess.Popen[bytes]) -> int:
    """The most memory that a process has had resident."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{process.pid}/status").read_text(encoding="ascii"))
    assert found is not None
    return int(found[1]) * 1024


def all_written(observer: TopicObserver, count: int) -> None:
    """Wait until there are so many outcomes."""
    until(lambda: written(observer) >= count, f"{count} outcomes are written", state=lambda: f"{written(observer)} outcomes")


def all_committed(observer: TopicObserver) -> None:
    """Wait until the commits reach the ends of the log. A partition without an event has no commit."""
    until(
        lambda: is_committed(observer),
        "all events are committed",
        state=lambda: f"committed {observer.committed()}, ends {observer.ends()}",
    )


def is_committed(observer: TopicObserver) -> bool:
    """Whether the commits reach the ends of the log."""
    committed = observer.committed()
    return all(committed.get(partition, 0) == end for partition, end in observer.ends().items())


def written(observer: TopicObserver) -> int:
    """Outcomes on all topics."""
    return sum(observer.sample().written.values())


def verdict(observer: TopicObserver, inputs: list[Input], answers: Sequence[Input] = ()) -> Verdict:
    """The checker's verdict now, on workers with a stub; `answers` are the records of `reviewed`."""
    return check(
        Evidence(
            inputs=inputs,
            outcomes=observer.outcomes(),
            samples=[observer.sample()],
            ends=observer.ends(),
            idle_bound_seconds=HANG_SECONDS,
            answers=answers,
            answers_ends=observer.answers_ends(),
        ),
        offline(observer.settings),
        reviewed=observer.settings.topics.reviewed,
    )
