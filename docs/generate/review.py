"""The board Review, for the planner of reviews: how many decisions go to people, and why?

The queue and the reviewers' answers are on the board People.
"""

from docs.generate.panels import JOB, ONE, Panel, Query, least, most, reference


def _published(destinations: str) -> str:
    return f'sum(increase(tagstream_events_published_total{{{JOB}, destination=~"{destinations}"}}[1h]))'


_SHARES = (
    Panel(
        title="Review share and budget",
        shows="Share of the decisions of one hour that went to people, and in the reference. Dashed is the budget, which you set in recording.yml.",
        then="Above the budget, look at Arrivals by reason; for low confidence look at Quality before you change the threshold.",
        unit="percentunit",
        queries=(
            Query(f"job:tagstream_review:ratio1h{{{JOB}}}", "review share"),
            Query(f"job:tagstream_review_budget:ratio{{{JOB}}}", "budget limit"),
            reference("review_ratio"),
        ),
    ),
    Panel(
        title="Arrivals by reason",
        shows="Decisions sent to the topic `review`, by reason. A decision with several reasons is counted under each.",
        then="If one reason grows alone, look at its measure: out of distribution and confidence are on Quality.",
        unit="eps",
        queries=(Query(f"sum by (reason) (rate(tagstream_review_requested_total{{{JOB}}}[$__rate_interval]))", "{{reason}}"),),
    ),
    Panel(
        title="Published without a person",
        shows="Share of the decisions of one hour that went straight to `tagged`.",
        then="If it falls, compare Requests of one hour with the number that people can review in an hour.",
        unit="percentunit",
        queries=(Query(f"{_published('tagged')} / {_published('tagged|review')}", "published at once"),),
        high=1,
    ),
    Panel(
        title="Requests of one hour",
        shows="Decisions sent to people within one hour.",
        then="If it is more than people can review in an hour, lower `confidence_threshold` and tell the consumers of `tagged`.",
        kind="stat",
        unit="none",
        queries=(Query(_published("review"), "requests"),),
    ),
    Panel(
        title="Confidence threshold",
        shows="Decisions below this confidence go to a person, by predicted label: the lowest and the highest threshold among the workers. "
        "`never`: all decisions of the label do. The ten highest.",
        then="If a label has two lines, workers run with different settings or bundles: make them the same.",
        unit="percentunit",
        queries=(
            Query(most(f"min by (label) (tagstream_confidence_threshold_ratio{{{ONE}}})"), "{{label}} lowest"),
            Query(most(f"max by (label) (tagstream_confidence_threshold_ratio{{{ONE}}})"), "{{label}} highest"),
        ),
        high=1,
    ),
    Panel(
        title="The least sure tenth, by label",
        shows="The 10 % quantile of the confidence, by predicted label; the ten lowest. Dashed is the threshold below which a decision goes to a person.",
        then="If a label sinks below its threshold, it fills the review: read its events with `tagstream tail review`.",
        unit="percentunit",
        queries=(
            Query(
                least(
                    "histogram_quantile(0.1, sum by (label, le)"
                    f" (rate(tagstream_confidence_ratio_bucket{{{ONE}}}[$__rate_interval])))"
                ),
                "{{label}}",
            ),
            Query(most(f"max by (label) (tagstream_confidence_threshold_ratio{{{ONE}}})"), "{{label}} threshold limit"),
        ),
        high=1,
    ),
)

REVIEW = (("Decisions that go to people", _SHARES),)
