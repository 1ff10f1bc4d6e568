"""Makes `docs/metrics.md` from the metrics, so that the page and the code agree.

python -m monitoring.metrics.reference_page docs/metrics.md
"""

import itertools
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric

from monitoring import edges
from monitoring.metrics.http import HttpMetrics
from monitoring.metrics.metrics import Metrics
from monitoring.metrics.quality import QualityMetrics

# A placeholder for the labels of a bundle.
LABELS = ("LABEL",)
HEAD = """# Metrics

Every series that a worker, a review console or `tagstream serve` serves at `/metrics`, besides those of its process (`process_*`, `python_*`).
Made from the code by `python -m monitoring.metrics.reference_page docs/metrics.md`; a test holds it to be current.

- Base units; ratios are 0 to 1. Counters and histograms of any number of workers may be added up.
- Label sets are closed: no id, text or source of an event is ever a label. Fewer than 450 series a worker with four labels.
- Every series is there from the start, at zero, except for figures that the reference of an older bundle lacks, and those
  of open transactions, which exist while one is open.
- An `at_most` of a reference is spelled as the `le` of the live histogram, so that the two join: `confidence_cdf` with `confidence_ratio`,
  `energy_cdf` with `energy_score`, `text_tokens_cdf` with `text_tokens`, `text_tokens_per_word_cdf` with
  `text_tokens_per_word_ratio`.
- `tagstream_energy_score` has no `_sum`: energies are below zero.
"""
SECTIONS = {
    "tagstream_queue_": ("Review queue", "Served by the review console: what waits for people."),
    "tagstream_http_": ("HTTP service", "Served by `tagstream serve`: requests for decisions, and what waits for the model."),
    "tagstream_quality_": (
        "Live quality",
        "Served by the review console: estimates over its window, see [quality](quality.md). Consoles of one job give the same figures: take `max`, no sum.",
    ),
    "tagstream_reference_": (
        "Reference in force",
        "Figures of ordinary traffic, for comparison with the live ones: what the group has learned from its own stream, or the file of `drift_reference`. None while the group learns.",
    ),
    "tagstream_drift_": ("Drift", "Results of this worker's drift detection."),
    "tagstream_trace_": ("Traces", "Spans by OpenTelemetry; all zero unless [tracing](tracing.md) is on."),
    "tagstream_answer": ("Answers", "Reviewers' answers on `reviewed`, which become decisions on `tagged`."),
    "tagstream_": ("Flow and decisions", "Events and outcomes, their latency, and the texts."),
}
WRITTEN_OUT = {
    "label": "a label of the bundle",
    "topic": "the topic that is read",
    "partition": "a number",
    "at_most": "an edge",
    "name": "the bundle's",
    "version": "the bundle's",
    "digest": "the bundle's",
    "arithmetic": "only where it is not that of the bundle's maker",
}
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
        parts.append(f"\n## {title}\n\n{sentence}\n\n| name | type | labels | meaning |\n|---|---|---|---|\n{rows}\n")
    return "".join(parts)


def _metrics() -> Iterable[Metric]:
    registry = CollectorRegistry()
    metrics = Metrics(registry, labels=LABELS, topic="TOPIC")
    one = dict.fromkeys(("rows", "ood_ratio", "truncated_ratio", "without_description_ratio", "review_ratio"), 1)
    cuts = {
        "confidence_cdf": edges.CONFIDENCE,
        "energy_cdf": edges.ENERGY,
        "tokens_cdf": edges.TOKENS,
        "tokens_per_word_cdf": edges.TOKENS_PER_WORD,
    }
    reference = {
        **one,
        "label_ratio": dict.fromkeys(LABELS, 1.0),
        **{key: {str(edge): 1.0 for edge in found} for key, found in cuts.items()},
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
    metrics.open_transactions({0: (1, 1.0)})
    QualityMetrics(registry, labels=LABELS)
    HttpMetrics(registry, metrics.traces).started(name="NAME", version="VERSION", digest="DIGEST", most_waiting=0)
    return registry.collect()


def _row(metric: Metric) -> str:
    suffix = {"counter": "_total", "info": "_info"}.get(metric.type, "")
    kind = "gauge" if metric.type == "info" else metric.type
    meaning = metric.documentation
    if metric.type == "histogram":
        meaning += f" Edges {_edges(metric)}."
    return f"| `{metric.name}{suffix}` | {kind} | {_labels(metric)} | {meaning} |"


def _labels(metric: Metric) -> str:
    names = [name for name in metric.samples[0].labels if not (metric.type == "histogram" and name == "le")]
    return "; ".join(f"`{name}`: {_values(metric, name)}" for name in names) or "-"


def _values(metric: Metric, name: str) -> str:
    if name in WRITTEN_OUT:
        return WRITTEN_OUT[name]
    return ", ".join(dict.fromkeys(sample.labels[name] for sample in metric.samples))


def _edges(metric: Metric) -> str:
    found = [float(edge) for edge in dict.fromkeys(sample.labels["le"] for sample in metric.samples if "le" in sample.labels)][
        :-1
    ]
    shown = [f"{edge:g}" for edge in found]
    steps = {round(later - earlier, 9) for earlier, later in itertools.pairwise(found)}
    if len(found) > MOST_EDGES and len(steps) == 1:
        return f"{shown[0]} to {shown[-1]} in steps of {steps.pop():g}"
    return " ".join(shown)


def main(arguments: Sequence[str]) -> None:
    """Write the page to the given file, or print it."""
    if arguments:
        Path(arguments[0]).write_text(page(), encoding="utf-8")
    else:
        sys.stdout.write(page())


if __name__ == "__main__":
    main(sys.argv[1:])
