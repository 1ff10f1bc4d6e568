"""The demo without a broker: what it sends, how it keeps account, what it shows."""

import io
import itertools
import os
import re
import signal
import socket
from collections import Counter
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from rich.cells import cell_len
from rich.console import Console

from monitoring import limits
from monitoring.drift.findings import Finding, Model, Span, Word
from monitoring.observer import Destination, DriftKind
from stream.contract.events import ContentEvent, Rejected, decode
from stream.contract.record import Record
from stream.demo import frame, process, samples, summary
from stream.demo.frame import Frame, Moment
from stream.demo.interrupt import interrupts
from stream.demo.ledger import Landing, Ledger, percentile
from stream.demo.opening import Opening
from stream.demo.run import Drift, demo, mixed_samples
from stream.demo.samples import Sample
from stream.demo.shifts import Shift
from stream.demo.watch import Lines, Picture, Scene, pick, watch
from stream.settings.loading import load
from stream.settings.settings import Settings

DOORS = {"tagged": Destination.TAGGED, "review": Destination.REVIEW, "content.dlq": Destination.DLQ}
LABELS = ("natural-language-processing", "computer-vision", "mlops", "other")
EVENT = Sample(key="sample-1", value=b'{"id":"sample-1","title":"A title"}', title="A title")
MALFORMED = Sample(key="malformed-1", value=b"[]", title="array", code=samples.Reason.NOT_AN_OBJECT)


def decided(key: str, *, topic: str = "tagged", tag: str = "mlops", decider: str = "model", at_ms: int = 1_020) -> Record:
    """A decision as the worker publishes it, as far as the demo reads it."""
    value = {
        "tag": tag,
        "confidence": 0.9,
        "decider": decider,
        "probabilities": dict.fromkeys(LABELS, 0.25),
        "title": "A title",
    }
    return Record(topic=topic, key=key.encode(), value=msgspec.json.encode(value), timestamp_ms=at_ms)


def dead(key: str, value: bytes | None, code: str | None = "not_an_object", *, at_ms: int = 1_020) -> Record:
    """A dead letter as the worker publishes it."""
    headers = () if code is None else (("x-dlq-code", b"an older one"), ("x-dlq-code", code.encode()))
    return Record(topic="content.dlq", key=key.encode(), value=value, headers=headers, timestamp_ms=at_ms)


def account(*records: Record, sent: tuple[Sample, ...] = (EVENT, MALFORMED), alone: bool = True) -> Ledger:
    """A ledger after these samples were sent at 1000 ms and these records came."""
    ledger = Ledger(DOORS, alone=alone)
    for sample in sent:
        ledger.sent(sample, 1_000)
    for record in records:
        ledger.received(record)
    return ledger


BALANCED = (decided("sample-1"), dead("malformed-1", b"[]"))


# --- what is sent ------------------------------------------------------------------------------------------------------


def as_record(sample: Sample) -> Record:
    """A sample as the worker gets it."""
    return Record(topic="content", partition=0, offset=0, timestamp_ms=0, key=sample.key.encode(), value=sample.value)


def test_every_sample_event_is_valid_under_the_id_that_is_its_key() -> None:
    """Two rounds of all sample events decode, and bear the ids by which their outcomes are found."""
    events = samples.load_events()
    sent = list(itertools.islice(samples.mix(events, []), 2 * len(events)))
    decoded = [decode(as_record(sample)) for sample in sent]
    assert [sample.key for sample in sent] == [event.id for event in decoded if isinstance(event, ContentEvent)]
    assert len({sample.key for sample in sent}) == 2 * len(events)


def test_every_malformed_sample_is_rejected_for_its_code() -> None:
    """What is sent to become a dead letter becomes one, under the code that the file promises."""
    malformed = samples.load_malformed()
    rejected = [decode(as_record(sample)) for sample in malformed]
    assert [sample.code for sample in malformed] == [r.reason for r in rejected if isinstance(r, Rejected)]
    assert len({sample.value for sample in malformed}) == len(malformed) == 30


def test_a_short_run_sees_every_code_once_before_any_twice() -> None:
    """The malformed come in an order in which even thirty seconds show all kinds."""
    codes = [sample.code for sample in samples.load_malformed()]
    assert len(set(codes[: len(set(codes))])) == len(set(codes)) > 8


def test_one_sample_in_125_is_malformed_at_a_steady_cadence() -> None:
    """The malformed stand at every 125th place and nowhere else: too few for a page."""
    mixed = itertools.islice(samples.mix(samples.load_events(), samples.load_malformed()), 1_000)
    places = [number for number, sample in enumerate(mixed, 1) if sample.code is not None]
    assert places == list(range(125, 1_001, 125))
    assert len(places) / 1_000 < limits.DEAD_LETTER_RATIO


def test_the_samples_come_in_one_order_that_mixes_their_sources() -> None:
    """Every run is the same stream, and no part of it is another stream than the whole."""
    events = samples.load_events()
    assert events == samples.load_events()
    assert len({event["id"] for event in events}) == len(events) > 2_000
    sources = Counter(event["source"] for event in events)
    for start in range(0, len(events) - 500, 500):
        part = Counter(event["source"] for event in events[start : start + 500])
        assert all(abs(part[source] / 500 - count / len(events)) < 0.1 for source, count in sources.items())


def test_a_new_round_brings_new_ids() -> None:
    """Events and malformed are numbered from their second round on; a shared broker's runs end differently."""
    events, malformed = [{"id": "a", "title": "A"}, {"id": "b", "title": "B"}], [MALFORMED]
    keys = [sample.key for sample in itertools.islice(samples.mix(events, malformed), 250)]
    assert keys[:4] == ["a", "b", "a-2", "b-2"]
    assert [keys[124], keys[249]] == ["malformed-1", "malformed-1-2"]
    assert [sample.key for sample in itertools.islice(samples.mix(events, [], run="f3"), 3)] == ["a-f3", "b-f3", "a-2-f3"]


# --- the account -------------------------------------------------------------------------------------------------------


def test_an_account_balances_when_every_input_left_by_its_one_door() -> None:
    """An event that was decided and a malformed one among the dead letters leave nothing to say."""
    ledger = account(*BALANCED)
    assert ledger.problems() == []
    assert ledger.waiting == 0


@pytest.mark.parametrize(
    ("records", "sentence"),
    [
        (BALANCED[1:], "1 left by no door: sample-1"),
        ((*BALANCED, decided("sample-1", topic="review")), "1 left by two doors: sample-1"),
        (
            (dead("sample-1", EVENT.value, "wrong_type"), BALANCED[1]),
            "1 is an event and became a dead letter: sample-1 (wrong_type)",
        ),
        ((BALANCED[0], decided("malformed-1")), "1 is malformed and was decided: malformed-1"),
        (
            (BALANCED[0], dead("malformed-1", b"[ ]")),
            "1 is a dead letter with other bytes than were sent: malformed-1",
        ),
        ((BALANCED[0], dead("malformed-1", None)), "1 is a dead letter with other bytes than were sent: malformed-1"),
        (
            (BALANCED[0], dead("malformed-1", b"[]", "empty")),
            "1 is a dead letter under the wrong code: malformed-1 (empty, not not_an_object)",
        ),
        (
            (BALANCED[0], dead("malformed-1", b"[]", None)),
            "1 is a dead letter under the wrong code: malformed-1 (None, not not_an_object)",
        ),
        ((*BALANCED, decided("ghost")), "1 came out and was never sent: ghost"),
    ],
)
def test_an_account_that_does_not_balance_names_what_is_wrong(records: tuple[Record, ...], sentence: str) -> None:
    """Each way in which conservation can be broken is one sentence with the key in it, and no other sentence."""
    assert account(*records).problems() == [sentence]


def test_the_same_outcome_twice_is_a_duplicate_and_no_problem() -> None:
    """At-least-once delivery may repeat an outcome; it is counted, and changes neither figures nor verdict."""
    ledger = account(*BALANCED, BALANCED[0], BALANCED[1])
    assert ledger.problems() == []
    totals = ledger.totals()
    assert (totals.duplicates, totals.doors[Destination.TAGGED], totals.doors[Destination.DLQ]) == (2, 1, 1)


def test_a_reviewers_decision_is_no_second_outcome() -> None:
    """An event in review enters `tagged` when a person has decided; that is not a second door."""
    ledger = account(decided("sample-1", topic="review"), BALANCED[1], decided("sample-1", decider="reviewer"))
    assert ledger.problems() == []
    assert ledger.totals().duplicates == 0


def test_other_peoples_events_are_a_problem_only_where_nobody_else_is() -> None:
    """On a shared broker, outcomes of others pass by, whatever their form."""
    stranger = Record(topic="tagged", key=None, value=b"not even JSON")
    assert account(*BALANCED, stranger, alone=False).problems() == []


def test_an_outcome_that_breaks_the_contract_is_an_error() -> None:
    """A decision of ours that cannot be read is a bug of the worker, not a fact to count."""
    with pytest.raises(msgspec.DecodeError):
        account(Record(topic="tagged", key=b"sample-1", value=b'{"tag":"mlops"}'))


def test_a_key_is_sent_once() -> None:
    """Two inputs under one key could not be told apart."""
    with pytest.raises(ValueError, match="sample-1 was sent twice"):
        account(sent=(EVENT, EVENT))


def test_many_missing_events_are_named_in_part_and_counted_in_full() -> None:
    """The first five keys and the number of the rest."""
    lost = tuple(Sample(key=f"s{number}", value=b"", title="") for number in range(12))
    assert account(sent=lost).problems() == ["12 left by no door: s0, s1, s2, s3, s4 and 7 more"]


def test_figures_follow_from_timestamps() -> None:
    """Latency is from sending to the outcome's timestamp, the rate from the first sending to the last outcome."""
    sent = tuple(Sample(key=f"s{number}", value=b"", title="") for number in range(100))
    ledger = account(*(decided(f"s{number}", at_ms=1_000 + 10 * (number + 1)) for number in range(100)), sent=sent)
    totals = ledger.totals()
    assert (totals.p50_ms, totals.p99_ms, totals.events_per_second) == (500, 990, 100.0)
    assert dict(totals.tags) == {"natural-language-processing": 0, "computer-vision": 0, "mlops": 100, "other": 0}
    assert list(totals.tags) == list(LABELS)


def test_there_are_no_figures_before_there_are_outcomes() -> None:
    """Nothing is shown as zero that is not known."""
    totals = account().totals()
    assert (totals.p50_ms, totals.p99_ms, totals.events_per_second, totals.waiting) == (None, None, None, 2)
    assert percentile([], 0.5) is None


# --- what is shown -----------------------------------------------------------------------------------------------------


def landings(*records: Record) -> list[Landing]:
    """What these records are to a ledger that knows their inputs."""
    ledger = account()
    return [landing for record in records if (landing := ledger.received(record)) is not None]


def titled(title: str) -> Landing:
    """A decision on an event with this title."""
    ledger = Ledger(DOORS, alone=True)
    ledger.sent(Sample(key="k", value=b"", title=title), 1_000)
    landing = ledger.received(decided("k", tag=LABELS[0]))
    assert landing is not None
    return landing


def moment(recent: list[Landing], *, seconds: float | None = 30.0) -> Moment:
    """Twelve seconds into a run."""
    return Moment(
        broker="Apache Kafka 4.3.1 (KRaft, 1 node) on Java 17 at 127.0.0.1:30082",
        address="http://127.0.0.1:9108",
        elapsed_seconds=12.3,
        seconds=seconds,
        totals=account(*BALANCED).totals(),
        events_per_second=20.0,
        recent=recent,
        shown="8 of 20 a second",
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
    for findings in ((), tuple(titles)):
        lines = drawn(replace(shown, findings=findings), width, height)
        assert len(lines) == height
        assert max(cell_len(line) for line in lines) <= width


@pytest.mark.parametrize("title", ["short", "x" * 300, "広い文字の題名" * 20, "広" * 18 + "x" * 90, ""])
@pytest.mark.parametrize("width", [60, 80, 81, 120])
def test_columns_stand_below_each_other(title: str, width: int) -> None:
    """A row has exactly the width it is given, whatever its title is made of."""
    assert cell_len(frame.row(titled(title), width).plain) == width


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
    assert all(label in text for label in LABELS)


def test_what_moved_has_a_place_once_something_has() -> None:
    """A healthy stream shows no heading for it; a drifting one names the words, whatever they are made of."""
    healthy = moment([])
    assert "what moved" not in "".join(drawn(healthy, 80, 24))
    text = "\n".join(drawn(replace(healthy, findings=("words: und 16.0%\x1b[2J",)), 80, 24))
    assert "what moved" in text
    assert "words: und 16.0%" in text
    assert "\x1b" not in text


def found_words(word: str) -> Finding:
    """A worker has found that this word moved."""
    return Finding(
        kind=DriftKind.WORDS,
        at="2026-11-24T21:03:12.000Z",
        worker="w-1",
        window=Span(events=300, start="2026-11-24T21:03:00.000Z", end="2026-11-24T21:03:12.000Z"),
        reference_digest="",
        model=Model(name="m", version="1", digest="d"),
        words=(Word(word=word, z=9.0, share=0.16, reference_share=0.001),),
    )


def test_the_stream_is_ordinary_and_then_drifts_under_other_ids() -> None:
    """After the given seconds, and no event is told twice."""
    mixed = list(itertools.islice(mixed_samples(Drift(shift=Shift.NO_DESCRIPTION, after_seconds=10), 20, run=""), 400))
    described = ["description" in msgspec.json.decode(sample.value) for sample in mixed if sample.code is None]
    assert any(described[:198])
    assert not any(described[199:])
    assert len({sample.key for sample in mixed}) == len(mixed)


def test_a_run_without_an_end_shows_no_end() -> None:
    """Only the time that has passed, where no time is set."""
    assert " of " not in drawn(moment([], seconds=None), 80, 24)[0]


def test_dead_letters_are_never_passed_over_for_the_newest() -> None:
    """Of more outcomes than can be read, the rare ones are shown, in the order in which they came."""
    ledger = Ledger(DOORS, alone=True)
    for number in range(5):
        ledger.sent(Sample(key=f"k{number}", value=b"", title=f"k{number}"), 1_000)
    came = [decided("k0"), dead("k1", b""), decided("k2"), decided("k3"), decided("k4")]
    found = [landing for record in came if (landing := ledger.received(record)) is not None]
    assert [landing.sample.title for landing in pick(found, 2)] == ["k1", "k4"]
    assert pick(found, 9) == found


def test_a_pipe_gets_a_line_an_outcome_and_no_escape_codes() -> None:
    """Off a terminal: when, where to, what, how sure, how long it took, which event."""
    console = Console(file=io.StringIO(), width=40)
    with watch(console, Scene(broker="b", address="a", seconds=1.0)) as view:
        assert isinstance(view, Lines)
        for landing in landings(*BALANCED):
            view.landed(landing)
        view.refresh(account(*BALANCED).totals(), "running")
        view.moved(found_words("und"))
    first, second, phase, moved = output(console).splitlines()
    assert first.split() == ["00:00:01.020", "tagged", "mlops", "0.9000", "20", "ms", "sample-1", "A", "title"]
    assert second.split() == ["00:00:01.020", "dlq", "not_an_object", "20", "ms", "malformed-1"]
    assert phase == "--- after 2 events: running"
    assert moved == "21:03:12.000  drift   words     und 16.0% (was 0.1%)"


def test_a_terminal_gets_the_picture_and_is_given_back() -> None:
    """The alternate screen is entered, drawn on and left."""
    console = terminal()
    with watch(console, Scene(broker="the broker", address="http://h:1", seconds=None)) as view:
        assert isinstance(view, Picture)
        for landing in landings(*BALANCED):
            view.landed(landing)
        for name in ("A title", "array"):
            # One more a refresh, in their order: a list that jumps cannot be read.
            assert name not in output(console)
            view.refresh(account(*BALANCED).totals(), "running")
            assert name in output(console)
    text = output(console)
    assert text.index("\x1b[?1049h") < text.index("the broker") < text.index("A title") < text.index("\x1b[?1049l")


@pytest.mark.parametrize("on_terminal", [True, False])
def test_the_summary_has_every_figure(on_terminal: bool) -> None:
    """On a terminal and in a file, the contract's figures stand under the contract's names."""
    console = terminal() if on_terminal else Console(file=io.StringIO(), width=80)
    ledger = account(*BALANCED)
    summary.print_summary(console, ledger.totals(), ledger.problems())
    words = " ".join(output(console).split())
    for expected in ("events in 2", "tagged 1", "in review 0", "dead-lettered 1", "duplicates 0", "unaccounted 0"):
        assert expected in words
    for expected in ("events/s 100.0", "p50 latency 20 ms", "p99 latency 20 ms", "mlops 1", "not_an_object 1"):
        assert expected in words
    assert "All 2 events are accounted for" in words


@pytest.mark.parametrize("on_terminal", [True, False])
@pytest.mark.parametrize("width", [24, 40, 60, 66, 80, 120])
def test_no_number_of_the_summary_is_cut(width: int, on_terminal: bool) -> None:
    """Half of 1234 looks like another number; a name may give way."""
    made = Console(
        file=Terminal() if on_terminal else io.StringIO(), width=width, color_system=None, _environ={"TERM": "xterm"}
    )
    totals = replace(
        account(*BALANCED).totals(),
        sent=101_234,
        tags={"natural-language-processing": 102_345, "other": 103_456},
        codes={"produce_rejected_by_the_broker": 104_567, "unsupported_schema_version": 105_678},
    )
    summary.print_summary(made, totals, [])
    lines = output(made).splitlines()
    figures = lines[: next(number for number, line in enumerate(lines) if line.startswith("All "))]
    assert all(cell_len(line) <= width for line in figures)
    for number in ("101234", "102345", "103456", "104567", "105678"):
        assert number in "\n".join(figures).split()


def test_colour_forced_on_a_log_makes_it_no_terminal() -> None:
    """CI sets FORCE_COLOR; pictures drawn over each other would be all that its log shows."""
    console = Console(file=io.StringIO(), width=80, force_terminal=True, _environ={"TERM": "xterm"})
    assert isinstance(watch(console, Scene(broker="b", address="a", seconds=None)), Lines)


def test_the_summary_says_what_is_missing() -> None:
    """A broken promise is named, and nothing says that all is well."""
    console = Console(file=io.StringIO(), width=80)
    ledger = account(BALANCED[1])
    summary.print_summary(console, ledger.totals(), ledger.problems())
    text = output(console)
    assert "1 left by no door: sample-1" in text
    assert "accounted for: each" not in text


def test_an_empty_run_is_no_success() -> None:
    """A demo that sent nothing has shown nothing."""
    assert "No event was sent" in summary.verdict(account(sent=()).totals(), []).plain


def test_the_opening_says_every_reason_once() -> None:
    """Off a terminal a wait is told in lines, one a reason, not one a look."""
    console = Console(file=io.StringIO(), width=40)
    opening = Opening(console)
    with opening.step("starting the worker") as say:
        for why in ("it loads", "it loads", "it joins", "it joins"):
            say(why)
    opening.tell("worker", "is ready")
    opening.addresses("http://h:1", "b:2")
    lines = output(console).splitlines()
    assert lines[:3] == ["starting the worker ...", "  it loads", "  it joins"]
    assert re.fullmatch(r"worker +is ready  \(0\.\d s\)", lines[3])
    assert [line.split()[-1].removeprefix("http://h:1") for line in lines[4:8]] == ["/", "/metrics", "/healthz", "/readyz"]


@pytest.mark.parametrize(
    ("called", "on_path", "says"),
    [
        (".venv/bin/tagstream", None, ".venv/bin/tagstream"),
        ("a folder/tagstream", None, "'a folder/tagstream'"),
        (".venv/bin/tagstream", "other/bin/tagstream", ".venv/bin/tagstream"),
        (".venv/bin/tagstream", ".venv/bin/tagstream", "tagstream"),
        ("tagstream", None, "tagstream"),
        ("stream/cli/main.py", None, "tagstream"),
    ],
)
def test_the_commands_of_the_opening_can_be_typed(
    called: str, on_path: str | None, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What `make demo` starts is on no PATH: there the name alone finds nothing."""
    for folder in (".venv/bin", "other/bin", "a folder"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "tagstream").touch(mode=0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path / Path(on_path).parent) if on_path else str(tmp_path))
    monkeypatch.setattr("sys.argv", [called, "demo"])
    console = Console(file=io.StringIO(), width=40)
    Opening(console).addresses("http://h:1", "b:2")
    assert [line.removeprefix("follow").strip() for line in output(console).splitlines()[-3:]] == [
        f"TAGSTREAM_BROKERS=b:2 {says} tail review",
        f"TAGSTREAM_BROKERS=b:2 {says} drift tail --from-beginning",
        f"{says} top h:1",
    ]


def terminal() -> Console:
    """A console on a terminal of 80 by 24, without colours."""
    return Console(file=Terminal(), width=80, height=24, color_system=None, _environ={"TERM": "xterm"})


class Terminal(io.StringIO):
    """Text that says of itself that it is a terminal."""

    def isatty(self) -> bool:
        """It is."""
        return True


def output(console: Console) -> str:
    """What was printed."""
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


# --- the worker's process and the signals ------------------------------------------------------------------------------


def test_the_worker_gets_the_demos_settings_and_no_others() -> None:
    """Read back from the environment that the worker is given, the settings are the demo's; the shell's own do not leak in."""
    settings = load(
        {"TAGSTREAM_BROKERS": "a:1,b:2", "TAGSTREAM_TOPICS__CONTENT": "c", "TAGSTREAM_CONFIDENCE_THRESHOLD": "0.5"},
        {"metrics_port": 0, "bundle": Path("some/where")},
        folder=Path("/nonexistent"),
    ).settings
    environ = process.environment(settings, {"TAGSTREAM_GROUP": "night", "PATH": "/bin"})
    assert environ["PATH"] == "/bin"
    assert load(environ).settings == settings.model_copy(update={"log_format": "json"})


def test_a_taken_metrics_port_is_no_obstacle() -> None:
    """Where another worker holds the port, a free one is taken."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        environ = process.environment(Settings(metrics_port=port), {})
        assert environ["TAGSTREAM_METRICS_PORT"] == "0"
    assert process.environment(Settings(metrics_port=port), {})["TAGSTREAM_METRICS_PORT"] == str(port)


def test_the_address_is_known_only_when_the_worker_has_said_it() -> None:
    """Other lines of the log, JSON or not, are no address."""
    assert process.metrics_address('{"event": "bundle_loaded"}\nTraceback\n') is None


def test_a_signal_before_the_run_breaks_off_and_a_second_does_not() -> None:
    """While things start, Ctrl-C and SIGTERM are an exception; what is then being ended is left to end."""
    before = signal.getsignal(signal.SIGTERM)
    with interrupts() as interrupt:
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
        assert interrupt.insisted
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_signal_during_the_run_is_a_request() -> None:
    """The first one asks, the second one insists, neither is an exception."""
    with interrupts() as interrupt:
        interrupt.postpone()
        asked = Counter[str]()
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)
            asked.update(asked=interrupt.asked, insisted=interrupt.insisted)
    assert asked == {"asked": 2, "insisted": 1}


@pytest.mark.parametrize(("seconds", "rate"), [(0.0, 20.0), (8.0, 0.0), (-1.0, 20.0)])
def test_a_demo_of_nothing_is_refused(seconds: float, rate: float) -> None:
    """No time or no rate is a mistake that is told before anything starts."""
    with pytest.raises(ValueError, match="more than 0"):
        demo(seconds=seconds, rate=rate, settings=Settings(), console=Console(file=io.StringIO()))
