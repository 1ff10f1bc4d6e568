"""The board Overview, for the engineer on call: do events get through, and in time?"""

from docs.generate.panels import JOB, Panel, Query, most
from tagstream.monitoring import limits
from tagstream.monitoring.alarms import STALE_BUDGET, Line
from tagstream.monitoring.figures.limited import HELD


def _quantiles(metric: str) -> tuple[Query, ...]:
    buckets = f"sum by (le) (rate({metric}_bucket{{{JOB}}}[$__rate_interval]))"
    return tuple(Query(f"histogram_quantile({share}, {buckets})", f"p{share:.0%}".rstrip("%")) for share in (0.5, 0.95, 0.99))


_UP = (
    Panel(
        title="Workers up",
        shows="Workers that answer Prometheus, and workers that it knows of. Up means that the process answers, not that events move.",
        then="Run `tagstream doctor` with the worker's settings: it names the broker, topic or bundle that is missing.",
        kind="stat",
        unit="none",
        queries=(Query(f"sum(up{{{JOB}}})", "up"), Query(f"count(up{{{JOB}}})", "known")),
        width=5,
        height=5,
    ),
    Panel(
        title="Partitions read",
        shows="Partitions of the topic that are assigned to a worker. A worker without a partition is up but not ready.",
        then="Read `/readyz` of a worker: it gives the reason.",
        kind="stat",
        unit="none",
        queries=(Query(f"sum(tagstream_assigned_partitions{{{JOB}}})", "partitions"),),
        lines=(Line(1, below=True),),
        width=4,
        height=5,
    ),
    Panel(
        title="Last outcome",
        shows="Time since the broker last acknowledged an outcome of any worker. It also grows when no events are sent.",
        then="Look at Committed lag: at 0 no events were sent, and if it grows the workers are stalled.",
        kind="stat",
        unit="s",
        queries=(Query(f"time() - max(tagstream_last_event_timestamp_seconds{{{JOB}}} > 0)", "ago"),),
        width=4,
        height=5,
    ),
    Panel(
        title="Alarms firing",
        shows="Alerts on this job that fire now. Pages need a person at once, tickets can wait for working hours.",
        then="Open Alerts in Prometheus and follow the runbook that the alert names.",
        kind="stat",
        unit="none",
        queries=tuple(
            Query(f'count(ALERTS{{alertstate="firing", {JOB}, tier="{tier}"}}) or vector(0)', f"{tier}s")
            for tier in ("page", "ticket")
        ),
        lines=(Line(1),),
        width=4,
        height=5,
    ),
    Panel(
        title="Model",
        shows="The bundles in use, each with its number of workers. Two rows mean a deploy under way, or one that stopped half way.",
        then="Restart the workers with the old digest, with the same `bundle` setting as the others.",
        kind="table",
        unit="none",
        queries=(Query(f"count by (name, version, digest) (tagstream_model_info{{{JOB}}})", "workers"),),
        width=7,
        height=5,
    ),
)

_FLOW = (
    Panel(
        title="Events in and out",
        shows="Events taken from the topic, and outcomes acknowledged by the broker, by destination. Every event gets one outcome.",
        then="If `in` stays above the outcomes, look at Committed lag and the stages below; if `in` falls to 0, ask the producers.",
        unit="eps",
        queries=(
            Query(f"sum(rate(tagstream_events_received_total{{{JOB}}}[$__rate_interval]))", "in"),
            Query(
                f"sum by (destination) (rate(tagstream_events_published_total{{{JOB}}}[$__rate_interval]))", "{{destination}}"
            ),
        ),
    ),
    Panel(
        title="Decisions by label",
        shows="Decisions of the model that were published to `tagged` or `review`, by predicted label; the ten most frequent.",
        then="If one label takes over or disappears, look at the label mix on Quality.",
        unit="eps",
        queries=(
            Query(
                most(f'sum by (label) (rate(tagstream_predictions_total{{{JOB}, label=~"$label"}}[$__rate_interval]))'),
                "{{label}}",
            ),
        ),
        stacked=True,
    ),
    Panel(
        title="Dead letters by reason",
        shows="Events that could not be decided, and answers of people that do not count, by the reason in the header `x-dlq-code`. Their "
        "bytes are kept unchanged.",
        then="List them with `tagstream dlq list --since 1h` and report the reason to the producer that sent them.",
        unit="eps",
        queries=(
            Query(f"sum by (reason) (rate(tagstream_events_dead_lettered_total{{{JOB}}}[$__rate_interval]))", "{{reason}}"),
            Query(
                f"sum by (reason) (rate(tagstream_answers_dead_lettered_total{{{JOB}}}[$__rate_interval]))",
                "answers: {{reason}}",
            ),
        ),
        stacked=True,
    ),
    Panel(
        title="Events that break the model",
        shows="Calls of the model that raised, suspects (events in the model when a worker died; each is decided alone), and stopped workers.",
        then="For a stopped worker read its `/readyz`: it gives the reason and how to close the breaker.",
        unit="short",
        queries=(
            Query(f"sum(increase(tagstream_model_exceptions_total{{{JOB}}}[$__rate_interval]))", "calls that raised"),
            Query(f"sum(tagstream_crash_suspects_events{{{JOB}}})", "suspects"),
            Query(f"sum(tagstream_circuit_breaker_open{{{JOB}}})", "stopped workers"),
        ),
    ),
    Panel(
        title="Dead-letter share",
        shows="Dead letters as a share of all outcomes, over ten minutes.",
        then="Above 1 % a producer has probably changed its events: find the reason in Dead letters by reason and stop that producer.",
        unit="percentunit",
        queries=(Query(f"job:tagstream_dead_letter:ratio10m{{{JOB}}}", "share"),),
    ),
    Panel(
        title="Committed lag",
        shows="Events between the committed offset and the end of the log, in total and by worker. A dead worker reports no lag.",
        then="If the lag grows in all workers, add workers, up to the number of partitions; if it grows in one, restart that one.",
        unit="short",
        queries=(
            Query(f"job:tagstream_committed_lag:sum{{{JOB}}}", "all workers"),
            Query(f"sum by (instance) (tagstream_committed_lag_events{{{JOB}}})", "{{instance}}"),
            Query(
                f"max by (partition) (tagstream_open_transaction_events{{{JOB}}})", "open transaction, partition {{partition}}"
            ),
        ),
    ),
    Panel(
        title="Oldest unprocessed",
        shows="Age of the oldest event that a worker has taken and not yet acknowledged; 0 if there is none. The line is the target, 60 s.",
        then="If it rises in a straight line the worker is stuck: read its log; it exits by itself when a timeout is exceeded.",
        unit="s",
        queries=(Query(f"max by (instance) (tagstream_oldest_unprocessed_seconds{{{JOB}}})", "{{instance}}"),),
        lines=(Line(limits.STALE_SECONDS, colour="orange"),),
    ),
)

_TIME = (
    Panel(
        title="Event age at publication",
        shows="Time from the record's timestamp to its acknowledged outcome, the wait in Kafka included. The line is the target, 60 s. "
        "Figures above it are rough: the buckets there end at 5 min and at 30 min.",
        then="Compare with Stage durations: if those are short, the events wait in Kafka, and more workers help.",
        unit="s",
        queries=_quantiles("tagstream_event_age_seconds"),
        lines=(Line(limits.STALE_SECONDS, colour="orange"),),
    ),
    Panel(
        title="Freshness burn",
        shows=(
            "How fast the month's allowance of stale events (1 % older than 60 s) is used up: at 1 it lasts a month, at 14.4 two days. "
            "The page fires if 1h and 5m are above 14.4, or 6h and 30m above 6; the ticket fires if 3d and 6h are above 1."
        ),
        then="Check Workers up, Stage durations and Committed lag, in this order: workers can be missing, slow or too few.",
        unit="suffix:x",
        queries=tuple(
            Query(f"job:tagstream_event_age:stale_ratio{window}{{{JOB}}} / {STALE_BUDGET}", window)
            for window in ("5m", "30m", "1h", "6h", "3d")
        ),
    ),
    Panel(
        title="Stage durations, p95",
        shows="Time of one batch in each stage; 95 % of the batches are faster. Inference is normally the longest stage.",
        then="If publish is the longest, look at the broker; if inference has become slower, look at the CPU that the worker gets.",
        unit="s",
        queries=(
            Query(
                "histogram_quantile(0.95, sum by (stage, le)"
                f" (rate(tagstream_stage_duration_seconds_bucket{{{JOB}}}[$__rate_interval])))",
                "{{stage}}",
            ),
        ),
    ),
    Panel(
        title="Batch size",
        shows="Events in one batch. Near 1 the workers are idle; at the setting `batch_max_events` they are saturated.",
        then="If it stays at the limit and the lag grows, add workers.",
        unit="short",
        queries=_quantiles("tagstream_batch_size_events"),
    ),
    Panel(
        title="In flight",
        shows="Events taken and not yet acknowledged, by worker. Settings bound the number; the backlog itself stays in Kafka.",
        then="If it stays above 0 while no outcome is published, the worker is stuck: read its `/readyz`.",
        unit="short",
        queries=(Query(f"sum by (instance) (tagstream_inflight_events{{{JOB}}})", "{{instance}}"),),
    ),
    Panel(
        title="Time since the last commit",
        shows="Time since the committed offset of a worker last moved. It also grows on an idle stream.",
        then="If it grows together with the lag, restart that worker: events that it has not committed are read again.",
        unit="s",
        queries=(Query(f"time() - max by (instance) (tagstream_last_commit_timestamp_seconds{{{JOB}}} > 0)", "{{instance}}"),),
    ),
    Panel(
        title="Time since the brokers answered",
        shows="Time since the brokers last answered a worker's request for offsets. Above a few seconds its lag is out of date.",
        then="If it grows in one worker, check that worker's network; if it grows in all, run `tagstream doctor`, which checks each broker.",
        unit="s",
        queries=(Query(f"time() - max by (instance) (tagstream_position_timestamp_seconds{{{JOB}}} > 0)", "{{instance}}"),),
    ),
)

_ROLLOUT = (
    Panel(
        title="Epoch of the rollout",
        shows="The epoch by whose champion each worker decides the newest events, and the workers that follow a rollout. Without one both are 0.",
        then="If a worker is behind or missing, `tagstream rollout status` says what each worker has: restart that one.",
        unit="none",
        queries=(
            Query(f"max by (instance) (tagstream_rollout_epoch{{{JOB}}})", "{{instance}}"),
            Query(f"sum(tagstream_rollout_followed{{{JOB}}})", "workers that follow"),
        ),
    ),
    Panel(
        title="Decisions by arm",
        shows="Published decisions of models after the first change, by the arm that decided. `fallback`: the champion decided since the challenger could not.",
        then="Compare the challenger's share with the plan's in `tagstream rollout status`, and go back by `tagstream rollout rollback`.",
        unit="eps",
        queries=(Query(f"sum by (arm) (rate(tagstream_rollout_decisions_total{{{JOB}}}[$__rate_interval]))", "{{arm}}"),),
        stacked=True,
    ),
    Panel(
        title="Held by a rollout",
        shows="For how long the oldest event has been held since its epoch is not known, by worker, and the waits of all batches for their epochs.",
        then="Run `tagstream rollout status`: an epoch that is closing, or a partition that no epoch lists, is finished by the next `rollback` or `promote`.",
        unit="s",
        queries=(
            Query(f"max by (instance) (tagstream_rollout_held_seconds{{{JOB}}})", "{{instance}}"),
            Query(
                "histogram_quantile(0.99, sum by (le)"
                f" (rate(tagstream_rollout_hold_duration_seconds_bucket{{{JOB}}}[$__rate_interval])))",
                "waits, p99",
            ),
        ),
        lines=(Line(HELD.limit),),
    ),
    Panel(
        title="Plan of the rollout",
        shows="Workers by their state before the planned epoch, plans that were refused, and workers that see an epoch about to begin.",
        then="The log of a worker that refused has the reason under `rollout_refused`: correct it, and promote again.",
        unit="short",
        queries=(
            Query(f"sum by (state) (tagstream_rollout_planned_epoch{{{JOB}}} > bool 0)", "{{state}}"),
            Query(f"sum(increase(tagstream_rollout_refusals_total{{{JOB}}}[$__rate_interval]))", "refusals"),
            Query(f"sum(tagstream_rollout_closing_epoch{{{JOB}}} > bool 0)", "see one closing"),
        ),
    ),
)

OVERVIEW = (("Is it up?", _UP), ("Throughput and backlog", _FLOW), ("In time?", _TIME), ("Rollout", _ROLLOUT))
