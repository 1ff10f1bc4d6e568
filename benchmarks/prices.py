"""
Simulated bundles whose thresholds follow prices: their cost on fresh rows, and how often the printed interval holds.

    python -m benchmarks.prices                     examples/tickets
    python -m benchmarks.prices FILE... --column label --fit 0.25 --calibrate 1500 --floor 0.8

Files are CSV with titles and labels, plain or in gzip; the second line is that of the Chinese news on the page.

Each draw fits one model (TF-IDF and logistic regression) on `--fit` of the rows that were drawn at random. The other rows are the stream:
calibration rows are drawn from them with replacement, so that what a threshold costs on fresh rows is known exactly. Beside the
thresholds by prices stand those of the promise of each label at 0.95 and of all labels together at 0.95, the best thresholds in hindsight
(with the labels of the stream known, without a floor). Intervals count in the draws that publish something, since the cost is known
exactly in the others; the known-bad one is of the rows that chose the thresholds.
"""

import argparse
import csv
import gzip
import io
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.special import softmax
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from tagstream.model_export.bundle.manifest import ALWAYS_ASK
from tagstream.model_export.bundle.model import SCORE_DECIMALS
from tagstream.model_export.bundle.promise.promise import Promise
from tagstream.model_export.calibrate.certificate import Bools
from tagstream.model_export.calibrate.errors import CalibrationError
from tagstream.model_export.calibrate.joint import DecidedRows, kept
from tagstream.model_export.calibrate.prices import EVENTS, PricedRows, choose, measured, measures
from tagstream.model_export.calibrate.promised_thresholds import RISK, promised
from tagstream.model_export.calibrate.temperature import Floats, Ints, fit_temperature
from tagstream.monitoring.quality.costs import Costs

TICKETS = Path(__file__).parent.parent / "examples" / "tickets"
PROMISED = 0.95
ITEM, WRONG, DEAR = 0.5, 2.0, 10.0
EVERYTHING, LABEL, OVERALL, PRICES, HINDSIGHT = (
    "everything to people",
    f"{PROMISED} of each label",
    f"{PROMISED} of all labels together",
    "prices",
    "prices, best in hindsight",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """
    Labelled texts.

    Attributes:
        texts: The texts.
        truth: The index of each text's label, shape (rows,).
        labels: The labels.
    """

    texts: Sequence[str]
    truth: Ints
    labels: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """
    What one draw shows.

    Attributes:
        cost: By way to decide, the true cost of 10,000 events.
        held: By interval, whether it holds.
        publishes: Whether the thresholds by prices publish anything.
        width: The width of the printed interval, as a share of the true cost.
    """

    cost: Mapping[str, float]
    held: Mapping[str, bool]
    publishes: bool
    width: float


def read(files: Sequence[Path], column: str) -> Rows:
    """Read titles, descriptions and labels; rows without a label are left out."""
    texts, tags = [], []
    for file in files:
        raw = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
        for row in csv.DictReader(io.StringIO(raw.decode(), newline="")):
            if row[column]:
                texts.append(f"{row['title']} {row.get('description') or ''}")
                tags.append(row[column])
    labels, truth = np.unique(tags, return_inverse=True)
    return Rows(texts=texts, truth=truth.astype(np.int64), labels=tuple(labels.tolist()))


def prices_of(labels: Sequence[str]) -> Costs:
    """Return prices: a wrong publication of the first label is dear, and so is one of the second where the truth is the first."""
    first, second, *others = labels
    by_truth = {truth: DEAR if truth == first else WRONG for truth in labels if truth != second}
    return Costs(
        source="benchmark",
        currency="",
        item=ITEM,
        wrong_publication={first: DEAR, second: by_truth, **dict.fromkeys(others, WRONG)},
    )


def stream_of(rows: Rows, fit: float, generator: np.random.Generator) -> tuple[Floats, Ints]:
    """Fit a model on a share of the rows. Return the logits of the others, [rows, labels], and their labels."""
    order = generator.permutation(len(rows.texts))
    learned, others = np.split(order, [round(fit * len(order))])
    # Pieces of words, since not every language has spaces between words.
    words = TfidfVectorizer(sublinear_tf=True, analyzer="char_wb", ngram_range=(1, 4), max_features=20_000)
    model = LogisticRegression(C=10.0, max_iter=100, tol=1e-3)
    model.fit(words.fit_transform([rows.texts[place] for place in learned]), rows.truth[learned])
    logits = np.full((len(others), len(rows.labels)), -50.0)
    logits[:, model.classes_] = model.predict_log_proba(words.transform([rows.texts[place] for place in others]))
    return logits, rows.truth[others]


def decided_by(logits: Floats, truth: Ints, temperature: float) -> DecidedRows:
    """Return the decisions by logits, with confidences as a bundle has them."""
    confidence = softmax(logits / temperature, axis=1).max(axis=1)
    said = logits.argmax(axis=1)
    return DecidedRows(
        said=said, confidence=np.round(confidence, SCORE_DECIMALS), right=said == truth, weight=np.ones(len(said))
    )


def hindsight(rows: PricedRows, labels: int) -> tuple[float, ...]:
    """Return the thresholds that are cheapest on these rows, at any of their confidences and without a floor."""
    found = []
    for label in range(labels):
        own = rows.take(rows.decided.said == label)
        order = np.argsort(-own.decided.confidence, kind="stable")
        confidence = own.decided.confidence[order]
        total = np.cumsum(own.mistake[order] - own.item)
        # A threshold publishes all rows of one confidence, or none.
        total[:-1][confidence[:-1] == confidence[1:]] = np.inf
        found.append(float(confidence[total.argmin()]) if len(total) and total.min() < 0 else ALWAYS_ASK)
    return tuple(found)


def of_promise(decided: DecidedRows, labels: Sequence[str], asked: Promise) -> tuple[float, ...]:
    """Return the thresholds of a promise; a person is always asked where no threshold reaches it."""
    try:
        found = promised(decided, labels, asked, certified_only=True).thresholds
    except CalibrationError:
        return (ALWAYS_ASK,) * len(labels)
    return tuple(found[label].confidence for label in labels)


def draw(rows: Rows, *, fit: float, calibrate: int, floor: float, seed: int) -> Drawn:
    """Fit, calibrate and measure once; the same seed gives the same rows."""
    generator = np.random.default_rng(seed)
    labels, costs = rows.labels, prices_of(rows.labels)
    logits, truth = stream_of(rows, fit, generator)
    drawn = generator.integers(len(truth), size=calibrate)
    decided = decided_by(logits, truth, fit_temperature(logits[drawn], truth[drawn]))
    stream = PricedRows.of(decided, truth, labels, costs)
    seen = stream.take(drawn)
    apart = measures([str(number) for number in range(calibrate)])
    chose, apart_rows = seen.take(~apart), seen.take(apart)
    ways = {
        EVERYTHING: (ALWAYS_ASK,) * len(labels),
        LABEL: of_promise(seen.decided, labels, Promise(kind="per-label", precision=PROMISED)),
        OVERALL: of_promise(seen.decided, labels, Promise(kind="overall", precision=PROMISED)),
        PRICES: choose(chose, len(labels), floor=floor, risk=RISK),
        HINDSIGHT: hindsight(stream, len(labels)),
    }
    cost = {name: EVENTS * stream.cost(kept(decided, thresholds)) for name, thresholds in ways.items()}
    found = measured(apart_rows, labels, costs, ways[PRICES], asked=np.zeros(int(apart.sum()), dtype=np.bool_))
    same = measured(chose, labels, costs, ways[PRICES], asked=np.zeros(int((~apart).sum()), dtype=np.bool_))
    true, published = cost[PRICES], kept(decided, ways[PRICES])
    parts = EVENTS * np.array([np.mean(stream.mistake * published), np.mean(ITEM * ~published), stream.mistake.mean()])
    held = {
        "cost": found.cost.low <= true <= found.cost.high,
        "mistakes": found.mistakes.low <= parts[0] <= found.mistakes.high,
        "people": found.people.low <= parts[1] <= found.people.high,
        "nothing to people": found.nothing.low <= parts[2] <= found.nothing.high,
        "known-bad: mistakes, by the rows that chose": same.mistakes.low <= parts[0] <= same.mistakes.high,
        "floor of each label": all(_precision(decided, published, label) >= floor for label in range(len(labels))),
    }
    return Drawn(cost=cost, held=held, publishes=bool(published.any()), width=(found.cost.high - found.cost.low) / true)


def _precision(decided: DecidedRows, published: Bools, label: int) -> float:
    seen = decided.take(published & (decided.said == label)).precision()
    return 1.0 if seen is None else seen


def table(draws: Sequence[Drawn]) -> list[str]:
    """Return the lines of the tables of some draws."""
    lines = [f"| of {len(draws)} draws | cost of {EVENTS:,} events, median | middle 90 % |", "|---|---|---|"]
    for name in draws[0].cost:
        low, middle, high = np.percentile([each.cost[name] for each in draws], (5, 50, 95))
        lines.append(f"| {name} | {middle:,.0f} | {low:,.0f} to {high:,.0f} |")
    publishing = [each for each in draws if each.publishes]
    lines += ["", f"| interval of 95 %, of {len(publishing)} draws that publish | holds |", "|---|---|"]
    if publishing:
        lines += [f"| {name} | {np.mean([each.held[name] for each in publishing]):.1%} |" for name in draws[0].held]
        width = np.median([each.width for each in publishing])
        lines += ["", f"width of the interval of the cost: {width:.0%} of the cost, median"]
    return lines


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, nargs="*", help="rows; those of examples/tickets unless given")
    parser.add_argument("--column", default="tag", help="the column of the label")
    parser.add_argument("--draws", type=int, default=500)
    parser.add_argument("--fit", type=float, default=0.3, help="the share of the rows that the model learns from")
    parser.add_argument("--calibrate", type=int, default=600, help="the number of calibration rows")
    parser.add_argument("--floor", type=float, default=0.6, help="the precision that is certified of each label")
    given = parser.parse_args()
    started = time.monotonic()
    rows = read(given.files or [TICKETS / "rows.csv", TICKETS / "gold.csv"], given.column)
    draws = [draw(rows, fit=given.fit, calibrate=given.calibrate, floor=given.floor, seed=seed) for seed in range(given.draws)]
    print(f"{len(rows.texts):,} rows of {len(rows.labels)} labels; {given.calibrate} to calibrate, floor {given.floor}\n")
    print("\n".join(table(draws)))
    print(f"\n{time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()
