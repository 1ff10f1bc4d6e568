"""The page of the metrics agrees with the code, and each metric is of use."""

import re
from collections.abc import Iterator
from pathlib import Path

from docs.generate.metrics_page import page
from tests.unit.monitoring.metrics.test_controller import documented_of_a_controller
from tests.unit.monitoring.metrics.test_http import documented_of_a_service
from tests.unit.monitoring.metrics.test_metrics import documented
from tests.unit.monitoring.metrics.test_shadow import documented_of_a_follower
from tests.unit.monitoring.quality.test_metrics import documented_of_a_console

ROOT = Path(__file__).parents[4]


def metrics() -> list[str]:
    """The metrics on the page, by the name that a query uses."""
    return [line.split("`")[1] for line in page().splitlines() if line.startswith("- `tagstream_")]


def asked() -> Iterator[str]:
    """The words of rules, boards and pages; of a histogram or its parts, the histogram's."""
    files = [
        *(ROOT / "monitoring" / "prometheus").glob("*.yml"),
        *(ROOT / "monitoring" / "grafana" / "dashboards").glob("*.json"),
        *(path for path in (ROOT / "docs").rglob("*.md") if path != ROOT / "docs" / "metrics.md"),
    ]
    for file in files:
        for word in re.findall(r"\btagstream_\w+", file.read_text(encoding="utf-8")):
            yield word
            yield re.sub("_(bucket|count|sum)$", "", word)


def test_every_metric_is_on_the_page_once() -> None:
    """Each metric is on the page once, by the name that a query uses."""
    rows = metrics()
    assert len(rows) == len(set(rows))
    beside = (documented_of_a_console(), documented_of_a_service(), documented_of_a_follower(), documented_of_a_controller())
    assert set(rows) == {name for names in (documented(), *beside) for name in names}


def test_each_metric_has_a_reader() -> None:
    """A metric stands in a rule, on a board or on a page that says what to read from it; one that does not costs series for nothing."""
    assert sorted(set(metrics()) - set(asked())) == []


def test_a_closed_set_is_written_out() -> None:
    """The page lists all values of a closed set."""
    assert "`source`: known, unseen, missing" in page()
    assert "Edges -12 to 0 in steps of 0.5." in page()
