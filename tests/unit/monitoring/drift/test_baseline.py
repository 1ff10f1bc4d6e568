"""The reference of words and producers: what is kept, how large it may grow, and what a file must be."""

from pathlib import Path

import pytest

from monitoring.drift import baseline
from monitoring.drift.baseline import BaselineError
from tests.unit.monitoring.drift.drift_cases import dead_letter, decision, ordinary


def test_a_word_counts_once_an_event_and_words_of_one_event_are_left_out() -> None:
    """Shares are of events."""
    made = baseline.of([decision(("x", "x", "x", "lone")), decision(("x", "y")), decision(("y",)), dead_letter()])
    assert made.words == {"x": 2, "y": 2}
    assert made.events == 3


def test_producers_are_counted_and_the_silent_too() -> None:
    """A producer of one event says how often new ones come."""
    made = baseline.of([decision(source=name) for name in ("a", "a", "b", None)])
    assert (made.sources, made.without_source, made.lone_sources) == ({"a": 2, "b": 1}, 1, 1)
    assert made.label_ratio == {"mlops": 1.0}


def test_a_file_reads_back_the_same(tmp_path: Path) -> None:
    """With the same digest."""
    made = baseline.of(list(ordinary(300)), model="d" * 64)
    path = tmp_path / "reference.json"
    path.write_bytes(baseline.render(made))
    assert baseline.read(path) == made
    assert baseline.read(path).digest == made.digest


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b"\xff", b'{"format": 2}', None])
def test_another_file_is_refused_with_the_next_step(tmp_path: Path, content: bytes | None) -> None:
    """Also one that is not there."""
    path = tmp_path / "reference.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(BaselineError, match=r"reference\.json is no drift reference: .*tagstream drift reference"):
        baseline.read(path)


def test_learning_is_bounded_whatever_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Words and producers of one event each, for ever."""
    monkeypatch.setattr(baseline, "MOST_WORDS", 50)
    monkeypatch.setattr(baseline, "MOST_SOURCES", 20)
    learning = baseline.Learning()
    for batch in range(10):
        learning.add([decision(("the", f"w{batch}-{number}"), source=f"s{batch}-{number}") for number in range(100)])
    assert len(learning.words) == 50
    assert len(learning.sources) == 20
    assert learning.words["the"] == 1_000


def test_nothing_is_no_baseline() -> None:
    """Nor are dead letters."""
    with pytest.raises(ValueError, match="a baseline needs decisions"):
        baseline.of([dead_letter()])
