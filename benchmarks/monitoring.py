"""The cost of monitoring: signals, metrics and drift detection of a batch of 64, compared with the model's time.

    python -m benchmarks.monitoring [--rounds 7]

Batch by batch in turn, in one process and one thread, in CPU time, so that a busy machine slows both alike. A round is as many
batches as a drift window needs to close once; the figure is the median of the rounds' ratios. The texts are the demo's samples,
the bundle is the default one.
"""

import argparse
import itertools
import json
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from prometheus_client import CollectorRegistry

from tagstream.model_export.bundle.bundle import DEFAULT_BUNDLE, Bundle, read
from tagstream.model_export.bundle.model import OnnxClassifier, Prediction
from tagstream.model_export.bundle.text import compose, is_described, signals_of
from tagstream.model_export.bundle.text import read as read_text
from tagstream.monitoring.drift.findings import Model
from tagstream.monitoring.drift.thresholds import DriftPlan
from tagstream.monitoring.drift.watch import DriftWatch
from tagstream.monitoring.metrics.families import STAGES
from tagstream.monitoring.metrics.metrics import Metrics
from tagstream.monitoring.observer import Observation
from tagstream.stream.contract.event import ContentEvent, Record, decode
from tagstream.stream.contract.outcome import publish_all
from tagstream.stream.decide.from_settings import decider_of_bundle
from tagstream.stream.demo import samples

EVENTS = 64
BATCHES = 16
BUDGET = 0.02
PARTS = ("signals", "metrics", "drift")


def batches() -> Iterator[list[ContentEvent]]:
    """The samples over and over, each time with other ids, 64 at a time."""
    numbered = enumerate(itertools.cycle(samples.load_events()))
    while True:
        events = []
        for number, sample in itertools.islice(numbered, EVENTS):
            value = json.dumps({**sample, "id": f"event-{number}"}).encode()
            raw = Record(topic="content", partition=0, offset=number, timestamp_ms=1, key=None, value=value)
            event = decode(raw)
            if not isinstance(event, ContentEvent):
                raise TypeError(event.message)
            events.append(event)
        yield events


class Watched:
    """Everything that watches a worker, without the worker."""

    def __init__(self, bundle: Bundle) -> None:
        """As a worker joins them."""
        manifest = bundle.manifest
        self._metrics = Metrics(CollectorRegistry(), labels=manifest.labels, topic="content", known_sources=["papers", "posts"])
        self._drift = DriftWatch(
            model=Model(name=manifest.name, version=manifest.version, digest=bundle.digest),
            worker="bench",
            plan=DriftPlan(reference_windows=1, learning_seconds=0),
        )

    def metrics(self, observations: Sequence[Observation]) -> None:
        """All that a batch tells the metrics."""
        self._metrics.received(len(observations))
        for stage in STAGES:
            self._metrics.stage(stage, 0.01)
        self._metrics.published(observations, 2)

    def drift(self, observations: Sequence[Observation]) -> None:
        """All that a batch tells the detectors; once in a round a window closes."""
        self._drift.add(observations, 2)


def signals(events: Sequence[ContentEvent], predictions: Sequence[Prediction]) -> None:
    """The part of a decision that is done for monitoring."""
    for event, prediction in zip(events, predictions, strict=True):
        signals_of(
            compose(event.title, event.description),
            event_id=event.id,
            energy=prediction.energy,
            tokens=prediction.tokens,
            described=is_described(event.description),
            source=event.source,
            out_of_distribution=False,
        )


def timed(work: Callable[[], object]) -> float:
    """CPU seconds."""
    started = time.process_time()
    work()
    return time.process_time() - started


def measure(rounds: int) -> list[Counter[str]]:
    """CPU seconds of the model and of each part of monitoring, a round."""
    bundle = read(DEFAULT_BUNDLE)
    classifier, watched = OnnxClassifier(bundle), Watched(bundle)
    decider = decider_of_bundle(bundle, classifier)
    coming = batches()
    measured = []
    # The first round is a warm-up, and becomes the baseline of the drift detection.
    for _ in range(rounds + 1):
        spent: Counter[str] = Counter()
        for events in itertools.islice(coming, BATCHES):
            readings = [read_text(event.title, event.description) for event in events]
            texts = [reading.text for reading in readings]
            predictions = classifier.classify(texts)
            outcomes = [decider.decide(*three) for three in zip(events, predictions, readings, strict=True)]
            published = publish_all([event.record for event in events], outcomes, 2)
            observations = [publication.observation for publication in published]
            spent["inference"] += timed(partial(classifier.classify, texts))
            spent["signals"] += timed(partial(signals, events, predictions))
            spent["metrics"] += timed(partial(watched.metrics, observations))
            spent["drift"] += timed(partial(watched.drift, observations))
        measured.append(spent)
    return measured[1:]


def main() -> None:
    """Measure and print one line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    measured = measure(parser.parse_args().rounds)
    ratio = statistics.median(sum(spent[part] for part in PARTS) / spent["inference"] for spent in measured)
    micros = {
        part: statistics.median(spent[part] for spent in measured) / (EVENTS * BATCHES) * 1e6 for part in ("inference", *PARTS)
    }
    parts = ", ".join(f"{part} {micros[part]:.1f}" for part in PARTS)
    print(
        f"monitoring costs {100 * ratio:.2f} % of inference (at most {100 * BUDGET:g} %): "
        f"{parts} of {micros['inference']:.0f} microseconds of CPU an event, {len(measured)} rounds of {EVENTS * BATCHES} events"
    )


if __name__ == "__main__":
    main()
