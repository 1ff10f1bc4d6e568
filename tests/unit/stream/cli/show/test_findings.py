"""Drift findings as people and programs read them."""

import msgspec
import pytest

from tagstream.monitoring.drift import baseline
from tagstream.monitoring.drift.findings import Finding, what_moved
from tagstream.monitoring.drift.thresholds import DriftPlan
from tagstream.monitoring.drift.watch import DriftWatch
from tagstream.monitoring.signals import DriftSignal
from tagstream.monitoring.vocabulary import DriftKind
from tagstream.stream.cli.show.records import print_record
from tagstream.stream.contract.event import Record
from tests.unit.monitoring.drift.drift_cases import MODEL, decision, ordinary


def one_of_each_kind() -> dict[DriftKind, Finding]:
    """A finding of each kind."""
    watch = DriftWatch(
        model=MODEL,
        worker="w",
        plan=DriftPlan(window_events=500),
        baseline=baseline.of(list(ordinary(500))),
    )
    watch.add(list(ordinary(500)), 0)
    moved = [decision(("quantabyte\x1b[2J",), confidence=0.3, source="press", event_id=f"e{at}") for at in range(500)]
    return {found.kind: found for found in watch.add(moved, 1_000).findings}


def test_a_finding_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    """A finding is one line with a second one on where to look, and no word of an event moves the cursor."""
    found = one_of_each_kind()
    assert found.keys() == set(DriftKind)
    assert what_moved(found[DriftKind.CHANGE]).startswith(f"{DriftSignal.CONFIDENCE} from 0.7998 to 0.3")
    assert what_moved(found[DriftKind.LABELS]).startswith("other 0% (was 50%)")
    assert what_moved(found[DriftKind.SOURCES]) == "press 100.0%; a flood of one source: press, 100.0% of the events"
    for finding in found.values():
        record = Record(topic="drift", key=b"k", value=msgspec.json.encode(finding))
        print_record(record, as_json=False)
    shown = capsys.readouterr().out
    assert "quantabyte" in shown
    assert "look at e" in shown
    assert "\x1b[2J" not in shown


def test_another_record_of_the_topic_is_shown_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    """A record that is no finding, a tombstone among them, is a line with its bytes."""
    print_record(Record(topic="drift", partition=0, offset=3, key=None, value=b"{}"), as_json=False)
    print_record(Record(topic="drift", partition=0, offset=4, key=None, value=None), as_json=False)
    shown = [line.split(maxsplit=2) for line in capsys.readouterr().out.splitlines()]
    assert shown == [["drift", "0/3", "{}"], ["drift", "0/4", "(no value)"]]
