"""
How much time a text that comes again saves: one pipeline remembers, another does not, in turn in one process.

    python -m benchmarks.repeats [--events 4096] [--rounds 5]

Prints events a second of decoding, deciding and encoding in one thread, by the share of events whose text has come before; the median
of the rounds, with least and most of the ratio. Every decision is compared to the byte.
"""

import argparse
import json
import os
import random
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.peers import texts
from tagstream.monitoring.observer import NullObserver
from tagstream.stream.contract.event import Record
from tagstream.stream.decide.from_settings import decider_of, remembering
from tagstream.stream.decide.pipeline import Decider, Pipeline
from tagstream.stream.decide.repeats import PredictionTable
from tagstream.stream.settings.settings import Settings

SHARES = (0.0, 0.1, 0.3, 0.6)
BATCH = 64


def records(share: float, count: int, seed: int) -> list[Record]:
    """Events of which this share repeats the text of one of the thousand before it."""
    data = os.environ.get("TAGSTREAM_DATA")
    fresh = [event.title for event, _ in texts.events(texts.load(Path(data) if data else None), count)]
    chance = random.Random(seed)  # noqa: S311 - reproducible
    titles: list[str] = []
    for number in range(count):
        repeat = titles and chance.random() < share
        titles.append(chance.choice(titles[-1000:]) if repeat else f"{fresh[number]} {number}")
    return [
        Record(key=None, value=json.dumps({"id": str(number), "title": title}).encode(), offset=number)
        for number, title in enumerate(titles)
    ]


def decided(decider: Decider, events: Sequence[Record], table: PredictionTable | None) -> tuple[float, list[bytes | None]]:
    """Events a second of a pipeline that begins with an empty table, and what it writes."""
    pipeline = Pipeline(decider=remembering(decider, table), observer=NullObserver())
    started = time.perf_counter()
    written = [
        one.value
        for start in range(0, len(events), BATCH)
        for one in pipeline.publications(events[start : start + BATCH], clock=lambda: 0.0)
    ]
    return len(events) / (time.perf_counter() - started), written


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=4096)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    settings = Settings()
    decider = decider_of(settings)
    print("| come before | events/s without | events/s | times as many | least to most |\n|---|--:|--:|--:|--:|")
    for share in SHARES:
        events = records(share, given.events, seed=34)
        found: list[tuple[float, float]] = []
        for number in range(given.rounds + 1):
            table = PredictionTable(settings.repeats_bytes, NullObserver())
            order = [None, table] if number % 2 else [table, None]
            both = {one is None: decided(decider, events, one) for one in order}
            if both[True][1] != both[False][1]:
                msg = f"at {share:.0%} a decision differs"
                raise SystemExit(msg)
            # The first round warms up.
            found += [(both[True][0], both[False][0])] if number else []
        ratios = sorted(ours / theirs for theirs, ours in found)
        print(
            f"| {share:.0%} | {statistics.median(one for one, _ in found):,.0f} | {statistics.median(one for _, one in found):,.0f} | "
            f"{statistics.median(ratios):.2f} | {ratios[0]:.2f} to {ratios[-1]:.2f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
