"""
How much a bundle of own labels publishes of texts of none of them, and what its gate costs: some labels of a public set as labels.

    python -m benchmarks.own_strangers FOLDER --labels 20 --work FOLDER2             # FOLDER holds clinc150.csv.gz; some minutes
    python -m benchmarks.own_strangers FOLDER --set chinese_news --labels 7 --work FOLDER2

A network is trained the quick way, and bundles of it are made: without a gate; with the gate that knows each label by its vectors alone, as it was for every own label;
with the gate that looks for neighbours (`train --lose`), and with this one and the set's own out-of-scope queries (`train --none`). All are
asked about the part `test`: texts of the labels, out-of-scope queries, and texts of the set's other labels, which nothing learned from and
which chose no limit. The lines of a plain cut are the bundle without a gate, with the lowest confidence at which it publishes no more of the
measured texts of the labels than the gate does. The news sets are read with the multilingual base.
"""

import argparse
import csv
import gzip
import random
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.real_strangers import Asked, share
from tagstream.model_export.bundle.promise.promise import Promise
from tagstream.model_export.bundle.text import compose
from tagstream.model_export.data.own.none_texts import gather
from tagstream.model_export.data.own.read import read_own
from tagstream.model_export.data.own.split import divide
from tagstream.model_export.data.row import Row
from tagstream.model_export.make import recipe, steps, strangers
from tagstream.model_export.make.quick import Quick
from tagstream.model_export.make.strangers import Strangers
from tagstream.model_export.train.work import Work

CLINC, NEWS = "clinc150", ("german_news", "chinese_news")
SEED = 1
# The set's own parts.
LEARNED, MEASURED = ("train", "val"), "test"


def queries(path: Path) -> list[dict[str, str]]:
    """The rows of the set: `part`, `title`, perhaps `description`, `label`, which is empty for an out-of-scope query."""
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def row_of(query: dict[str, str]) -> Row:
    """A query as a row, without its label."""
    return Row(text=compose(query["title"], query.get("description")), tag="", source="own", topic=query["title"])


def written(path: Path, rows: Sequence[dict[str, str]]) -> Path:
    """A file of labelled rows, or of texts of none of the labels."""
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, ["title", "description", "tag"])
        table.writeheader()
        table.writerows(
            {"title": query["title"], "description": query.get("description", ""), "tag": query["label"]} for query in rows
        )
    return path


def main() -> None:
    """Train the bundles and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="the folder with the sets")
    parser.add_argument("--set", choices=(CLINC, *NEWS), default=CLINC, help="the set")
    parser.add_argument("--labels", type=int, default=20, help="so many labels of the set are labels; 0: all that it has")
    parser.add_argument("--seed", type=int, default=SEED, help="draws the labels")
    parser.add_argument("--lose", type=float, nargs="+", default=[0.01, 0.02], help="the shares that the gate may lose")
    parser.add_argument("--work", type=Path, required=True, help="a folder for the bundles")
    given = parser.parse_args()
    every = queries(given.folder / f"{given.set}.csv.gz")
    names = sorted({query["label"] for query in every} - {""})
    ours = set(random.Random(given.seed).sample(names, given.labels or len(names)))  # noqa: S311 - a draw that repeats
    learned = [query for query in every if query["part"] in LEARNED]
    given.work.mkdir(parents=True, exist_ok=True)
    rows = read_own(written(given.work / "rows.csv", [query for query in learned if query["label"] in ours]))
    parts = divide(rows).splits
    out = [row_of(query) for query in learned if not query["label"]]
    everyday = gather(None, (), parts.train).rows
    near = strangers.of_own(everyday, {}, neighbours=True)
    gates: dict[str, tuple[Strangers | None, Sequence[float]]] = {
        "without a gate": (None, (0,)),
        "vectors alone": (strangers.of_own(everyday, {}), (strangers.MOST_LOST,)),
        "neighbours": (near, given.lose),
    }
    if out:
        gates[f"neighbours, {len(out)} out-of-scope queries"] = (replace(near, none=tuple(out)), (strangers.MOST_LOST,))
    tests = [query for query in every if query["part"] == MEASURED]
    asked = {
        "of the labels": [row_of(query) for query in tests if query["label"] in ours],
        "out of scope": [row_of(query) for query in tests if not query["label"]],
        "of other labels": [row_of(query) for query in tests if query["label"] and query["label"] not in ours],
    }
    of = recipe.own(parts, Promise(), name="own", quick=True, multilingual=given.set in NEWS)
    if not isinstance(of.network, Quick):
        raise TypeError(of.network)
    begun = time.monotonic()
    network = of.network.network(parts, of.limits, Work())
    print(f"{len(ours)} labels, {len(rows.rows)} rows, network in {time.monotonic() - begun:.0f} s\n")
    print(f"| published | {' | '.join(asked)} | left out, within the limit | gate in |\n|---{'|---' * len(asked)}|---|---|")
    bundles: dict[str, Asked] = {}
    for what, (learning, shares) in gates.items():
        begun = time.monotonic()
        gate = None if learning is None else strangers.fitted(network, learning)
        seconds = time.monotonic() - begun
        for lose in shares:
            name = f"{what}, lose {lose}" if gate else what
            judged = None if gate is None else replace(gate, most_lost=lose)
            finished = steps.calibrated(network if judged is None else judged.network, of, judged)
            bundles[name] = Asked(finished.draft.put(given.work / f"{len(bundles)}"))
            found = finished.draft.manifest.training.get(strangers.RECORD, {}).get(strangers.NEIGHBOURS)
            left = "-" if found is None else share(found["hits"], found["rows"])
            cells = [of_all(bundles[name].published(each)[0]) if each else "-" for each in asked.values()]
            print(f"| {name} | {' | '.join(cells)} | {left} | {seconds:.0f} s |", flush=True)
    plain = bundles["without a gate"]
    for lose in given.lose:
        kept = sum(bundles[f"neighbours, lose {lose}"].published(asked["of the labels"])[0])
        cut = sorted(plain.surely(asked["of the labels"]), reverse=True)[kept - 1]
        cells = [of_all([sure >= cut for sure in plain.surely(each)]) if each else "-" for each in asked.values()]
        print(f"| no gate, confidence of {cut} or more, as lose {lose} | {' | '.join(cells)} | - | - |", flush=True)


def of_all(flags: Sequence[bool]) -> str:
    """The share of texts that are published."""
    return f"{share(sum(flags), len(flags))} of {len(flags)}"


if __name__ == "__main__":
    main()
