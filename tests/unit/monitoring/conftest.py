"""What a worker, a review console, `serve` and the two processes of a rollout export, for every test that names metrics."""

import json
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from tagstream.monitoring.metrics.controller import ControllerMetrics
from tagstream.monitoring.metrics.http import HttpMetrics
from tagstream.monitoring.metrics.metrics import Metrics
from tagstream.monitoring.metrics.shadow import ShadowMetrics
from tagstream.monitoring.quality.metrics import QualityMetrics
from tagstream.stream.rollout.verdict import RolloutStep

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def series() -> dict[str, list[dict[str, str]]]:
    """Every series that a worker with a bundle or another process exports: name to the labels of each."""
    manifest = json.loads((ROOT / "tests" / "data" / "tiny_bundle" / "bundle.json").read_text(encoding="utf-8"))
    registry = CollectorRegistry()
    metrics = Metrics(registry, labels=manifest["labels"], topic="content")
    thresholds = dict.fromkeys(manifest["labels"], 0.7)
    metrics.model_loaded(name="tiny", version="1", digest="d", now=7.0, thresholds=thresholds, reference=manifest["reference"])
    metrics.drift_reference({**manifest["reference"], "review_ratio": 0.3})
    metrics.open_transactions({"3": (500, 7.0)})
    QualityMetrics(registry, labels=manifest["labels"])
    HttpMetrics(registry, metrics.traces).started(most_waiting=7)
    ShadowMetrics(registry, labels=manifest["labels"])
    ControllerMetrics(registry, decisions=tuple(RolloutStep))
    found: dict[str, list[dict[str, str]]] = {}
    for metric in registry.collect():
        for sample in metric.samples:
            found.setdefault(sample.name, []).append(sample.labels)
    return found
