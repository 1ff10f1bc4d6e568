"""The demo as it is watched: a picture on a terminal, lines elsewhere."""

import io
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from rich.cells import cell_len
from rich.console import Console

from monitoring.drift.findings import Finding
from monitoring.figures.compute import figures
from monitoring.figures.figures import Figures
from monitoring.figures.history import History
from monitoring.figures.snapshot import of_families
from monitoring.top.top import NoWorkerError
from stream.demo.ledger import Landing, Ledger
from stream.demo.people.answers import Reached
from stream.demo.samples import Sample
from stream.demo.screen import frame
from stream.demo.screen.frame import Frame, Moment
from stream.demo.screen.watch import Lines, Picture, Scene, pick, watch
from tests.observations import Stream
from tests.unit.stream.demo.demo_records import (
    ANSWERS,
    BALANCED,
    DOORS,
    LABELS,
    NO_ANSWERS,
    account,
    answered,
    dead,
    decided,
    found_words,
    landings,
    output,
    terminal,
    titled,
)


def seen() -> Figures:
    """The figures of a worker after a minute."""
    stream = Stream()
    stream.run(60)
    return figures(History().see({"a": of_families(stream.registry.collect(), at=stream.now)}))


def scene(look: Callable[[], Figures] = seen) -> Scene:
    """A demo on a broker."""
    return Scene(broker="the broker", address="http://h:1", console=None, seconds=None, look=look)


def moment(recent: Sequence[Landing | Finding | Reached], *, seconds: float | None = 30.0) -> Moment:
    """Twelve seconds into a run."""
    return Moment(
        broker="Apache Kafka 4.3.1 (KRaft, 1 node) on Java 17 at 127.0.0.1:30082",
        address="http://127.0.0.1:9108",
        console=None,
        elapsed_seconds=12.3,
        seconds=seconds,
        totals=account(*BALANCED).totals(),
        answers=NO_ANSWERS,
        figures=seen(),
        recent=recent,
        phase="running",
    )


def drawn(shown: Moment, width: int, height: int) -> list[str]:
    """The picture as lines of text."""
    console = Console(file=io.StringIO(), width=width, height=height, force_terminal=True, color_system=None)
    return ["".join(segment.text for segment in line) for line in console.render_lines(Frame(shown), pad=False)]


@pytest.mark.parametrize(("width", "height"), [(60, 20), (80, 24), (99, 30), (100, 30), (120, 36), (200, 60)])
def test_the_picture_fits_its_terminal(width: int, height: int) -> None:
    """At every size it has as many lines as the terminal, none of them wider."""
    titles = ["short", "a title that is far too long for any terminal " * 5, "広い文字の題名" * 20, "Finnish 😅 review"]
    shown = moment([titled(title) for title in titles * 20])
    moved = moment([found_words(title) for title in titles * 20])
    people = replace(moment([answered(title) for title in titles * 20]), console="http://127.0.0.1:8090", answers=ANSWERS)
    for one in (shown, moved, people, replace(shown, figures=None)):
        lines = drawn(one, width, height)
        assert len(lines) == height
        assert max(cell_len(line) for line in lines) <= width


@pytest.mark.parametrize("title", ["short", "x" * 300, "広い文字の題名" * 20, "広" * 18 + "x" * 90, ""])
@pytest.mark.parametrize("width", [60, 80, 81, 120])
def test_columns_stand_below_each_other(title: str, width: int) -> None:
    """A row has exactly the width it is given, with wide characters too."""
    assert cell_len(frame.row(titled(title), width).plain) == width
    assert cell_len(frame.row(answered(title), width).plain) == width
    assert cell_len(frame.row(answered(title, model_tag=LABELS[0]), width).plain) == width


def test_the_picture_at_80_columns_tells_what_matters() -> None:
    """Figures, tags, an event with its tag, confidence and door, a dead letter with its code, and the addresses."""
    lines = drawn(moment(landings(decided("sample-1", topic="review"), dead("malformed-1", b"[]"))), 80, 24)
    text = "\n".join(lines)
    assert "0:12 of 0:30" in lines[0]
    assert "Apache Kafka 4.3.1" in lines[1]
    (event,) = [line for line in lines if "A title" in line]
    (letter,) = [line for line in lines if "array" in line]
    assert event.split()[:2] == ["○", "A"]
    assert event.split()[-2:] == ["0.90", "review"]
    assert "mlops" in event
    assert letter.split() == ["x", "array", "not_an_object", "dead"]
    assert "http://127.0.0.1:9108/  /metrics  /healthz  /readyz" in text
    # The longest name is cut at this width.
    assert all(label[:14] in text for label in LABELS)
    assert all(name in text for name in ("tagged/s", "p99", "waiting", "drift"))
    assert "2 sent: 1 tagged, 0 in review, 1 dead, 0 waiting" in text


def test_the_console_and_what_people_answered_stand_in_the_picture() -> None:
    """Its address with the counts of answers, and a line for an answer with the model's tag if that was another."""
    given = [answered("First", tag="mlops", model_tag="other"), answered("Second", tag="mlops", model_tag="mlops")]
    shown = replace(moment(given), console="http://127.0.0.1:8090", answers=ANSWERS)
    lines = drawn(shown, 80, 24)
    assert lines[3].strip() == "http://127.0.0.1:8090/  12 answered, 12 tagged by people"
    first, second = (next(line for line in lines if title in line) for title in ("First", "Second"))
    assert first.split() == ["◆", "First", "mlops", "not", "other", "answer"]
    assert second.split() == ["◆", "Second", "mlops", "answer"]


@pytest.mark.parametrize(("width", "height"), [(60, 16), (80, 24)])
def test_events_keep_their_place_on_a_small_terminal(width: int, height: int) -> None:
    """Figures give way: five events are always shown."""
    lines = drawn(moment([titled(f"event {number}") for number in range(20)]), width, height)
    assert sum("event 1" in line for line in lines) >= 5


def test_what_moved_stands_among_the_events() -> None:
    """A finding is a line that names the words, and no word moves the cursor."""
    text = "\n".join(drawn(moment([found_words("und\x1b[2J")]), 80, 24))
    assert " ! words: und\\x1b[2J 16.0% (was 0.1%)" in text
    assert "\x1b" not in text


def test_a_run_without_an_end_shows_no_end() -> None:
    """Without --seconds the clock shows only the elapsed time."""
    assert " of " not in drawn(moment([], seconds=None), 80, 24)[0]


def test_dead_letters_are_never_passed_over_for_the_newest() -> None:
    """Of more outcomes than can be read, the rare ones are shown, in the order in which they came."""
    ledger = Ledger(DOORS)
    for number in range(5):
        ledger.sent(Sample(key=f"k{number}", value=b"", title=f"k{number}"), 1_000)
    came = [decided("k0"), dead("k1", b""), decided("k2"), decided("k3"), decided("k4")]
    found = [landing for record in came if (landing := ledger.received(record)) is not None]
    assert [landing.sample.title for landing in pick(found, 2)] == ["k1", "k4"]
    assert pick(found, 9) == found


def test_a_pipe_gets_a_line_an_outcome_and_no_escape_codes() -> None:
    """Off a terminal a line has time, door, tag, confidence, latency, key and title."""
    console = Console(file=io.StringIO(), width=40)
    with watch(console, scene()) as view:
        assert isinstance(view, Lines)
        for landing in landings(*BALANCED):
            view.landed(landing)
        view.refresh(account(*BALANCED).totals(), "running", NO_ANSWERS)
        view.moved(found_words("und"))
        view.reached(answered("A title", tag="mlops", model_tag="other"))
        view.reached(answered("A \x1b[2Jtitle", tag="mlops", model_tag="mlops"))
    first, second, phase, moved, corrected, agreed = output(console).splitlines()
    assert first.split() == ["00:00:01.020", "tagged", "mlops", "0.9000", "20", "ms", "sample-1", "A", "title"]
    assert second.split() == ["00:00:01.020", "dlq", "not_an_object", "20", "ms", "malformed-1"]
    assert phase == "--- after 2 events: running"
    assert moved == "21:03:12.000  drift   words     und 16.0% (was 0.1%)"
    assert corrected.split()[:6] == ["00:00:01.050", "answer", "mlops", "30", "ms", "sample-1"]
    assert corrected.endswith("A title  by ann, not other")
    assert agreed.endswith("A \\x1b[2Jtitle  by ann")


def test_a_terminal_gets_the_picture_and_is_given_back() -> None:
    """The alternate screen is entered, drawn on and left."""
    console = terminal()
    with watch(console, scene()) as view:
        assert isinstance(view, Picture)
        for landing in landings(*BALANCED):
            view.landed(landing)
        view.reached(answered("A person's answer"))
        for name in ("A title", "array"):
            # One more a refresh, in their order: a list that jumps cannot be read.
            assert name not in output(console)
            view.refresh(account(*BALANCED).totals(), "running", NO_ANSWERS)
            assert name in output(console)
    text = output(console)
    assert "A person's answer" in text
    assert text.index("\x1b[?1049h") < text.index("the broker") < text.index("A title") < text.index("\x1b[?1049l")


def test_a_worker_that_does_not_answer_keeps_its_last_figures() -> None:
    """A worker that is stopping does not answer, and the picture goes on."""

    def gone() -> Figures:
        msg = "nothing listens there"
        raise NoWorkerError(msg)

    with watch(terminal(), scene(gone)) as view:
        view.refresh(account(*BALANCED).totals(), "stopping the worker", NO_ANSWERS)


def test_colour_forced_on_a_log_makes_it_no_terminal() -> None:
    """CI sets FORCE_COLOR; pictures drawn over each other would be all that its log shows."""
    console = Console(file=io.StringIO(), width=80, force_terminal=True, _environ={"TERM": "xterm"})
    assert isinstance(watch(console, scene()), Lines)
