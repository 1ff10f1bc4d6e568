"""`tagstream dlq list` and `show` on Apache Kafka."""

import base64
import json
from pathlib import Path

import pytest

from tagstream.stream.broker.ports import free_ports
from tagstream.stream.settings.settings import Settings
from tests.integration.command_line import Command, lines
from tests.integration.dead_letters.planted_letters import EVENTS, HOSTILE, contents, lay

pytestmark = pytest.mark.broker


def test_dead_letters_are_listed_without_their_text(tagstream: Command, environ: dict[str, str], settings: Settings) -> None:
    """The list shows place, origin and reason, filters select, a summary counts, and event text is not shown."""
    lay(settings)
    listed = tagstream("dlq", "list", "--json", environ=environ)
    assert listed.returncode == 0, listed.stderr.decode()
    found = lines(listed.stdout)
    assert len(found) == len(EVENTS)
    third = next(line for line in found if line["code"] == "missing_title")
    assert (third["stage"], third["attempts"], third["replays"], third["bytes"]) == ("validate", 1, 0, 0)
    assert third["from"] == {"topic": settings.topics.content, "partition": 2, "offset": 2}
    assert third["place"] == "2/0"
    shown = tagstream("dlq", "list", environ=environ)
    assert shown.stdout.count(b"\n") == len(EVENTS) + 1
    for output in (listed.stdout, shown.stdout):
        assert b"not json" not in output
        assert b"the producer's" not in output

    def places(*words: str) -> list[object]:
        done = tagstream("dlq", "list", "--json", *words, environ=environ)
        assert done.returncode == 0, done.stderr.decode()
        return [line["place"] for line in lines(done.stdout)]

    assert places("--code", "missing_title") == ["2/0"]
    assert places("--stage", "validate", "--since", "1h") == ["2/0"]
    assert places("--since", "2999-01-01T00:00:00Z") == []
    assert places("--partition", "0") == ["0/0", "0/1"]
    assert places("--max", "2") == ["0/0", "0/1"]
    counted = tagstream("dlq", "list", "--count", "--json", environ=environ)
    assert [(line["code"], line["letters"]) for line in lines(counted.stdout)] == [("invalid_json", 6), ("missing_title", 1)]
    assert tagstream("dlq", "list", "--since", "yesterday", environ=environ).returncode == 2


@pytest.mark.slow
def test_dead_letters_are_corrected_in_bulk(
    tagstream: Command, environ: dict[str, str], settings: Settings, tmp_path: Path
) -> None:
    """Exported, sent as they are (refused, line by line, and nothing is sent), corrected by a program, and sent."""
    lay(settings, tuple((b"k", b'{"headline": "Feature store %d",\n "n": %d}' % (number, number), ()) for number in range(20)))
    exported = tagstream("dlq", "list", "--events", "--code", "invalid_json", environ=environ)
    assert exported.returncode == 0, exported.stderr.decode()
    assert "19 events written." in exported.stderr.decode()
    file = tmp_path / "events.jsonl"
    file.write_bytes(exported.stdout)
    refused = tagstream("send", str(file), environ=environ)
    assert refused.returncode == 4
    assert "19" in refused.stderr.decode()
    assert "missing_title" in refused.stderr.decode()
    assert contents(settings, settings.topics.content) == []
    corrected = [{"title": row.pop("headline"), **row} for row in lines(exported.stdout)]
    file.write_text("".join(json.dumps(row) + "\n" for row in corrected), encoding="utf-8")
    sent = tagstream("send", str(file), environ=environ)
    assert sent.returncode == 0, sent.stderr.decode()
    found = [json.loads(record.value or b"") for record in contents(settings, settings.topics.content)]
    assert sorted(one["n"] for one in found) == sorted(set(range(20)) - {2})
    assert all(one["title"] == f"Feature store {one['n']}" for one in found)


@pytest.mark.slow
def test_a_dead_letter_is_shown_without_moving_the_cursor(
    tagstream: Command, environ: dict[str, str], settings: Settings
) -> None:
    """A dead letter is escaped for people, exact with --raw and in JSON; an empty place is an error that says so."""
    lay(settings)
    shown = tagstream("dlq", "show", "3/0", environ=environ)
    assert shown.returncode == 0, shown.stderr.decode()
    text = shown.stdout.decode()
    assert all(character.isprintable() or character == "\n" for character in text)
    assert "\\x1b[31mred \\u202egnp.exe\\u2066 \\x07" in text
    assert "invalid_json (decode)" in text
    assert "x-dlq-code: the producer's" in text
    assert tagstream("dlq", "show", "3/0", "--raw", environ=environ).stdout == HOSTILE
    (whole,) = lines(tagstream("dlq", "show", "3/0", "--json", environ=environ).stdout)
    assert base64.b64decode(str(whole["value_base64"])) == HOSTILE
    assert base64.b64decode(str(whole["key_base64"])) == b"\xff\x00"
    for place, says in (("3/9", b"the partition ends at 1"), ("99/0", b"the topic has no partition 99")):
        missing = tagstream("dlq", "show", place, environ=environ)
        assert missing.returncode == 1
        assert says in missing.stderr
    tombstone = tagstream("dlq", "show", "4/0", "--raw", environ=environ)
    assert (tombstone.returncode, tombstone.stdout) == (2, b"")
    assert b"it is a tombstone" in tombstone.stderr


@pytest.mark.slow
@pytest.mark.parametrize("words", [["list"], ["show", "0/0"], ["replay"]])
def test_no_topic_is_exit_code_2_and_no_broker_3(tagstream: Command, environ: dict[str, str], words: list[str]) -> None:
    """The errors have the command that makes the topics, and come within the start-up bound."""
    topic = {**environ, "TAGSTREAM_TOPICS__DLQ": "no-such-topic"}
    missing = tagstream("dlq", *words, environ=topic)
    assert missing.returncode == 2
    assert b"tagstream doctor --create-topics" in missing.stderr
    nowhere = {"TAGSTREAM_BROKERS": f"127.0.0.1:{free_ports(1)[0]}", "TAGSTREAM_STARTUP_TIMEOUT_SECONDS": "1"}
    gone = tagstream("dlq", *words, environ={**environ, **nowhere})
    assert gone.returncode == 3
    assert b"Traceback" not in missing.stderr + gone.stderr
