"""Quality, second half: the texts and their producers beside those of the reference."""

from monitoring import limits
from monitoring.grafana.against_reference import against_reference, reference
from monitoring.grafana.panels import Limit, Panel, Query

_JOB = 'job="$job"'

INPUTS = (
    Panel(
        title="Out-of-distribution share",
        shows="Decisions whose energy is above the reference's 99.5 % quantile. Dashed: the reference's own share, and five times it, the alert.",
        then="Read some with `tagstream tail review` (reason out_of_distribution) and ask whether the tags should cover them.",
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
        shows="Share of decisions with at most this energy, of one hour and of the reference. Further right is less familiar text.",
        then="A live curve to the right of the reference wants a look at the words that are new.",
        kind="trend",
        unit="percentunit",
        queries=against_reference("tagstream_energy_score", "energy_cdf"),
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
            reference("without_description_ratio"),
            Query(f"0.2 + max by (job) (tagstream_reference_without_description_ratio{{{_JOB}}})", "limit"),
        ),
        alerts=("WithoutDescriptionShare",),
    ),
    Panel(
        title="Truncated",
        shows="Decisions on a text that did not fit into the network, as a share of one hour, beside the reference.",
        then="When it rises, texts have become longer: the decision stands on their beginning, so check what comes first in them.",
        unit="percentunit",
        queries=(Query(f"job:tagstream_truncated:ratio1h{{{_JOB}}}", "live"), reference("truncated_ratio")),
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
        queries=against_reference("tagstream_text_tokens_per_word_ratio", "text_tokens_per_word_cdf"),
        high=1,
    ),
    Panel(
        title="Tokens and reference",
        shows="Share of decisions on a text of at most so many tokens, of one hour and of the reference.",
        then="When the curves part, texts have become longer or shorter: see Truncated and Without a description.",
        kind="trend",
        unit="percentunit",
        queries=against_reference("tagstream_text_tokens", "text_tokens_cdf"),
        high=1,
    ),
)
