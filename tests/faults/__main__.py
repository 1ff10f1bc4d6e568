"""`python -m tests.faults`: a fault run as long as you like. Prints the report; exit code 1 if an invariant broke or a fault was missed."""

import argparse
import itertools
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from stream import topics
from stream.broker import broker
from stream.broker.processes import Processes
from stream.settings import load
from tests.faults.fleet import ROOT
from tests.faults.harness import Fault, Plan, run
from tests.faults.inputs import plant
from tests.faults.onlooker import fresh_environment


def main(arguments: Sequence[str] | None = None) -> int:
    """Run once, on TAGSTREAM_BROKERS or on the first broker that can be had."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--events", type=int, default=100_000, help="how many, 1 %% of them malformed")
    parser.add_argument("--faults", type=int, default=48, help="how many; every class in turn")
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--partitions", type=int, default=12)
    parser.add_argument("--seconds-per-batch", type=float, default=0.25, help="how slow the stub is for 32 events")
    parser.add_argument("--max-seconds", type=float, default=3600.0)
    parser.add_argument("--module", default="tests.faults.worker", help="or one of tests.faults.variants")
    parser.add_argument("--seed", default="0")
    chosen = parser.parse_args(arguments)
    plan = Plan(
        module=chosen.module,
        seconds_per_batch=chosen.seconds_per_batch,
        faults=list(itertools.islice(itertools.cycle(Fault), chosen.faults)),
        workers=chosen.workers,
        max_seconds=chosen.max_seconds,
        patience_seconds=60.0,
        seed=chosen.seed,
    )
    folder = Path(tempfile.mkdtemp(prefix="tagstream-faults-"))
    print(f"the workers' logs are in {folder}", file=sys.stderr)  # noqa: T201 - a program for the terminal
    with broker() as found, Processes(grace_seconds=0) as processes:
        environ = fresh_environment(found.bootstrap, "faults", partitions=chosen.partitions)
        topics.create(load(environ, folder=ROOT).settings)
        planted = plant(chosen.events, malformed=chosen.events // 100, seed=chosen.seed)
        report = run(plan, planted, environ=environ, folder=folder, processes=processes)
    print(report)  # noqa: T201
    return int(bool(report.verdict.broken) or sum(report.faults.values()) < chosen.faults)


if __name__ == "__main__":
    sys.exit(main())
