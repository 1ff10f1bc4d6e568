"""Panels of the board Quality: labels and confidence of the decisions, beside those of the reference."""

from monitoring import limits
from monitoring.grafana.against_reference import against_reference
from monitoring.grafana.panels import Limit, Panel, Query, least, most

_JOB = 'job="$job"'
_ONE = f'{_JOB}, label=~"$label"'

_HOW_TO_READ = """
**From top to bottom:** the decisions (labels, confidence), the inputs (texts, sources), the drift found by the workers.
Every live figure is pooled over all workers and one hour; dashed lines are the reference of the bundle.

**Which words, sources and events are behind a change?** Metrics do not carry them. The drift events do:

    tagstream drift tail

Each line has the `kind` (`change`, `words`, `labels`, `sources`), the window, the words, labels or sources that changed with
their share now and in the reference, and up to ten `example_ids`; look those up in the topic `tagged`.

**Is it drift?** One finding is a hint. Two signals that move together, or one that stays for half an hour, are drift.
"""

_BLIND = """
**Limits of the estimate**

The estimate is the mean of the calibrated confidence: the share that the model itself expects to get right.
It falls when inputs become harder. It is **blind to labels that change meaning**: if people begin to use one tag for texts
that they used to give another one, the model stays as confident as before, the line stays flat, and the accuracy falls.
It is also blind to texts of an unfamiliar kind on which the model is confident and wrong.
Only a sample of decisions that people check shows such errors. Never report this line as the accuracy.
"""


LABELS = (
    Panel(
        title="How to read this board",
        shows="Explains where to find the words and example events behind a drift alarm.",
        then="Run `tagstream drift tail` and read the last findings.",
        kind="text",
        text=_HOW_TO_READ.strip(),
        width=12,
        height=9,
    ),
    Panel(
        title="Label mix and reference",
        shows="Share of each label among the decisions of one hour; dashed is its share in the bundle's reference. The ten largest of each.",
        then="If a share moves, take its example ids from `tagstream drift tail` and check whether they come from one producer or all.",
        unit="percentunit",
        queries=(
            Query(most(f"job_label:tagstream_predictions:share1h{{{_ONE}}}"), "{{label}}"),
            Query(most(f"max by (label) (tagstream_reference_label_ratio{{{_ONE}}})"), "{{label}} reference"),
        ),
        width=12,
        height=9,
    ),
    Panel(
        title="Drift of the label mix (PSI)",
        shows=(
            "Population stability index of the label mix over one hour against the reference: under 0.1 calm, above 0.2 drift. "
            "One number for all labels; PSI by label shows the part of each."
        ),
        then="Above 0.2, find the label with the highest term in PSI by label and follow the runbook.",
        unit="short",
        queries=(Query(f"job:tagstream_prediction_drift:psi1h{{{_JOB}}}", "PSI"),),
        limits=(Limit(value=limits.LABEL_PSI, alerts=("PredictionDrift",)),),
    ),
    Panel(
        title="PSI by label",
        shows="The ten largest terms of labels in the index. The highest term is the label whose share moved most, in either direction.",
        then="Look up the highest label in Label mix and reference to see whether its share grew or shrank.",
        unit="short",
        queries=(Query(most(f"job_label:tagstream_prediction_drift:psi_term1h{{{_ONE}}}"), "{{label}}"),),
        stacked=True,
    ),
    Panel(
        title="Decisions in the window",
        shows="Decisions of the last hour, from which all shares of this board are computed. Under 500 no drift alert fires.",
        then="Under 500 an hour do not act on this board; if that is your normal load, give the recording rules a longer window.",
        unit="short",
        queries=(Query(f"job:tagstream_predictions:count1h{{{_JOB}}}", "decisions"),),
        limits=(Limit(value=limits.LEAST_DECISIONS, below=True, colour="orange"),),
    ),
)

CONFIDENCE = (
    Panel(
        title="Confidence over time",
        shows="Distribution of the calibrated confidence over time, for the chosen labels. Darker means more decisions.",
        then="If the dark band sinks, inputs have become harder: read the words in `tagstream drift tail`.",
        kind="heatmap",
        unit="percentunit",
        queries=(Query(f"sum by (le) (increase(tagstream_confidence_ratio_bucket{{{_ONE}}}[$__rate_interval]))", "{{le}}"),),
    ),
    Panel(
        title="Confidence and reference",
        shows=(
            "Share of decisions with at most this confidence, of one hour and of the reference, at the bucket edges. "
            "A live curve above the reference means lower confidence. The widest gap is the distance in the next panel."
        ),
        then="If the live curve is above the reference at the left, expect more reviews; compare with the threshold on Review.",
        kind="trend",
        unit="percentunit",
        queries=against_reference("tagstream_confidence_ratio", "confidence_cdf"),
        high=1,
    ),
    Panel(
        title="Distances from the reference (KS)",
        shows=(
            "Widest gap between the live and the reference curve, of confidence and of energy, over one hour. 0: the distributions are "
            "the same; 1: they do not overlap. It is taken at the bucket edges, so the true distance is at least this."
        ),
        then="Above 0.1, look at the curves for the direction and at `tagstream drift tail` for the new words.",
        unit="short",
        queries=(
            Query(f"job:tagstream_confidence_drift:ks1h{{{_JOB}}}", "confidence"),
            Query(f"job:tagstream_energy_drift:ks1h{{{_JOB}}}", "energy"),
        ),
        limits=(Limit(value=limits.CONFIDENCE_KS, alerts=("ConfidenceDrift", "EnergyDrift")),),
    ),
    Panel(
        title="Estimated accuracy, without labels",
        shows="Mean calibrated confidence of one hour. It is BLIND to labels that change meaning: see Limits of the estimate.",
        then="If it falls, send more decisions to people (Review) and look for harder inputs; a flat line does not prove that all is well.",
        unit="percentunit",
        queries=(Query(f"job:tagstream_accuracy_estimate:cbpe1h{{{_JOB}}}", "estimate"),),
        low=None,
        high=1,
    ),
    Panel(
        title="Estimated accuracy by predicted label",
        shows="Mean calibrated confidence of one hour, by predicted label, the ten lowest. It, too, is blind to labels that change meaning.",
        then="Take the example ids of the lowest label from `tagstream drift tail` and read those events.",
        unit="percentunit",
        queries=(Query(least(f"job_label:tagstream_accuracy_estimate:cbpe1h{{{_ONE}}}"), "{{label}}"),),
        low=None,
        high=1,
    ),
    Panel(
        title="Limits of the estimate",
        shows="Explains why the estimate is not the accuracy.",
        then="Have people check a random sample of decisions before you report an accuracy.",
        kind="text",
        text=_BLIND.strip(),
    ),
)
