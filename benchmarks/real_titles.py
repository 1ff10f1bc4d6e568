"""
How right a bundle is on real titles of sources that nothing was learned from, by the kind of place that they are from.

    TAGSTREAM_REAL=FOLDER python -m benchmarks.real_titles
    python -m benchmarks.real_titles --bundle NEW --against OLD   # both on the same rows, without those that have no label
    python -m benchmarks.real_titles --agreement   # how far the two readers of the labels agree; needs no texts

`model_export/corpus/DATASHEET.md` says how the titles were drawn and labelled.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tagstream.model_export.bundle.bundle import DEFAULT_BUNDLE, read
from tagstream.model_export.bundle.model import OnnxClassifier, Prediction, limits_in
from tagstream.model_export.calibrate.intervals import Floats, Ints, bootstrap, confusion, weighted_f1, wilson
from tagstream.model_export.data.corpus import NOT_ML
from tagstream.model_export.data.madewithml import LABELS
from tagstream.model_export.data.real import DEV, SHEETS, RealLine, read_real, read_sheet
from tagstream.model_export.data.row import Row
from tagstream.model_export.measure.paired import compare

# As a worker with small batches asks.
BATCH = 64

Decided = tuple[Row, Prediction, bool]
"""A row, its prediction, and whether that is published without asking a person."""


def decided(folder: Path, rows: Sequence[Row]) -> list[Decided]:
    """The decisions of a bundle about these rows."""
    bundle = read(folder)
    classifier, thresholds = OnnxClassifier(bundle), bundle.manifest.asked_below()
    limits = limits_in(bundle.manifest.reference)
    texts = [row.text for row in rows]
    said = [one for start in range(0, len(texts), BATCH) for one in classifier.classify(texts[start : start + BATCH])]
    public = [one.confidence >= thresholds[one.label] and not limits.is_strange(one) for one in said]
    return list(zip(rows, said, public, strict=True))


def slices(rows: Sequence[Row]) -> dict[str, list[int]]:
    """The places of all rows, and of those of each family and of either doubt."""
    parts = {"all": list(range(len(rows)))}
    for column in ("doubtful", "family"):
        for value in sorted({dict(row.columns)[column] for row in rows}):
            parts[f"{column}: {value}"] = [place for place, row in enumerate(rows) if (column, value) in row.columns]
    return parts


def pair(name: str, new: Sequence[Decided], old: Sequence[Decided]) -> str:
    """The figures of two bundles on the same rows, each of which has a label."""
    found = compare([said for _, said, _ in new], [said for _, said, _ in old], [row.tag for row, _, _ in new], labels=LABELS)
    told = []
    for of_one in (old, new):
        public = [said.label == row.tag for row, said, shown in of_one if shown]
        told.append(f"{len(public)}, {sum(public)}")
    low, high = found.interval
    return (
        f"| {name} | {found.rows} | {found.difference:+.3f} [{low:+.3f}, {high:+.3f}] | {found.only_ours} to {found.only_theirs}, "
        f"p {found.p_value:.2g} | {' | '.join(told)} |"
    )


def line(name: str, found: Sequence[Decided], labels: Sequence[str]) -> str:
    """The figures of some rows."""
    ours = [one for one in found if one[0].tag != NOT_ML]
    strangers = [published for row, _, published in found if row.tag == NOT_ML]
    right = [(row.tag == prediction.label, published) for row, prediction, published in ours]
    truth = np.array([labels.index(row.tag) for row, _, _ in ours])
    counts = confusion(truth, np.array([labels.index(prediction.label) for _, prediction, _ in ours]), len(labels))
    low, high = bootstrap(counts, weighted_f1)
    published = [one for one, public in right if public]
    return (
        f"| {name} | {len(ours)} | {float(weighted_f1(counts)):.3f} [{low:.3f}, {high:.3f}] | {len(published)} | "
        f"{sum(published)} | {sum(strangers)} of {len(strangers)} |"
    )


def kappa(counts: Floats | Ints) -> Floats:
    """
    Cohen's kappa of confusion matrices [..., labels, labels]; not a number where both readers gave all rows one label.

    >>> round(float(kappa(np.array([[20, 5], [10, 15]]))), 6)
    0.4
    """
    rows = counts.sum(axis=(-2, -1))
    same = np.trace(counts, axis1=-2, axis2=-1) / rows
    chance = (counts.sum(axis=-1) / rows[..., None] * (counts.sum(axis=-2) / rows[..., None])).sum(axis=-1)
    found: Floats = np.divide(same - chance, 1 - chance, out=np.full_like(same, np.nan), where=chance < 1)
    return found


def agreement(lines: Sequence[RealLine]) -> str:
    """How far the two readers of these rows agree: in all, by family, and the first one's label by the second one's."""
    labels = (*LABELS, NOT_ML)
    told = [
        "| rows | read | same label | Cohen's kappa | a label in common | doubtful: first, second, settled |",
        "|---|---|---|---|---|---|",
    ]
    for family in ("all", *sorted({line.family for line in lines})):
        some = [line for line in lines if family in {"all", line.family}]
        counts = _by_reader(some, labels)
        same, (low, high) = int(np.trace(counts)), wilson(int(np.trace(counts)), len(some))
        shared = sum(bool(set(first.tags) & set(second.tags)) for first, second in (line.readings for line in some))
        doubts = [sum(line.readings[reader].doubtful for line in some) for reader in (0, 1)]
        told.append(
            f"| {family} | {len(some)} | {same / len(some):.3f} [{low:.3f}, {high:.3f}] | {float(kappa(counts)):.3f} | "
            f"{shared / len(some):.3f} | {doubts[0]}, {doubts[1]}, {sum(line.doubtful for line in some)} |"
        )
    counts = _by_reader(lines, labels)
    told += ["", f"| first reader, by second | {' | '.join(labels)} |", "|---" * (len(labels) + 1) + "|"]
    told += [f"| {label} | {' | '.join(map(str, row))} |" for label, row in zip(labels, counts, strict=True)]
    low, high = bootstrap(counts, kappa)
    settled = [sum(line.tag == line.readings[reader].tags[0] for line in lines) for reader in (0, 1)]
    told += [
        "",
        f"Kappa of all: {float(kappa(counts)):.3f} [{low:.3f}, {high:.3f}].",
        f"The settled label is the first reader's in {settled[0]} rows and the second one's in {settled[1]}.",
    ]
    return "\n".join(told)


def _by_reader(lines: Sequence[RealLine], labels: Sequence[str]) -> Ints:
    first, second = (np.array([labels.index(line.readings[reader].tags[0]) for line in lines]) for reader in (0, 1))
    return confusion(first, second, len(labels))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", type=Path, default=DEFAULT_BUNDLE, help="the bundle to ask")
    parser.add_argument("--against", type=Path, help="another bundle to compare it with, row by row")
    parser.add_argument("--agreement", action="store_true", help="print how far the readers of the labels agree, and ask none")
    given = parser.parse_args()
    if given.agreement:
        print(agreement(read_sheet(SHEETS / DEV)))
        return
    folder = os.environ.get("TAGSTREAM_REAL")
    if not folder:
        sys.exit("no texts: TAGSTREAM_REAL names no folder. Next: name the folder with titles.csv.gz.")
    rows = read_real(DEV, Path(folder))
    found = decided(given.bundle, rows)
    if given.against is not None:
        found = [one for one in found if one[0].tag != NOT_ML]
        before = decided(given.against, [row for row, _, _ in found])
        print(
            "| rows | | weighted F1, new less old | right alone, new to old | old: published, right | new: published, right |"
        )
        print("|---|---|---|---|---|---|")
        for name, places in slices([row for row, _, _ in found]).items():
            print(pair(name, [found[place] for place in places], [before[place] for place in places]))
        return
    print("| rows | about machine learning | weighted F1 | published | of these right | published of the others |")
    print("|---|---|---|---|---|---|")
    for name, places in slices(rows).items():
        print(line(name, [found[place] for place in places], sorted(LABELS)))


if __name__ == "__main__":
    main()
