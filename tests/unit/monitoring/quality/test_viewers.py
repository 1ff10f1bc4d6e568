"""What viewers said, as people and programs read it: beside live quality, never in it."""

from prometheus_client import CollectorRegistry, generate_latest

from tagstream.monitoring.quality import viewers
from tagstream.monitoring.quality.feedback import ViewersAnswers
from tagstream.monitoring.quality.viewers_metrics import ViewersMetrics

FOUND = {"m 2": ViewersAnswers(asked=1_200, answered=300, votes=500, right=450), "m 1": ViewersAnswers(asked=10)}


def test_the_table_has_the_response_rate_and_says_why_it_stands_apart() -> None:
    """By model; a model that nobody answered about has no share."""
    [table] = viewers.tables(FOUND)
    assert table.rows == (("m 2", "1,200", "300 (25.0 %)", "500", "90.0 %"), ("m 1", "10", "0 (0.0 %)", "0", "-"))
    assert "who answers is not drawn" in table.note
    assert viewers.tables({}) == []


def test_json_has_every_number_and_no_share_without_votes() -> None:
    """Shares from 0 to 1."""
    first, second = viewers.as_json(FOUND)
    assert (first["model"], second["model"]) == ("m 2", "m 1")
    assert (first["response"], first["said_right"], second["response"], second["said_right"]) == (0.25, 0.9, 0.0, None)


def test_the_metrics_are_sums_over_all_models() -> None:
    """From the start, so that a rule never misses a series."""
    registry = CollectorRegistry()
    metrics = ViewersMetrics(registry)
    assert b'tagstream_viewers_decisions{state="asked"} 0.0' in generate_latest(registry)
    metrics.set(FOUND.values())
    text = generate_latest(registry).decode()
    for line in ('decisions{state="asked"} 1210.0', 'decisions{state="answered"} 300.0', 'votes{answer="right"} 450.0'):
        assert f"tagstream_viewers_{line}\n" in text
    assert 'tagstream_viewers_votes{answer="wrong"} 50.0\n' in text
