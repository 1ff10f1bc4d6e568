"""Small batches and slow events: figures worked out by hand."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import tail
from benchmarks.peers import counted, page, small, staged
from benchmarks.peers.figures import Work
from benchmarks.peers.small import Spent
from tests.replacing import replace
from tests.waiting import HANG_SECONDS, until

WHOLE = Work(lost=0, repeated=0, foreign=0, agreement=1.0, f1=None)


def spent(arm: str, arm_ms: float, rate: float = 20.0) -> Spent:
    """A run of an arm."""
    requests = {"Fetch": 1.0, "Produce": 0.9, "Metadata": 0.001}
    return Spent(arm=arm, rate=rate, arm_ms=arm_ms, broker_ms=2.0, requests=requests, p50_ms=9.0, p99_ms=20.0, work=WHOLE)


def test_the_ratio_is_that_of_the_rounds_in_the_median() -> None:
    """A round in which the machine was slow for both counts as any other."""
    runs = [spent("tagstream", 6.0), spent("aiokafka", 5.0), spent("aiokafka", 50.0), spent("tagstream", 55.0)]
    runs += [spent("tagstream", 9.0), spent("aiokafka", 6.0)]
    assert small.median_ratio(runs, 20.0) == pytest.approx(1.2)
    block = page.small_block(runs, "About.")
    assert (
        "| 20 events/s, tagstream | 9.00 (6.00 to 55.00) | 1.20 | 2.50, 0.100 | 2.00 | 1.90: Fetch 1.00, Produce 0.90 | 9 | 20 |"
        in block
    )
    assert "| 20 events/s, aiokafka | 6.00 (5.00 to 50.00) |  | 1.67, 0.067 |" in block
    assert len({line.count("|") for line in block.splitlines() if line.startswith("|")}) == 1, "each column has a head"


def test_a_run_that_lost_an_event_is_void() -> None:
    """Its cost means nothing."""
    lost = replace(spent("tagstream", 5.0), work=replace(WHOLE, lost=1))
    assert len(small.faults([spent("aiokafka", 5.0), lost])) == 1


def test_requests_are_counted_until_the_signal_and_beyond(tmp_path: Path) -> None:
    """A program that sends two requests of one kind and one of another, and is asked twice."""
    program = tmp_path / "sending.py"
    program.write_text(
        "import sys, time\n"
        "from aiokafka.conn import AIOKafkaConnection\n"
        "from aiokafka.protocol.metadata import MetadataRequest\n"
        "from aiokafka.protocol.commit import OffsetCommitRequest\n"
        "for request in (MetadataRequest([]), MetadataRequest([]), OffsetCommitRequest('g', 1, 'm', -1, [])):\n"
        "    try: AIOKafkaConnection.send(object(), request)\n"
        "    except AttributeError: pass\n"
        "print('sent', flush=True)\n"
        "time.sleep(600)\n",
        encoding="ascii",
    )
    file = tmp_path / "counts.json"
    environ = {**os.environ, counted.FILE: str(file), "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks.peers.counted", "sending"], env=environ, stdout=subprocess.PIPE, text=True
    ) as running:
        try:
            assert running.stdout is not None
            assert running.stdout.readline() == "sent\n"
            for _ in range(2):
                file.unlink(missing_ok=True)
                running.send_signal(signal.SIGUSR1)
                until(file.exists, HANG_SECONDS)
                assert json.loads(file.read_text(encoding="ascii")) == {"Metadata": 2, "OffsetCommit": 1}
        finally:
            running.kill()


def event(intended: float, **later: float) -> dict[str, float]:
    """The moments of an event that was decided in 4 ms of processor time; each moment follows the one before at once unless given."""
    found, now = {"intended": intended, "processor": 0.004}, intended
    for name in ("sent", "polled", "begun", "thread", "decided", "back", "confirmed"):
        now += later.get(name, 0.0)
        found[name] = now
    return found


def test_a_slow_event_is_attributed_to_the_stage_that_took_most_of_it() -> None:
    """One waited for a thread, one for Python's lock or a core, and a third was quick."""
    events = [
        event(100.0, decided=0.004),
        event(101.0, begun=0.050, decided=0.010),
        event(102.0, begun=0.010, decided=0.064, confirmed=0.008),
    ]
    told = tail.table(events, garbage=[(50.0, 50.2, 0.2), (101.01, 101.02, 0.009), (102.0, 102.1, 0.0001)], over_ms=25.0)
    assert "3 events: p50 60 ms, p99 82 ms, longest 82 ms; 2 over 25 ms" in told
    assert "| queue, until a thread of the model is free | 1 | 30.0 | 20.0 |" in told
    assert f"| {tail.LOCK} | 1 | 33.0 | 22.0 |" in told
    assert "| model and outcomes | 0 | 4.0 | 4.0 |" in told
    assert told.endswith("Collections of garbage that took over 1 ms of processor time: 1; 1 slow events fell into one.")
    assert staged.FILE != counted.FILE
