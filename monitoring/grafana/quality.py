"""Quality: are the decisions still what they were when the bundle was measured? The board of whoever owns the model.

Live numbers are pooled over all workers and stand beside the reference that ships in the bundle.
"""

from monitoring import limits
from monitoring.grafana.panels import Limit, Panel, Query
from monitoring.grafana.quality_decisions import CONFIDENCE, LABELS
from monitoring.grafana.quality_inputs import INPUTS

_JOB = 'job="$job"'

_MOVED = (
    Panel(
        title="Sudden changes (ADWIN)",
        shows="Sudden changes of a signal's mean that a worker has found within one hour, all workers added up.",
        then="Look for a deploy, of this stream or of a producer, at the same minute; the event names the means before and after.",
        unit="none",
        queries=(Query(f"sum by (signal) (increase(tagstream_drift_changes_total{{{_JOB}}}[1h]))", "{{signal}}"),),
        alerts=("SuddenChange",),
    ),
    Panel(
        title="Words of the last window",
        shows=(
            "The largest likelihood-ratio z of a word in the last evaluated window, of the worker that has the largest: "
            "how far the most moved word is from what its share in the reference makes likely."
        ),
        then="When it jumps, read the words in `tagstream drift tail`: they say what the new topic is.",
        unit="short",
        queries=(
            Query(f'max(tagstream_drift_score{{{_JOB}, signal="words"}})', "words"),
            Query(f'min(tagstream_drift_threshold{{{_JOB}, signal="words"}})', "a finding from here on"),
        ),
        alerts=("ContentDrift",),
    ),
    Panel(
        title="Labels and sources of the last window",
        shows="In the last evaluated window: PSI of the labels, and the share of unseen and missing sources; the largest of any worker.",
        then="When one jumps and the hourly panels above do not follow, one worker's partitions moved: look at their keys.",
        unit="short",
        queries=(Query(f'max by (signal) (tagstream_drift_score{{{_JOB}, signal=~"labels|sources"}})', "{{signal}}"),),
        limits=(Limit(value=limits.LABEL_PSI, colour="orange"),),
    ),
    Panel(
        title="Findings",
        shows="Drift events published to the topic `drift` within one hour, by kind, and those that did not get there.",
        then="Read them with `tagstream drift tail`; of those that are not there the worker's log has the kind and why.",
        unit="none",
        queries=(
            Query(f"sum by (kind) (increase(tagstream_drift_findings_total{{{_JOB}}}[1h]))", "{{kind}}"),
            Query(f"sum (increase(tagstream_drift_findings_unpublished_total{{{_JOB}}}[1h]))", "not published"),
        ),
    ),
    Panel(
        title="Last evaluation",
        shows=(
            "Time since a worker last evaluated a window for words, labels and sources; the one that is longest silent counts, "
            "those that have not begun do not."
        ),
        then="When it grows while decisions flow, read the worker's log: until it is mended the panels beside say nothing.",
        unit="s",
        queries=(Query(f"time() - min(tagstream_drift_last_evaluated_timestamp_seconds{{{_JOB}}} > 0)", "ago"),),
        alerts=("DriftEvaluationStale",),
    ),
    Panel(
        title="Decisions in a window",
        shows="Decisions that are compared with the reference at once, by worker; 0 where drift detection is switched off.",
        then="A small window makes large scores by chance: wait for the next one before you act.",
        unit="short",
        queries=(Query(f"max by (instance) (tagstream_drift_window_events{{{_JOB}}})", "{{instance}}"),),
    ),
)

QUALITY = (
    ("What came out: labels", LABELS),
    ("How sure, and how right", CONFIDENCE),
    ("What came in: have we seen it?", INPUTS),
    ("What moved", _MOVED),
)
