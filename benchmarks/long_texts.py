"""
Measures what windows give and cost on long texts: `python -m benchmarks.long_texts` prints the table of docs/strangers.md.

No labelled long texts are at hand, so they are put together: a row of the holdout (TAGSTREAM_DATA, else the corpus's own test rows), further
rows of its label, and texts that are not about machine learning, in four orders. The bundle differs in `windows` alone; its thresholds are
those that were certified for plain rows.
"""

import argparse
import os
import random
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import msgspec

from tagstream.model_export.bundle.bundle import DEFAULT_BUNDLE, Bundle, read
from tagstream.model_export.bundle.model import OnnxClassifier
from tagstream.model_export.data.row import Row
from tagstream.model_export.data.splits import load
from tagstream.model_export.make.draft import Draft
from tagstream.model_export.measure import gate

WINDOWS = (1, 2, 4, 8)
SEED = 7
ROUNDS = 5
# As a worker with small batches asks.
BATCH = 64


def made(rows: Sequence[Row], filler: Sequence[str]) -> dict[str, list[tuple[str, str]]]:
    """Texts with their label, by how they were put together."""
    drawn = random.Random(SEED)  # noqa: S311 - nothing depends on its being secret
    by_label: dict[str, list[str]] = {}
    for row in rows:
        by_label.setdefault(row.tag, []).append(row.text)

    def more(row: Row, count: int) -> str:
        return " ".join(drawn.choices(by_label[row.tag], k=count))

    def other(count: int) -> str:
        return " ".join(drawn.choices(filler, k=count))

    return {
        "the row alone": [(row.text, row.tag) for row in rows],
        "the row, then seven of its label": [(f"{row.text} {more(row, 7)}", row.tag) for row in rows],
        "six texts of something else, then the row and three of its label": [
            (f"{other(6)} {row.text} {more(row, 3)}", row.tag) for row in rows
        ],
        "the row, then twelve texts of something else": [(f"{row.text} {other(12)}", row.tag) for row in rows],
    }


def reading(bundle: Bundle, windows: int) -> OnnxClassifier:
    """The bundle, with so many windows."""
    manifest = msgspec.structs.replace(bundle.manifest, windows=windows)
    return Draft(manifest=manifest, model=bundle.model, tokenizer=bundle.tokenizer).loaded()


def line(name: str, texts: Sequence[tuple[str, str]], readers: dict[int, OnnxClassifier], below: dict[str, float]) -> str:
    """One row of the table: for each number of windows the share right, and of what is published its share and the share right."""
    cells = []
    for classifier in readers.values():
        found = [
            one
            for start in range(0, len(texts), BATCH)
            for one in classifier.classify([text for text, _ in texts[start : start + BATCH]])
        ]
        right = [one.label == label for one, (_, label) in zip(found, texts, strict=True)]
        published = [is_right for one, is_right in zip(found, right, strict=True) if one.confidence >= below[one.label]]
        of_published = f"{sum(published) / len(published):.3f}" if published else "none"
        cells.append(f"{sum(right) / len(right):.3f} ({len(published) / len(right):.0%}, {of_published})")
    return f"| {name} | {len(texts)} | {' | '.join(cells)} |"


def times(texts: Sequence[str], readers: dict[int, OnnxClassifier]) -> str:
    """The time of a batch of these texts for each number of windows, as a multiple of that for one; medians of interleaved rounds."""
    seconds: dict[int, list[float]] = {windows: [] for windows in readers}
    for _ in range(ROUNDS + 1):
        for windows, classifier in readers.items():
            started = time.perf_counter()
            classifier.classify(texts)
            seconds[windows].append(time.perf_counter() - started)
    first = median(seconds[1][1:])
    return ", ".join(f"{windows}: {median(found[1:]) / first:.2f}" for windows, found in seconds.items())


def main() -> None:
    """Print the table, and the times."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", type=Path, default=DEFAULT_BUNDLE, help="the bundle to ask")
    bundle = read(parser.parse_args().bundle)
    data = os.environ.get("TAGSTREAM_DATA")
    splits = load(Path(data) if data else None)
    rows = splits.holdout or splits.corpus_test
    texts = made(rows, [row.text for row in gate.foreign(splits)])
    readers = {windows: reading(bundle, windows) for windows in WINDOWS}
    print("| text | texts | " + " | ".join(f"{windows} windows" if windows > 1 else "beginning" for windows in WINDOWS) + " |")
    print("|---|---:|" + "---:|" * len(WINDOWS))
    for name, some in texts.items():
        print(line(name, some, readers, bundle.manifest.asked_below()))
    *_, longest = texts.values()
    print(f"\ntime of {BATCH} texts of the last row, as a multiple of that of their beginnings: ", end="")
    print(times([text for text, _ in longest[:BATCH]], readers))
    print(f"the same of {BATCH} rows alone: {times([row.text for row in rows[:BATCH]], readers)}")


if __name__ == "__main__":
    main()
