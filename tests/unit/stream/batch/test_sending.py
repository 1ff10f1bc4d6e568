"""`send` says what it waits for."""

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from tagstream.model_export.data.reader import Columns
from tagstream.stream.batch import sending
from tagstream.stream.batch.sending import SendPlan, send
from tagstream.stream.settings.settings import Settings
from tests.waiting import HANG_SECONDS


def test_a_long_wait_is_said_once_with_its_bound(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A broker that answers late is named with the longest wait; a quick confirmation is not mentioned."""
    file, said, heard = tmp_path / "one.jsonl", [], threading.Event()
    file.write_text('{"id": "1", "title": "One"}\n', encoding="utf-8")

    def say(line: str) -> None:
        said.append(line)
        heard.set()

    def answers_late(*_: object, **__: object) -> None:
        assert heard.wait(HANG_SECONDS)
        # The confirmation comes at once, so its own line must not be said.
        monkeypatch.setattr(sending, "SLOW_SECONDS", HANG_SECONDS)

    @contextlib.contextmanager
    def confirming(_: Settings) -> Iterator[SimpleNamespace]:
        yield SimpleNamespace(send=lambda *_, **__: None, flush=lambda: None, acknowledged=1)

    monkeypatch.setattr(sending, "SLOW_SECONDS", 0.01)
    monkeypatch.setattr(sending, "require", answers_late)
    monkeypatch.setattr(sending.producer, "sender", confirming)
    assert send(Settings(brokers="broker:9092"), str(file), SendPlan(topic="content", columns=Columns()), say=say) == 1
    assert said == ["waiting for the brokers at broker:9092, 30 s at most"]


def test_the_bound_of_a_confirmation_that_is_said_is_the_producers_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The broker has as long to confirm a record as the sentence says: kafka-python's producer is made with that time."""
    file, said, heard, options = tmp_path / "one.jsonl", [], threading.Event(), {}
    file.write_text('{"id": "1", "title": "One"}\n', encoding="utf-8")

    class Late:
        """Stands in for kafka-python's producer: it confirms when the wait was said."""

        def __init__(self, **given: object) -> None:
            options.update(given)

        def send(self, *_: object, **__: object) -> "Late":
            return self

        def add_callback(self, _: object) -> "Late":
            return self

        add_errback = add_callback

        def flush(self, **_: object) -> None:
            assert heard.wait(HANG_SECONDS)

        def close(self, **_: object) -> None:
            """Nothing is open."""

    def say(line: str) -> None:
        said.append(line)
        # On a busy machine the wait for the connection is said too.
        if "confirm" in line:
            heard.set()

    monkeypatch.setattr(sending, "SLOW_SECONDS", 0.01)
    monkeypatch.setattr(sending, "require", lambda *_, **__: None)
    monkeypatch.setattr("tagstream.stream.kafka.producer.admitted", lambda _: ({}, 1.0))
    monkeypatch.setattr("tagstream.stream.kafka.producer.KafkaProducer", Late)
    send(Settings(), str(file), SendPlan(topic="content", columns=Columns()), say=say)
    seconds = options["delivery_timeout_ms"] / 1000
    assert said[-1] == f"waiting for the broker to confirm the events; it has {seconds:g} s for each"
