"""
How much a bundle of own labels publishes of texts of none of them, and what its gate costs: some intents of CLINC150 as labels.

    python -m benchmarks.own_strangers FOLDER --labels 20 --work FOLDER2    # FOLDER holds clinc150.csv.gz; some minutes

Three bundles are trained the quick way: one without a gate, one with the generic gate, and one that learned the set's own out-of-scope
queries of its parts `train` and `val` (`train --none`). All are asked about the part `test`: queries of the labels, out-of-scope queries, and
queries of intents that are no label.
"""

import argparse
import csv
import gzip
import random
from collections.abc import Sequence
from pathlib import Path

from benchmarks.real_strangers import Asked, share
from tagstream.model_export.bundle.promise.promise import Promise
from tagstream.model_export.bundle.text import compose
from tagstream.model_export.data.own.none import gather
from tagstream.model_export.data.own.read import read_own
from tagstream.model_export.data.own.split import divide
from tagstream.model_export.data.row import Row
from tagstream.model_export.make import recipe, steps, strangers

SET = "clinc150.csv.gz"
SEED = 1
# The set's own parts.
LEARNED, MEASURED = ("train", "val"), "test"


def queries(path: Path) -> list[dict[str, str]]:
    """The rows of the set: `part`, `title`, `label`, which is empty for an out-of-scope query."""
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def row_of(query: dict[str, str]) -> Row:
    """A query as a row, without its label."""
    return Row(text=compose(query["title"], None), tag="", source="own", topic=query["title"])


def written(path: Path, rows: Sequence[dict[str, str]]) -> Path:
    """A file of labelled rows, or of texts of none of the labels."""
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, ["title", "tag"])
        table.writeheader()
        table.writerows({"title": query["title"], "tag": query["label"]} for query in rows)
    return path


def main() -> None:
    """Train the bundles and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help=f"the folder with {SET}")
    parser.add_argument("--labels", type=int, default=20, help="so many intents are labels; 0: all that the set has")
    parser.add_argument("--seed", type=int, default=SEED, help="draws the intents")
    parser.add_argument("--work", type=Path, required=True, help="a folder for the bundles")
    given = parser.parse_args()
    every = queries(given.folder / SET)
    intents = sorted({query["label"] for query in every} - {""})
    ours = set(random.Random(given.seed).sample(intents, given.labels or len(intents)))  # noqa: S311 - a draw that repeats
    learned = [query for query in every if query["part"] in LEARNED]
    given.work.mkdir(parents=True, exist_ok=True)
    rows = read_own(written(given.work / "rows.csv", [query for query in learned if query["label"] in ours]))
    parts = divide(rows).splits
    out = [row_of(query) for query in learned if not query["label"]]
    none = {
        "without a gate": None,
        "generic gate": strangers.of_own(gather(None, (), parts.train).rows, {}),
        f"{len(out)} out-of-scope queries": strangers.of_own(out, {}),
    }
    tests = [query for query in every if query["part"] == MEASURED]
    asked = {
        "queries of the labels": [query for query in tests if query["label"] in ours],
        "out of scope": [query for query in tests if not query["label"]],
        "of other intents": [query for query in tests if query["label"] and query["label"] not in ours],
    }
    print(f"{len(ours)} labels, {len(rows.rows)} rows\n\n| bundle | {' | '.join(asked)} |\n|---{'|---' * len(asked)}|")
    for name, gate in none.items():
        folder = given.work / name.replace(" ", "-")
        made = steps.make(folder, recipe.own(parts, Promise(), name="intents", quick=True, strangers=gate))
        bundle = Asked(made.bundle)
        cells = [published(bundle, of) if of else "-" for of in asked.values()]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


def published(bundle: Asked, of: Sequence[dict[str, str]]) -> str:
    """The share of queries that a bundle publishes."""
    now, _ = bundle.published([row_of(query) for query in of])
    return f"{share(sum(now), len(of))} of {len(of)}"


if __name__ == "__main__":
    main()
