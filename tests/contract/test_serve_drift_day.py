"""Drift at `tagstream serve` on real titles: silent on an ordinary day, a finding for other texts, and the one source of a flood by name.

The sentences stay in the folder that TAGSTREAM_REAL names.
"""

import asyncio
import csv
import gzip
import json
import os
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tagstream.monitoring.metrics.http import HttpMetrics
from tagstream.stream.contract.event import Record
from tagstream.stream.decide.from_settings import pipeline_of
from tagstream.stream.drift.observer import DriftObserver
from tagstream.stream.serve.micro_batches import MicroBatches
from tagstream.stream.serve.watching import Watching
from tagstream.stream.settings.settings import Settings
from tests.waiting import HANG_SECONDS

REAL = "TAGSTREAM_REAL"
WINDOW, REFERENCE_WINDOWS = 1_000, 5
LONGEST_FIELD = 1_000_000
SOURCES, WEIGHTS = ("app", "search", "partner", None), (50, 25, 15, 10)

pytestmark = pytest.mark.skipif(REAL not in os.environ, reason=f"{REAL} names no folder with titles.csv.gz and not_ml.csv.gz")


class Texts:
    """Requests with the titles of a folder, in random order, each from one of four clients."""

    def __init__(self) -> None:
        """Read the folder; the order is drawn by a seed."""
        self._chance = random.Random(48)  # noqa: S311 - a draw that repeats
        folder = Path(os.environ[REAL])
        self._ordinary = self._shuffled(row for row in _rows(folder / "titles.csv.gz"))
        self._foreign = self._shuffled(row for row in _rows(folder / "not_ml.csv.gz") if row["kind"] == "language")

    def _shuffled(self, rows: Iterator[dict[str, str]]) -> Iterator[dict[str, str]]:
        found = list(rows)
        self._chance.shuffle(found)
        return iter(found)

    def ordinary(self, events: int) -> list[Record]:
        """The next titles."""
        return [self._request(self._ordinary, self._client()) for _ in range(events)]

    def flooded(self, events: int, clients: Sequence[str | None]) -> list[Record]:
        """Ordinary requests, but three of ten are in another language, and come from these clients."""
        return [
            self._request(self._foreign, self._chance.choice(clients))
            if at % 10 < 3
            else self._request(self._ordinary, self._client())
            for at in range(events)
        ]

    def _client(self) -> str | None:
        return self._chance.choices(SOURCES, WEIGHTS)[0]

    def _request(self, rows: Iterator[dict[str, str]], source: str | None) -> Record:
        row = next(rows)
        event = {"title": row["title"]} | ({"description": row["description"]} if row["description"] else {})
        return Record(key=None, value=json.dumps(event | ({"source": source} if source else {})).encode())


def _rows(path: Path) -> Iterator[dict[str, str]]:
    csv.field_size_limit(LONGEST_FIELD)
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file)


def findings(windows: Sequence[Sequence[Record]]) -> list[dict[str, str]]:
    """The findings of a process that gets these requests after it has learned its reference; thresholds are the default ones."""
    settings = Settings(brokers="127.0.0.1:9", startup_timeout_seconds=0.5, drift_learning_seconds=0, inference_threads=2)

    async def serve() -> None:
        metrics = HttpMetrics.alone()
        pipeline = pipeline_of(settings)
        watching = Watching(settings, pipeline, metrics)
        queue = MicroBatches(
            pipeline.publications,
            settings,
            most_waiting=WINDOW,
            deadline_seconds=HANG_SECONDS,
            counts=metrics,
            observer=watching.observer,
            clock=lambda: 0.0,
        )
        assert isinstance(watching.observer, DriftObserver)
        async with queue:
            with ThreadPoolExecutor(1) as executor:
                for window in windows:
                    await queue.decided(window)
                    await watching.observer.turn(executor)
        assert metrics.registry.get_sample_value("tagstream_reference_events") == WINDOW * REFERENCE_WINDOWS

    with capture_logs() as lines:
        asyncio.run(asyncio.wait_for(serve(), HANG_SECONDS))
    return [line for line in lines if line["event"] == "drift_found"]


@pytest.fixture(scope="module")
def texts() -> Texts:
    """All texts; each test takes the next ones."""
    return Texts()


def learned(texts: Texts) -> list[list[Record]]:
    """The windows of the reference."""
    return [texts.ordinary(WINDOW) for _ in range(REFERENCE_WINDOWS)]


def test_an_ordinary_day_is_silent(texts: Texts) -> None:
    """Real titles in random order from four clients: no finding of any kind after the reference."""
    assert findings([*learned(texts), *(texts.ordinary(WINDOW) for _ in range(8))]) == []


@pytest.mark.parametrize(
    ("clients", "named"),
    [(("crawler",), "crawler"), (("app",), "app"), (("crawler", "scraper"), None), (SOURCES, None)],
    ids=["a new client", "a known client", "two clients", "all clients"],
)
def test_other_texts_are_found_and_the_client_of_a_flood_is_named(
    texts: Texts, clients: Sequence[str | None], named: str | None
) -> None:
    """Three requests of ten in another language: the window is a finding, and it names the client if one alone sent them."""
    found = findings([*learned(texts), texts.ordinary(WINDOW), texts.flooded(WINDOW, clients)])
    windows = [line for line in found if line["kind"] in {"words", "labels", "sources"}]
    assert {line["kind"] for line in windows} >= {"words"}, found
    names = Counter(line.get("flood_of_one_source") for line in windows)
    assert set(names) == {named}, found
