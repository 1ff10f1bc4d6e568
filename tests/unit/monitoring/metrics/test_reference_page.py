"""The page of the metrics agrees with the code."""

from pathlib import Path

from monitoring.metrics.reference_page import main, page
from tests.unit.monitoring.metrics.test_http import documented_of_a_service
from tests.unit.monitoring.metrics.test_metrics import documented
from tests.unit.monitoring.metrics.test_quality import documented_of_a_console

PAGE = Path(__file__).parents[4] / "docs" / "metrics.md"


def test_the_page_is_current() -> None:
    """docs/metrics.md is current; update it with python -m monitoring.metrics.reference_page docs/metrics.md."""
    assert PAGE.read_text(encoding="utf-8") == page()


def test_every_metric_is_on_the_page_once() -> None:
    """Each metric is on the page once, by the name that a query uses."""
    rows = [line.split("`")[1] for line in page().splitlines() if line.startswith("| `")]
    assert len(rows) == len(set(rows))
    assert set(rows) == set(documented()) | set(documented_of_a_console()) | set(documented_of_a_service())


def test_a_closed_set_is_written_out() -> None:
    """The page lists all values of a closed set."""
    assert "`source`: known, unseen, missing" in page()
    assert "Edges -12 to 0 in steps of 0.5." in page()


def test_the_command_writes_the_page(tmp_path: Path) -> None:
    """The command writes the page to the given file."""
    main([str(tmp_path / "metrics.md")])
    assert (tmp_path / "metrics.md").read_text(encoding="utf-8") == page()
