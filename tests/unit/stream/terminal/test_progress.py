"""How far a run of rows has come, on a terminal and in a log."""

import io

import pytest

from tagstream.stream.terminal import progress
from tagstream.stream.terminal.console import Terminal


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        """Midnight."""
        self.now = 0.0

    def __call__(self) -> float:
        """The time."""
        return self.now


def test_a_log_gets_a_line_from_time_to_time() -> None:
    """Rows, the rate of the last seconds, the share of the input, and the time that is left; not a line for each chunk."""
    clock, said = Clock(), list[str]()
    with progress.rows("tagging a.csv", size=1_000, say=said.append, clock=clock) as advance:
        for second in range(1, 26):
            clock.now = float(second)
            advance(second * 10, second * 10, second * 20.0)
    assert said == [
        "tagging a.csv: 100 rows, 10 rows/s, 20% of the input, 40 s left",
        "tagging a.csv: 200 rows, 10 rows/s, 40% of the input, 30 s left",
    ]


def test_an_input_of_unknown_size_has_no_share() -> None:
    """Without a size there is no share and no time left."""
    clock, said = Clock(), list[str]()
    with progress.rows("tagging t", size=0, say=said.append, clock=clock) as advance:
        advance(0, 0, 0)
        clock.now = 10.0
        advance(50, 50, 50)
    assert said == ["tagging t: 50 rows, 5 rows/s"]


def test_the_rate_is_that_of_the_last_seconds() -> None:
    """Rows that were in the output already go by at once; the rate is of those that are decided, and forgets what is long past."""
    clock = Clock()
    rate = progress.Rate(clock)
    assert rate.at(0) == 0.0
    for second in range(1, 100):
        clock.now = float(second)
        found = rate.at(100 * min(second, 50))
        if second == 50:
            assert found == 100.0
    assert found == 0.0


def test_a_terminal_gets_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal there is a bar with rows, rate and time left, and no line."""
    shown, said = io.StringIO(), list[str]()
    monkeypatch.setattr(progress, "err", Terminal(file=shown, force_terminal=True, width=120))
    with progress.rows("tagging a.csv", size=100, say=said.append) as advance:
        advance(1_234, 1_234, 50)
    assert "tagging a.csv" in shown.getvalue()
    assert "1,234 rows" in shown.getvalue()
    assert "rows/s" in shown.getvalue()
    assert not said


def test_a_log_of_stages_says_what_begins_what_is_left_and_what_is_done() -> None:
    """A stage that goes on from a kept step has the time left of its own steps, and nothing is said twice within ten seconds."""
    clock, said = Clock(), list[str]()
    with progress.stages(say=said.append, clock=clock) as tell:
        for step in range(51, 101):
            tell("teacher", step, 100)
            clock.now += 1.0
        tell("student", 0, 1)
        clock.now += 3.0
        tell("student", 1, 1)
    assert said == [
        "teacher: begins",
        "teacher: 61 of 100, 39 s left",
        "teacher: 71 of 100, 29 s left",
        "teacher: 81 of 100, 19 s left",
        "teacher: 91 of 100, 9 s left",
        "teacher: done in 49 s",
        "student: begins",
        "student: done in 3 s",
    ]


def test_a_terminal_gets_a_bar_for_each_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every stage has its bar with the share that is done."""
    shown = io.StringIO()
    monkeypatch.setattr(progress, "err", Terminal(file=shown, force_terminal=True, width=120))
    with progress.stages() as tell:
        tell("teacher", 1, 4)
        tell("student", 4, 4)
    assert "teacher" in shown.getvalue()
    assert "25%" in shown.getvalue()
    assert "student" in shown.getvalue()
