"""
How well `tagstream model train --dry-run` finds what was planted: wrong labels, and texts in other languages.

    python -m benchmarks.quality.own_rows

Labels are changed at random in rows that people wrote: plain titles of the corpus (four labels), and the tickets of
`examples/` (seven). A row that is named without a planted error counts against the check, although some of these rows
have a label that one can argue about.
"""

from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np

from tagstream.model_export.bundle.text import compose
from tagstream.model_export.data import corpus
from tagstream.model_export.data.corpus import CORPUS, NOT_ML, PLAIN
from tagstream.model_export.data.own.read import read_own
from tagstream.model_export.data.own.suspects import cross_fitted, unlikely
from tagstream.model_export.data.own.texts import readings, shipped_encoder
from tagstream.model_export.data.row import Row
from tagstream.model_export.measure.suites import SUITES

TICKETS = Path(__file__).parents[2] / "examples" / "tickets" / "rows.csv"
SHARES = (0.0, 0.03, 0.08)
MOST_ROWS, SEED = 4000, 1


def main() -> None:
    """Print both tables."""
    authored = [row for row in corpus.read_corpus(CORPUS) if row.tag != NOT_ML]
    print("planted label errors: rows, planted, named, planted errors found, rows named that are planted")
    for name, rows in (
        ("plain titles", [row for row in authored if row.source == PLAIN][:MOST_ROWS]),
        ("tickets", [own.row for own in read_own(TICKETS).rows]),
    ):
        for share in SHARES:
            print(f"  {name:<14} {_planted(rows, share)}")
    print("texts said to be in another language: kind, named, of")
    encoder = shipped_encoder()
    kinds: dict[str, list[str]] = {}
    for line in (SUITES / "foreign.jsonl").read_bytes().splitlines():
        text = msgspec.json.decode(line)
        if text["half"] == "measured":
            kinds.setdefault(text["kind"], []).append(compose(text["title"], text.get("description")))
    kinds["English titles of the corpus"] = [row.text for row in authored if not row.described]
    kinds["English descriptions of the corpus"] = [row.text for row in authored if row.described]
    for kind, texts in kinds.items():
        print(f"  {kind:<36} {len(readings(texts, encoder).foreign):>5} {len(texts):>6}")


def _planted(rows: Sequence[Row], share: float) -> str:
    drawn = np.random.default_rng(SEED)
    labels = sorted({row.tag for row in rows})
    given = np.array([labels.index(row.tag) for row in rows])
    planted = drawn.random(len(rows)) < share
    given[planted] = (given[planted] + drawn.integers(1, len(labels), planted.sum())) % len(labels)
    probable = cross_fitted([row.text for row in rows], [row.topic for row in rows], given, len(labels))
    named = np.array([place for place, _ in unlikely(probable, given)], dtype=np.int64)
    hits = int(planted[named].sum())
    found = f"{hits / planted.sum():.0%}" if planted.any() else "-"
    return f"{len(rows):>5} {planted.sum():>5} {len(named):>5} {found:>5} {hits / max(len(named), 1):>6.0%}"


if __name__ == "__main__":
    main()
