"""The records of the alarms, one by one. What the page and `top` tell by them is in `figures/test_figures.py`."""

import re
from pathlib import Path

import pytest
import yaml

from tagstream.monitoring.alarms import ALERTS, Alert

ROOT = Path(__file__).parents[3]

every_alert = pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)


def test_each_alarm_has_a_name_of_its_own() -> None:
    """Runbook, cases and links are found by the name."""
    assert len({alert.name for alert in ALERTS}) == len(ALERTS)


def test_no_two_symptoms_have_one_place() -> None:
    """Which alarm of one cause is told does not depend on the order of the records."""
    places = [alert.symptom for alert in ALERTS if alert.symptom]
    assert len(set(places)) == len(places)


def test_the_example_for_alertmanager_has_each_symptom_once() -> None:
    """Alertmanager, too, is told which alarms have one cause, and those that silence the others are the nearest to it."""
    page = (ROOT / "docs" / "monitoring.md").read_text(encoding="utf-8")
    [routing] = [
        yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL) if "inhibit_rules" in block
    ]
    one_cause = routing["inhibit_rules"][0]
    [causes], [others] = (re.findall(r'"(.*)"', one_cause[side][0]) for side in ("source_matchers", "target_matchers"))
    symptoms = [alert.name for alert in sorted(ALERTS, key=lambda alert: alert.symptom) if alert.symptom]
    assert set(causes.split("|")) == set(symptoms[: len(causes.split("|"))])
    assert sorted([*causes.split("|"), *others.split("|")]) == sorted(symptoms)


@every_alert
def test_a_headline_is_short(alert: Alert) -> None:
    """A pager shows the summary on one line."""
    assert len(alert.summary) < 80


@every_alert
def test_an_alarm_of_drift_leads_to_the_finding(alert: Alert) -> None:
    """What a change of the stream moved stands in a drift event, and only there."""
    assert bool(alert.symptom) == ("`tagstream tail drift --from-beginning`" in alert.next)
