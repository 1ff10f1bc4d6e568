"""One shape for every line, whoever writes it, and never the text of an event."""

import asyncio
import io
import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any, Literal

import pytest
import structlog
from kafka.net.selector import NetworkSelector

from tagstream.stream import logs
from tagstream.stream.logs import MOST_MESSAGES, NEVER_DEBUG, QUIET, REPEAT_SECONDS, REPEATS, Repeats, configure, logger
from tests.fakes import Clock
from tests.pipes import fill
from tests.waiting import HANG_SECONDS

PLANTED = "zq7-planted-K"


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    """Logging is the process's; leave it as it was found."""
    root = logging.getLogger()
    before, level, hook = root.handlers[:], root.level, threading.excepthook
    yield
    threading.excepthook = hook
    root.handlers[:] = before
    root.setLevel(level)
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.NOTSET)
    structlog.reset_defaults()


class Terminal(io.StringIO):
    """A stream that people look at."""

    def isatty(self) -> bool:
        """It is."""
        return True


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    """The log, each line an object."""
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_our_lines_and_those_of_others_have_one_shape() -> None:
    """JSON with the fact, the level, the logger and the time in UTC; fields by their names."""
    out = io.StringIO()
    configure(level="info", form="json", stream=out)
    logger("tagstream.test").info("bundle_loaded", digest="d", seconds=1.5)
    logging.getLogger("faust.anything").warning("broker %s is gone", "b")
    ours, theirs = lines(out)
    assert ours | {"timestamp": ""} == {
        "event": "bundle_loaded",
        "digest": "d",
        "seconds": 1.5,
        "level": "info",
        "logger": "tagstream.test",
        "timestamp": "",
    }
    assert (theirs["event"], theirs["level"], theirs["logger"]) == ("broker b is gone", "warning", "faust.anything")
    assert ours["timestamp"].endswith("Z")
    assert theirs["timestamp"] >= ours["timestamp"]


@pytest.mark.parametrize("form", ["json", "console"])
def test_a_line_is_one_line(form: Literal["json", "console"]) -> None:
    """No character in a field or a message of others forges a log that is read by line."""
    out = io.StringIO()
    configure(level="info", form=form, stream=out)
    hostile = 'a\n{"event":"forged"}\r\u2028\u2029\x85\x07\ud800'
    logger("tagstream.test").info("x", why=hostile)
    logging.getLogger("tagstream.test").warning("the broker says %s", hostile)
    lines = out.getvalue().removesuffix("\n").split("\n")
    assert len(lines) == 2
    assert all(line.replace("\x1b", "").isprintable() for line in lines)
    assert all("forged" in line for line in lines)
    if form == "json":
        assert json.loads(lines[0])["event"] == "x"


@pytest.mark.parametrize(
    ("form", "stream", "is_json"),
    [
        ("auto", io.StringIO, True),
        ("auto", Terminal, False),
        ("json", Terminal, True),
        ("console", io.StringIO, False),
    ],
)
def test_people_and_programs_get_their_form(
    form: Literal["auto", "json", "console"], stream: type[io.StringIO], is_json: bool
) -> None:
    """`auto` looks at the stream; the other two do not."""
    out = stream()
    configure(level="info", form=form, stream=out)
    logger("tagstream.test").info("worker_starting", group="g")
    assert "worker_starting" in out.getvalue()
    assert out.getvalue().startswith("{") is is_json


@pytest.mark.parametrize(
    ("level", "ours", "theirs", "clients"), [("debug", 4, 4, 3), ("info", 3, 2, 2), ("warning", 2, 2, 2), ("error", 1, 1, 1)]
)
def test_the_level_holds_for_all_and_chatter_of_others_is_left_out(level: str, ours: int, theirs: int, clients: int) -> None:
    """At `info` the clients' own info lines tell an operator nothing; what they say at `debug` holds events and passwords."""
    out = io.StringIO()
    configure(level=level, form="json", stream=out)
    for name in ("tagstream.test", *QUIET):
        for method in ("debug", "info", "warning", "error"):
            getattr(logging.getLogger(name), method)("x")
    found = [line["logger"] for line in lines(out)]
    assert found.count("tagstream.test") == ours
    assert [found.count(name) for name in QUIET] == [clients if name in NEVER_DEBUG else theirs for name in QUIET]


def test_configuring_twice_does_not_double_lines() -> None:
    """The last stream is the only one."""
    first, second = io.StringIO(), io.StringIO()
    configure(level="info", form="json", stream=first)
    configure(level="info", form="json", stream=second)
    logging.getLogger("tagstream.test").info("x")
    assert (first.getvalue(), len(lines(second))) == ("", 1)


def stumble(title: str) -> None:
    """Fail with an event's text in a local variable."""
    assert title
    sys.getrecursionlimit().to_bytes(0, "big")


@pytest.mark.parametrize("form", ["json", "console"])
@pytest.mark.parametrize("foreign", [False, True])
def test_a_traceback_shows_no_local_variables(form: Literal["json", "console"], foreign: bool) -> None:
    """They hold the text of events, on a terminal as anywhere else."""
    out = Terminal()
    configure(level="info", form=form, stream=out)
    try:
        stumble(PLANTED)
    except OverflowError as error:
        if foreign:
            logging.getLogger("faust").exception("crashed")
        else:
            logger("tagstream.test").error("crashed", exc_info=error)
    assert "OverflowError" in out.getvalue()
    assert "stumble" in out.getvalue()
    assert PLANTED not in out.getvalue()


@pytest.fixture
def clock() -> Clock:
    """The filter's."""
    return Clock()


@pytest.fixture
def out(clock: Clock) -> io.StringIO:
    """The lines that are written when a minute is that clock's."""
    found = io.StringIO()
    configure(level="info", form="json", stream=found)
    (handler,) = logging.getLogger().handlers
    handler.filters[:] = [Repeats(clock)]
    return found


def test_what_the_clients_say_again_and_again_is_held_back_and_counted(clock: Clock, out: io.StringIO) -> None:
    """Brokers that are away for a night must not push out of the log what was written before they went; ours are all kept."""
    for number in range(100):
        logging.getLogger("aiokafka").error("Unable connect to node with id %s", number)
        logger("tagstream.test").info("fact")
    logging.getLogger("aiokafka").error("Another %s", "matter")
    clock.now += REPEAT_SECONDS
    logger("tagstream.test").info("fact")

    said = [line for line in lines(out) if line["event"] != "fact"]
    assert len(lines(out)) - len(said) == 101
    assert [line["event"] for line in said[:-1]] == [
        *(f"Unable connect to node with id {number}" for number in range(REPEATS)),
        "Another matter",
    ]
    assert said[-1] | {"timestamp": ""} == {
        "event": "lines_held_back",
        "of": "aiokafka",
        "of_level": "ERROR",
        "lines": 100 - REPEATS,
        "like": "Unable connect to node with id %s",
        "level": "warning",
        "logger": "tagstream.logs",
        "timestamp": "",
    }


def test_messages_of_one_kind_count_together_whatever_their_numbers(out: io.StringIO) -> None:
    """The same trouble with each node, in the message or in the exception, is one kind of message."""
    theirs = logging.getLogger("aiokafka")
    for node in range(10):
        theirs.error(f"Request to node {node} failed")
        theirs.error("Failed fetch", exc_info=ConnectionError(f"node {node} is not ready"))
    said = [line["event"] for line in lines(out)]
    assert said == ["Request to node 0 failed", "Failed fetch", "Request to node 1 failed", "Failed fetch"]


def test_what_matters_is_not_held_back_for_what_looks_like_it(out: io.StringIO) -> None:
    """Faust has one message for all exceptions, and the last of them is the one that ended it."""
    theirs = logging.getLogger("faust.transport")
    for error in [ConnectionError("gone")] * (REPEATS + 1) + [RuntimeError("the one that matters")]:
        theirs.error("Got exception", exc_info=error)
    for _ in range(REPEATS + 1):
        theirs.critical("Got exception")

    said = [(line["level"], line.get("exception", "").rpartition("\n")[2]) for line in lines(out)]
    assert said == [
        *[("error", "ConnectionError: gone")] * REPEATS,
        ("error", "RuntimeError: the one that matters"),
        *[("critical", "")] * (REPEATS + 1),
    ]


def test_messages_that_are_never_the_same_take_no_memory() -> None:
    """Some have their values in them."""
    repeats = Repeats(Clock())
    for number in range(3 * MOST_MESSAGES):
        assert repeats.filter(logging.LogRecord("faust.x", logging.ERROR, "", 0, "x" * number, None, None))
    assert len(repeats._seen) <= MOST_MESSAGES


def test_what_ends_a_thread_is_a_line_as_all_else() -> None:
    """The exception that ends a thread is logged as one line of JSON; Python would print a traceback between the lines."""
    out = io.StringIO()
    configure(level="info", form="json", stream=out)

    def fails() -> None:
        msg = "gone"
        raise ConnectionError(msg)

    thread = threading.Thread(target=fails, name="consumer")
    thread.start()
    thread.join()

    (line,) = lines(out)
    assert (line["event"], line["thread"], line["error"]) == ("thread_failed", "consumer", "ConnectionError: gone")
    assert "Traceback" in line["exception"]


def test_a_thread_that_was_cancelled_has_no_traceback() -> None:
    """A stop cancels a call that waits for a broker; that is one line and no failure."""
    out = io.StringIO()
    configure(level="info", form="json", stream=out)

    def cancelled() -> None:
        raise asyncio.CancelledError

    thread = threading.Thread(target=cancelled, name="consumer")
    thread.start()
    thread.join()

    (line,) = lines(out)
    assert (line["event"], line["thread"], line["level"]) == ("thread_cancelled", "consumer", "warning")
    assert "exception" not in line


@pytest.fixture
def pipe() -> Iterator[tuple[int, io.TextIOWrapper]]:
    """A pipe: the descriptor to read, and the stream to write."""
    reading, writing = os.pipe()
    with open(writing, "w", encoding="utf-8") as stream:  # noqa: PTH123 - a descriptor has no path
        yield reading, stream
    os.close(reading)


def test_a_log_that_is_not_read_stops_nothing(pipe: tuple[int, io.TextIOWrapper], monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines that the pipe does not take are dropped, and counted when it takes lines again."""
    reading, stream = pipe
    monkeypatch.setattr(logs, "WRITE_SECONDS", 0.01)
    configure(level="info", form="json", stream=stream)
    log = logger("tagstream.test")
    log.info("before")
    fill(stream.fileno())
    for _ in range(3):
        log.info("unread")
    os.read(reading, 1 << 20)
    log.info("after")
    after, lost = map(json.loads, os.read(reading, 1 << 20).splitlines())
    assert after["event"] == "after"
    assert (lost["event"], lost["lines"]) == ("log_lines_lost", 3)


def test_a_line_that_is_cut_off_spoils_no_other(pipe: tuple[int, io.TextIOWrapper], monkeypatch: pytest.MonkeyPatch) -> None:
    """A line after one that was written in part begins a line of its own."""
    reading, stream = pipe
    monkeypatch.setattr(logs, "WRITE_SECONDS", 0.01)
    configure(level="info", form="json", stream=stream)
    log = logger("tagstream.test")
    log.info("x" * 100_000)
    assert len(os.read(reading, 1 << 20)) == 65_536
    log.info("after")
    rest, after, lost = os.read(reading, 1 << 20).split(b"\n")[:3]
    assert rest == b""
    assert json.loads(after)["event"] == "after"
    assert json.loads(lost)["lines"] == 1


def test_a_log_whose_reader_is_gone_stops_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    """Without a reader lines are dropped, and nothing is said of it elsewhere."""
    reading, writing = os.pipe()
    with open(writing, "w", encoding="utf-8") as stream:  # noqa: PTH123 - a descriptor has no path
        configure(level="info", form="json", stream=stream)
        os.close(reading)
        logger("tagstream.test").info("unheard")
    assert capfd.readouterr() == ("", "")


def test_a_busy_machine_is_no_warning_of_kafka_python(caplog: pytest.LogCaptureFixture) -> None:
    """Its selector takes a slow task for a programming error; what else it warns of is kept. The library's own loop says it here."""
    logs.without_slow_tasks()
    selector = NetworkSelector(slow_task_threshold_secs=1e-9)
    selector.run(selector.sleep, 0)
    selector.close()
    assert caplog.messages == []
    # Another test may have set the library's loggers.
    with caplog.at_level(logging.WARNING, logger="kafka.net.selector"):
        logging.getLogger("kafka.net.selector").warning("something else")
    assert caplog.messages == ["something else"]


def test_a_command_without_a_log_says_nothing_on_standard_output() -> None:
    """A warning of `tail --json` is not among the records that another program reads."""
    script = "from tagstream.stream.logs import logger; logger('tagstream.tokens').warning('token_not_refreshed')"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=HANG_SECONDS, check=True)
    assert (done.stdout, b"token_not_refreshed" in done.stderr) == (b"", True)
