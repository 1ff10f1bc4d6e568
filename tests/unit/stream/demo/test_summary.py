"""The end of a demo: figures and verdict."""

import io

import pytest
from rich.cells import cell_len
from rich.console import Console

from tagstream.stream.demo import summary
from tests.replacing import replace
from tests.unit.stream.demo.demo_records import BALANCED, Terminal, account, output, terminal

ANSWERS = {"given": 12, "reached": 12, "agreed": 9, "answer_p50_ms": 31}


@pytest.mark.parametrize("on_terminal", [True, False])
def test_the_summary_has_every_figure(on_terminal: bool) -> None:
    """On a terminal and in a file, the contract's figures stand under the contract's names."""
    console = terminal() if on_terminal else Console(file=io.StringIO(), width=80)
    assert summary.print_summary(console, account(*BALANCED), [])
    words = " ".join(output(console).split())
    for expected in ("events in 2", "tagged 1", "in review 0", "dead-lettered 1", "duplicates 0", "unaccounted 0"):
        assert expected in words
    for expected in ("events/s 100.0", "p50 latency 20 ms", "p99 latency 20 ms", "mlops 1", "not_an_object 1"):
        assert expected in words
    assert "All 2 events are accounted for" in words


@pytest.mark.parametrize("on_terminal", [True, False])
@pytest.mark.parametrize("width", [24, 40, 60, 66, 80, 120])
def test_no_number_of_the_summary_is_cut(width: int, on_terminal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of 1234 looks like another number; a name may give way."""
    made = Console(
        file=Terminal() if on_terminal else io.StringIO(), width=width, color_system=None, _environ={"TERM": "xterm"}
    )
    counted = account(*BALANCED)
    totals = replace(
        counted.totals(),
        sent=101_234,
        tags={"natural-language-processing": 102_345, "other": 103_456},
        codes={"produce_rejected_by_the_broker": 104_567, "unsupported_schema_version": 105_678},
        **(ANSWERS | {"given": 106_789}),
    )
    monkeypatch.setattr(counted, "totals", lambda: totals)
    summary.print_summary(made, counted, [])
    lines = output(made).splitlines()
    figures = lines[: next(number for number, line in enumerate(lines) if line.startswith("All "))]
    assert all(cell_len(line) <= width for line in figures)
    for number in ("101234", "102345", "103456", "104567", "105678", "106789"):
        assert number in "\n".join(figures).split()


def test_the_summary_says_what_is_missing() -> None:
    """A missing event is named, and the verdict is not that all is well."""
    console = Console(file=io.StringIO(), width=80)
    assert not summary.print_summary(console, account(BALANCED[1]), [])
    text = output(console)
    assert "1 without an outcome: sample-1" in text
    assert "accounted for: each" not in text


def test_a_worker_that_had_to_be_killed_is_told_from_a_missing_event() -> None:
    """If all events are accounted for, the headline says so, and only the line below it names the disorder."""
    killed = "the worker was still there 30 s after SIGTERM and was killed"
    whole, missing = account(*BALANCED), account(BALANCED[1])
    assert summary.verdict(whole.totals(), whole.problems(), [killed]).plain.splitlines() == [
        "All 2 events are accounted for, but the demo did not end in order:",
        f"  {killed}",
    ]
    assert summary.verdict(missing.totals(), missing.problems(), [killed]).plain.splitlines() == [
        "Not everything is accounted for:",
        "  1 without an outcome: sample-1",
        f"  {killed}",
    ]


def test_answers_have_a_block_and_a_sentence() -> None:
    """How many were given, how many are in `tagged`, and how many say what the model said; nothing where nobody answered."""
    totals = account(*BALANCED).totals()
    answered = replace(totals, **ANSWERS)
    assert [row[:2] for row in summary.answers(answered)[1:]] == [
        ("answers given", "12"),
        ("answers in tagged", "12"),
        ("as the model says", "9"),
        ("p50 to tagged", "31 ms"),
    ]
    assert summary.verdict(answered, []).plain.endswith("each is on exactly one topic. All 12 answers are in tagged.")
    assert summary.answers(totals) == []
    assert "answers" not in summary.verdict(totals, []).plain


def test_an_empty_run_is_no_success() -> None:
    """A demo without events does not end as a success."""
    console = Console(file=io.StringIO(), width=80)
    assert not summary.print_summary(console, account(sent=()), [])
    assert "No event was sent" in output(console)
