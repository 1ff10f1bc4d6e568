"""The board Quality, for the owner of the model: are the decisions still like the reference?

Live figures are pooled over all workers and shown beside the reference that is part of the bundle.
"""

from docs.generate.panels import JOB, ONE, Panel, Query, against_reference, least, most, reference
from tagstream.monitoring import limits
from tagstream.monitoring.alarms import Line
from tagstream.monitoring.figures.limited import LABEL_MIX, STRANGE, UNDESCRIBED
from tagstream.monitoring.signals import CONFIDENCE, ENERGY, TOKENS, TOKENS_PER_WORD

_HOW_TO_READ = """
**From top to bottom:** the decisions (labels, confidence), the inputs (texts, sources), the drift found by the workers.
Every live figure is pooled over all workers and one hour; dashed lines are the reference of the bundle.

**Which words, sources and events are behind a change?** Metrics do not carry them. The drift events do:

    tagstream tail drift

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


_LABELS = (
    Panel(
        title="How to read this board",
        shows="Explains where to find the words and example events behind a drift alarm.",
        then="Run `tagstream tail drift` and read the last findings.",
        kind="text",
        text=_HOW_TO_READ.strip(),
        width=12,
        height=9,
    ),
    Panel(
        title="Label mix and reference",
        shows="Share of each label among the decisions of one hour; dashed is its share in the bundle's reference. The ten largest of each.",
        then="If a share moves, take its example ids from `tagstream tail drift` and check whether they come from one producer or all.",
        unit="percentunit",
        queries=(
            Query(most(f"job_label:tagstream_predictions:share1h{{{ONE}}}"), "{{label}}"),
            Query(most(f"max by (label) (tagstream_reference_label_ratio{{{ONE}}})"), "{{label}} reference"),
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
        queries=(Query(f"job:tagstream_prediction_drift:psi1h{{{JOB}}}", "PSI"),),
    ),
    Panel(
        title="PSI by label",
        shows="The ten largest terms of labels in the index. The highest term is the label whose share moved most, in either direction.",
        then="Look up the highest label in Label mix and reference to see whether its share grew or shrank.",
        unit="short",
        queries=(Query(most(f"job_label:tagstream_prediction_drift:psi_term1h{{{ONE}}}"), "{{label}}"),),
        stacked=True,
    ),
    Panel(
        title="Decisions in the window",
        shows="Decisions of the last hour, from which all shares of this board are computed. Under 500 no drift alert fires.",
        then="Under 500 an hour do not act on this board; if that is your normal load, give the recording rules a longer window.",
        unit="short",
        queries=(Query(f"job:tagstream_predictions:count1h{{{JOB}}}", "decisions"),),
        lines=(Line(limits.LEAST_DECISIONS, below=True, colour="orange"),),
    ),
)

_CONFIDENCE = (
    Panel(
        title="Confidence over time",
        shows="Distribution of the calibrated confidence over time, for the chosen labels. Darker means more decisions.",
        then="If the dark band sinks, inputs have become harder: read the words in `tagstream tail drift`.",
        kind="heatmap",
        unit="percentunit",
        queries=(Query(f"sum by (le) (increase(tagstream_confidence_ratio_bucket{{{ONE}}}[$__rate_interval]))", "{{le}}"),),
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
        queries=against_reference(CONFIDENCE),
        high=1,
    ),
    Panel(
        title="Distances from the reference (KS)",
        shows=(
            "Widest gap between the live and the reference curve, of confidence and of energy, over one hour. 0: the distributions are "
            "the same; 1: they do not overlap. It is taken at the bucket edges, so the true distance is at least this."
        ),
        then="Above 0.1, look at the curves for the direction and at `tagstream tail drift` for the new words.",
        unit="short",
        queries=(
            Query(f"{CONFIDENCE.distance}{{{JOB}}}", "confidence"),
            Query(f"{ENERGY.distance}{{{JOB}}}", "energy"),
        ),
    ),
    Panel(
        title="Estimated accuracy, without labels",
        shows="Mean calibrated confidence of one hour. It is BLIND to labels that change meaning: see Limits of the estimate.",
        then="If it falls, send more decisions to people (Review) and look for harder inputs; a flat line does not prove that all is well.",
        unit="percentunit",
        queries=(Query(f"job:tagstream_accuracy_estimate:cbpe1h{{{JOB}}}", "estimate"),),
        low=None,
        high=1,
    ),
    Panel(
        title="Estimated accuracy by predicted label",
        shows="Mean calibrated confidence of one hour, by predicted label, the ten lowest. It, too, is blind to labels that change meaning.",
        then="Take the example ids of the lowest label from `tagstream tail drift` and read those events.",
        unit="percentunit",
        queries=(Query(least(f"job_label:tagstream_accuracy_estimate:cbpe1h{{{ONE}}}"), "{{label}}"),),
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

_INPUTS = (
    Panel(
        title="Out-of-distribution share",
        shows="Share of decisions with an energy above the reference's 99.5 % quantile. Dashed: the reference's share, and the alert at five times it.",
        then="Read some with `tagstream tail review` (reason out_of_distribution) and decide whether the tags should cover them.",
        unit="percentunit",
        queries=(
            Query(f"job:tagstream_ood:ratio1h{{{JOB}}}", "live"),
            reference("ood_ratio"),
            Query(STRANGE.promql(f"{{{JOB}}}"), "limit"),
        ),
    ),
    Panel(
        title="Energy and reference",
        shows="Share of decisions with at most this energy, of one hour and of the reference. A higher energy means a less familiar text.",
        then="If the live curve is to the right of the reference, read the new words in `tagstream tail drift`.",
        kind="trend",
        unit="percentunit",
        queries=against_reference(ENERGY),
        high=1,
    ),
    Panel(
        title="Producers' sources",
        shows="Share of events whose source is known (named in the setting `known_sources`), unseen, or missing.",
        then="If missing grows, ask the producers to fill `source`: without it the origin of a drift cannot be found.",
        unit="percentunit",
        queries=(
            Query(
                f"sum by (source) (rate(tagstream_events_by_source_total{{{JOB}}}[$__rate_interval]))"
                f" / on () group_left () sum(rate(tagstream_events_by_source_total{{{JOB}}}[$__rate_interval]))",
                "{{source}}",
            ),
        ),
        stacked=True,
        high=1,
    ),
    Panel(
        title="Unseen or missing sources",
        shows="Share of events of one hour whose source is not in the setting `known_sources`.",
        then="Above 10 %, find the name with `tagstream tail drift`; if it is expected, add it to `known_sources`.",
        unit="percentunit",
        queries=(Query(f"job:tagstream_unseen_source:ratio1h{{{JOB}}}", "unseen or missing"),),
    ),
    Panel(
        title="Without a description",
        shows="Share of decisions of one hour on a title alone. Dashed: the reference, and the alert at 20 percentage points above it.",
        then="If it rises, find the producer that stopped sending `description`: decisions on a title alone are less certain.",
        unit="percentunit",
        queries=(
            Query(f"job:tagstream_without_description:ratio1h{{{JOB}}}", "live"),
            reference("without_description_ratio"),
            Query(UNDESCRIBED.promql(f"{{{JOB}}}"), "limit"),
        ),
    ),
    Panel(
        title="Truncated",
        shows="Share of decisions of one hour on a text that was too long for the network and was cut, beside the reference.",
        then="If it rises, texts have become longer: only their beginning is read, so check that it names the subject.",
        unit="percentunit",
        queries=(Query(f"job:tagstream_truncated:ratio1h{{{JOB}}}", "live"), reference("truncated_ratio")),
    ),
    Panel(
        title="Tokens in a text",
        shows="Tokens that the network read for one decision: the median and the 95 % quantile.",
        then="If it jumps down, look at Without a description; if it jumps up, look at Truncated.",
        unit="short",
        queries=tuple(
            Query(
                f"histogram_quantile({share}, sum by (le) (rate(tagstream_text_tokens_bucket{{{JOB}}}[$__rate_interval])))",
                legend,
            )
            for share, legend in ((0.5, "p50"), (0.95, "p95"))
        ),
    ),
    Panel(
        title="Tokens per word",
        shows="Tokens into which the tokenizer splits one word: about 1.3 for English, far more for other languages, code or markup.",
        then="If it rises, check the language and format of example events before you look at the model.",
        unit="short",
        queries=tuple(
            Query(
                f"histogram_quantile({share}, sum by (le)"
                f" (rate(tagstream_text_tokens_per_word_ratio_bucket{{{JOB}}}[$__rate_interval])))",
                legend,
            )
            for share, legend in ((0.5, "p50"), (0.95, "p95"))
        ),
        low=1,
    ),
    Panel(
        title="Distance of tokens per word (KS)",
        shows="Widest gap between the live and the reference curve of tokens per word, over one hour.",
        then="Above 0.15 the language or the format has changed: read the words in `tagstream tail drift`.",
        unit="short",
        queries=(Query(f"{TOKENS_PER_WORD.distance}{{{JOB}}}", "tokens per word"),),
    ),
    Panel(
        title="Tokens per word and reference",
        shows="Share of decisions with at most this many tokens per word, of one hour and of the reference.",
        then="If the live curve is to the right, find the source or language behind it with `tagstream tail drift`.",
        kind="trend",
        unit="percentunit",
        queries=against_reference(TOKENS_PER_WORD),
        high=1,
    ),
    Panel(
        title="Tokens and reference",
        shows="Share of decisions on a text of at most this many tokens, of one hour and of the reference.",
        then="If the curves differ, texts have become longer or shorter: look at Truncated and Without a description.",
        kind="trend",
        unit="percentunit",
        queries=against_reference(TOKENS),
        high=1,
    ),
)

_MOVED = (
    Panel(
        title="Sudden changes (ADWIN)",
        shows="Sudden changes of a signal's mean found within one hour, added up over all workers.",
        then="Look for a deploy of the workers or of a producer in the same minute; the drift event has the means before and after.",
        unit="none",
        queries=(Query(f"sum by (signal) (increase(tagstream_drift_changes_total{{{JOB}}}[1h]))", "{{signal}}"),),
    ),
    Panel(
        title="Words of the last window",
        shows=(
            "The largest likelihood-ratio z of a word in the last evaluated window, over all workers: "
            "how unlikely the share of the most changed word is, given its share in the reference."
        ),
        then="If it jumps, read the words in `tagstream tail drift`: they show the new topic.",
        unit="short",
        queries=(
            Query(f'max(tagstream_drift_score{{{JOB}, signal="words"}})', "words"),
            Query(f'min(tagstream_drift_threshold{{{JOB}, signal="words"}})', "a finding from here on"),
        ),
    ),
    Panel(
        title="Reference against the bundle",
        shows="Distance of the reference, which the group has learned from its stream, from the rows that the bundle was calibrated on.",
        then="Above the limit the promise of the bundle need not hold for this stream: read the live quality.",
        unit="short",
        queries=(Query(f"max by (figure) (tagstream_reference_distance_from_bundle{{{JOB}}})", "{{figure}}"),),
    ),
    Panel(
        title="Labels and sources of the last window",
        shows=(
            "PSI of the labels, and the share of unseen and missing sources, in the last evaluated window; the largest over all workers. "
            "And the share of the one source that explains a finding alone."
        ),
        then="If one jumps and the hourly panels above do not, the change is in one worker's partitions: look at their keys.",
        unit="short",
        queries=(
            Query(f'max by (signal) (tagstream_drift_score{{{JOB}, signal=~"labels|sources"}})', "{{signal}}"),
            Query(f"max(tagstream_drift_flood_ratio{{{JOB}}})", "flood of one source"),
        ),
        lines=(Line(LABEL_MIX.limit, colour="orange"),),
    ),
    Panel(
        title="Findings",
        shows="Drift events published to the topic `drift` within one hour, by kind, and those that could not be published.",
        then="Read them with `tagstream tail drift`; for those not published, the worker's log has the kind and the reason.",
        unit="none",
        queries=(
            Query(f"sum by (kind) (increase(tagstream_drift_findings_total{{{JOB}}}[1h]))", "{{kind}}"),
            Query(f"sum (increase(tagstream_drift_findings_unpublished_total{{{JOB}}}[1h]))", "not published"),
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
        queries=(Query(f"time() - min(tagstream_drift_last_evaluated_timestamp_seconds{{{JOB}}} > 0)", "ago"),),
    ),
    Panel(
        title="Decisions in a window",
        shows="Decisions in one window that is compared with the reference, by worker; 0 where drift detection is switched off.",
        then="A small window gives large scores by chance, so wait for the next one before you act.",
        unit="short",
        queries=(Query(f"max by (instance) (tagstream_drift_window_events{{{JOB}}})", "{{instance}}"),),
    ),
)

QUALITY = (
    ("Labels", _LABELS),
    ("Confidence and estimated accuracy", _CONFIDENCE),
    ("Inputs", _INPUTS),
    ("Drift found by the workers", _MOVED),
)
