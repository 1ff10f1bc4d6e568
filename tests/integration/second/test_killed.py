"""`tagstream second` is killed while items flow: nothing is lost, done twice, or done before its opinion can be read."""

import os
import random
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tagstream.stream.broker.processes import Process, Processes
from tagstream.stream.review.store.records import unix_ms
from tagstream.stream.settings.settings import Settings
from tests.answering import answer, decided, reviewed, shown
from tests.completions import Call, Endpoint, answering, says
from tests.faults.worker.fleet import ROOT, without_settings
from tests.integration.second.flow import ahead, opinions_in, send, settled_in, wrong_at_the_end
from tests.waiting import until

pytestmark = pytest.mark.broker

# People answer the first batch. So many right answers prove the promise; a question without an answer before would count as wrong.
BATCH, PROVED = 50, 30
PROMISE = "0.7"
# What becomes of the process of each round. A stopped one goes on while the next one works.
ROUNDS = ("killed", "killed", "stopped", "killed", "killed at its start", "killed")
SEED = 49


def answers_later(call: Call) -> None:
    """A healthy endpoint, of which some calls are always on their way."""
    time.sleep(0.02)
    says("mlops")(call)


def asked(endpoint: Endpoint, calls: int) -> Callable[[], bool]:
    """Tells whether the endpoint has had so many calls."""
    return lambda: len(endpoint.calls) >= calls


@dataclass(slots=True)
class Storm:
    """One run: what was sent, what was seen to be wrong on the way, and who was fenced."""

    settings: Settings
    items: set[str] = field(default_factory=set)
    wrong: list[str] = field(default_factory=list)
    stopped: list[Process] = field(default_factory=list)

    def batch(self, number: int, *, answered: bool) -> None:
        """Send items, and people's answers if they give them."""
        now_ms = unix_ms()
        records = [
            decided(b'{"id":"e-%d-%d","title":"maybe deployment of %d"}' % (number, at, at), now_ms=now_ms - 1000 + at)
            for at in range(BATCH)
        ]
        self.items |= {shown(one).decision.prediction_id for one in records}
        send(self.settings, records)
        if answered:
            send(self.settings, [reviewed(one, answer(one, "mlops", now_ms=now_ms)) for one in records])

    def look(self) -> None:
        """See whether anything on `tagged` is ahead of `second`."""
        decisions = settled_in(self.settings)
        self.wrong += ahead(decisions, opinions_in(self.settings))

    def is_done(self) -> bool:
        """Whether each item has an opinion, and each opinion that settles a decision."""
        opinions = opinions_in(self.settings)
        given = {one.prediction_id for one in opinions}
        return given >= self.items and len(settled_in(self.settings)) >= sum(one.settles for one in opinions)


def storm(
    settings: Settings,
    environ: dict[str, str],
    processes: Processes,
    folder: Path,
    *program: str,
    rounds: Sequence[str] = ROUNDS,
    seed: int = SEED,
) -> Storm:
    """Let items flow through processes of which each ends as `rounds` says, and the last one when all is done."""
    found, moments = Storm(settings), random.Random(seed)  # noqa: S311 - moments of a test
    with answering(answers_later) as endpoint:
        env = without_settings(os.environ) | environ | {"PYTHONPATH": str(ROOT), "TAGSTREAM_LOG_FORMAT": "json"}
        of_second = {"ENDPOINT": endpoint.url, "MODEL": "large", "PRECISION": PROMISE, "AUDIT": "0.2"}
        of_second |= {"REQUESTS_A_MINUTE": "60000", "CALLS_A_DAY": "100000"}
        env |= {f"TAGSTREAM_SECOND__{name}": value for name, value in of_second.items()}

        def start(number: int) -> Process:
            words = [sys.executable, "-m", *program, "second", "--metrics-port", "0"]
            return processes.start(words, env=env, log_file=folder / f"second-{number}.log")

        def begun(process: Process) -> None:
            until(lambda: "second_begins" in process.output(), "the process begins", process=process, seconds=120)

        for number, end in enumerate(rounds):
            process, before = start(number), len(endpoint.calls)
            found.batch(number, answered=number == 0)
            if end == "killed at its start":
                time.sleep(moments.uniform(0.0, 3.0))
                process.kill()
                continue
            begun(process)
            if number == 0:
                until(lambda: len(opinions_in(settings)) >= PROVED, "people's answers prove", process=process, seconds=120)
            calls = before + moments.randint(5, BATCH - 5)
            until(asked(endpoint, calls), "the process asks", process=process, seconds=120)
            time.sleep(moments.uniform(0.0, 0.2))
            if end == "killed":
                process.kill()
                found.look()
            else:
                os.kill(process.pid, signal.SIGSTOP)
                found.stopped.append(process)
                after = start(len(rounds) + number)
                begun(after)
                os.kill(process.pid, signal.SIGCONT)
                found.batch(len(rounds) + number, answered=False)
                until(asked(endpoint, len(endpoint.calls) + 20), "one of the two asks", seconds=120)
                after.kill()
        last = start(2 * len(rounds))
        until(
            found.is_done,
            "all is done",
            state=lambda: (len(found.items), len(opinions_in(settings))),
            process=last,
            seconds=120,
        )
        last.ask_to_end()
        assert last.wait(60), last.output()
        assert last.exit_code == 0, last.output()
    found.wrong += wrong_at_the_end(found.items, settled_in(settings), opinions_in(settings))
    return found


def test_a_process_killed_anywhere_loses_nothing_and_does_nothing_twice(
    settings: Settings, environ: dict[str, str], processes: Processes, tmp_path: Path
) -> None:
    """Each item has one opinion, each opinion that settles has one decision, and no decision is there before its opinion."""
    found = storm(settings, environ, processes, tmp_path, "tagstream.stream.cli.main")
    assert found.wrong == []
    # Of what came after people's answers most was settled, so that there was something to lose.
    assert len(settled_in(settings)) > BATCH
    for one in found.stopped:
        assert one.wait(60), one.output()
        assert one.exit_code == 1, one.output()
        assert "another process writes" in one.output()
