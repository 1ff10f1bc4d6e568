"""The board People, for the owner of the model and the reviewers: how right are the decisions, as people find, and what waits?

Its figures are those of the review console (job tagstream-review). Every console gives the same ones, so `max` takes one of them.
"""

from monitoring.grafana.panels import Limit, Panel, Query, least

_PUBLISHED = 'scope="published"'


def _by_label(figure: str, bound: str) -> str:
    chosen = f'{_PUBLISHED}, figure="{figure}", bound="{bound}", label=~"$label"'
    return least(f"max by (label) (tagstream_quality_label_ratio{{{chosen}}})")


def _label_panel(figure: str, shows: str) -> Panel:
    return Panel(
        title=f"{figure.capitalize()} by label",
        shows=f"{shows} Each label has three lines: the estimate, and the ends of its 95 % interval. A label with under 50 answers has none. The ten lowest.",
        then="If a label lies below the others, read its contradicted audits, and raise its threshold by `tagstream model calibrate`.",
        unit="percentunit",
        queries=tuple(Query(_by_label(figure, bound), f"{{{{label}}}} {bound}") for bound in ("value", "low", "high")),
        low=None,
        high=1,
    )


_RIGHT = (
    Panel(
        title="Accuracy of what is published",
        shows="Share of the decisions published without a person that people found right, with its 95 % interval, from blind audits "
        "over the console's window. The limit is the promise.",
        then="If all of the interval is below the promise, `tagstream quality` names the label, source or length at fault.",
        unit="percentunit",
        queries=(
            Query('max by (job) (tagstream_quality_accuracy_ratio{scope="published", bound="high"})', "high"),
            Query('max by (job) (tagstream_quality_accuracy_ratio{scope="published", bound="value"})', "measured"),
            Query('max by (job) (tagstream_quality_accuracy_ratio{scope="published", bound="low"})', "low"),
            Query("max by (job) (tagstream_quality_promise_ratio)", "promise limit"),
        ),
        alerts=("AccuracyBelowPromise",),
        width=12,
        low=None,
        high=1,
    ),
    Panel(
        title="The model over both doors",
        shows="What consumers would get if everything were published: the accuracy over `tagged` and `review` together, with its 95 % interval.",
        then="If it falls while the published accuracy stays, the thresholds do their work and the texts are harder.",
        unit="percentunit",
        queries=tuple(
            Query(f'max by (job) (tagstream_quality_accuracy_ratio{{scope="model", bound="{bound}"}})', legend)
            for bound, legend in (("high", "high"), ("value", "measured"), ("low", "low"))
        ),
        width=12,
        low=None,
        high=1,
    ),
    _label_panel("precision", "Of the decisions published under a label, the share that people found right."),
    _label_panel("recall", "Of what was published and is about a label, the share that was published under it."),
    _label_panel("f1", "The harmonic mean of precision and recall among the published."),
)

_EXPECTED = (
    Panel(
        title="Expected minus measured accuracy",
        shows="Above zero, the model expects more of itself than people found; with the 95 % interval. Confidence alone cannot show it.",
        then="If the low end is above the limit, distrust every figure that rests on confidence, and read the mistakes.",
        unit="percentunit",
        queries=tuple(
            Query(f'max by (job) (tagstream_quality_gap_ratio{{bound="{bound}"}})', bound) for bound in ("high", "value", "low")
        ),
        limits=(Limit(value=0.02, alerts=("ConfidenceGap",)),),
        low=None,
    ),
    Panel(
        title="Answers behind the figures",
        shows="Settled answers within the window: audits of what is published, and with them the answers on `review`.",
        then="If audits stand still, ask reviewers to answer: the queue serves audits first.",
        unit="none",
        queries=(Query("max by (scope) (tagstream_quality_answers)", "{{scope}}"),),
    ),
    Panel(
        title="What new thresholds could publish",
        shows="Share of all decisions that people see today and that the answers seem to support publishing.",
        then="From two in a hundred on, `tagstream model calibrate` is worth running.",
        kind="stat",
        unit="percentunit",
        queries=(Query("max by (job) (tagstream_quality_recalibration_gain_ratio)", "gain"),),
    ),
)

_PEOPLE = (
    Panel(
        title="Age of the oldest item",
        shows="How long the oldest item has waited for a reviewer; items that wait for a second opinion alone are left out.",
        then="If it grows past the limit, ask for more reviewers, or lower thresholds that the answers support lowering.",
        unit="s",
        queries=(Query("time() - min by (job) (tagstream_queue_oldest_timestamp_seconds)", "oldest"),),
        limits=(Limit(value=259200, alerts=("ReviewBacklogOld",)),),
    ),
    Panel(
        title="Open items by door",
        shows="Items that wait for a person, by the reason why they are asked.",
        then="If `user_report` grows, readers see mistakes: read the reports.",
        unit="none",
        queries=(Query("max by (door) (tagstream_queue_open_items)", "{{door}}"),),
        stacked=True,
    ),
    Panel(
        title="Reviewers' slips",
        shows="Share of first answers that a second person overturned, where the model was right, with the 95 % interval.",
        then="If the low end is above the limit, let the reviewers read the overturned answers together.",
        unit="percentunit",
        queries=tuple(
            Query(f'max by (job) (tagstream_quality_slip_ratio{{bound="{bound}"}})', bound)
            for bound in ("high", "value", "low")
        ),
        limits=(Limit(value=0.1, alerts=("ReviewersDisagree",)),),
    ),
    Panel(
        title="Consoles up",
        shows="Review consoles that answer Prometheus.",
        then="If there is none, read the last lines of the console's log and start it again.",
        kind="stat",
        unit="none",
        queries=(Query('sum(up{job="tagstream-review"})', "consoles"),),
        alerts=("ReviewConsoleDown",),
    ),
    Panel(
        title="Events with an answer",
        shows="Events that people have decided, of all that the console knows.",
        then="If it stands still while items wait, nobody reviews.",
        kind="stat",
        unit="none",
        queries=(Query("max by (job) (tagstream_queue_answered_events)", "answered"),),
    ),
    Panel(
        title="Reports about unknown events",
        shows="Reports of readers about event ids that no topic knows.",
        then="If it grows, the site sends ids that are not ours, or somebody guesses.",
        kind="stat",
        unit="none",
        queries=(Query("max by (job) (tagstream_queue_unmatched_reports)", "unmatched"),),
    ),
    Panel(
        title="Records that live quality does not use",
        shows="Answers that follow from no decision which the console has read, and drawn decisions that no worker makes so.",
        then="If there is one, see who may write to `reviewed` and `audit`.",
        kind="stat",
        unit="none",
        queries=(Query("max by (kind) (tagstream_quality_unused_records)", "{{kind}}"),),
        alerts=("QualityRecordsUnused",),
    ),
    Panel(
        title="Estimates that failed",
        shows="Estimates of live quality that failed within half an hour. The other figures stay as the last good one left them.",
        then="If it grows, search the console's log for `quality_not_measured`.",
        kind="stat",
        unit="none",
        queries=(Query("min by (job) (increase(tagstream_quality_failures_total[30m]))", "failed"),),
        alerts=("QualityNotMeasured",),
    ),
)

PEOPLE = (
    ("How right, as people find", _RIGHT),
    ("What the model expects, and what to do", _EXPECTED),
    ("What waits for people", _PEOPLE),
)
