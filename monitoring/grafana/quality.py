"""The board Quality, for the owner of the model: are the decisions still like the reference?

Live figures are pooled over all workers and shown beside the reference that is part of the bundle.
"""

from monitoring import limits
from monitoring.grafana.panels import Limit, Panel, Query
from monitoring.grafana.quality_decisions import CONFIDENCE, LABELS
from monitoring.grafana.quality_inputs import INPUTS

_JOB = 'job="$job"'

_MOVED = (
    Panel(
        title="Sudden changes (ADWIN)",
        shows="Sudden changes of a signal's mean found within one hour, added up over all workers.",
        then="Look for a deploy of the workers or of a producer in the same minute; the drift event has the means before and after.",
        unit="none",
        queries=(Query(f"sum by (signal) (increase(tagstream_drift_changes_total{{{_JOB}}}[1h]))", "{{signal}}"),),
        alerts=("SuddenChange",),
    ),
    Panel(
        title="Words of the last window",
        shows=(
            "The largest likelihood-ratio z of a word in the last evaluated window, over all workers: "
            "how unlikely the share of the most changed word is, given its share in the reference."
        ),
        then="If it jumps, read the words in `tagstream drift tail`: they show the new topic.",
        unit="short",
        queries=(
            Query(f'max(tagstream_drift_score{{{_JOB}, signal="words"}})', "words"),
            Query(f'min(tagstream_drift_threshold{{{_JOB}, signal="words"}})', "a finding from here on"),
        ),
        alerts=("ContentDrift",),
    ),
    Panel(
        title="Reference against the bundle",
        shows="Distance of the reference, which the group has learned from its stream, from the rows that the bundle was calibrated on.",
        then="Above the limit the promise of the bundle need not hold for this stream: read the live quality.",
        unit="short",
        queries=(Query(f"max by (figure) (tagstream_reference_distance_from_bundle{{{_JOB}}})", "{{figure}}"),),
        limits=(Limit(value=limits.UNLIKE_BUNDLE_KS, alerts=("StreamUnlikeBundle",)),),
    ),
    Panel(
        title="Labels and sources of the last window",
        shows="PSI of the labels, and the share of unseen and missing sources, in the last evaluated window; the largest over all workers.",
        then="If one jumps and the hourly panels above do not, the change is in one worker's partitions: look at their keys.",
        unit="short",
        queries=(Query(f'max by (signal) (tagstream_drift_score{{{_JOB}, signal=~"labels|sources"}})', "{{signal}}"),),
        limits=(Limit(value=limits.LABEL_PSI, colour="orange"),),
    ),
    Panel(
        title="Findings",
        shows="Drift events published to the topic `drift` within one hour, by kind, and those that could not be published.",
        then="Read them with `tagstream drift tail`; for those not published, the worker's log has the kind and the reason.",
        unit="none",
        queries=(
            Query(f"sum by (kind) (increase(tagstream_drift_findings_total{{{_JOB}}}[1h]))", "{{kind}}"),
            Query(f"sum (increase(tagstream_drift_findings_unpublished_total{{{_JOB}}}[1h]))", "not published"),
        ),
    ),
    Panel(
        title="Last evaluation",
        shows=(
            "Time since a window was last compared for words, labels and sources, of the worker with the longest time. "
            "Workers that have not compared a window yet do not count."
        ),
        then="If it grows while events are decided, search the worker's log for `drift`: until it is repaired these panels are out of date.",
        unit="s",
        queries=(Query(f"time() - min(tagstream_drift_last_evaluated_timestamp_seconds{{{_JOB}}} > 0)", "ago"),),
        alerts=("DriftEvaluationStale",),
    ),
    Panel(
        title="Decisions in a window",
        shows="Decisions in one window that is compared with the reference, by worker; 0 where drift detection is switched off.",
        then="A small window gives large scores by chance, so wait for the next one before you act.",
        unit="short",
        queries=(Query(f"max by (instance) (tagstream_drift_window_events{{{_JOB}}})", "{{instance}}"),),
    ),
)

QUALITY = (
    ("Labels", LABELS),
    ("Confidence and estimated accuracy", CONFIDENCE),
    ("Inputs", INPUTS),
    ("Drift found by the workers", _MOVED),
)
