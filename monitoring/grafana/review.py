"""Review: what goes to people, why, and how much. The board of whoever plans the reviewers' day.

The queue and the reviewers' decisions have no metric yet; they get their panels with the metric.
"""

from monitoring.grafana.panels import Panel, Query

_JOB = 'job="$job"'
_ONE = f'{_JOB}, label=~"$label"'


def _published(destinations: str) -> str:
    return f'sum(increase(tagstream_events_published_total{{{_JOB}, destination=~"{destinations}"}}[1h]))'


_SHARES = (
    Panel(
        title="Review share and budget",
        shows="Decisions sent to people as a share of all decisions of one hour; dashed is the budget, a number of yours in recording.yml.",
        then="Above the budget, find the reason beside: low confidence wants a look at Quality before the threshold is touched.",
        unit="percentunit",
        queries=(
            Query(f"job:tagstream_review:ratio1h{{{_JOB}}}", "review share"),
            Query(f"job:tagstream_review_budget:ratio{{{_JOB}}}", "budget limit"),
        ),
        alerts=("ReviewShareOverBudget",),
    ),
    Panel(
        title="Arrivals by reason",
        shows="Decisions sent to the topic `review`, by reason. One decision can have several reasons, so they can add up to more.",
        then="When one reason grows alone, go where it is measured: out of distribution and confidence are on Quality.",
        unit="eps",
        queries=(Query(f"sum by (reason) (rate(tagstream_review_requested_total{{{_JOB}}}[$__rate_interval]))", "{{reason}}"),),
    ),
    Panel(
        title="Published without a person",
        shows="Decisions that went straight to `tagged`, as a share of all decisions of one hour.",
        then="When it falls, people become the bottleneck: compare the requests of one hour with what they can do.",
        unit="percentunit",
        queries=(Query(f"{_published('tagged')} / {_published('tagged|review')}", "published at once"),),
        high=1,
    ),
    Panel(
        title="Requests of one hour",
        shows="Decisions sent to people within one hour: the reviewers' work, if nothing else changes.",
        then="When it is more than people can do in an hour, lower `confidence_threshold` and say so to the consumers of `tagged`.",
        kind="stat",
        unit="none",
        queries=(Query(_published("review"), "requests"),),
    ),
    Panel(
        title="Confidence threshold",
        shows="Under this confidence a person is asked, by predicted label: the lowest and the highest in use among the workers. "
        "Above 100 %, a person is asked about all of the label.",
        then="Two lines of one label mean that workers run with different settings or bundles: make them the same.",
        unit="percentunit",
        queries=(
            Query(f"min by (label) (tagstream_confidence_threshold_ratio{{{_ONE}}})", "{{label}} lowest"),
            Query(f"max by (label) (tagstream_confidence_threshold_ratio{{{_ONE}}})", "{{label}} highest"),
        ),
        high=1,
    ),
    Panel(
        title="The least sure tenth, by label",
        shows="One decision in ten is less sure than this, by predicted label; dashed is its threshold, under which a person is asked.",
        then="The label that sinks under its threshold is the one that fills the review: read its events with `tagstream tail review`.",
        unit="percentunit",
        queries=(
            Query(
                "histogram_quantile(0.1, sum by (label, le)"
                f" (rate(tagstream_confidence_ratio_bucket{{{_ONE}}}[$__rate_interval])))",
                "{{label}}",
            ),
            Query(f"max by (label) (tagstream_confidence_threshold_ratio{{{_ONE}}})", "{{label}} threshold limit"),
        ),
        high=1,
    ),
)

REVIEW = (("What goes to people", _SHARES),)
