"""Measures `tagstream batch` over a file of any size: rows a second, and the most memory that the process takes.

`python -m benchmarks.doors.batch 100000 1000000` makes CSV files of so many rows, tags each into JSON Lines, and prints a line for each.
With `--bundle tests/data/tiny_bundle` the model takes no time, so that the memory for many rows is soon seen.
"""

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SEED = 16
WORDS = [
    "image",
    "segmentation",
    "with",
    "transformers",
    "for",
    "medical",
    "scans",
    "serving",
    "models",
    "on",
    "kubernetes",
    "feature",
    "stores",
    "in",
    "production",
    "translation",
    "of",
    "low",
    "resource",
    "languages",
    "reinforcement",
    "learning",
    "from",
    "human",
    "feedback",
    "graph",
    "neural",
    "networks",
    "time",
    "series",
    "forecasting",
]
KIBIBYTE = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """
    One run.

    Attributes:
        rows: Of the input.
        seconds: From the start of the process to its end.
        peak_bytes: The most memory of the process.
        out_bytes: Of the output.
    """

    rows: int
    seconds: float
    peak_bytes: int
    out_bytes: int


def texts(rows: int) -> Iterator[str]:
    """The lines of a CSV file: an id, a title of 8 words, a description of 25."""
    chance = random.Random(SEED)  # noqa: S311 - reproducible
    yield "id,title,description\n"
    for number in range(rows):
        yield f"{number},{' '.join(chance.choices(WORDS, k=8))},{' '.join(chance.choices(WORDS, k=25))}\n"


def measure(folder: Path, rows: int, options: list[str], form: str) -> Measured:
    """Tag so many rows in a process of its own."""
    source, out = folder / "in.csv", folder / f"out.{form}"
    with source.open("w", encoding="utf-8") as file:
        file.writelines(texts(rows))
    words = [sys.executable, "-m", "tagstream.stream.cli.main", "batch", str(source), str(out), "--fresh", *options]
    started = time.perf_counter()
    process = subprocess.Popen(words)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(process.returncode)
    seconds = time.perf_counter() - started
    return Measured(rows=rows, seconds=seconds, peak_bytes=usage.ru_maxrss * KIBIBYTE, out_bytes=out.stat().st_size)


def main() -> None:
    """Print a row of a table for each size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", type=int, nargs="+", help="how many rows")
    parser.add_argument("--form", choices=["jsonl", "csv", "parquet"], default="jsonl")
    found, options = parser.parse_known_args()
    print("| rows | rows/s | peak memory | output |\n|--:|--:|--:|--:|")
    for rows in found.rows:
        with tempfile.TemporaryDirectory() as folder:
            one = measure(Path(folder), rows, options, found.form)
        print(
            f"| {one.rows:,} | {one.rows / one.seconds:,.0f} | {one.peak_bytes / 2**20:,.0f} MiB | {one.out_bytes / 2**20:,.0f} MiB |",
            flush=True,
        )


if __name__ == "__main__":
    main()
