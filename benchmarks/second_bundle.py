"""
Measures what a larger bundle settles of the real titles that the shipped bundle sends to people, and how right the larger bundle is by
the readers' labels.

    TAGSTREAM_DATA=FOLDER TAGSTREAM_REAL=FOLDER python -m benchmarks.second_bundle LARGER    # `benchmarks.larger` makes such a bundle

The parts are those of `tagstream second`, without Kafka: the pipeline decides each title, the second bundle is asked about each item of
`review`, and the ledger settles it or takes the reader's label as the answer of a person, one title after the other in the order of digests.
An opinion on a title of none of the labels is wrong. The network of neither bundle has learned from a title here. But the thresholds of both
bundles rest on the calibration titles, so that only the dev titles say what a fresh stream would get.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from tagstream.model_export.bundle.bundle import DEFAULT_BUNDLE, read
from tagstream.model_export.calibrate.intervals import wilson
from tagstream.model_export.data import splits
from tagstream.model_export.data.corpus import NOT_ML
from tagstream.model_export.data.real import DEV, REAL, digest, read_real
from tagstream.model_export.data.row import Row
from tagstream.monitoring.observer import NullObserver
from tagstream.monitoring.vocabulary import OFF_SUBJECT
from tagstream.stream.contract.answers import Said, answer_to
from tagstream.stream.contract.event import Record
from tagstream.stream.contract.outcome import NeedsReview, publish_all
from tagstream.stream.contract.published import DecidedEvent, read_decision
from tagstream.stream.contract.second_opinions import SecondOpinion
from tagstream.stream.decide.from_settings import load_decider
from tagstream.stream.decide.pipeline import Decider, Pipeline
from tagstream.stream.second import proof
from tagstream.stream.second.by_bundle import BundleAdviser
from tagstream.stream.second.facts import Cell, Cells
from tagstream.stream.second.from_settings import BANDS
from tagstream.stream.second.ledger import Ledger
from tagstream.stream.second.warranty import CellStatus, WarrantyStatus

PROMISES = (0.90, 0.95)
ALPHA, AUDIT = 0.05, 0.05
BEGIN_MS, MINUTE_MS = 1_700_000_000_000, 60_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """
    An item of `review`.

    Attributes:
        item: The decision of the first bundle.
        opinion: What the second bundle says.
        truth: The reader's label, or `off_subject`.
    """

    item: DecidedEvent
    opinion: SecondOpinion
    truth: str

    @property
    def right(self) -> bool:
        """Whether the second bundle says what the reader says."""
        return self.opinion.label == self.truth


@dataclass(frozen=True, slots=True, kw_only=True)
class Followed:
    """
    The warranty after all opinions and answers, and what was settled.

    Attributes:
        status: The warranty at the end.
        settled: The items that were settled.
    """

    status: WarrantyStatus
    settled: list[Judged]


def judged(rows: Sequence[Row], first: Decider, second: Decider) -> list[Judged]:
    """The rows that the first bundle sends to `review`, in the order of rows, with opinions of the second, a minute apart."""
    pipeline = Pipeline(decider=first, observer=NullObserver())
    records = [Record(key=None, value=msgspec.json.encode({"id": digest(row.text), "title": row.text})) for row in rows]
    outcomes = pipeline.decide(records)
    moment = BEGIN_MS
    adviser = BundleAdviser(second, first.labels, first=first.model.digest, clock=lambda: moment / 1000)
    found = []
    for row, outcome, made in zip(rows, outcomes, publish_all(records, outcomes, BEGIN_MS), strict=True):
        if not isinstance(outcome, NeedsReview):
            continue
        item = read_decision(Record(key=made.key, value=made.value, headers=made.headers))
        assert isinstance(item, DecidedEvent), item
        moment += MINUTE_MS
        found.append(Judged(item=item, opinion=adviser.ask(item), truth=OFF_SUBJECT if row.tag == NOT_ML else row.tag))
    return found


def followed(items: Sequence[Judged], cells: Cells, *, promise: float, audit: float = AUDIT) -> Followed:
    """
    Settle what is certified, and take the readers' labels as answers to all else, item by item.

    Args:
        items: In the order of time.
        cells: The cells that are certified.
        promise: The share right of what is settled.
        audit: The share of the settled items about which people are asked.
    """
    ledger = Ledger(cells, promise=promise, audit=audit, asked_since_ms=BEGIN_MS)
    settled = []
    for one in items:
        ledger.take_item(one.item)
        opinion = ledger.judged(one.opinion)
        ledger.take_opinion(opinion, acted=True)
        if opinion.settles:
            settled.append(one)
        if opinion.waits:
            said = Said(tag=one.truth, reviewer="reader", blind=False, asked_by="review")
            ledger.take_answer(answer_to(one.item, said, now_ms=opinion.decided_ms + 1))
    return Followed(status=ledger.warranty.status(), settled=settled)


def fewest(cells: Cells, *, promise: float) -> int:
    """The number of answers that certify a cell of the first second if all of them say that it is right."""
    risk = proof.risk_of_try(ALPHA, len(cells), 1, 1).item()
    needed = proof.needed(2 * proof.least_right(promise=promise, risk=risk), promise=promise, risk=risk)
    return int((needed <= np.arange(len(needed))).argmax())


def share(hits: int, of: int) -> str:
    """A share with its counts and its 95 % interval."""
    if not of:
        return "none"
    low, high = wilson(hits, of)
    return f"{hits} of {of}: {hits / of:.3f} [{low:.3f}, {high:.3f}]"


def items_line(name: str, titles: int, items: Sequence[Judged]) -> str:
    """The row of a set of titles in the first table."""
    said = [one for one in items if one.opinion.label is not None]
    known = [one for one in said if one.truth != OFF_SUBJECT]
    model = sum(one.item.decision.tag == one.truth for one in items)
    return (
        f"| {name} | {titles} | {len(items)} | {len(said)} | {share(sum(one.right for one in said), len(said))} | "
        f"{share(sum(one.right for one in known), len(known))} | {share(model, len(items))} |"
    )


def cell_line(name: str, cell: Cell, items: Sequence[Judged], cells: Cells) -> str:
    """The row of a cell in the second table; `name` is that of the set."""
    own = [one for one in items if _cell(one, cells) == cell]
    band = f"{cells.bands[cell.band - 1]:g} or more" if cell.band else f"below {cells.bands[0]:g}"
    return f"| {name} | {cell.label} | {'yes' if cell.agrees else 'no'} | {band} | {share(sum(one.right for one in own), len(own))} |"


def warranty_line(name: str, items: int, found: Followed) -> str:
    """The row of a set of titles and a promise in the third table."""
    status = found.status
    certified = sum(cell.certified for cell in status.cells)
    right = sum(one.right for one in found.settled)
    open_cells = [cell for cell in status.cells if not cell.certified]
    evidence = (
        f"{max(cell.evidence for cell in open_cells):.3g} of {open_cells[0].needed:.3g}" if open_cells else "all are certified"
    )
    return (
        f"| {name} | {status.promise:.2f} | {items} | {certified} of {len(status.cells)} | {share(right, len(found.settled))} | {evidence} | "
        f"{missing(open_cells)} |"
    )


def missing(cells: Sequence[CellStatus]) -> str:
    """How many answers more the cells without a certificate take, by the warranty's estimate: of the nearest cell, and of how many none helps."""
    known = [(cell.missing_answers, cell) for cell in cells if cell.missing_answers is not None]
    if not known:
        return "out of reach in every cell"
    answers, nearest = min(known, key=lambda one: one[0])
    return f"{answers:,} where {nearest.right} of {nearest.right + nearest.wrong} are right; {len(cells) - len(known)} cells out of reach"


def _cell(one: Judged, cells: Cells) -> Cell | None:
    opinion = one.opinion
    return (
        None
        if opinion.label is None
        else cells.of(opinion.label, agrees=opinion.label == opinion.model_tag, score=opinion.score)
    )


def sets(data: Path | None, real: Path) -> dict[str, list[Row]]:
    """The titles, by set, in the order of their digests."""
    titles = {
        "dev titles": read_real(DEV, real),
        "calibration titles": [row for row in splits.load(data, real_folder=real).calibration if row.source == REAL],
    }
    return {name: sorted(rows, key=lambda row: digest(row.title)) for name, rows in titles.items()}


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("second", type=Path, help="the folder of the second bundle")
    parser.add_argument("--bundle", type=Path, default=DEFAULT_BUNDLE, help="the bundle that decides")
    given = parser.parse_args()
    data, real = os.environ.get("TAGSTREAM_DATA"), os.environ.get("TAGSTREAM_REAL")
    if not real:
        sys.exit("no texts: TAGSTREAM_REAL names no folder. Next: name the folder with titles.csv.gz.")
    first, second = (load_decider(read(folder), threshold=None) for folder in (given.bundle, given.second))
    titles = sets(Path(data) if data else None, Path(real))
    cells = Cells(first.labels, bands=BANDS)
    items = {name: judged(rows, first, second) for name, rows in titles.items()}
    print(f"{first.model.name} {first.model.version} decides; the second is {second.model.name} {second.model.version}\n")
    print(
        "| titles | all | sent to people | of these, with an opinion | right | right, without texts of none of the labels | model right |"
    )
    print("|---|---|---|---|---|---|---|")
    for name, own in items.items():
        print(items_line(name, len(titles[name]), own))
    print("\n| titles | second's label | the model's too | second's score | right |\n|---|---|---|---|---|")
    for name, own in items.items():
        for cell in cells.every():
            print(cell_line(name, cell, own, cells))
    print(
        "\n| titles | promise | items | cells certified | settled: right | most evidence of the others | answers missing, about |"
    )
    print("|---|---|---|---|---|---|---|")
    for name, own in items.items():
        for promise in PROMISES:
            print(warranty_line(name, len(own), followed(own, cells, promise=promise)))
    print()
    for promise in PROMISES:
        print(f"At {promise:.2f} a cell is certified after {fewest(cells, promise=promise)} answers, if none is wrong.")


if __name__ == "__main__":
    main()
