"""Shows how a bundle decides texts unlike its training texts, by energy alone and with the limit on unfamiliar words.

`python -m benchmarks.strangers` prints the figures of docs/strangers.md on words and energy for the default bundle; TAGSTREAM_DATA adds the
holdout and Made With ML's calibration rows.
"""

import argparse
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from tagstream.model_export.bundle.bundle import DEFAULT_BUNDLE, read
from tagstream.model_export.bundle.model import OnnxClassifier, limits_in
from tagstream.model_export.bundle.text import compose, unfamiliar_share
from tagstream.model_export.data.splits import load
from tagstream.model_export.measure import gate
from tagstream.model_export.measure.foreign import fate, read_foreign
from tagstream.stream.demo.samples import load_events
from tagstream.stream.demo.shifts import Shift, shifted

ROUNDS = 20
# As a worker with small batches asks.
BATCH = 64


def samples() -> Iterator[tuple[str, list[str]]]:
    """The name of each sample, and its texts."""
    foreign = read_foreign()
    for half in ("chosen", "measured"):
        for kind in dict.fromkeys(text.kind for text in foreign):
            yield f"{kind}, {half}", [one.text for one in foreign if (one.kind, one.half) == (kind, half)]
    data = os.environ.get("TAGSTREAM_DATA")
    splits = load(Path(data) if data else None)
    yield "corpus, not about machine learning", [row.text for row in gate.foreign(splits)]
    for part in ("calibration", "corpus_test", "holdout"):
        if rows := getattr(splits, part):
            yield part, [row.text for row in rows]
    events = load_events()
    for shift in (Shift.NONE, Shift.LANGUAGE, Shift.NEW_TOPIC):
        texts = [compose(event["title"], event.get("description")) for event in shifted(events, shift)]
        yield f"demo, {shift}", texts if shift is Shift.NONE else texts[1::2]


def microseconds(texts: Sequence[str], known: frozenset[str]) -> float:
    """The cost of counting the unfamiliar words of one text; the fastest of some rounds."""
    seconds = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        for text in texts:
            unfamiliar_share(text, known)
        seconds.append(time.perf_counter() - started)
    return 1e6 * min(seconds) / len(texts)


def main() -> None:
    """Print the table, and what the words cost."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", type=Path, default=DEFAULT_BUNDLE, help="the bundle to ask")
    bundle = read(parser.parse_args().bundle)
    classifier, thresholds = OnnxClassifier(bundle), bundle.manifest.asked_below()
    limits = limits_in(bundle.manifest.reference)
    by_energy = replace(limits, unfamiliar=None)
    print("| texts | n | flagged by energy | flagged now | published by energy | published now |")
    print("|---|---|---|---|---|---|")
    for name, texts in samples():
        found = [one for start in range(0, len(texts), BATCH) for one in classifier.classify(texts[start : start + BATCH])]
        before, after = (fate(found, thresholds=thresholds, limits=each) for each in (by_energy, limits))
        shown = (before.strange, after.strange, before.published, after.published)
        shares = " | ".join(f"{100 * count / len(texts):.1f} % ({count})" for count in shown)
        print(f"| {name} | {len(texts)} | {shares} |", flush=True)
    ordinary = [compose(event["title"], event.get("description")) for event in load_events()]
    known = frozenset(bundle.manifest.reference.get("known_words", ()))
    print(f"\nunfamiliar words: {microseconds(ordinary, known):.1f} microseconds a text, {len(known)} known words")


if __name__ == "__main__":
    main()
