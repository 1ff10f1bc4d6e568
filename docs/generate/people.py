"""The board People, for the owner of the model and the reviewers: how right are the decisions, as people find, and what waits?

Its figures are those of the review console (job tagstream-review), and in its last row those of `tagstream rollout watch` and `rollout shadow`.
Every console, and every controller, gives the same ones, so `max` takes one of them.
"""

from docs.generate.panels import Panel, Query, least
from tagstream.monitoring.quality.metrics import BOUNDS
from tagstream.monitoring.quality.value import WAYS

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
        width=12,
        low=None,
        high=1,
    ),
    Panel(
        title="The model over both doors",
        shows="The accuracy that consumers would get if everything were published, over `tagged` and `review` together, with its 95 % interval.",
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
    Panel(
        title="Champion and challenger",
        shows="Accuracy of what each of the two models of the newest canary published, in its epochs, with the ends of its 95 % interval.",
        then="If the challenger's whole interval lies below the champion's, `tagstream rollout rollback`; while they overlap, wait for `tagstream rollout status --verdict`.",
        unit="percentunit",
        queries=tuple(
            Query(
                f'max by (job, arm) (tagstream_quality_arm_accuracy_ratio{{scope="published", bound="{bound}"}})',
                f"{{{{arm}}}} {bound}",
            )
            for bound in ("high", "value", "low")
        ),
        width=12,
        low=None,
        high=1,
    ),
    Panel(
        title="Answers behind champion and challenger",
        shows="Settled answers on decisions of the two models of the newest canary. Under 50 a figure is not shown.",
        then="If the challenger's stand still, people answer too little, or its share is small: see `tagstream rollout status`.",
        unit="none",
        queries=(Query("max by (arm, scope) (tagstream_quality_arm_answers)", "{{arm}} {{scope}}"),),
        width=12,
    ),
    _label_panel("precision", "Of the decisions published under a label, the share that people found right."),
    _label_panel("recall", "Of what was published and is about a label, the share that was published under it."),
    _label_panel("f1", "The harmonic mean of precision and recall among the published."),
)


def _ways(metric: str, *ways: str) -> tuple[Query, ...]:
    return tuple(
        Query(f'max by (way) ({metric}{{bound="{bound}", way=~"{"|".join(ways)}"}})', f"{{{{way}}}} {bound}")
        for bound in BOUNDS
    )


_WORTH = (
    Panel(
        title="Cost of each way to decide",
        shows="People's time and wrong publications of the console's window in money, by `costs.toml`: as now, with everything to people, and with nothing to people. Empty without the file.",
        then="If another way lies wholly below `now`, set other thresholds: `tagstream quality --value` has the parts.",
        unit="none",
        queries=_ways("tagstream_value_cost", *WAYS),
        width=12,
    ),
    Panel(
        title="People's time",
        shows="Time of people's answers and of items that wait, each at the median time, beside that of one answer about every event.",
        then="If `now` nears `everything`, the model spares people little: see why on the board Review.",
        unit="s",
        queries=_ways("tagstream_value_people_seconds", "now", "everything"),
        width=12,
    ),
    Panel(
        title="Wrong publications",
        shows="Wrong decisions that were published, and those if nothing went to people.",
        then="If the two are near each other, people look at decisions that are right.",
        unit="none",
        queries=_ways("tagstream_value_wrong_decisions", "now", "nothing"),
    ),
    Panel(
        title="Events without a person",
        shows="Share of the window's events that were published without a person.",
        then="If it falls, see on the board Review for which reasons events go to people.",
        unit="percentunit",
        queries=(
            Query(
                'max by (job) (tagstream_value_events{door="tagged"}) / (max by (job) (tagstream_value_events{door="tagged"})'
                ' + max by (job) (tagstream_value_events{door="review"}))',
                "without a person",
            ),
        ),
        low=None,
        high=1,
    ),
    Panel(
        title="Time of an answer",
        shows="Median time between two answers of a person, with its 95 % interval.",
        then="If it rises, look at what reviewers see: harder items, or a slow console.",
        unit="s",
        queries=tuple(
            Query(f'max by (job) (tagstream_value_item_seconds{{bound="{bound}"}})', bound)
            for bound in ("high", "value", "low")
        ),
    ),
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
    ),
    Panel(
        title="Consoles up",
        shows="Review consoles that answer Prometheus.",
        then="If there is none, read the last lines of the console's log and start it again.",
        kind="stat",
        unit="none",
        queries=(Query('sum(up{job="tagstream-review"})', "consoles"),),
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
        title="Viewers asked",
        shows="Of the decisions that viewers of web pages were asked about, the share with an answer, and the share of answers that say right. Who answers is not drawn. Empty if nobody was asked.",
        then="If fewer say right, see in `tagstream quality` of which model, and of which arm of a canary.",
        unit="percentunit",
        queries=(
            Query(
                'max by (job) (tagstream_viewers_decisions{state="answered"}) / max by (job) (tagstream_viewers_decisions{state="asked"})',
                "answered",
            ),
            Query(
                'max by (job) (tagstream_viewers_votes{answer="right"})'
                ' / (max by (job) (tagstream_viewers_votes{answer="right"}) + max by (job) (tagstream_viewers_votes{answer="wrong"}))',
                "said right",
            ),
        ),
        low=None,
        high=1,
    ),
    Panel(
        title="Records that live quality does not use",
        shows="Answers that follow from no decision which the console has read, and drawn decisions that no worker makes so.",
        then="If there is one, see who may write to `reviewed` and `audit`.",
        kind="stat",
        unit="none",
        queries=(Query("max by (kind) (tagstream_quality_unused_records)", "{{kind}}"),),
    ),
    Panel(
        title="Estimates that failed",
        shows="Estimates of live quality that failed within half an hour. The other figures stay as the last good one left them.",
        then="If it grows, search the console's log for `quality_not_measured`.",
        kind="stat",
        unit="none",
        queries=(Query("min by (job) (increase(tagstream_quality_failures_total[30m]))", "failed"),),
    ),
)

_CHALLENGER = (
    Panel(
        title="Verdict on the challenger",
        shows="The verdict of `tagstream rollout watch` while a challenger decides a share of the events: 1 for the one that holds.",
        then="Run `tagstream rollout status --verdict`: it prints each gate, and what the verdict waits for.",
        unit="none",
        queries=(Query("max by (decision) (tagstream_controller_verdict)", "{{decision}}"),),
    ),
    Panel(
        title="Evidence on the challenger",
        shows="Events of the stream that the shadow has compared; of these with two tags, that people are asked about, and that they have answered.",
        then="If compared events stand still, start `tagstream rollout shadow`; if answers do, ask reviewers.",
        unit="short",
        queries=(Query("max by (kind) (tagstream_controller_evidence_events)", "{{kind}}"),),
    ),
    Panel(
        title="Looks of the controller",
        shows="Time since the last look of `tagstream rollout watch` at the rollout that did not fail, by job.",
        then="Read the last lines of its log: they say why it ended, or why each look fails.",
        unit="s",
        queries=(Query("time() - max by (job) (tagstream_controller_look_timestamp_seconds > 0)", "{{job}}"),),
    ),
    Panel(
        title="Changes by the controller",
        shows="In a day: epochs that `tagstream rollout watch` has begun, by the verdict, changes that did not come about, and looks that failed.",
        then="Read `tagstream rollout log` for the reason of a change, and the controller's log for that of a failure.",
        unit="none",
        queries=(
            Query("sum by (decision) (increase(tagstream_controller_changes_total[1d]))", "{{decision}}"),
            Query("sum(increase(tagstream_controller_failed_changes_total[1d]))", "changes that failed"),
            Query('sum(increase(tagstream_controller_looks_total{result="failed"}[1d]))', "looks that failed"),
        ),
    ),
    Panel(
        title="Champion and challenger in shadow",
        shows="Share of the compared events on which the two name one tag, and the share on which the challenger alone would ask a person. Of the stream's own decisions, the share that the shadow's champion has otherwise.",
        then="If decisions are otherwise, run the shadow with the workers' settings, on their kind of processor.",
        unit="percentunit",
        queries=(
            Query(
                'sum(rate(tagstream_shadow_events_total{result="agreed"}[1h]))'
                ' / sum(rate(tagstream_shadow_events_total{result=~"agreed|disagreed"}[1h]))',
                "one tag",
            ),
            Query(
                'sum(rate(tagstream_shadow_doors_total{old="tagged", new="review"}[1h])) / sum(rate(tagstream_shadow_doors_total[1h]))',
                "challenger alone asks",
            ),
            Query(
                'sum(rate(tagstream_shadow_published_total{result="different"}[1h]))'
                ' / sum(rate(tagstream_shadow_published_total{result=~"equal|different"}[1h]))',
                "published otherwise",
            ),
        ),
        low=None,
        high=1,
    ),
    Panel(
        title="Failures of the challenger in shadow",
        shows="Events on which the challenger failed beside the stream, by kind; the stream does not wait for it.",
        then="Do not let it decide: the log of `tagstream rollout shadow` names the exception.",
        unit="short",
        queries=(Query("sum by (kind) (increase(tagstream_shadow_challenger_failures_total[1h]))", "{{kind}}"),),
    ),
)

PEOPLE = (
    ("How right, as people find", _RIGHT),
    ("What it is worth", _WORTH),
    ("What the model expects, and what to do", _EXPECTED),
    ("What waits for people", _PEOPLE),
    ("Is a challenger better?", _CHALLENGER),
)
