"""Quality: are the decisions still what they were when the bundle was measured? The board of whoever owns the model.

Live numbers are pooled over all workers and stand beside the reference that ships in the bundle.
"""

from monitoring import limits
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


def _reference(metric: str) -> Query:
    return Query(f"max by (job) (tagstream_reference_{metric}{{{_JOB}}})", "reference")


def _against_reference(metric: str, reference: str) -> tuple[Query, ...]:
    """The share of the last hour's events up to each edge, and the bundle's. +Inf has no place on an axis."""
    live = f'sum by (le) (increase({metric}_bucket{{{_JOB}, le!="+Inf"}}[1h]))'
    return (
        Query(f"{live} / on () group_left () sum(increase({metric}_count{{{_JOB}}}[1h]))", "live"),
        Query(f'max by (le) (tagstream_reference_{reference}{{{_JOB}, le!="+Inf"}})', "reference"),
    )


_LABELS = (
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

_CONFIDENCE = (
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
        queries=_against_reference("tagstream_confidence_ratio", "confidence_cdf"),
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

_INPUTS = (
    Panel(
        title="Out-of-distribution share",
        shows="Decisions whose energy is above the reference's 99.5 % quantile. Dashed: the reference's own share, and five times it, the alert.",
        then="Read some with `tagstream tail review` (reason out_of_distribution) and ask whether the tags should cover them.",
        unit="percentunit",
        queries=(
            Query(f"job:tagstream_ood:ratio1h{{{_JOB}}}", "live"),
            _reference("ood_ratio"),
            Query(f"5 * clamp_min(max by (job) (tagstream_reference_ood_ratio{{{_JOB}}}), 0.005)", "limit"),
        ),
        alerts=("OutOfDistributionShare",),
    ),
    Panel(
        title="Energy and reference",
        shows="Share of decisions with at most this energy, of one hour and of the reference. Further right is less familiar text.",
        then="A live curve to the right of the reference wants a look at the words that are new.",
        kind="trend",
        unit="percentunit",
        queries=_against_reference("tagstream_energy_score", "energy_cdf"),
        high=1,
    ),
    Panel(
        title="Producers' sources",
        shows="Share of events whose source is known (named in the setting `known_sources`), unseen, or missing.",
        then="When missing grows, ask the producers to fill `source`: without it nobody can say where a drift comes from.",
        unit="percentunit",
        queries=(
            Query(
                f"sum by (source) (rate(tagstream_events_by_source_total{{{_JOB}}}[$__rate_interval]))"
                f" / on () group_left () sum(rate(tagstream_events_by_source_total{{{_JOB}}}[$__rate_interval]))",
                "{{source}}",
            ),
        ),
        stacked=True,
        high=1,
    ),
    Panel(
        title="Unseen or missing sources",
        shows="Events from no source of the setting `known_sources`, as a share of one hour.",
        then="Above 10 %, find the name with `tagstream drift tail`, and add it to `known_sources` once it is welcome.",
        unit="percentunit",
        queries=(Query(f"job:tagstream_unseen_source:ratio1h{{{_JOB}}}", "unseen or missing"),),
        limits=(Limit(value=limits.UNSEEN_SOURCE_RATIO, alerts=("UnseenSourceShare",)),),
    ),
    Panel(
        title="Without a description",
        shows="Decisions on a title alone, as a share of one hour. Dashed: the reference, and a fifth above it, the alert.",
        then="When it rises, ask which producer stopped sending `description`: such decisions are less sure, not wrong by rule.",
        unit="percentunit",
        queries=(
            Query(f"job:tagstream_without_description:ratio1h{{{_JOB}}}", "live"),
            _reference("without_description_ratio"),
            Query(f"0.2 + max by (job) (tagstream_reference_without_description_ratio{{{_JOB}}})", "limit"),
        ),
        alerts=("WithoutDescriptionShare",),
    ),
    Panel(
        title="Truncated",
        shows="Decisions on a text that did not fit into the network, as a share of one hour, beside the reference.",
        then="When it rises, texts have become longer: the decision stands on their beginning, so check what comes first in them.",
        unit="percentunit",
        queries=(Query(f"job:tagstream_truncated:ratio1h{{{_JOB}}}", "live"), _reference("truncated_ratio")),
    ),
    Panel(
        title="Tokens in a text",
        shows="Tokens that the network read for one decision: half, and 95 % of the decisions, have fewer.",
        then="A jump down wants a look at Without a description, a jump up at Truncated.",
        unit="short",
        queries=tuple(
            Query(
                f"histogram_quantile({share}, sum by (le) (rate(tagstream_text_tokens_bucket{{{_JOB}}}[$__rate_interval])))",
                legend,
            )
            for share, legend in ((0.5, "p50"), (0.95, "p95"))
        ),
    ),
    Panel(
        title="Tokens per word",
        shows="Pieces into which the tokenizer cuts one word: about 1.3 for English; another language, code or markup gives far more.",
        then="When it rises, read example events for their language and format before you look at the model.",
        unit="short",
        queries=tuple(
            Query(
                f"histogram_quantile({share}, sum by (le)"
                f" (rate(tagstream_text_tokens_per_word_ratio_bucket{{{_JOB}}}[$__rate_interval])))",
                legend,
            )
            for share, legend in ((0.5, "p50"), (0.95, "p95"))
        ),
        low=1,
    ),
    Panel(
        title="Distance of tokens per word (KS)",
        shows="Widest gap between the live and the reference curve of tokens per word, over one hour.",
        then="Above 0.15 a language or a format has changed: read the words in `tagstream drift tail`.",
        unit="short",
        queries=(Query(f"job:tagstream_tokens_per_word_drift:ks1h{{{_JOB}}}", "tokens per word"),),
        limits=(Limit(value=limits.TOKENS_PER_WORD_KS, alerts=("TokensPerWordDrift",)),),
    ),
    Panel(
        title="Tokens per word and reference",
        shows="Share of decisions with at most so many tokens per word, of one hour and of the reference.",
        then="When the live curve lies to the right, find the source or language behind it with `tagstream drift tail`.",
        kind="trend",
        unit="percentunit",
        queries=_against_reference("tagstream_text_tokens_per_word_ratio", "text_tokens_per_word_cdf"),
        high=1,
    ),
    Panel(
        title="Tokens and reference",
        shows="Share of decisions on a text of at most so many tokens, of one hour and of the reference.",
        then="When the curves part, texts have become longer or shorter: see Truncated and Without a description.",
        kind="trend",
        unit="percentunit",
        queries=_against_reference("tagstream_text_tokens", "text_tokens_cdf"),
        high=1,
    ),
)

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
    ("What came out: labels", _LABELS),
    ("How sure, and how right", _CONFIDENCE),
    ("What came in: have we seen it?", _INPUTS),
    ("What moved", _MOVED),
)
