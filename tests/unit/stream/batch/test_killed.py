"""`kill -9` of real batches: the same command again, as often as it takes, gives the output of one run."""

import json
import os
import random
import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from tagstream.stream.batch.file_out import ROWS_A_PART, Paths
from tests.faults.worker.fleet import ROOT, without_settings
from tests.waiting import HANG_SECONDS, until

SEED = 16
WORDS = (
    "image",
    "segmentation",
    "deployment",
    "serving",
    "translation",
    "language",
    "graph",
    "audio",
    "of",
    "models",
    "a",
    "river",
)
CLOCK = re.compile(rb'"tagged_at":"[^"]*"')

# Ten times what 200,000 rows take on two busy cores; it bounds only what hangs.
LONG_SECONDS = 10 * HANG_SECONDS
LONG = (pytest.mark.long, pytest.mark.timeout(4 * LONG_SECONDS))

Reached = Callable[[], int]


def events(path: Path, rows: int) -> Path:
    """Random texts; of some rows the title is missing, and some repeat an id with another text."""
    chance = random.Random(SEED)  # noqa: S311 - reproducible
    with path.open("w", encoding="utf-8") as file:
        for number in range(rows):
            title = " ".join(chance.choices(WORDS, k=6)) if chance.random() > 0.01 else ""
            event_id = number if chance.random() > 0.01 else chance.randrange(number + 1)
            file.write(json.dumps({"id": str(event_id), "title": title, "n": number}) + "\n")
    return path


class Batch:
    """One command, started again and again."""

    def __init__(self, source: Path, out: str, bundle: Path) -> None:
        """Nothing is started yet."""
        self._words = [sys.executable, "-m", "tagstream.stream.cli.main", "batch", str(source), out, "--bundle", str(bundle)]
        self._words += ["--rejected", f"{source}.rejected"]

    def start(self) -> subprocess.Popen[bytes]:
        """A process that runs."""
        environ = {**without_settings(os.environ), "PYTHONPATH": str(ROOT)}
        return subprocess.Popen(self._words, cwd=ROOT, env=environ, stderr=subprocess.PIPE)

    def run(self) -> str:
        """A process that runs to its end; its words on standard error."""
        process = self.start()
        try:
            _, said = process.communicate(timeout=LONG_SECONDS)
        finally:
            process.kill()
        assert process.returncode == 0, said.decode()
        return said.decode()

    def kill_when(self, reached: Reached, rows: int) -> int:
        """Kill a process when so many rows are in the output; how many there are then."""
        process = self.start()
        try:
            until(
                lambda: process.poll() is not None or reached() >= rows,
                f"{rows} rows are written",
                state=reached,
                seconds=LONG_SECONDS,
            )
        finally:
            process.send_signal(signal.SIGKILL)
            _, said = process.communicate(timeout=HANG_SECONDS)
        assert process.returncode == -signal.SIGKILL, said.decode()
        return reached()


def killed(batch: Batch, reached: Reached, moments: list[int]) -> None:
    """Kill a batch at each moment, a number of rows, and let it run to its end."""
    seen = [batch.kill_when(reached, moment) for moment in moments]
    assert all(before <= after for before, after in pairwise(seen)), seen
    batch.run()


def moments_of(rows: int, kills: int) -> list[int]:
    """Random numbers of rows, in order."""
    return sorted(random.Random(SEED).sample(range(1, rows), kills))  # noqa: S311 - reproducible


@pytest.mark.parametrize(
    ("rows", "kills"),
    [pytest.param(3_000, 3, id="3,000 rows"), pytest.param(200_000, 10, id="200,000 rows", marks=LONG)],
)
def test_a_table_after_kills_is_that_of_one_run(tmp_path: Path, tiny_bundle_folder: Path, rows: int, kills: int) -> None:
    """At random numbers of rows the process is killed; the table then has the rows of one run, and the side file its lines."""
    source = events(tmp_path / "in.jsonl", rows)
    wanted, mine = tmp_path / "wanted.db", tmp_path / "mine.db"
    Batch(source, f"sqlite:///{wanted}", tiny_bundle_folder).run()
    rejected = (tmp_path / "in.jsonl.rejected").read_bytes()

    def reached() -> int:
        return len(_ids(mine))

    # Of a hundred rows one has no title and one an id that is there already.
    killed(Batch(source, f"sqlite:///{mine}", tiny_bundle_folder), reached, moments_of(rows * 9 // 10, kills))
    assert _table(mine) == _table(wanted)
    assert (tmp_path / "in.jsonl.rejected").read_bytes() == rejected != b""


@pytest.mark.parametrize(
    ("rows", "kills"),
    [pytest.param(ROWS_A_PART + 2_000, 1, id="one part"), pytest.param(200_000, 10, id="200,000 rows", marks=LONG)],
)
def test_a_file_after_kills_is_that_of_one_run(tmp_path: Path, tiny_bundle_folder: Path, rows: int, kills: int) -> None:
    """A file that was killed at random parts is byte for byte that of one run but for its clocks, and nothing else is left."""
    source = events(tmp_path / "in.jsonl", rows)
    out, wanted = tmp_path / "out" / "mine.jsonl", tmp_path / "wanted.jsonl"
    out.parent.mkdir()
    Batch(source, str(wanted), tiny_bundle_folder).run()

    def reached() -> int:
        state = Paths(out).state
        return json.loads(state.read_bytes())["tally"]["rows"] if state.exists() else 0

    # Rows that are whole, that is, in a part.
    parts = range(1, rows // ROWS_A_PART)
    moments = [part * ROWS_A_PART for part in sorted(random.Random(SEED).sample(parts, kills))] if kills > 1 else [ROWS_A_PART]  # noqa: S311 - reproducible
    batch = Batch(source, str(out), tiny_bundle_folder)
    killed(batch, reached, moments)
    assert CLOCK.sub(b"", out.read_bytes()) == CLOCK.sub(b"", wanted.read_bytes())
    assert {path.name for path in out.parent.iterdir()} == {"mine.jsonl", "mine.jsonl.batch.json"}


def _ids(path: Path) -> list[str]:
    """The decisions in a table that another process may be writing."""
    if not path.exists():
        return []
    connection = sqlite3.connect(path, timeout=HANG_SECONDS)
    try:
        return [row[0] for row in connection.execute("SELECT prediction_id FROM predictions")]
    except sqlite3.OperationalError as error:
        if "no such table" in str(error):
            return []
        raise
    finally:
        connection.close()


def _table(path: Path) -> list[tuple[str, ...]]:
    """The rows of a table without their clocks."""
    connection = sqlite3.connect(path, timeout=HANG_SECONDS)
    try:
        query = "SELECT prediction_id, event_id, text_hash, destination, tag, confidence, answer FROM predictions ORDER BY 1"
        return [(*row[:6], row[6].rpartition(',"tagged_at"')[0]) for row in connection.execute(query)]
    finally:
        connection.close()
