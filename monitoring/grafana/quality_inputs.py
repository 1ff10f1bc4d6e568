"""Panels of the board Quality: the texts and their producers, beside those of the reference."""

from monitoring import limits
from monitoring.grafana.against_reference import against_reference, reference
from monitoring.grafana.panels import Limit, Panel, Query

_JOB = 'job="$job"'

INPUTS = (
    Panel(
        title="Out-of-distribution share",
        shows="Share of decisions with an energy above the reference's 99.5 % quantile. Dashed: the reference's share, and the alert at five times it.",
        then="Read some with `tagstream tail review` (reason out_of_distribution) and decide whether the tags should cover them.",
        unit="percentunit",
        queries=(
            Query(f"job:tagstream_ood:ratio1h{{{_JOB}}}", "live"),
            reference("ood_ratio"),
            Query(f"5 * clamp_min(max by (job) (tagstream_reference_ood_ratio{{{_JOB}}}), 0.005)", "limit"),
        ),
        alerts=("OutOfDistributionShare",),
    ),
    Panel(
        title="Energy and reference",
        shows="Share of decisions with at most this energy, of one hour and of the reference. A higher energy means a less familiar text.",
        then="If the live curve is to the right of the reference, read the new words in `tagstream drift tail`.",
        kind="trend",
        unit="percentunit",
        queries=against_reference("tagstream_energy_score", "energy_cdf"),
        high=1,
    ),
    Panel(
        title="Producers' sources",
        shows="Share of events whose source is known (named in the setting `known_sources`), unseen, or missing.",
        then="If missing grows, ask the producers to fill `source`: without it the origin of a drift cannot be found.",
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
        shows="Share of events of one hour whose source is not in the setting `known_sources`.",
        then="Above 10 %, find the name with `tagstream drift tail`; if it is expected, add it to `known_sources`.",
        unit="percentunit",
        queries=(Query(f"job:tagstream_unseen_source:ratio1h{{{_JOB}}}", "unseen or missing"),),
        limits=(Limit(value=limits.UNSEEN_SOURCE_RATIO, alerts=("UnseenSourceShare",)),),
    ),
    Panel(
        title="Without a description",
        shows="Share of decisions of one hour on a title alone. Dashed: the reference, and the alert at 20 percentage points above it.",
        then="If it rises, find the producer that stopped sending `description`: decisions on a title alone are less certain.",
        unit="percentunit",
        queries=(
            Query(f"job:tagstream_without_description:ratio1h{{{_JOB}}}", "live"),
            reference("without_description_ratio"),
            Query(f"0.2 + max by (job) (tagstream_reference_without_description_ratio{{{_JOB}}})", "limit"),
        ),
        alerts=("WithoutDescriptionShare",),
    ),
    Panel(
        title="Truncated",
        shows="Share of decisions of one hour on a text that was too long for the network and was cut, beside the reference.",
        then="If it rises, texts have become longer: only their beginning is read, so check that it names the subject.",
        unit="percentunit",
        queries=(Query(f"job:tagstream_truncated:ratio1h{{{_JOB}}}", "live"), reference("truncated_ratio")),
    ),
    Panel(
        title="Tokens in a text",
        shows="Tokens that the network read for one decision: the median and the 95 % quantile.",
        then="If it jumps down, look at Without a description; if it jumps up, look at Truncated.",
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
        shows="Tokens into which the tokenizer splits one word: about 1.3 for English, far more for other languages, code or markup.",
        then="If it rises, check the language and format of example events before you look at the model.",
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
        then="Above 0.15 the language or the format has changed: read the words in `tagstream drift tail`.",
        unit="short",
        queries=(Query(f"job:tagstream_tokens_per_word_drift:ks1h{{{_JOB}}}", "tokens per word"),),
        limits=(Limit(value=limits.TOKENS_PER_WORD_KS, alerts=("TokensPerWordDrift",)),),
    ),
    Panel(
        title="Tokens per word and reference",
        shows="Share of decisions with at most this many tokens per word, of one hour and of the reference.",
        then="If the live curve is to the right, find the source or language behind it with `tagstream drift tail`.",
        kind="trend",
        unit="percentunit",
        queries=against_reference("tagstream_text_tokens_per_word_ratio", "text_tokens_per_word_cdf"),
        high=1,
    ),
    Panel(
        title="Tokens and reference",
        shows="Share of decisions on a text of at most this many tokens, of one hour and of the reference.",
        then="If the curves differ, texts have become longer or shorter: look at Truncated and Without a description.",
        kind="trend",
        unit="percentunit",
        queries=against_reference("tagstream_text_tokens", "text_tokens_cdf"),
        high=1,
    ),
)
