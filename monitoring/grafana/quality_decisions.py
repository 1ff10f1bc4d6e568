"""Quality, first half: the labels and the confidence of the decisions beside those of the reference."""

from monitoring import limits
from monitoring.grafana.against_reference import against_reference
from monitoring.grafana.panels import Limit, Panel, Query

_JOB = 'job="$job"'
_ONE = f'{_JOB}, label=~"$label"'

_HOW_TO_READ = """
**From above to below:** what came out (labels, confidence), what came in (words, sources), what moved.
Every live number is pooled over all workers and one hour; dashed is the reference of the bundle.

**Which words, labels, sources, which events?** Those never are labels of a metric. They stand in the drift events:

    tagstream drift tail

Each line names its `kind` (`change`, `words`, `labels`, `sources`), the window, what moved with its share now and before,
and up to ten `example_ids`; look those up in the topic `tagged`.

**What to believe:** one finding is a hint; two signals that move together, or one that stays for half an hour, are drift.
"""

_BLIND = """
**What the estimate cannot see**

It is the mean of the calibrated confidence: what the model itself expects to get right.
It follows inputs that become harder. It is **blind to labels that change meaning**: when people begin to call
*mlops* what they called *other*, the model stays as sure as before, the line stays flat, and the accuracy falls.
It is blind, too, to a model that is wrong and sure about a kind of text that it never saw.
Only decisions that people check can show that. Never report this line as the accuracy.
"""


LABELS = (
    Panel(
        title="How to read this board",
        shows="Where the words and example events behind a drift alarm are.",
        then="Run `tagstream drift tail` and read its last findings.",
        kind="text",
        text=_HOW_TO_READ.strip(),
        width=12,
        height=9,
    ),
    Panel(
        title="Label mix and reference",
        shows="Share of each label among the decisions of one hour; dashed is its share in the bundle's reference.",
        then="When a label moves, read its example ids in `tagstream drift tail` and ask whether the world changed or one producer did.",
        unit="percentunit",
        queries=(
            Query(f"job_label:tagstream_predictions:share1h{{{_ONE}}}", "{{label}}"),
            Query(f"max by (label) (tagstream_reference_label_ratio{{{_ONE}}})", "{{label}} reference"),
        ),
        width=12,
        height=9,
    ),
    Panel(
        title="Drift of the label mix (PSI)",
        shows=(
            "Population stability index of the label mix over one hour against the reference: under 0.1 calm, above 0.2 drift. "
            "One number for all labels; the terms beside say which."
        ),
        then="Above 0.2, take the label with the highest term beside to its runbook.",
        unit="short",
        queries=(Query(f"job:tagstream_prediction_drift:psi1h{{{_JOB}}}", "PSI"),),
        limits=(Limit(value=limits.LABEL_PSI, alerts=("PredictionDrift",)),),
    ),
    Panel(
        title="PSI by label",
        shows="What each label adds to the index: the highest is the label that moved most, in either direction.",
        then="Take the highest label to Label mix to see whether it grew or shrank.",
        unit="short",
        queries=(Query(f"job_label:tagstream_prediction_drift:psi_term1h{{{_ONE}}}", "{{label}}"),),
        stacked=True,
    ),
    Panel(
        title="Decisions in the window",
        shows="Decisions of the last hour, on which all shares of this board stand; under 500 the drift alerts keep silent.",
        then="Under 500 an hour, trust no movement on this board, and give the rules a longer window if that is normal for you.",
        unit="short",
        queries=(Query(f"job:tagstream_predictions:count1h{{{_JOB}}}", "decisions"),),
        limits=(Limit(value=limits.LEAST_DECISIONS, below=True, colour="orange"),),
    ),
)

CONFIDENCE = (
    Panel(
        title="Confidence over time",
        shows="Where the calibrated confidence of the decisions lies: darker means more decisions. For the chosen labels.",
        then="When the dark band sinks, inputs have become harder: read the words in `tagstream drift tail`.",
        kind="heatmap",
        unit="percentunit",
        queries=(Query(f"sum by (le) (increase(tagstream_confidence_ratio_bucket{{{_ONE}}}[$__rate_interval]))", "{{le}}"),),
    ),
    Panel(
        title="Confidence and reference",
        shows=(
            "Share of decisions with at most this confidence, of one hour and of the reference, at the edges of the buckets. "
            "A live curve above the reference means less sure; the widest gap is the distance beside."
        ),
        then="When the curves part at the left, expect more reviews; compare with the threshold on Review.",
        kind="trend",
        unit="percentunit",
        queries=against_reference("tagstream_confidence_ratio", "confidence_cdf"),
        high=1,
    ),
    Panel(
        title="Distances from the reference (KS)",
        shows=(
            "Widest gap between the live and the reference curve of confidence and of energy, over one hour. "
            "0 is the same, 1 has nothing in common; taken at the edges of the buckets, so the true gap is at least this."
        ),
        then="Above 0.1, see in the curves which way it went, and in `tagstream drift tail` which words came.",
        unit="short",
        queries=(
            Query(f"job:tagstream_confidence_drift:ks1h{{{_JOB}}}", "confidence"),
            Query(f"job:tagstream_energy_drift:ks1h{{{_JOB}}}", "energy"),
        ),
        limits=(Limit(value=limits.CONFIDENCE_KS, alerts=("ConfidenceDrift", "EnergyDrift")),),
    ),
    Panel(
        title="Estimated accuracy, without labels",
        shows="Mean calibrated confidence of one hour. It is BLIND to labels that change meaning: see the text beside.",
        then="When it falls, send more to people (Review) and look for what became harder; when it stays, do not conclude that all is well.",
        unit="percentunit",
        queries=(Query(f"job:tagstream_accuracy_estimate:cbpe1h{{{_JOB}}}", "estimate"),),
        low=None,
        high=1,
    ),
    Panel(
        title="Estimated accuracy by predicted label",
        shows="The same by the label that was predicted. It is blind in the same way: to labels that change meaning.",
        then="Take the lowest label's example ids from `tagstream drift tail` and read those events.",
        unit="percentunit",
        queries=(Query(f"job_label:tagstream_accuracy_estimate:cbpe1h{{{_ONE}}}", "{{label}}"),),
        low=None,
        high=1,
    ),
    Panel(
        title="What the estimate cannot see",
        shows="Why the estimate beside is not the accuracy.",
        then="Have people check a random sample of decisions before you report an accuracy.",
        kind="text",
        text=_BLIND.strip(),
    ),
)
