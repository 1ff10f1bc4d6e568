"""`tagstream top` against real sockets: figures, alarms and errors."""

import contextlib
import io
import json
import time
from collections.abc import Callable, Iterator

import pytest
from rich.cells import cell_len
from rich.console import Console
from typer.testing import CliRunner

from tagstream.monitoring.figures.compute import figures
from tagstream.monitoring.figures.figures import LabelFigures, leading
from tagstream.monitoring.figures.history import History
from tagstream.monitoring.figures.scrape import of_families
from tagstream.monitoring.health import STARTING, HealthVerdict
from tagstream.monitoring.screen import DASH, screen
from tagstream.monitoring.server.server import serve
from tagstream.monitoring.top import panel, top
from tagstream.monitoring.top.panel import Frame
from tagstream.monitoring.top.top import NoWorkerError, Watcher
from tagstream.monitoring.top.workers import WorkerAddressError, address, ask, get
from tagstream.monitoring.vocabulary import PlanState
from tagstream.stream.cli import main
from tagstream.stream.settings.metrics_address import NoPortError, own_address
from tagstream.stream.settings.settings import Settings
from tests.foreign.labels import MANY
from tests.observations import LABELS, Stream
from tests.replacing import replace
from tests.worker_page import application

READY = HealthVerdict(ready=True, why="6 partitions")
NOBODY = "127.0.0.1:9"


@contextlib.contextmanager
def served(stream: Stream, verdict: HealthVerdict = READY) -> Iterator[str]:
    """A worker's server with the stream behind it; yields host:port."""
    with serve(application(stream.registry, lambda: verdict), host="127.0.0.1", port=0) as port:
        yield f"127.0.0.1:{port}"


@pytest.fixture
def stream() -> Stream:
    """A worker of this minute."""
    made = Stream(start=time.time() - 60)
    made.run(55)
    return made


def drawn(frame: Frame, width: int, height: int = 24) -> list[str]:
    """A frame's lines on a terminal of this size."""
    console = Console(file=io.StringIO(), width=width, height=height, color_system=None, force_terminal=True)
    console.print(frame)
    text = console.file
    assert isinstance(text, io.StringIO)
    return text.getvalue().removesuffix("\n").split("\n")


def of(stream: Stream) -> Frame:
    """The whole frame of a stream since its start."""
    return Frame(figures(History().see({"a": of_families(stream.registry.collect(), at=stream.now)})), whole=True)


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("worker-1:9108", "http://worker-1:9108/metrics"),
        ("http://worker-1:9108", "http://worker-1:9108/metrics"),
        ("http://worker-1:9108/", "http://worker-1:9108/metrics"),
        ("https://h/some/metrics", "https://h/some/metrics"),
        ("http://[::1]:9108/metrics", "http://[::1]:9108/metrics"),
        ("http://h/metrics?x=1", "http://h/metrics?x=1"),
    ],
)
def test_an_address_is_taken_as_people_type_it(typed: str, meant: str) -> None:
    """A host and a port are enough for an address."""
    assert str(address(typed)) == meant


@pytest.mark.parametrize("typed", ["ftp://h/metrics", "http://", "h:port", "h:99999", "h:0", ""])
def test_what_is_no_address_is_refused_with_an_example(typed: str) -> None:
    """A text that is not an address is refused with an example."""
    with pytest.raises(WorkerAddressError, match=r"HOST:PORT"):
        address(typed)


def test_the_settings_say_where_their_own_worker_is() -> None:
    """The address from the settings can be connected to, also if the worker binds all interfaces."""
    assert own_address(Settings()) == "http://127.0.0.1:9108/metrics"
    assert own_address(Settings(metrics_host="0.0.0.0", metrics_port=7)) == "http://127.0.0.1:7/metrics"  # noqa: S104
    assert own_address(Settings(metrics_host="::1")) == "http://[::1]:9108/metrics"


def test_a_port_that_the_settings_leave_open_is_said_with_its_place() -> None:
    """With port 0 in the settings `top` says that the worker's log has the port, and how to name it."""
    result = CliRunner().invoke(main.app, ["top", "--once"], env={"TAGSTREAM_METRICS_PORT": "0"})
    assert isinstance(result.exception, NoPortError)
    assert "its log line worker_starting" in str(result.exception)
    assert "tagstream top http://127.0.0.1:PORT/metrics" in str(result.exception)


def test_several_workers_are_one_stream(stream: Stream) -> None:
    """The figures of several workers are pooled; a repeated address counts once."""
    other = Stream(seed=9, start=time.time() - 60)
    other.run(55)
    with served(stream) as one, served(other) as two:
        found = Watcher([address(one), address(two), address(one)]).look()
    assert found.workers == 2
    assert found.totals.received == 2 * 55 * 20
    assert found.troubles == ()


def test_a_worker_that_does_not_answer_is_an_alarm_beside_those_that_do(stream: Stream) -> None:
    """A worker that does not answer is an alarm, and the others are still shown."""
    with served(stream) as one:
        found = Watcher([address(one), address(NOBODY)]).look()
    assert found.workers == 1
    (trouble,) = found.troubles
    assert (trouble.answers, trouble.why) == (False, "nothing listens there")
    assert "WorkerAbsent" in "\n".join(drawn(Frame(found, whole=True), 100))


def test_a_worker_that_is_not_ready_says_why(stream: Stream) -> None:
    """A worker that is not ready is shown with the reason of its readiness."""
    with served(stream, HealthVerdict(ready=False, why="7 events wait and none has moved")) as one:
        found = Watcher([address(one)]).look()
    assert [trouble.why for trouble in found.troubles] == ["7 events wait and none has moved"]


def test_a_worker_that_starts_is_shown_without_an_alarm(stream: Stream) -> None:
    """The wait for the first partitions is said in a quiet line, and no alarm."""
    with served(stream, HealthVerdict(ready=False, why=STARTING)) as one:
        frame = " ".join(" ".join(drawn(Frame(Watcher([address(one)]).look(), whole=True), 120)).split())
    assert f"is not ready, which is no alarm: {STARTING}" in frame
    assert "Stalled" not in frame


def test_a_lower_bound_of_a_latency_is_marked(stream: Stream) -> None:
    """A latency of which only a lower bound is known has a sign before it."""
    with served(stream) as one:
        found = Watcher([address(one)]).look()
    flow = replace(found.flow, p50_seconds=0.02, p99_seconds=60.0, p99_more=True)
    frame = "\n".join(drawn(Frame(replace(found, flow=flow), whole=True), 120))
    assert "> 60 s" in frame
    assert "> 20 ms" not in frame


def test_a_worker_whose_breaker_is_open_is_not_called_stalled_in_a_frame_and_on_the_page(stream: Stream) -> None:
    """An open breaker has its own alarm with the worker's next step, in the terminal and on the page."""
    stream.metrics.circuit_breaker(is_open=True)
    why = "the circuit breaker is open: 30 of 100. Next: docs/runbooks/CircuitBreakerOpen.md, then remove /state/a.breaker"
    with served(stream, HealthVerdict(ready=False, why=why)) as one:
        frame = "\n".join(drawn(Frame(Watcher([address(one)]).look(), whole=True), 100))
        page = json.loads(get(address(one), "/snapshot.json")[1])
    assert "CircuitBreakerOpen" in frame
    assert "Stalled" not in frame
    assert [alarm["name"] for alarm in page["alarms"] if alarm["tier"] == "page"] == ["CircuitBreakerOpen"]
    assert page["alarms"][0]["next"] == "docs/runbooks/CircuitBreakerOpen.md, then remove /state/a.breaker."


def test_metrics_that_are_passed_on_have_no_readiness(stream: Stream) -> None:
    """Metrics served under another path have no readiness, and its absence is no alarm."""
    assert address("http://h/federate").readiness is None
    assert address("http://h/a/metrics").readiness == "/a/readyz"
    with served(stream) as one:
        found, trouble = ask(address(f"http://{one}/metrics"))
    assert found is not None
    assert trouble is None


@pytest.mark.parametrize(("place", "why"), [(NOBODY, "nothing listens there"), ("nowhere.invalid:1", "nowhere.invalid")])
def test_nobody_who_answers_is_an_error_with_what_why_and_next(place: str, why: str) -> None:
    """If no worker answers, the error has exit code 1, each reason and the next step."""
    with pytest.raises(NoWorkerError) as caught:
        Watcher([address(place)]).look()
    assert why in str(caught.value)
    assert "Next: start one" in str(caught.value)
    assert caught.value.exit_code == 1


def test_a_path_without_metrics_is_an_error_that_says_so(stream: Stream) -> None:
    """A path with a 404 or another content is an error with its reason."""
    with served(stream) as one:
        with pytest.raises(NoWorkerError, match="it answers 404"):
            Watcher([address(f"http://{one}/nothing")]).look()
        with pytest.raises(NoWorkerError, match=r"text format|none of its series"):
            Watcher([address(f"http://{one}/snapshot.json")]).look()


def test_a_name_that_a_worker_does_not_answer_to_is_said_with_the_setting() -> None:
    """`top` passes on the sentence of a worker that refuses the name in its address."""

    def other(_: object, start_response: Callable[..., object]) -> list[bytes]:
        start_response("421 Misdirected Request", [])
        return [b"not my name: TAGSTREAM_METRICS_NAMES\n"]

    with serve(other, host="127.0.0.1", port=0) as port:
        found, trouble = ask(address(f"127.0.0.1:{port}"))
    assert found is None
    assert trouble is not None
    assert trouble.why == "it answers 421: not my name: TAGSTREAM_METRICS_NAMES"


def test_once_prints_a_frame_and_ends(stream: Stream) -> None:
    """With `--once` one frame is printed, without control characters outside a terminal."""
    with served(stream) as one:
        result = CliRunner().invoke(main.app, ["top", "--once", "--every", "0.2", one])
    assert result.exit_code == 0
    assert "tagged/s" in result.output
    assert "\x1b" not in result.output


def test_once_as_json_is_one_object(stream: Stream) -> None:
    """JSON output has the figures and alarms of the page."""
    with served(stream) as one:
        result = CliRunner().invoke(main.app, ["top", "--once", "--json", "--every", "0.2", one])
    found = json.loads(result.stdout)
    assert result.exit_code == 0
    assert found["figures"]["totals"]["received"] == 1100
    assert found["alarms"] == []


def test_the_span_of_rates_is_said(stream: Stream) -> None:
    """Rates of a single second are said to be of that second, in a frame and in JSON."""
    kept = History()
    kept.see({"w": of_families(stream.registry.collect(), at=stream.now)})
    stream.run(1, rate=4)
    found = figures(kept.see({"w": of_families(stream.registry.collect(), at=stream.now)}))
    assert "rates and latency of the last 1.0 s" in "\n".join(drawn(Frame(found, whole=True), 80))
    assert found.flow.seconds == pytest.approx(1)
    with served(stream) as one:
        frame = CliRunner().invoke(main.app, ["top", "--once", "--every", "0.2", one]).output
        page = json.loads(get(address(one), "/snapshot.json")[1])["figures"]["flow"]
    assert "no rates yet" in frame
    assert "seconds" in page


def test_ctrl_c_is_the_ordinary_end(stream: Stream, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C ends the command without an error."""

    def interrupted(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(top.time, "sleep", interrupted)
    with served(stream) as one:
        assert CliRunner().invoke(main.app, ["top", one]).exit_code == 0


class Terminal(io.StringIO):
    """A text stream that claims to be a terminal."""

    def isatty(self) -> bool:
        """Always."""
        return True


def test_a_live_view_keeps_the_last_figures_while_nobody_answers(stream: Stream, monkeypatch: pytest.MonkeyPatch) -> None:
    """While no worker answers, the last figures stay with their age."""
    console = Console(file=Terminal(), width=100, height=30, color_system=None, _environ={"TERM": "xterm"})
    looks = 0

    class Fading(Watcher):
        def look(self):  # type: ignore[no-untyped-def]  # noqa: ANN202
            nonlocal looks
            looks += 1
            if looks > 3:
                raise KeyboardInterrupt if looks > 5 else NoWorkerError("no worker answers")
            return super().look()

    monkeypatch.setattr(top, "Watcher", Fading)
    with served(stream) as one:
        top.top([address(one)], once=False, as_json=False, every_seconds=0.01, console=console, show_json=print)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "These figures are 0 s old: no worker answers" in text
    # The alternate screen: taken once and given back.
    assert text.count("\x1b[?1049h") == text.count("\x1b[?1049l") == 1


@pytest.mark.parametrize("width", [40, 60, 75, 76, 80, 100, 120, 160, 250])
@pytest.mark.parametrize("drift", [0.0, 1.0])
def test_a_frame_fits_any_terminal(width: int, drift: float) -> None:
    """No line is wider than the terminal, and the main figures are shown."""
    made = Stream()
    made.run(100, drift=drift)
    lines = drawn(of(made), width)
    assert all(cell_len(line) <= width for line in lines)
    assert any("tags" in line for line in lines)
    assert any("label mix (PSI)" in line for line in lines)
    assert any("title alone" in line for line in lines)


@pytest.mark.parametrize("width", [40, 60, 76, 80, 100, 160])
def test_totals_and_sudden_changes_are_whole(width: int) -> None:
    """Totals and sudden changes wrap to a second line instead of being cut."""
    made = Stream()
    made.run(100)
    calm = of(made).figures
    counted = replace(
        calm,
        detectors=replace(calm.detectors, changes={"confidence": 1, "energy": 12, "token_count": 3}),
        totals=replace(calm.totals, tagged=1_000_089, review=3_006, dlq=912),
    )
    column = width if width < panel.TWO_COLUMNS else (width - panel.GAP) // 2
    said = " ".join(" ".join(line[:column] for line in drawn(Frame(counted, whole=True), width)).split())
    assert "total: 1000089 tagged, 3006 review, 912 dead" in said
    assert "sudden changes: confidence 1, energy 12, token count 3" in said


@pytest.mark.parametrize("height", [10, 24, 60])
def test_a_live_frame_has_the_height_of_the_terminal(height: int, stream: Stream) -> None:
    """A live frame is exactly as high as the terminal, so it does not scroll."""
    lines = drawn(Frame(of(stream).figures), 80, height)
    assert len(lines) == height
    assert "Ctrl-C ends" in lines[-1]


def test_at_160_columns_labels_and_sentences_are_whole() -> None:
    """At 160 columns labels and sentences are not cut."""
    made = Stream()
    made.run(100, drift=1.0)
    text = "\n".join(drawn(of(made), 160))
    assert all(label in text for label in LABELS)
    assert "The language or the format of the texts has changed" in text
    assert "…" not in text


@pytest.mark.parametrize("width", [76, 80, 100])
def test_names_of_labels_and_figures_are_whole_on_a_narrow_terminal(width: int) -> None:
    """A name that is too long for its column goes on in the next line; no character of it is lost."""
    made = Stream()
    made.run(100, drift=1.0)
    left, right = (
        block(of(made).figures, screen(of(made).figures), (width - 3) // 2) for block in (panel._tags, panel._shares)
    )
    assert not any("…" in line.plain for line in left + right)
    joined = "".join(line.plain.strip().partition(" ")[0] for line in left)
    assert all(label in joined for label in LABELS)
    words = " ".join(word for line in right for word in line.plain.split())
    assert all(word in words for word in ("unlike the", "training", "text"))


def test_without_a_worker_what_waits_is_said(stream: Stream) -> None:
    """The brokers are asked when no worker answers, and not again at each look; a worker that answers has its own figures."""
    asked: list[int] = []

    def waiting() -> str:
        asked.append(1)
        return "200 events wait."

    watcher = Watcher([address(NOBODY)], waiting)
    for _ in range(2):
        with pytest.raises(NoWorkerError, match=r"nothing listens there\). 200 events wait. Next: start one"):
            watcher.look()
    assert len(asked) == 1
    with served(stream) as one:
        Watcher([address(one)], waiting).look()
    assert len(asked) == 1


def test_an_empty_worker_shows_dashes() -> None:
    """A worker without events is shown with dashes."""
    made = Stream()
    lines = drawn(of(made), 80)
    assert lines[2].split()[:3] == ["\N{EN DASH}"] * 3
    assert "No alarm" in "\n".join(lines)
    assert "drift is judged from 500 decisions on" in "\n".join(lines)


def test_what_another_machine_says_cannot_move_the_cursor() -> None:
    """Control characters in names from other machines are replaced."""
    assert panel.plain("a\x1b[2Jb\n") == "a?[2Jb?"


def test_of_77_labels_ten_are_shown_and_the_others_are_one_line() -> None:
    """The ten with the largest share, then how many more there are with the sum of their shares; none is lost from the sum."""
    made = Stream(labels=MANY)
    made.run(200)
    found = of(made).figures
    shown = leading(found.labels)
    assert [one.label for one in shown[-1:]] == ["67 more"]
    assert len(shown) == 11
    assert sum(one.share or 0 for one in shown) == pytest.approx(1)
    assert sum(one.reference or 0 for one in shown) == pytest.approx(1)
    assert min(one.share or 0 for one in shown[:10]) >= max(one.share or 0 for one in found.labels if one not in shown) - 0.05
    lines = drawn(of(made), 80)
    assert sum("67 more" in line for line in lines) == 1
    assert len(lines) < 50


def test_a_label_that_has_vanished_is_among_the_ten() -> None:
    """Its share of the reference counts too: a tag that nobody gets any more is news."""
    gone = LabelFigures(label="gone", share=0.0, reference=0.4, psi_term=1.0, confidence=None)
    rest = [LabelFigures(label=f"{n}", share=0.05, reference=0.03, psi_term=0.0, confidence=0.9) for n in range(20)]
    assert "gone" in {one.label for one in leading([*rest, gone])}
    assert leading(rest[:12]) == tuple(rest[:12])


@pytest.mark.parametrize("width", [40, 80, 160])
def test_a_rollout_has_a_line_of_words_that_is_whole(width: int) -> None:
    """And without one there is no such line."""
    stream = Stream()
    stream.run(60)

    def head() -> str:
        made = figures(History().see({"w": of_families(stream.registry.collect(), at=stream.now)}))
        return " ".join(" ".join(drawn(Frame(made, whole=True), width)).split())

    assert "rollout:" not in head()
    stream.metrics.rollout.decides_by(12)
    stream.metrics.rollout.planned(13, PlanState.LOADING, closing=None)
    assert f"rollout: epoch 12, champion {DASH}, held 0, following 1 of 1, plan 13: 1 loading" in head()
