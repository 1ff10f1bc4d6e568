"""Figures are those of the whole stream, however it is split over workers: the recording rules, on one, two and four registries."""

import json
import random
import subprocess
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry

from tagstream.model_export.bundle.bundle import Bundle
from tagstream.monitoring import comparison
from tagstream.monitoring.metrics.metrics import Metrics
from tagstream.monitoring.observer import Observation
from tagstream.monitoring.signals import CONFIDENCE, DISTRIBUTIONS, ENERGY, TOKENS_PER_WORD, Signals
from tagstream.monitoring.vocabulary import Destination
from tests.prometheus import FOLDER, final
from tests.waiting import HANG_SECONDS

EVENTS = 3_000
NOW_MS = 1_700_000_060_000

pytestmark = pytest.mark.needs("promtool")


def stream(labels: Sequence[str]) -> list[Observation]:
    """Decisions that are not like any reference, repeatable."""
    chance = random.Random("pooling")  # noqa: S311 - repeatable, not secret
    return [decision(chance, number, labels) for number in range(EVENTS)]


def decision(chance: random.Random, number: int, labels: Sequence[str]) -> Observation:
    """One of them; a tenth is asked about."""
    asked = chance.random() < 0.1
    return Observation(
        destination=Destination.REVIEW if asked else Destination.TAGGED,
        created_ms=NOW_MS - chance.choice((10, 1_000, 90_000)),
        label=chance.choices(labels, weights=range(1, len(labels) + 1))[0],
        confidence=round(chance.betavariate(5, 2), 4),
        truncated=chance.random() < 0.02,
        signals=Signals(
            event_id=f"event-{number}",
            energy=chance.gauss(-4, 2),
            tokens=chance.randint(4, 128),
            tokens_per_word=chance.lognormvariate(0.5, 0.4),
            words=("word",),
            described=chance.random() < 0.7,
            source=chance.choice(("feed", None)),
            out_of_distribution=chance.random() < 0.03,
        ),
    )


def expected(seen: Sequence[Observation], reference: Mapping[str, Any]) -> dict[str, float]:
    """The recorded figures, from the decisions alone."""
    signals = [one.signals for one in seen if one.signals is not None]
    confidences = [one.confidence for one in seen if one.confidence is not None]
    counts = Counter(one.label for one in seen)
    share = {str(label): count / EVENTS for label, count in counts.items()}
    found = {
        "predictions:count1h": float(EVENTS),
        "prediction_drift:psi1h": comparison.psi(
            {**dict.fromkeys(reference["label_ratio"], 0.0), **share}, reference["label_ratio"]
        ),
        "confidence_drift:ks1h": distance(confidences, DISTRIBUTIONS[CONFIDENCE].edges, reference["confidence_cdf"]),
        "energy_drift:ks1h": distance([one.energy for one in signals], DISTRIBUTIONS[ENERGY].edges, reference["energy_cdf"]),
        "tokens_per_word_drift:ks1h": distance(
            [one.tokens_per_word for one in signals], DISTRIBUTIONS[TOKENS_PER_WORD].edges, reference["tokens_per_word_cdf"]
        ),
        "accuracy_estimate:cbpe1h": sum(confidences) / EVENTS,
        "ood:ratio1h": sum(one.out_of_distribution for one in signals) / EVENTS,
        "review:ratio1h": sum(one.destination is Destination.REVIEW for one in seen) / EVENTS,
        "without_description:ratio1h": sum(not one.described for one in signals) / EVENTS,
        "truncated:ratio1h": sum(one.truncated for one in seen) / EVENTS,
        "unseen_source:ratio1h": 0.0,
        "dead_letter:ratio10m": 0.0,
        "event_age:stale_ratio1h": sum(NOW_MS - one.created_ms > 60_000 for one in seen) / EVENTS,
    }
    assert None not in found.values()
    return {f"job:final_tagstream_{name}": float(value or 0.0) for name, value in found.items()}


def distance(values: Sequence[float], edges: Sequence[float], reference: Mapping[str, float]) -> float | None:
    """Kolmogorov's, at the edges, from the values themselves."""
    live = {edge: sum(value <= edge for value in values) / len(values) for edge in edges}
    known = {float(edge): share for edge, share in reference.items()}
    return max(abs(share - known[edge]) for edge, share in live.items() if edge in known)


def scraped(bundle: Bundle, parts: Sequence[Sequence[Observation]]) -> list[dict[str, str]]:
    """The series of Prometheus after one scrape of a worker for each part."""
    found = []
    for number, part in enumerate(parts):
        registry = CollectorRegistry()
        metrics = Metrics(registry, labels=bundle.manifest.labels, topic="content")
        metrics.model_loaded(
            name="tiny",
            version="1",
            digest="d",
            now=7.0,
            thresholds=bundle.manifest.asked_below(),
            reference=bundle.manifest.reference,
        )
        metrics.published(part, NOW_MS)
        for metric in registry.collect():
            for sample in metric.samples:
                labels = {**sample.labels, "job": "tagstream", "instance": f"worker-{number}"}
                written = ", ".join(f"{name}={json.dumps(value)}" for name, value in labels.items())
                found.append({"series": f"{sample.name}{{{written}}}", "values": f"{sample.value!r}x3"})
    return found


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_the_split_over_workers_changes_no_figure(workers: int, tiny_bundle: Bundle, tmp_path: Path) -> None:
    """Each recorded figure equals the one computed from the decisions, for any number of workers."""
    seen = stream(tiny_bundle.manifest.labels)
    # By label, as keys do it: every worker by itself is far from the whole.
    order = sorted(seen, key=lambda one: str(one.label))
    size = -(-EVENTS // workers)
    figures = expected(seen, tiny_bundle.manifest.reference)
    (tmp_path / "rules.yml").write_text(final((FOLDER / "recording.yml").read_text(encoding="utf-8")), encoding="utf-8")
    case = {
        "interval": "1m",
        "input_series": scraped(tiny_bundle, [order[start : start + size] for start in range(0, EVENTS, size)]),
        "promql_expr_test": [
            {
                "expr": f"abs({name} - ({value!r})) < bool 1e-9",
                "eval_time": "3m",
                "exp_samples": [{"labels": '{job="tagstream"}', "value": 1}],
            }
            for name, value in figures.items()
        ],
    }
    rules = {"rule_files": ["rules.yml"], "evaluation_interval": "1m", "tests": [case]}
    (tmp_path / "case.yml").write_text(yaml.safe_dump(rules), encoding="utf-8")
    done = subprocess.run(
        ["promtool", "test", "rules", "case.yml"],
        capture_output=True,
        text=True,
        timeout=HANG_SECONDS,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stdout + done.stderr
