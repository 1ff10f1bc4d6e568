"""Overview: do events get through, and in time? The board of the engineer on call."""

from monitoring import limits
from monitoring.grafana.panels import Limit, Panel, Query

# The promise that freshness is measured by: this share of the events may be older than STALE_SECONDS at publication.
STALE_BUDGET = 0.01

_JOB = 'job="$job"'


def _quantiles(metric: str) -> tuple[Query, ...]:
    buckets = f"sum by (le) (rate({metric}_bucket{{{_JOB}}}[$__rate_interval]))"
    return tuple(Query(f"histogram_quantile({share}, {buckets})", f"p{share:.0%}".rstrip("%")) for share in (0.5, 0.95, 0.99))


_UP = (
    Panel(
        title="Workers up",
        shows="Workers that answer Prometheus, beside those that it knows of. Up means that the process answers, not that events move.",
        then="Run `tagstream doctor` with the worker's settings: it names the broker, topic or bundle that is missing.",
        kind="stat",
        unit="none",
        queries=(Query(f"sum(up{{{_JOB}}})", "up"), Query(f"count(up{{{_JOB}}})", "known")),
        limits=(Limit(value=1, alerts=("WorkerAbsent",), below=True),),
        width=5,
        height=5,
    ),
    Panel(
        title="Partitions read",
        shows="Partitions of the topic that the workers have between them; a worker without one is up and not ready.",
        then="Ask `/readyz` of a worker: it says what it waits for.",
        kind="stat",
        unit="none",
        queries=(Query(f"sum(tagstream_assigned_partitions{{{_JOB}}})", "partitions"),),
        limits=(Limit(value=1, below=True),),
        width=4,
        height=5,
    ),
    Panel(
        title="Last outcome",
        shows="Time since any worker had an outcome acknowledged by the broker; it grows too when nobody sends events.",
        then="Look at the lag: a lag of 0 means that nothing was sent, a lag that grows that the workers are stalled.",
        kind="stat",
        unit="s",
        queries=(Query(f"time() - max(tagstream_last_event_timestamp_seconds{{{_JOB}}} > 0)", "ago"),),
        width=4,
        height=5,
    ),
    Panel(
        title="Alarms firing",
        shows="Alerts on this job that fire now: pages want somebody at once, tickets in working hours.",
        then="Open Alerts in Prometheus and follow the runbook that the alert names.",
        kind="stat",
        unit="none",
        queries=tuple(
            Query(f'count(ALERTS{{alertstate="firing", {_JOB}, tier="{tier}"}}) or vector(0)', f"{tier}s")
            for tier in ("page", "ticket")
        ),
        limits=(Limit(value=1),),
        width=4,
        height=5,
    ),
    Panel(
        title="Model",
        shows="Which bundle decides, and in how many workers. Two rows are a deploy under way, or one that has stopped half way.",
        then="Restart the workers that have the old digest, with the setting `bundle` of the others.",
        kind="table",
        unit="none",
        queries=(Query(f"count by (name, version, digest) (tagstream_model_info{{{_JOB}}})", "workers"),),
        alerts=("ModelVersionSkew",),
        width=7,
        height=5,
    ),
)

_FLOW = (
    Panel(
        title="Events in and out",
        shows="Events taken from the topic, and outcomes that the broker has acknowledged, by destination. What goes in comes out.",
        then="When in stays above out, look at Committed lag and at the stages below; when in falls to 0, ask the producers.",
        unit="eps",
        queries=(
            Query(f"sum(rate(tagstream_events_received_total{{{_JOB}}}[$__rate_interval]))", "in"),
            Query(
                f"sum by (destination) (rate(tagstream_events_published_total{{{_JOB}}}[$__rate_interval]))", "{{destination}}"
            ),
        ),
        alerts=("Stalled",),
    ),
    Panel(
        title="Decisions by label",
        shows="Decisions of the model that were published, to `tagged` or `review`.",
        then="When one label takes over or disappears, read the label mix on Quality.",
        unit="eps",
        queries=(
            Query(
                f'sum by (label) (rate(tagstream_predictions_total{{{_JOB}, label=~"$label"}}[$__rate_interval]))', "{{label}}"
            ),
        ),
        stacked=True,
    ),
    Panel(
        title="Dead letters by reason",
        shows="Events that could not be decided, by the reason in their header `x-dlq-code`. Their bytes are kept untouched.",
        then="Read some with `tagstream dlq list --since 1h` and take their code to the producer that sent them.",
        unit="eps",
        queries=(
            Query(f"sum by (reason) (rate(tagstream_events_dead_lettered_total{{{_JOB}}}[$__rate_interval]))", "{{reason}}"),
        ),
        stacked=True,
        alerts=("EventBreaksModel",),
    ),
    Panel(
        title="Events that break the model",
        shows="Calls of the model that raised, events that a worker died with and that are decided alone, and workers that have stopped.",
        then="A worker that stopped waits for a person: its /readyz says why, and what closes the breaker.",
        unit="short",
        queries=(
            Query(f"sum(increase(tagstream_model_exceptions_total{{{_JOB}}}[$__rate_interval]))", "calls that raised"),
            Query(f"sum(tagstream_crash_suspects_events{{{_JOB}}})", "suspects"),
            Query(f"sum(tagstream_circuit_breaker_open{{{_JOB}}})", "stopped workers"),
        ),
        alerts=("CircuitBreakerOpen",),
    ),
    Panel(
        title="Dead-letter share",
        shows="Dead letters as a share of all outcomes of ten minutes.",
        then="Above 1 % a producer has changed what it sends: find the reason beside and stop that producer first.",
        unit="percentunit",
        queries=(Query(f"job:tagstream_dead_letter:ratio10m{{{_JOB}}}", "share"),),
        limits=(Limit(value=limits.DEAD_LETTER_RATIO, alerts=("DeadLetterRatio",)),),
    ),
    Panel(
        title="Committed lag",
        shows="Events between the committed offset and the end of the log: of all workers, and of each. A dead worker reports none.",
        then="A lag that grows in all workers wants more workers, up to the number of partitions; in one, restart that one.",
        unit="short",
        queries=(
            Query(f"job:tagstream_committed_lag:sum{{{_JOB}}}", "all workers"),
            Query(f"sum by (instance) (tagstream_committed_lag_events{{{_JOB}}})", "{{instance}}"),
        ),
    ),
    Panel(
        title="Oldest unprocessed",
        shows="Age of the oldest event that a worker has taken and not yet acknowledged; 0 when it has none. The line is the promise.",
        then="When it climbs in a straight line the worker is stuck: read its log, it exits by itself once a bound is exceeded.",
        unit="s",
        queries=(Query(f"max by (instance) (tagstream_oldest_unprocessed_seconds{{{_JOB}}})", "{{instance}}"),),
        limits=(Limit(value=limits.STALE_SECONDS, colour="orange"),),
    ),
)

_TIME = (
    Panel(
        title="Event age at publication",
        shows="From the record's timestamp to its acknowledged outcome, waiting in Kafka included. The line is the promise: 60 s.",
        then="Compare with the stages: when they are short the time is spent waiting in Kafka, and more workers help.",
        unit="s",
        queries=_quantiles("tagstream_event_age_seconds"),
        limits=(Limit(value=limits.STALE_SECONDS, colour="orange"),),
    ),
    Panel(
        title="Freshness burn",
        shows=(
            "How fast the month's allowance of stale events (1 % older than 60 s) is used up: at 1 it lasts the month, at 14.4 two days. "
            "The page fires when a long and a short window agree: 1h and 5m above 14.4, or 6h and 30m above 6; "
            "the ticket when 3d and 6h are above 1."
        ),
        then="Find out whether workers are missing, slow or too few: Workers up, the stages, Committed lag, in this order.",
        unit="suffix:x",
        queries=tuple(
            Query(f"job:tagstream_event_age:stale_ratio{window}{{{_JOB}}} / {STALE_BUDGET}", window)
            for window in ("5m", "30m", "1h", "6h", "3d")
        ),
        limits=(
            Limit(value=1, alerts=("FreshnessSlow",), colour="yellow"),
            Limit(value=6, alerts=("FreshnessBurn",), colour="orange"),
            Limit(value=14.4, alerts=("FreshnessBurn",)),
        ),
    ),
    Panel(
        title="Stage durations, p95",
        shows="Time of one batch in each stage; 95 % of the batches are faster. Inference is expected to be the longest.",
        then="When publish leads, look at the broker; when inference leads, look at the CPU that the worker gets.",
        unit="s",
        queries=(
            Query(
                "histogram_quantile(0.95, sum by (stage, le)"
                f" (rate(tagstream_stage_duration_seconds_bucket{{{_JOB}}}[$__rate_interval])))",
                "{{stage}}",
            ),
        ),
    ),
    Panel(
        title="Batch size",
        shows="Events in one batch. Near 1 the stream is idle; at the setting `batch_max_events` it is saturated.",
        then="When it stays at the limit and the lag grows, add workers.",
        unit="short",
        queries=_quantiles("tagstream_batch_size_events"),
    ),
    Panel(
        title="In flight",
        shows="Events taken and not yet acknowledged, by worker. Bounded by settings; the backlog itself stays in Kafka.",
        then="When it is flat above 0 while nothing is published, the worker is stuck: ask its `/readyz`.",
        unit="short",
        queries=(Query(f"sum by (instance) (tagstream_inflight_events{{{_JOB}}})", "{{instance}}"),),
    ),
    Panel(
        title="Time since the last commit",
        shows="Since the committed offset of a worker last moved. It grows on an idle stream too.",
        then="When it grows while the lag grows, restart that worker: what it had not committed is read again.",
        unit="s",
        queries=(Query(f"time() - max by (instance) (tagstream_last_commit_timestamp_seconds{{{_JOB}}} > 0)", "{{instance}}"),),
    ),
    Panel(
        title="Time since the brokers answered",
        shows="Since the brokers last told a worker where it stands. Above a few seconds its lag is the last that it knew.",
        then="Of one worker alone it is its network; of all of them run `tagstream doctor`, which says of each broker what is wrong.",
        unit="s",
        queries=(Query(f"time() - max by (instance) (tagstream_position_timestamp_seconds{{{_JOB}}} > 0)", "{{instance}}"),),
        limits=(Limit(value=60, alerts=("BrokersUnreachable",)),),
    ),
)

OVERVIEW = (("Is it up?", _UP), ("What goes through, and what waits", _FLOW), ("In time?", _TIME))
