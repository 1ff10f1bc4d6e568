"""The limits of the hourly comparisons: chance alone does not reach them."""

from benchmarks.limits import false_alarms
from tagstream.monitoring import limits
from tagstream.monitoring.alarms import ALERTS, CHANCE

WINDOWS = 4_000
# Two windows in a thousand, before the alert has waited half an hour, at the least number of decisions.
MOST = 0.002


def test_chance_alone_is_over_a_limit_in_less_than_two_windows_of_a_thousand() -> None:
    """At 500 decisions and a reference of 900 rows, chance exceeds a limit in fewer than 0.2 % of the windows."""
    found = false_alarms(windows=WINDOWS, decisions=limits.LEAST_DECISIONS)
    assert {alert.name for alert in ALERTS if alert.because == CHANCE} <= found.keys()
    assert {alert: share for alert, share in found.items() if share > MOST} == {}


def test_more_decisions_make_no_more_false_alarms() -> None:
    """More decisions do not cause more false alarms, because limits are effect sizes and not p-values."""
    found = false_alarms(windows=WINDOWS, decisions=100_000)
    assert {alert: share for alert, share in found.items() if share > MOST} == {}
