"""
A stream whose labels are known in words alone, and a person who answers: how good bundles of `model start` and `model grow` are.

    python -m benchmarks.cold_start FOLDER --work FOLDER2     # FOLDER holds clinc150.csv.gz; without it the tickets alone

The person answers in 6 seconds and slips in 5 of 100 answers. The queue is the console's: by lot and by doubt in turn, of 400 events that the newest
bundle has decided. Beside it, on the same texts to measure on: `train --quick` on all rows with their true labels; logistic
regression on the frozen vectors of as many answers, asked at random, with the same slips (SetFit's way without its contrastive tuning, which
would tune the encoder); and the label whose words are the nearest by cosine (zero-shot).
"""

import argparse
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score

from benchmarks.cold_start.sets import ColdSet, Text, intents, tickets
from tagstream.model_export.bundle.bundle import Bundle
from tagstream.model_export.bundle.model import OnnxClassifier, Prediction, limits_in
from tagstream.model_export.bundle.promise.promise import Promise
from tagstream.model_export.bundle.text import compose
from tagstream.model_export.data.own import answers, first_answers, labels
from tagstream.model_export.data.own.read import read_own
from tagstream.model_export.data.own.split import divide
from tagstream.model_export.make import progress, recipe, steps
from tagstream.model_export.onnx import heads
from tagstream.model_export.train import batches
from tagstream.stream.review.store.records import Known, standing

SLIPS, SECONDS = 0.05, 6
GROWN_AT = (60, 120, 200, 300)
# So many events have come since the bundle before.
WAITING = 400
BATCH = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """
    A bundle on the texts to measure on.

    Attributes:
        f1: Weighted, 0 to 1.
        published: The share that is published without a person, 0 to 1.
        wrong: How many of them are wrong.
        of: How many are published.
    """

    f1: float
    published: float = 0.0
    wrong: int = 0
    of: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A point of the curve: a bundle and its rival after so many answers."""

    answers: int
    ours: Measured
    rival: float
    certified: bool
    missing: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """The first bundle of a set, and the vectors of its encoder: shape (texts, width)."""

    bundle: Bundle
    tests: np.ndarray
    events: np.ndarray


class Decided:
    """The decisions of a bundle on texts."""

    def __init__(self, bundle: Bundle, texts: Sequence[Text]) -> None:
        """Ask it."""
        self.thresholds, limits = bundle.manifest.asked_below(), limits_in(bundle.manifest.reference)
        classifier, whole = OnnxClassifier(bundle), composed(texts)
        self.said: list[Prediction] = [
            one for at in range(0, len(whole), BATCH) for one in classifier.classify(whole[at : at + BATCH])
        ]
        self.public = [one.confidence >= self.thresholds[one.label] and not limits.is_strange(one) for one in self.said]

    def measured(self, texts: Sequence[Text]) -> Measured:
        """How right it is, and how right what it publishes is."""
        tags, found = [text.tag for text in texts], [one.label for one in self.said]
        wrong = sum(public and one != tag for public, one, tag in zip(self.public, found, tags, strict=True))
        return Measured(f1=f1(tags, found), published=mean(self.public), wrong=wrong, of=sum(self.public))


class Person:
    """Answers, and slips now and then."""

    def __init__(self, names: Sequence[str], draw: random.Random) -> None:
        """Of these labels."""
        self._names, self._draw = names, draw

    def tag(self, text: Text) -> str:
        """The label, or another one by a slip."""
        others = [name for name in self._names if name != text.tag]
        return self._draw.choice(others) if self._draw.random() < SLIPS else text.tag


def composed(texts: Sequence[Text]) -> list[str]:
    """The texts as a model reads them."""
    return [compose(text.title, text.description) for text in texts]


def f1(tags: Sequence[str], found: Sequence[str]) -> float:
    """Weighted F1."""
    return float(f1_score(tags, found, average="weighted", zero_division=0.0))


def queue(ids: Sequence[str], decided: Decided, waiting: Sequence[int]) -> tuple[list[int], list[int]]:
    """The places of events that went to people, in the order in which the console asks: by lot, and by doubt."""
    urgency = {}
    for place, one, public in zip(waiting, decided.said, decided.public, strict=True):
        if public:
            continue
        known = Known(
            in_audit=False,
            in_review=True,
            probabilities=one.probabilities,
            threshold=decided.thresholds[one.label],
            tagged_ms=0,
        )
        urgency[place] = standing(ids[place], known, (), (), 0.0).urgency
    ordered = sorted(urgency, key=lambda place: urgency[place])
    return [place for place in ordered if urgency[place] < 0], [place for place in ordered if urgency[place] >= 0]


def vectors(bundle: Bundle, texts: Sequence[str]) -> np.ndarray:
    """Of the bundle's encoder, which is the base encoder."""
    return heads.embed(bundle.model, batches.encode(batches.load_tokenizer(bundle.tokenizer), texts), threads=2)


def zero_shot(bundle: Bundle, of: ColdSet, events: np.ndarray) -> float:
    """F1 of the label whose sentences are the nearest, by cosine."""
    words = labels.read(of.labels)
    names = sorted(words.labels)
    said = vectors(bundle, [f"{name}. {words.labels[name].about}" for name in names])
    near = _unit(events) @ _unit(said).T
    return f1([text.tag for text in of.tests], [names[place] for place in near.argmax(axis=1)])


def _unit(found: np.ndarray) -> np.ndarray:
    scaled: np.ndarray = found / np.linalg.norm(found, axis=1, keepdims=True)
    return scaled


def all_rows(folder: Path, of: ColdSet, promise: Promise) -> Measured:
    """`train --quick` on all rows, with their true labels."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps({"title": one.title, "description": one.description or "", "tag": one.tag}) for one in of.events]
    (folder / "rows.jsonl").write_text("\n".join(lines), encoding="utf-8")
    rows = divide(read_own(folder / "rows.jsonl")).splits
    made = steps.make(folder / "bundle", recipe.own(rows, promise, name="all", quick=True))
    return Decided(made.bundle, of.tests).measured(of.tests)


def begin(folder: Path, of: ColdSet, promise: Promise) -> Begun:
    """Start."""
    bundle = steps.make(folder, recipe.started(labels.read(of.labels), (), promise, name="cold")).bundle
    return Begun(bundle=bundle, tests=vectors(bundle, composed(of.tests)), events=vectors(bundle, composed(of.events)))


def curve(folder: Path, of: ColdSet, begun: Begun, promise: Promise, seed: int) -> list[Point]:
    """
    The curve of a person.

    Args:
        folder: For the bundles.
        of: The set.
        begun: Its first bundle.
        promise: That answers shall certify.
        seed: Of the person.
    """
    folder.mkdir(parents=True, exist_ok=True)
    draw = random.Random(seed)  # noqa: S311 - a person who repeats
    words = labels.read(of.labels)
    person, ids = Person(sorted(words.labels), draw), [f"{seed}-{place}" for place in range(len(of.events))]
    bundle, tests, events = begun.bundle, begun.tests, begun.events
    at_random = random.Random(seed).sample(range(len(ids)), len(ids))  # noqa: S311
    lines: list[dict[str, str]] = []
    open_ = list(range(len(ids)))
    points = [_point(0, bundle, of, 0.0)]
    for until in GROWN_AT:
        by_lot: list[int] = []
        by_doubt: list[int] = []
        while len(lines) < until:
            if not by_lot and not by_doubt:
                # Those that are published are gone; what goes to people waits for them.
                waiting = sorted(draw.sample(open_, min(WAITING, len(open_))))
                open_ = sorted(set(open_) - set(waiting))
                by_lot, by_doubt = queue(ids, Decided(bundle, [of.events[place] for place in waiting]), waiting)
                if not waiting:
                    return points
                continue
            turns = [by_lot, by_doubt] if draw.random() < 0.5 else [by_doubt, by_lot]  # noqa: PLR2004 - a coin
            turn = next(turn for turn in turns if turn)
            place = turn.pop(0)
            text = of.events[place]
            line = {"id": ids[place], "title": text.title, "tag": person.tag(text)}
            lines.append(line | ({} if text.description is None else {"description": text.description}))
        open_ = sorted({*open_, *by_lot, *by_doubt})
        path = folder / f"{until}.jsonl"
        path.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
        said = first_answers.sort_out(words, answers.read(path))
        bundle = steps.make(folder / str(until), recipe.grown(bundle, words, said, promise, name="cold")).bundle
        given = [person.tag(of.events[place]) for place in at_random[:until]]
        found = LogisticRegression(max_iter=2000).fit(events[at_random[:until]], given).predict(tests)
        points.append(_point(until, bundle, of, f1([text.tag for text in of.tests], found.tolist())))
    return points


def _point(count: int, bundle: Bundle, of: ColdSet, rival: float) -> Point:
    kept = bundle.manifest.training.get(progress.RECORD, {})
    return Point(
        answers=count,
        ours=Decided(bundle, of.tests).measured(of.tests),
        rival=rival,
        certified=bundle.manifest.threshold.certified,
        missing=kept.get("missing"),
    )


def show(of: ColdSet, seeds: Sequence[list[Point]], nothing: float, every: Measured) -> None:
    """Print the table of a set; figures are means of the seeds, counts their sums."""
    print(
        f"\n## {of.name}: {len({text.tag for text in of.events})} labels, {len(of.events):,} events, {len(of.tests)} texts to measure on\n"
    )
    print(
        "| answers | minutes | F1 | published | of which wrong | certified in | about missing | F1, random answers |\n|---|---|---|---|---|---|---|---|"
    )
    # A person may run out of events.
    for points in zip(*seeds, strict=False):
        ours = [point.ours for point in points]
        wrong, out = sum(one.wrong for one in ours), sum(one.of for one in ours)
        missing = [point.missing for point in points if point.missing is not None]
        cells = [
            str(points[0].answers),
            f"{points[0].answers * SECONDS / 60:.0f}",
            f"{mean(one.f1 for one in ours):.3f}",
            f"{mean(one.published for one in ours):.1%}",
            f"{wrong} of {out}" if out else "none published",
            f"{sum(point.certified for point in points)} of {len(points)}",
            f"{mean(missing):.0f}" if missing else "-",
            f"{mean(point.rival for point in points):.3f}" if points[0].answers else f"{nothing:.3f} (zero-shot)",
        ]
        print(f"| {' | '.join(cells)} |")
    print(
        f"| all {len(of.events):,} rows, `train --quick` | | {every.f1:.3f} | {every.published:.1%} | {every.wrong} of {every.of} | | | |",
        flush=True,
    )


def main() -> None:
    """Grow bundles, and print the tables."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.cold_start", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("folder", type=Path, nargs="?", help="the folder with clinc150.csv.gz; without it the tickets alone")
    parser.add_argument("--work", type=Path, required=True, help="a folder for the bundles")
    parser.add_argument("--seeds", type=int, default=1, help="so many persons")
    parser.add_argument(
        "--precision", type=float, default=0.85, help="the share right of what is published that shall be certified"
    )
    parser.add_argument("--floor", type=float, default=0.6, help="no label is published that is seen below it")
    parser.add_argument("--only", type=int, choices=range(3), help="this set alone, by its number")
    given = parser.parse_args()
    promise = Promise(precision=given.precision, floor=given.floor)
    for number, of in enumerate([tickets(), *(intents(given.folder) if given.folder else [])]):
        if given.only not in {None, number}:
            continue
        work = given.work / str(number)
        begun = begin(work / "first", of, promise)
        found = [curve(work / str(seed), of, begun, promise, seed) for seed in range(given.seeds)]
        show(of, found, zero_shot(begun.bundle, of, begun.tests), all_rows(work / "all", of, promise))


if __name__ == "__main__":
    main()
