"""`--as-of` on a real broker: a batch has the bytes that the workers published in an epoch, and a program takes the model of now."""

import re
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from tagstream import Tagger
from tagstream.stream.contract.outcome import timestamp
from tagstream.stream.settings.settings import Settings
from tests.integration.command_line import Command
from tests.integration.rollout.conftest import StartReal, records, sent
from tests.waiting import until

pytestmark = [pytest.mark.broker, pytest.mark.timeout(600), pytest.mark.slow]
CLOCK = re.compile(rb',"tagged_at":"[^"]*"(,"destination":"[a-z]+")?')
EVENTS = 300


def test_a_batch_as_of_an_epoch_is_what_the_stream_published_in_it(
    start_real: StartReal,
    rollout_settings: Settings,
    rollout_environ: dict[str, str],
    promote: Callable[..., bytes],
    tagstream: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The same events in three epochs: by the number, by a time between the changes, and as of now; in Python too."""
    topics = rollout_settings.topics
    start_real(0)
    moments = []
    for epoch, change in enumerate((None, lambda: promote("2"), lambda: promote("3", "--ask-people"))):
        if change is not None:
            change()
        moments.append(timestamp(int(time.time() * 1000)))
        sent(rollout_settings, EVENTS)
        decided = (epoch + 1) * EVENTS
        until(
            lambda decided=decided: sum(1 for _ in records(rollout_settings, topics.tagged, topics.review)) == decided,
            "decided",
        )
    published: dict[str | None, set[bytes]] = {}
    for one in records(rollout_settings, topics.tagged, topics.review):
        value = one.value or b""
        published.setdefault(msgspec.json.decode(value)["model"].get("epoch"), set()).add(CLOCK.sub(b"", value))
    assert {epoch: len(values) for epoch, values in published.items()} == {None: EVENTS, "1": EVENTS, "2": EVENTS}

    # The same events came in each epoch.
    values = {one.value or b"" for one in records(rollout_settings, topics.content)}
    rows = tmp_path / "rows.jsonl"
    rows.write_bytes(b"\n".join(values))
    # A program beside the stream has no bundle of its own.
    environ = {**rollout_environ, "TAGSTREAM_BUNDLE": str(tmp_path / "none")}
    for number, (as_of, epoch) in enumerate((("0", None), (moments[1], "1"), ("1", "1"), ("2", "2"), ("now", "2"))):
        out = tmp_path / f"{number}.jsonl"
        done = tagstream("batch", rows, out, "--as-of", as_of, environ=environ)
        assert done.returncode == 0, done.stderr.decode()
        assert f"as of {as_of}: epoch {epoch or 0}, tiny ".encode() in done.stderr
        assert {CLOCK.sub(b"", line) for line in out.read_bytes().splitlines()} == published[epoch]
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    tagger = Tagger(as_of="now")
    assert (tagger.model.epoch, tagger.model.version) == ("2", "3")

    gone = tagger.model.digest
    (tmp_path / "bundles" / gone).rename(tmp_path / "moved")
    lost = tagstream("classify", "images", "--as-of", "now", environ=environ)
    assert (lost.returncode, lost.stdout) == (1, b"")
    assert re.search(rb"epoch 2 was decided by tiny 3 \(%b\).* Next: store" % gone.encode(), lost.stderr)
