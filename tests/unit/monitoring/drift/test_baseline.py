"""The baseline of words and producers: its counts, its bounds and its file."""

from pathlib import Path

import pytest

from tagstream.monitoring.drift import baseline
from tagstream.monitoring.drift.baseline import BaselineError
from tests.unit.monitoring.drift.drift_cases import dead_letter, decision, ordinary


def test_a_word_counts_once_an_event_and_words_of_one_event_are_left_out() -> None:
    """A word counts once per event, and words of a single event are left out."""
    made = baseline.of([decision(("x", "x", "x", "lone")), decision(("x", "y")), decision(("y",)), dead_letter()])
    assert made.words == {"x": 2, "y": 2}
    assert made.events == 3


def test_producers_are_counted_and_the_silent_too() -> None:
    """Producers, events without a source, and producers of a single event are counted."""
    made = baseline.of([decision(source=name) for name in ("a", "a", "b", None)])
    assert (made.sources, made.without_source, made.lone_sources) == ({"a": 2, "b": 1}, 1, 1)
    assert made.label_ratio == {"mlops": 1.0}


def test_a_file_reads_back_the_same(tmp_path: Path) -> None:
    """A written baseline reads back equal, with the same digest."""
    made = baseline.of(list(ordinary(300)), model="d" * 64)
    path = tmp_path / "reference.json"
    path.write_bytes(baseline.render(made))
    assert baseline.read(path) == made
    assert baseline.read(path).digest == made.digest


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b"\xff", b'{"format": 2}', None])
def test_another_file_is_refused_with_the_next_step(tmp_path: Path, content: bytes | None) -> None:
    """A missing file or one with other content is refused with the next step."""
    path = tmp_path / "reference.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(BaselineError, match=r"reference\.json is no drift reference: .*tagstream drift --from"):
        baseline.read(path)


def test_learning_is_bounded_whatever_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The number of counted words and producers is bounded."""
    monkeypatch.setattr(baseline, "MOST_WORDS", 50)
    monkeypatch.setattr(baseline, "MOST_SOURCES", 20)
    learning = baseline.Learning()
    for batch in range(10):
        learning.add([decision(("the", f"w{batch}-{number}"), source=f"s{batch}-{number}") for number in range(100)])
    assert len(learning.words) == 50
    assert len(learning.sources) == 20
    assert learning.words["the"] == 1_000


def test_nothing_is_no_baseline() -> None:
    """A baseline without decisions is an error, also with dead letters."""
    with pytest.raises(ValueError, match="a baseline needs decisions"):
        baseline.of([dead_letter()])
