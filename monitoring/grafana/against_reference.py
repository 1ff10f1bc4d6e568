"""Queries that show a live figure beside the same figure of the reference in force."""

from monitoring.grafana.panels import Query

_JOB = 'job="$job"'


def reference(metric: str) -> Query:
    """A figure of the reference in force; every worker exports the same one."""
    return Query(f"max by (job) (tagstream_reference_{metric}{{{_JOB}}})", "reference")


def against_reference(metric: str, reference: str) -> tuple[Query, ...]:
    """Cumulative shares at the bucket edges, of the last hour and of the reference; without +Inf, which no axis shows."""
    live = f'sum by (le) (increase({metric}_bucket{{{_JOB}, le!="+Inf"}}[1h]))'
    # A panel draws both over one field, `le`; the reference has its edges in another label.
    edges = f'max by (at_most) (tagstream_reference_{reference}{{{_JOB}, at_most!="+Inf"}})'
    return (
        Query(f"{live} / on () group_left () sum(increase({metric}_count{{{_JOB}}}[1h]))", "live"),
        Query(f'max without (at_most) (label_join({edges}, "le", "", "at_most"))', "reference"),
    )
