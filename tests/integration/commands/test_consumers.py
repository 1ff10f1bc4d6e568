"""Consumers of `tagged`: `tagstream tail --distinct`, and the example of docs/consumers.md."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence

import pytest

from tagstream.stream.kafka import producer
from tagstream.stream.settings.settings import Settings
from tests.faults.worker.fleet import ROOT, without_settings
from tests.integration.command_line import Command, lines

pytestmark = pytest.mark.broker


def decision(number: int, *, at: str, tag: str = "mlops") -> bytes:
    """A record of `tagged` with the fields that a consumer reads."""
    value = {"id": f"e-{number}", "title": "t", "tag": tag, "confidence": 0.9, "prediction_id": f"p-{number}", "tagged_at": at}
    return json.dumps(value).encode()


def fill(settings: Settings, values: Sequence[bytes]) -> None:
    """Write decisions to one partition of `tagged`."""
    with producer.sender(settings) as sender:
        for value in values:
            sender.send(settings.topics.tagged, key=b"k", value=value)
        sender.flush()


def test_tail_shows_each_outcome_once(tagstream: Command, environ: dict[str, str], settings: Settings) -> None:
    """Duplicates are dropped and counted at the end; a conflict is said with both places, read over, and gives exit code 4."""
    fill(settings, [decision(number, at=at) for at in ("1", "2") for number in range(3)])
    words = ("tail", "tagged", "--distinct", "--from-beginning", "--idle", "0.5", "--json")
    done = tagstream(*words, environ=environ)
    assert done.returncode == 0, done.stderr.decode()
    assert [line["value"]["id"] for line in lines(done.stdout)] == ["e-0", "e-1", "e-2"]  # type: ignore[index]
    assert b"3 distinct outcomes, 3 duplicates dropped, 0 conflicts, 0 records not written by tagstream" in done.stderr
    assert len(lines(tagstream(*(word for word in words if word != "--distinct"), environ=environ).stdout)) == 6

    fill(settings, [decision(1, at="3", tag="other"), decision(3, at="3")])
    conflict = tagstream(*words, environ=environ)
    assert conflict.returncode == 4
    assert [line["value"]["id"] for line in lines(conflict.stdout)] == ["e-0", "e-1", "e-2", "e-3"]  # type: ignore[index]
    assert b"4 distinct outcomes, 3 duplicates dropped, 1 conflict, 0 records not written by tagstream" in conflict.stderr
    assert b"are of one id and differ in more than the time" in conflict.stderr
    assert b"Traceback" not in conflict.stderr


@pytest.mark.slow
def test_the_consumers_example_works(environ: dict[str, str], settings: Settings) -> None:
    """The code of docs/consumers.md runs as printed, with another topic and broker."""
    fill(settings, [decision(number, at=at) for at in ("1", "2") for number in range(3)])
    code = (ROOT / "docs" / "consumers.md").read_text(encoding="utf-8")
    code = next(block for block in code.split("```python\n") if "Distinct" in block.split("```")[0]).split("```")[0]
    assert 10 <= len(code.splitlines()) <= 20
    code = code.replace('"tagged"', repr(settings.topics.tagged)).replace("127.0.0.1:9092", settings.brokers)
    with subprocess.Popen(
        [sys.executable, "-u", "-c", code], cwd=ROOT, env={**without_settings(os.environ), **environ}, stdout=subprocess.PIPE
    ) as running:
        assert running.stdout is not None
        try:
            seen = [running.stdout.readline().decode().strip() for _ in range(3)]
        finally:
            running.terminate()
    assert seen == ["e-0 mlops", "e-1 mlops", "e-2 mlops"]
