"""
How much a bundle publishes of real texts that are not about machine learning, and what its gate for them costs the texts that are.

    TAGSTREAM_REAL=FOLDER TAGSTREAM_DATA=FOLDER python -m benchmarks.real_strangers
    TAGSTREAM_REAL=FOLDER python -m benchmarks.real_strangers --learned    # the sources that the gate learned from

The strange texts are of sources that nothing was learned from and that chose nothing (`model_export/corpus/real/strangers.toml`). A
row is published if it reaches its threshold and is strange by no limit. "Without" leaves the limit on the strangeness out.
"""

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from tagstream.model_export.bundle.bundle import DEFAULT_BUNDLE, Bundle, read
from tagstream.model_export.bundle.model import OnnxClassifier, OodLimits, Prediction, limits_in
from tagstream.model_export.calibrate.intervals import wilson
from tagstream.model_export.data import splits
from tagstream.model_export.data.corpus import NOT_ML
from tagstream.model_export.data.real import DEV, read_real
from tagstream.model_export.data.row import Row
from tagstream.model_export.data.strangers import read_strangers

# As a worker with small batches asks.
BATCH = 64
# A kind of fewer texts, or of one source, is counted with others like it.
LEAST_TEXTS = 200
POOLED = "the other kinds"


class Asked:
    """A bundle that is asked, with and without its gate."""

    def __init__(self, bundle: Bundle) -> None:
        self._classifier, self._thresholds = OnnxClassifier(bundle), bundle.manifest.asked_below()
        self._limits = limits_in(bundle.manifest.reference)

    def published(self, rows: Sequence[Row]) -> tuple[list[bool], list[bool]]:
        """Of each row: whether it is published, and whether it would be without the gate."""
        said = self._said(rows)
        bare = replace(self._limits, strangeness=None)
        return [self._is_public(one, self._limits) for one in said], [self._is_public(one, bare) for one in said]

    def surely(self, rows: Sequence[Row]) -> list[float]:
        """The confidence of each row that is published; 0 of every other."""
        return [one.confidence if self._is_public(one, self._limits) else 0.0 for one in self._said(rows)]

    def _said(self, rows: Sequence[Row]) -> list[Prediction]:
        texts = [row.text for row in rows]
        return [one for at in range(0, len(texts), BATCH) for one in self._classifier.classify(texts[at : at + BATCH])]

    def _is_public(self, found: Prediction, limits: OodLimits) -> bool:
        return found.confidence >= self._thresholds[found.label] and not limits.is_strange(found)


def kinds(rows: Sequence[Row], every: Sequence[Row]) -> Iterator[tuple[str, list[Row]]]:
    """The rows by kind: those of kinds with two sources and enough texts, then the others together, then all."""
    sources: dict[str, set[str]] = {}
    counts: dict[str, int] = {}
    for row in every:
        kind = kind_of(row)
        sources.setdefault(kind, set()).add(place(row))
        counts[kind] = counts.get(kind, 0) + 1
    own = [kind for kind in sorted(sources) if len(sources[kind]) > 1 and counts[kind] >= LEAST_TEXTS]
    for kind in own:
        if found := [row for row in rows if kind_of(row) == kind]:
            yield kind, found
    yield POOLED, [row for row in rows if kind_of(row) not in own]
    yield "all", list(rows)


def kind_of(row: Row) -> str:
    """The kind of a strange text."""
    return dict(row.columns)["kind"]


def place(row: Row) -> str:
    """
    The place that a strange text is from: a repository, or a file of a table in one.

    Of code, recipes and treebanks each text or page is a file of its own, and the place is the repository. A part of a list has no ending.
    """
    repository, _, file = dict(row.columns)["source"].partition(":")
    return f"{repository}:{file}" if file.endswith((".csv", ".tsv")) or "." not in file else repository


def parts(data: Path | None, real: Path) -> Iterator[tuple[str, list[Row]]]:
    """The rows about machine learning, by part; none was learned from."""
    found = splits.load(data)
    dev = [row for row in read_real(DEV, real) if row.tag != NOT_ML]
    yield "dev titles", dev
    yield "dev titles, not doubtful", [row for row in dev if ("doubtful", "no") in row.columns]
    yield "corpus test", list(found.corpus_test)
    for source in sorted({row.source for row in found.calibration}):
        yield f"calibration, {source}", [row for row in found.calibration if row.source == source]
    yield "calibration", list(found.calibration)
    if found.holdout:
        yield "holdout", list(found.holdout)


def share(hits: int, rows: int) -> str:
    """A share in per cent with its count and 95 % interval."""
    low, high = wilson(hits, rows)
    return f"{100 * hits / rows:.1f} % ({hits}) [{100 * low:.1f}, {100 * high:.1f}]"


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", type=Path, default=DEFAULT_BUNDLE, help="the bundle to ask")
    parser.add_argument("--learned", action="store_true", help="ask about the sources that the gate learned from")
    given = parser.parse_args()
    folder, data = os.environ.get("TAGSTREAM_REAL"), os.environ.get("TAGSTREAM_DATA")
    if not folder:
        sys.exit("no texts: TAGSTREAM_REAL names no folder. Next: name the folder with not_ml.csv.gz.")
    real = Path(folder)
    asked = Asked(read(given.bundle))
    by_use = {held_out: read_strangers(real, held_out=held_out) for held_out in (True, False)}
    print("| not about machine learning | texts | published without | published |\n|---|---|---|---|")
    strange = by_use[not given.learned]
    fates = dict(zip(strange, zip(*asked.published(strange), strict=True), strict=True))
    for name, rows in kinds(strange, [*by_use[True], *by_use[False]]):
        now, without = (sum(fates[row][which] for row in rows) for which in (0, 1))
        print(f"| {name} | {len(rows)} | {share(without, len(rows))} | {share(now, len(rows))} |", flush=True)
    print("\n| about machine learning | texts | published without | lost by the gate |\n|---|---|---|---|")
    for name, rows in parts(Path(data) if data else None, real):
        kept, published = map(sum, asked.published(rows))
        print(f"| {name} | {len(rows)} | {share(published, len(rows))} | {share(published - kept, len(rows))} |", flush=True)


if __name__ == "__main__":
    main()
