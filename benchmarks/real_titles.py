"""
How right a bundle is on real titles of sources that nothing was learned from, by the kind of place that they are from.

    TAGSTREAM_REAL=FOLDER python -m benchmarks.real_titles

`model_export/corpus/DATASHEET.md` says how the titles were drawn and labelled.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from model_export.bundle.bundle import DEFAULT_BUNDLE, read
from model_export.bundle.classifier import OnnxClassifier
from model_export.bundle.prediction import Prediction
from model_export.bundle.strangeness import limits_in
from model_export.calibrate.intervals import bootstrap, confusion, weighted_f1
from model_export.data.corpus import NOT_ML
from model_export.data.real import DEV, read_real
from model_export.data.row import Row

# As a worker with small batches asks.
BATCH = 64


def line(name: str, found: Sequence[tuple[Row, Prediction, bool]], labels: Sequence[str]) -> str:
    """The figures of some rows: each with its prediction, and whether that is published without asking a person."""
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


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", type=Path, default=DEFAULT_BUNDLE, help="the bundle to ask")
    folder = os.environ.get("TAGSTREAM_REAL")
    if not folder:
        sys.exit("no texts: TAGSTREAM_REAL names no folder. Next: name the folder with titles.csv.gz.")
    bundle = read(parser.parse_args().bundle)
    classifier, thresholds = OnnxClassifier(bundle), bundle.manifest.asked_below()
    limits = limits_in(bundle.manifest.reference)
    rows = read_real(DEV, Path(folder))
    texts = [row.text for row in rows]
    said = [one for start in range(0, len(texts), BATCH) for one in classifier.classify(texts[start : start + BATCH])]
    public = [one.confidence >= thresholds[one.label] and not limits.is_strange(one) for one in said]
    found = list(zip(rows, said, public, strict=True))
    print("| rows | about machine learning | weighted F1 | published | of these right | published of the others |")
    print("|---|---|---|---|---|---|")
    print(line("all", found, classifier.labels))
    for column in ("doubtful", "family"):
        for value in sorted({dict(row.columns)[column] for row in rows}):
            some = [one for one in found if (column, value) in one[0].columns]
            print(line(f"{column}: {value}", some, classifier.labels))


if __name__ == "__main__":
    main()
