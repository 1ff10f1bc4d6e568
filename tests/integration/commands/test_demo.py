"""The whole demo: a broker, the real worker in its own process, sample events, and an account that balances or says why not."""

import contextlib
import io
import os
import re
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from kafka import KafkaConsumer, TopicPartition
from rich.console import Console

from tagstream.model_export.bundle.bundle import read_manifest
from tagstream.stream.broker import Broker, BrokerUnavailable
from tagstream.stream.demo.program import ProgramError
from tagstream.stream.demo.run import demo
from tagstream.stream.settings.settings import Settings
from tests.lacking import lacking
from tests.waiting import HANG_SECONDS, answered, until

pytestmark = pytest.mark.broker

ROOT = Path(__file__).parents[3]
OUTCOME = re.compile(r"^\d\d:\d\d:\d\d\.\d{3}  (tagged|review|dlq) ", re.MULTILINE)
FOUND = re.compile(r"  drift   words +(.*)")
ANSWER = re.compile(r"^\d\d:\d\d:\d\d\.\d{3}  answer  \S+ .*  (sample-\S+  .*by scripted reviewer.*)$", re.MULTILINE)
COMPARED = re.compile(r"^\S+ in shadow: (\d+) compared, (\d+) with another tag$", re.MULTILINE)
BEGUN = re.compile(r"^epoch \d+ has begun: \S+ (\S+) \(\w+\) decides, and \S+ (\S+) \(\w+\) 0\.2 by key$", re.MULTILINE)
CONTENT = re.compile(r"^topics +(\S+)", re.MULTILINE)
READY = re.compile(r"^worker +process (\d+) is ready", re.MULTILINE)
ADDRESS = re.compile(r"^open +(http://\S+)/$", re.MULTILINE)


@pytest.fixture
def settings(tiny_bundle_folder: Path) -> Settings:
    """A worker with the tiny bundle and a free metrics port."""
    return Settings(bundle=tiny_bundle_folder, metrics_port=0)


def wait_for(pattern: re.Pattern[str], output: io.StringIO) -> str:
    """Wait for the first match in the printed text; its first group."""
    found = until(lambda: pattern.search(output.getvalue()), f"the demo prints {pattern.pattern}", state=output.getvalue)
    assert found is not None
    return found[1]


def figure(name: str, text: str) -> int:
    """A figure of the summary."""
    found = re.search(rf"^{re.escape(name)} +(\d+)", text, re.MULTILINE)
    assert found, text
    return int(found[1])


def is_served(address: str) -> bool:
    """Whether the worker answers."""
    try:
        with urllib.request.urlopen(f"{address}/healthz", timeout=HANG_SECONDS):  # noqa: S310 - an address that the demo printed
            return True
    except urllib.error.URLError:
        return False


@contextmanager
def running(settings: Settings, *, seconds: float | None) -> Iterator[tuple[io.StringIO, list[int]]]:
    """A demo in a thread on the brokers of the settings: its output, and its exit code once the context is left."""
    output, codes = io.StringIO(), list[int]()
    thread = threading.Thread(
        target=lambda: codes.append(
            demo(seconds=seconds, rate=20, settings=settings, console=Console(file=output), on_broker=True)
        )
    )
    thread.start()
    try:
        yield output, codes
    finally:
        thread.join(HANG_SECONDS)
        assert not thread.is_alive(), output.getvalue()


def interrupted(words: Sequence[str], pattern: re.Pattern[str], *, settings: Settings, kafka: Broker, log: Path) -> str:
    """Interrupt `tagstream demo` once it has printed the pattern, check that it ends with 0, and give its output."""
    variables = {"TAGSTREAM_BUNDLE": str(settings.bundle), "TAGSTREAM_METRICS_PORT": "0"}
    with log.open("wb") as written:
        process = subprocess.Popen(
            [sys.executable, "-m", "tagstream.stream.cli.main", "demo", "--on-broker", kafka.bootstrap, *words],
            cwd=ROOT,
            env={name: value for name, value in os.environ.items() if name != "DEMO_SECONDS"} | variables,
            stdout=written,
            stderr=subprocess.STDOUT,
        )
    try:
        until(
            lambda: pattern.search(log.read_text()) or process.poll() is not None,
            f"the demo prints {pattern.pattern}",
            state=log.read_text,
        )
        process.send_signal(signal.SIGINT)
        assert process.wait(HANG_SECONDS) == 0, log.read_text()
    finally:
        process.kill()
        process.wait(HANG_SECONDS)
    return log.read_text()


@pytest.mark.slow
@pytest.mark.parametrize(("prefer", "rollout"), [("kafka", False), ("tansu", True)])
def test_a_demo_accounts_for_every_event_and_cleans_up(settings: Settings, prefer: str, *, rollout: bool) -> None:
    """
    On a broker of its own each event gets one outcome, only malformed ones are dead letters, and all processes end.

    A rollout that is asked for on the embedded broker is left out with a sentence, and the account holds all the same.
    """
    output = io.StringIO()
    try:
        code = demo(seconds=8, rate=20, settings=settings, console=Console(file=output), prefer=prefer, rollout=rollout)
    except BrokerUnavailable as error:
        lacking(str(error))
    text = output.getvalue()
    assert code == 0, text
    events = figure("events in", text)
    # A busy machine sends fewer in the same time.
    assert 0 < events <= 168
    assert len(OUTCOME.findall(text)) == events
    assert figure("dead-lettered", text) == events // 125
    assert figure("tagged", text) + figure("in review", text) + figure("dead-lettered", text) == events
    assert figure("unaccounted", text) == 0
    assert f"All {events} events are accounted for" in text
    assert ("A rollout of another model is left out: this broker has no transactions" in text) == rollout
    assert ("demo --rollout`" in text) != rollout
    address = ADDRESS.search(text)
    assert address
    assert not is_served(address[1])
    found = READY.search(text)
    assert found
    with pytest.raises(ProcessLookupError):
        os.kill(int(found[1]), 0)


@pytest.mark.slow
def test_a_demo_that_drifts_names_the_drift(settings: Settings, kafka: Broker, tmp_path: Path) -> None:
    """A demo reports no drift first, then words of other languages as the worker found them, and its account balances."""
    # It runs until the worker has found the words, which takes longer on a slow machine.
    words = ("--rate", "200", "--drift-after", "4.5")
    text = interrupted(words, FOUND, settings=settings, kafka=kafka, log=tmp_path / "output")
    healthy, _, drifting = text.partition("it drifts: half of the events are in other languages")
    assert "an ordinary stream" in healthy
    assert "  drift   words " not in healthy
    found = FOUND.search(drifting)
    assert found, text
    assert {"de", "la", "und", "der", "en", "ve", "et", "que"} & set(found[1].split())
    assert "what moved" in drifting


@pytest.mark.slow
def test_a_demo_has_a_console_in_which_a_reviewer_answers(settings: Settings, kafka: Broker, tmp_path: Path) -> None:
    """The reviewer by script answers from the console's queue; every answer is in `tagged`, and the account says so."""
    # It runs until answers have come, which takes longer on a slow machine.
    three = re.compile(rf"(?s)(?:{ANSWER.pattern}.*){{3}}", re.MULTILINE)
    text = interrupted((), three, settings=settings, kafka=kafka, log=tmp_path / "output")
    assert re.search(r"^review +http://127\.0\.0\.1:\d+/ ", text, re.MULTILINE), text
    given = figure("answers given", text)
    assert given >= 3
    assert len(ANSWER.findall(text)) == figure("answers in tagged", text) == given
    assert f"All {given} answers are in tagged." in text


@pytest.mark.slow
def test_a_demo_begins_to_change_the_model_of_its_stream(settings: Settings, kafka: Broker, tmp_path: Path) -> None:
    """A better bundle is compared in shadow, then decides a fifth of the keys. A Ctrl-C ends all of it in order, and no topic of it is left."""
    text = interrupted(("--rollout", "--rate", "50"), BEGUN, settings=settings, kafka=kafka, log=tmp_path / "output")
    (before, after), version = BEGUN.findall(text)[0], read_manifest(settings.bundle)[0].version
    assert (before, after) == (f"{version}-old", version)
    compared, differing = map(int, COMPARED.findall(text)[-1])
    assert compared > 0
    assert 0 < differing <= compared
    # A step that took long enough to be told says how long.
    (group,) = re.findall(r"^removed .*and the group (\S+?)(?:  \(.* s\))?$", text, re.MULTILINE)
    names = answered(lambda: topics(kafka), kafka.bootstrap)
    assert not any(name.startswith(group) for name in names)


@pytest.mark.slow
@pytest.mark.long
def test_a_demo_shows_a_rollout_to_its_end(kafka: Broker) -> None:
    """With the shipped bundle: it is promoted by the answers, the worse one goes back by them, and the account balances."""
    output = io.StringIO()
    given = on(kafka, Settings(metrics_port=0))
    code = demo(seconds=None, rate=20, settings=given, console=Console(file=output), on_broker=True, rollout=True)
    text = output.getvalue()
    assert code == 0, text
    first, second = re.findall(r"^the controller: (.*)$", text, re.MULTILINE)
    assert first.startswith("it is promoted: it is proved that it is not worse")
    assert second.startswith("it goes back: it is worse by more than 0.05")
    assert len(BEGUN.findall(text)) == 2


def topics(kafka: Broker) -> set[str]:
    """The topics of the broker."""
    with contextlib.closing(KafkaConsumer(bootstrap_servers=kafka.bootstrap.split(","), enable_auto_commit=False)) as reader:
        return set(reader.topics())


@pytest.mark.slow
def test_a_demo_whose_worker_is_killed_names_the_missing_events(settings: Settings, kafka: Broker) -> None:
    """The demo ends with exit code 1, and names the events without an outcome and the reason."""
    with running(on(kafka, settings), seconds=60) as (output, codes):
        pid = int(wait_for(READY, output))
        topic = wait_for(CONTENT, output)
        wait_for(OUTCOME, output)
        # An event that is sent while the worker stands still is certainly lost to the demo.
        os.kill(pid, signal.SIGSTOP)
        before = sent(kafka, topic)
        until(lambda: sent(kafka, topic) > before, "the demo sends an event")
        os.kill(pid, signal.SIGKILL)
    text = output.getvalue()
    assert codes == [1], text
    assert figure("unaccounted", text) > 0
    assert re.search(r"\d+ without an outcome: sample-\d+", text)
    assert "the worker ended by itself, with exit code -9" in text
    assert "accounted for: each" not in text
    # The killed worker is still a member of the group, which must be removed nevertheless.
    assert re.search(r"^removed ", text, re.MULTILINE), text


def on(kafka: Broker, settings: Settings) -> Settings:
    """These settings with the brokers of the tests."""
    return settings.model_copy(update={"brokers": kafka.bootstrap})


def sent(kafka: Broker, topic: str) -> int:
    """Records in the demo's `content`."""
    return answered(lambda: sum(ends_of(kafka, topic)), kafka.bootstrap)


def ends_of(kafka: Broker, topic: str) -> list[int]:
    """The ends of a topic's partitions."""
    with contextlib.closing(KafkaConsumer(bootstrap_servers=kafka.bootstrap.split(","), enable_auto_commit=False)) as reader:
        numbers = sorted(reader.partitions_for_topic(topic) or ())
        return list(reader.end_offsets([TopicPartition(topic, number) for number in numbers]).values())


def test_a_worker_that_does_not_start_is_shown_with_its_log(settings: Settings, kafka: Broker, tmp_path: Path) -> None:
    """A bundle that is refused ends the demo at once, with the end of the worker's log."""
    given = on(kafka, settings).model_copy(update={"bundle": tmp_path})
    with pytest.raises(ProgramError, match=r"(?s)exit code 1 before it was ready.*bundle.json cannot be read"):
        demo(seconds=2, rate=20, settings=given, console=Console(file=io.StringIO()), on_broker=True)
