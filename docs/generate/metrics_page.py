"""`docs/metrics.md`, made from the metrics, so that page and code agree."""

import itertools
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric

from tagstream.monitoring.metrics.controller import ControllerMetrics
from tagstream.monitoring.metrics.http import HttpMetrics
from tagstream.monitoring.metrics.metrics import Metrics
from tagstream.monitoring.metrics.shadow import ShadowMetrics
from tagstream.monitoring.quality.metrics import QualityMetrics
from tagstream.monitoring.signals import DISTRIBUTIONS
from tagstream.monitoring.vocabulary import Reason
from tagstream.stream.rollout.verdict import RolloutStep

ROOT = Path(__file__).parents[2]
# A placeholder for the labels of a bundle.
LABELS = ("LABEL",)
JOINS = ", ".join(
    f"`{counted.reference.removeprefix('tagstream_reference_')}` with `{counted.metric.removeprefix('tagstream_')}`"
    for counted in DISTRIBUTIONS.values()
)
HEAD = f"""# Metrics

Every series at `/metrics` of a worker, a review console, `tagstream serve`, `rollout shadow` and `rollout watch`, besides those of its
process (`process_*`, `python_*`). Made from the code by `python -m docs.generate`.

- A name in `_total` is a counter, one with edges a histogram, any other a gauge. Base units; ratios are 0 to 1. Counters and
  histograms of any number of workers may be added up.
- Label sets are closed: no id, text or source of an event is ever a label. `label` is a label of the bundle; `bound` is value, low or
  high, the ends of an interval. Fewer than 475 series a worker with four labels.
- Every series is there from the start, at zero, except for figures that the bundle's reference lacks, and those of open transactions.
- An `at_most` of a reference is spelled as the `le` of the live histogram, so that the two join: {JOINS}. `tagstream_energy_score` has
  no `_sum`: energies are below zero.
"""
SECTIONS = {
    "tagstream_controller_": (
        "Controller of a rollout",
        "Served by `tagstream rollout watch` ([the page](rollout.md#let-it-be-decided-by-proof)). Take `max` over several controllers, no sum.",
    ),
    "tagstream_shadow_": (
        "Shadow",
        "Served by `tagstream rollout shadow`: two bundles on the same events ([the page](rollout.md#beside-the-stream)).",
    ),
    "tagstream_queue_": ("Review queue", "Served by the review console."),
    "tagstream_http_": ("HTTP service", "Served by `tagstream serve`."),
    "tagstream_quality_": (
        "Live quality",
        "Served by the review console ([quality](quality.md)). Take `max` over several consoles, no sum.",
    ),
    "tagstream_value_": (
        "What it is worth",
        "Served by the review console ([quality](quality.md#what-it-is-worth)), over its window. Take `max`, no sum.",
    ),
    "tagstream_viewers_": (
        "Viewers asked",
        "Served by the review console ([viewers](viewers.md)), over its window. Take `max`, no sum. Who answers is not drawn.",
    ),
    "tagstream_reference_": (
        "Reference in force",
        "None while the group learns.",
    ),
    "tagstream_rollout_": (
        "Rollout",
        "The [change of the model](rollout.md) in one worker. All zero where it follows no rollout.",
    ),
    "tagstream_drift_": ("Drift", "The [drift detection](drift.md) of a worker, or of a process of `tagstream serve`."),
    "tagstream_trace_": ("Traces", "All zero unless [tracing](tracing.md) is on."),
    "tagstream_answer": ("Answers", "Reviewers' answers on `reviewed`, which become decisions on `tagged`."),
    "tagstream_": (
        "Flow and decisions",
        "Served by each worker; by `tagstream serve` model, predictions, confidence, threshold, energy, text and source.",
    ),
}
WRITTEN_OUT = {
    "old": "the champion's",
    "new": "the challenger's",
    "topic": "the topic that is read",
    "partition": "a number",
    "at_most": "an edge",
    "name": "the bundle's",
    "version": "the bundle's",
    "digest": "the bundle's",
    "arithmetic": "only where it is not that of the bundle's maker",
}
# Labels whose values the head says.
IN_HEAD = ("label", "bound")
# The values of a label that has the code of each dead letter.
CODES = "a code of [dead letters](producers.md#what-is-refused)"
MOST_EDGES = 15


def page() -> str:
    """The whole page."""
    found: dict[str, list[str]] = {prefix: [] for prefix in SECTIONS}
    for metric in _metrics():
        section = next(prefix for prefix in SECTIONS if metric.name.startswith(prefix))
        found[section].append(_row(metric))
    parts = [HEAD]
    for prefix in reversed(SECTIONS):
        title, sentence = SECTIONS[prefix]
        rows = "\n".join(found[prefix])
        parts.append(f"\n## {title}\n\n{sentence}\n\n{rows}\n")
    return "".join(parts)


def unmoved(root: Path = ROOT) -> list[str]:
    """A sentence for each metric that is registered and that no code moves: it would stand at zero for ever."""
    code = [path.read_text(encoding="utf-8") for path in sorted((root / "monitoring").rglob("*.py"))]
    named = Counter(name for text in code for name in re.findall(r"\.(\w+)", text))
    made = [name for text in code for name in re.findall(r"self\.(\w+) = (?:new\.\w+|Counter|Gauge|Histogram|Info)\(", text)]
    return [
        f"the metric {name} of monitoring/metrics is moved nowhere. Next: move it where its figure is known, or remove it."
        for name in made
        if named[name] < 2  # noqa: PLR2004 - where it is made, and where it is moved
    ]


def _metrics() -> Iterable[Metric]:
    registry = CollectorRegistry()
    metrics = Metrics(registry, labels=LABELS, topic="TOPIC")
    one = dict.fromkeys(("rows", "ood_ratio", "truncated_ratio", "without_description_ratio", "review_ratio"), 1)
    reference = {
        **one,
        "label_ratio": dict.fromkeys(LABELS, 1.0),
        **{signal.cdf: {str(edge): 1.0 for edge in counted.edges} for signal, counted in DISTRIBUTIONS.items()},
    }
    metrics.model_loaded(
        name="NAME",
        version="VERSION",
        digest="DIGEST",
        now=0,
        thresholds=dict.fromkeys(LABELS, 1.0),
        reference=reference,
    )
    metrics.drift_reference(reference)
    metrics.open_transactions({"0": (1, 1.0)})
    QualityMetrics(registry, labels=LABELS)
    HttpMetrics(registry, metrics.traces).started(most_waiting=0)
    ShadowMetrics(registry, labels=LABELS)
    ControllerMetrics(registry, decisions=tuple(RolloutStep))
    return registry.collect()


def _row(metric: Metric) -> str:
    suffix = {"counter": "_total", "info": "_info"}.get(metric.type, "")
    edges = f"Edges {_edges(metric)}." if metric.type == "histogram" else ""
    meaning = " ".join(part for part in (metric.documentation, edges, _labels(metric)) if part)
    return f"- `{metric.name}{suffix}`: {meaning}"


def _labels(metric: Metric) -> str:
    names = [name for name in metric.samples[0].labels if not (metric.type == "histogram" and name == "le")]
    return "; ".join(f"`{name}`" if name in IN_HEAD else f"`{name}`: {_values(metric, name)}" for name in names)


def _values(metric: Metric, name: str) -> str:
    if name in WRITTEN_OUT:
        return WRITTEN_OUT[name]
    values = dict.fromkeys(sample.labels[name] for sample in metric.samples)
    return CODES if values.keys() == set(Reason) else ", ".join(values)


def _edges(metric: Metric) -> str:
    found = [float(edge) for edge in dict.fromkeys(sample.labels["le"] for sample in metric.samples if "le" in sample.labels)][
        :-1
    ]
    shown = [f"{edge:g}" for edge in found]
    steps = {round(later - earlier, 9) for earlier, later in itertools.pairwise(found)}
    if len(found) > MOST_EDGES and len(steps) == 1:
        return f"{shown[0]} to {shown[-1]} in steps of {steps.pop():g}"
    return " ".join(shown)
