"""`send` says what it waits for."""

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from stream.batch import sending
from stream.batch.columns import Columns
from stream.batch.sending import Plan, send
from stream.settings.settings import Settings
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
    assert send(Settings(brokers="broker:9092"), str(file), Plan(topic="content", columns=Columns()), say=say) == 1
    assert said == ["waiting for the brokers at broker:9092, 30 s at most"]
