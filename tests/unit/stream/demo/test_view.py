"""The demo as it is watched: the screen of `top` with the newest events below, lines elsewhere."""

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from rich.cells import cell_len
from rich.console import Console

from tagstream.monitoring.figures.compute import figures
from tagstream.monitoring.figures.figures import Figures
from tagstream.monitoring.figures.history import History
from tagstream.monitoring.figures.scrape import of_families
from tagstream.monitoring.top.panel import Frame
from tagstream.monitoring.top.top import NoWorkerError
from tagstream.stream.demo.account import Account, Landing
from tagstream.stream.demo.samples import SampleRecord
from tagstream.stream.demo.view import View, line
from tests.observations import Stream
from tests.unit.stream.demo.demo_records import (
    BALANCED,
    LABELS,
    Terminal,
    account,
    answered,
    dead,
    decided,
    found_words,
    outcomes,
    output,
    terminal,
    titled,
)

ADDRESSES = "http://127.0.0.1:9108/  http://127.0.0.1:8090/"


def seen() -> Figures:
    """The figures of a worker after a minute."""
    stream = Stream()
    stream.run(60)
    return figures(History().see({"a": of_families(stream.registry.collect(), at=stream.now)}))


@contextmanager
def shown(
    console: Console,
    made: Account,
    look: Callable[[], Figures] = seen,
    *,
    seconds: float | None = 30.0,
    only_said: bool = False,
) -> Iterator[View]:
    """The view of a demo that runs for half a minute."""
    view = View(console, addresses=ADDRESSES, seconds=seconds, look=look, only_said=only_said)
    with view.shown(made.totals):
        yield view


def drawn(width: int, height: int, *told: Landing) -> list[str]:
    """The frame with these events below, as lines of text."""
    console = Console(file=io.StringIO(), width=width, height=height, force_terminal=True, color_system=None)
    frame = Frame(seen(), title="tagstream demo", below=[line(one, brief=True) for one in told])
    return ["".join(segment.text for segment in one) for one in console.render_lines(frame, pad=False)]


@pytest.mark.parametrize(("width", "height"), [(60, 16), (80, 24), (100, 30), (120, 36), (200, 60)])
def test_the_screen_fits_its_terminal_and_has_room_for_events(width: int, height: int) -> None:
    """At every size it has as many lines as the terminal, none of them wider, and five events at least: figures give way."""
    titles = ["short", "a title that is far too long for any terminal " * 5, "広い文字の題名" * 20, "Finnish 😅 review"]
    lines = drawn(width, height, *(titled(title) for title in titles * 20))
    assert len(lines) == height
    assert max(cell_len(one) for one in lines) <= width
    assert sum(LABELS[0] in one and "0.9000" in one for one in lines) >= 5


def test_the_screen_at_80_columns_tells_what_matters() -> None:
    """The figures that `top` shows, an event with its tag, confidence and title, and a dead letter with its code."""
    lines = drawn(80, 24, *outcomes(decided("sample-1", topic="review"), dead("malformed-1", b"[]")))
    text = "\n".join(lines)
    (event,) = [one for one in lines if "A title" in one]
    (letter,) = [one for one in lines if "array" in one]
    assert event.split() == ["review", "mlops", "0.9000", "A", "title"]
    assert letter.split() == ["dlq", "not_an_object", "array"]
    assert all(label[:14] in text for label in LABELS)
    assert all(name in text for name in ("tagged/s", "p99", "waiting", "drift"))


def test_dead_letters_are_never_passed_over_for_the_newest() -> None:
    """One outcome a refresh can be read; of those that came meanwhile the rare ones are shown."""
    made = account(sent=tuple(SampleRecord(key=f"k{number}", value=b"", title=f"k{number}") for number in range(5)))
    console = terminal()
    with shown(console, made) as view:
        for record in (decided("k0"), dead("k1", b""), decided("k2"), decided("k3")):
            found = made.came(record)
            assert found is not None
            view.tell(found)
        view.refresh("running")
        text = output(console)
        assert "k1" in text
        assert not any(name in text for name in ("k0", "k2", "k3"))
        found = made.came(decided("k4"))
        assert found is not None
        view.tell(found)
        view.refresh("running")
        assert "k4" in output(console)


def test_a_pipe_gets_a_line_an_outcome_and_no_escape_codes() -> None:
    """Off a terminal a line has time, destination, tag, confidence, latency, key and title."""
    console = Console(file=io.StringIO(), width=40)
    with shown(console, account(*BALANCED)) as view:
        for one in outcomes(*BALANCED):
            view.tell(one)
        view.refresh("running")
        view.refresh("running")
        view.tell(found_words("und\x1b[2J"))
        view.tell(answered("A title", tag="mlops", model_tag="other"))
        view.tell(answered("A \x1b[2Jtitle", tag="mlops", model_tag="mlops"))
    first, second, phase, moved, corrected, agreed = output(console).splitlines()
    assert first.split() == ["00:00:01.020", "tagged", "mlops", "0.9000", "20", "ms", "sample-1", "A", "title"]
    assert second.split() == ["00:00:01.020", "dlq", "not_an_object", "20", "ms", "malformed-1"]
    assert phase == "--- after 2 events: running"
    assert moved == "21:03:12.000  drift   words     und\\x1b[2J 16.0% (was 0.1%)"
    assert corrected.split()[:6] == ["00:00:01.050", "answer", "mlops", "30", "ms", "sample-1"]
    assert corrected.endswith("A title  by ann, not other")
    assert agreed.endswith("A \\x1b[2Jtitle  by ann")


def test_a_terminal_gets_the_screen_and_is_given_back() -> None:
    """The alternate screen is entered, drawn on and left; it has the clock, the account and the addresses."""
    console = terminal()
    with shown(console, account(*BALANCED)) as view:
        view.tell(answered("A person's answer"))
        view.tell(found_words("und"))
        view.refresh("running")
    text = output(console)
    for part in ("A person's answer", "words     und 16.0%", "2 sent: 1 tagged, 0 in review, 1 dead, 0 waiting", ADDRESSES):
        assert part in text
    assert " of 0:30  running" in text
    assert (
        text.index("\x1b[?1049h") < text.index("tagstream demo") < text.index("A person's answer") < text.index("\x1b[?1049l")
    )
    endless = terminal()
    with shown(endless, account(*BALANCED), seconds=None) as view:
        view.refresh("running")
    assert "0:00  running" in output(endless)


@pytest.mark.parametrize("width", [80, 120])
def test_a_story_is_read_whole_on_a_terminal_and_after_it(width: int) -> None:
    """A sentence that is wider than the terminal takes several lines of the screen; when that is gone, it stands in the scrollback. Events are left out."""
    console = Console(file=Terminal(), width=width, height=30, color_system=None, _environ={"TERM": "xterm"})
    sentence = " ".join(f"word{number}" for number in range(40))
    with shown(console, account(*BALANCED), only_said=True) as view:
        for one in outcomes(*BALANCED):
            view.tell(one)
        view.say(sentence)
        view.refresh("running")
    on_screen, _, after = output(console).partition("\x1b[?1049l")
    assert all(f"word{number}" in on_screen for number in range(40))
    assert sentence in after
    assert "sample-1" not in on_screen + after


def test_a_story_off_a_terminal_is_a_line_a_sentence() -> None:
    """Each is there at once, and only once."""
    console = Console(file=io.StringIO(), width=40)
    with shown(console, account(*BALANCED), only_said=True) as view:
        view.say("$ tagstream rollout canary default --share 0.2 --margin 0.05")
        assert output(console).splitlines() == ["$ tagstream rollout canary default --share 0.2 --margin 0.05"]
    assert len(output(console).splitlines()) == 1


def test_a_worker_that_does_not_answer_keeps_its_last_figures() -> None:
    """A worker that is stopping does not answer, and the screen goes on."""

    def gone() -> Figures:
        msg = "nothing listens there"
        raise NoWorkerError(msg)

    with shown(terminal(), account(*BALANCED), gone) as view:
        view.refresh("stopping the worker")


def test_colour_forced_on_a_log_makes_it_no_terminal() -> None:
    """CI sets FORCE_COLOR; frames drawn over each other would be all that its log shows."""
    console = Console(file=io.StringIO(), width=80, force_terminal=True, _environ={"TERM": "xterm"})
    with shown(console, account(*BALANCED)) as view:
        view.refresh("running")
    assert "--- after 2 events: running" in output(console)
    assert "\x1b[?1049h" not in output(console)
