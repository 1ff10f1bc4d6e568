"""The examples of docs/producers.md agree with the decoder."""

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tagstream.monitoring.vocabulary import Reason, Stage
from tagstream.stream.contract.event import DEFAULT_LIMITS, UNREADABLE_HEADERS, ContentEvent, Headers, Record, decode
from tagstream.stream.contract.outcome import DECISION_FIELDS, OPTIONAL_FIELD, Publication
from tagstream.stream.contract.refusal import Refusal
from tagstream.stream.decide.from_settings import pipeline_of
from tagstream.stream.settings.loading import load
from tagstream.stream.settings.settings import Settings

PAGE = (Path(__file__).parents[4] / "docs" / "producers.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```json\n(.*?)\n```", PAGE, re.DOTALL)
# The index of an event among the page's JSON examples, and the index of its outcome.
BECOMES = {0: 3, 1: 2, 4: 5, 6: 7}
BINARY = 6
SHAPE = re.search(r"```toml\n(\[fields\]\n.*?)\n```", PAGE, re.DOTALL)
SEVERAL = re.search(r"```toml\n(\[topics\]\n.*?)\n```", PAGE, re.DOTALL)
ROW = re.compile(r"^\| `(\w+)` \| (.+) \| (\w+): (.+) \|$", re.MULTILINE)
REFUSED = {code: (example, stage, message) for code, example, stage, message in ROW.findall(PAGE)}
# The examples that the page describes in words.
DESCRIBED: dict[str, bytes | None] = {
    "unreadable_batch": None,
    "tombstone": None,
    "empty": b"",
    "too_large": b"{" + b" " * (DEFAULT_LIMITS.max_bytes - 1) + b"}",
    "invalid_utf8": '{"title": "caf\xe9"}'.encode("latin-1"),
    "number_too_long": b'{"title": "a", "n": ' + b"9" * 1001 + b"}",
    "too_deep": b'{"title": "a", "lists": ' + b"[" * 32 + b"]" * 32 + b"}",
}
# The batch reader, the decision, the model, the worker or a reviewer causes these codes; no value of an event does.
BEYOND_DECODING = {
    # Decided while the batch is read, before there is a value.
    "unreadable_batch": Stage.DECODE,
    # Of frames, which are read with a registry: tests/unit/stream/registry.
    "invalid_frame": Stage.DECODE,
    "unknown_schema": Stage.DECODE,
    "unsupported_schema": Stage.DECODE,
    "invalid_avro": Stage.DECODE,
    "outcome_too_large": Stage.PRODUCE,
    "model_raised": Stage.INFER,
    "crashes_worker": Stage.INFER,
    # Of records of `reviewed`, which producers do not send.
    "invalid_answer": Stage.VALIDATE,
    "unknown_label": Stage.VALIDATE,
    "unknown_decision": Stage.VALIDATE,
    "unsigned_answer": Stage.VALIDATE,
}


RULES = Settings(decider="rules")


def published(value: str, headers: Headers = (), settings: Settings = RULES) -> Publication:
    """The outcome of an event; by the rules, whose decisions have the form of the model's."""
    [publication] = pipeline_of(settings).publications([Record(key=None, value=value.encode(), headers=headers)])
    return publication


def in_order(text: str | bytes) -> list[tuple[str, Any]]:
    """The fields of an object in their order, its numbers as they are spelled."""
    fields = json.loads(text, object_pairs_hook=list, parse_float=str)
    assert isinstance(fields, list)
    return fields


def headers_on_the_page() -> Headers:
    """The headers of the event in binary mode."""
    [block] = re.findall(r"```text\n(.*?)```", PAGE, re.DOTALL)
    lines = (line.split(": ", maxsplit=1) for line in block.splitlines())
    return tuple((name, content.encode()) for name, content in lines)


def fields_with(name: str, value: object) -> bytes:
    """An event with a title and this field."""
    return json.dumps({"title": "a", name: value}).encode()


def test_every_example_is_an_event_or_an_outcome() -> None:
    """No JSON block of the page is left untried."""
    assert sorted([*BECOMES, *BECOMES.values()]) == list(range(len(EXAMPLES)))


@pytest.mark.parametrize("event", BECOMES)
def test_an_example_becomes_its_outcome_on_the_page(event: int) -> None:
    """The published value begins with the fields that the page shows, in that order, numbers spelled as they came."""
    publication = published(EXAMPLES[event], headers_on_the_page() if event == BINARY else ())
    expected = in_order(EXAMPLES[BECOMES[event]])
    assert in_order(publication.value or b"")[: len(expected)] == expected


def test_only_the_producers_own_headers_go_on() -> None:
    """Of the binary example the tracing header is published, and neither the envelope nor its content type."""
    assert [name for name, _ in published(EXAMPLES[BINARY], headers_on_the_page()).headers] == ["traceparent"]


def test_the_key_of_an_outcome_is_the_events_id_where_it_came_without_a_key() -> None:
    """A record without a key gets the id for its outcome's key."""
    assert published(EXAMPLES[1]).key == b"blog-17"


def test_the_page_names_every_code() -> None:
    """A producer finds each code that a dead letter can have."""
    assert set(REFUSED) == {reason.value for reason in Reason}
    assert {code: Stage(REFUSED[code][1]) for code in BEYOND_DECODING} == BEYOND_DECODING


def test_the_runbook_of_the_dead_letters_names_every_code() -> None:
    """Whoever is called finds the usual cause of each code."""
    runbook = (Path(__file__).parents[4] / "docs" / "runbooks" / "DeadLetterRatio.md").read_text(encoding="utf-8")
    firsts = re.findall(r"^\| (.+?) \|", runbook.split("## Likely causes")[1].split("\n## ")[0], re.MULTILINE)
    named = {code for first in firsts for code in re.findall(r"`(\w+)`", first)}
    assert [reason.value for reason in Reason if reason.value not in named] == []


@pytest.mark.parametrize("code", [code for code in REFUSED if code not in BEYOND_DECODING])
def test_a_refused_example_gets_the_code_and_message_on_the_page(code: str) -> None:
    """Each example of a dead letter is refused for the reason, at the stage and with the message of its row."""
    example, stage, message = REFUSED[code]
    value = DESCRIBED[code] if code in DESCRIBED else example.strip("`").encode()
    # The worker's reader marks a record that it cannot read from its batch by such a header.
    headers = ((UNREADABLE_HEADERS[0], b"crc"),) if code == "unreadable_batch" else ()
    assert decode(Record(key=None, value=value, headers=headers)) == Refusal(
        stage=Stage(stage), reason=Reason(code), message=message
    )


@pytest.mark.parametrize(
    ("on_the_page", "within", "beyond"),
    [
        ("900,000", b'{"title": "a"}'.ljust(900_000), b'{"title": "a"}'.ljust(900_001)),
        ("1,000,000", fields_with("x", "y" * 899_000), fields_with("x", "y" * 899_000)),
        ("| 32 |", fields_with("x", json.loads("[" * 31 + "]" * 31)), fields_with("x", json.loads("[" * 32 + "]" * 32))),
        ("1,000,", b'{"title": "a", "n": ' + b"9" * 1000 + b"}", b'{"title": "a", "n": ' + b"9" * 1001 + b"}"),
        ("finite as a float", b'{"title": "a", "n": 1e308}', b'{"title": "a", "n": 1e309}'),
        ("1 to 256 characters", fields_with("id", "x" * 256), fields_with("id", "x" * 257)),
    ],
    ids=["bytes of the value", "bytes together", "levels", "characters of a number", "size of a number", "characters of an id"],
)
def test_a_limit_on_the_page_is_the_limit(on_the_page: str, within: bytes, beyond: bytes) -> None:
    """An event at the limit is accepted, and one above it is refused."""
    assert on_the_page in PAGE
    # The second limit counts the key and the headers too.
    key = b"k" * 200_000 if within == beyond else None
    assert isinstance(decode(Record(key=None, value=within)), ContentEvent)
    assert isinstance(decode(Record(key=key, value=beyond)), Refusal)


def test_the_names_that_are_ours_are_all_on_the_page() -> None:
    """A producer's field of such a name moves, so the page must list all of them."""
    [listed] = re.findall(r"one of ours \((.*?)\) moves", PAGE, re.DOTALL)
    assert set(re.findall(r"`(\w+)`", listed)) == DECISION_FIELDS | {OPTIONAL_FIELD}


@pytest.mark.parametrize("name", ["id", "description", "source", "created_on"])
def test_an_optional_field_has_the_types_of_the_page(name: str) -> None:
    """The types in the table of fields: null counts as missing, and any other type is refused."""
    types, wrong = ("string, integer or null", 17.5) if name == "id" else ("string or null", 17)
    assert f"| `{name}` | {types} |" in PAGE
    assert isinstance(decode(Record(key=None, value=fields_with(name, None))), ContentEvent)
    refusal = decode(Record(key=None, value=fields_with(name, wrong)))
    assert isinstance(refusal, Refusal)
    assert refusal.reason is Reason.WRONG_TYPE


def test_the_settings_of_another_shape_find_what_they_name() -> None:
    """The page's settings, read from a file, find the fields of a nested event, which the plain settings refuse."""
    assert SHAPE
    event = '{"payload": {"subject": "Feature stores in production", "nr": 17, "views": 1.10}, "meta": {"system": "cms"}}'
    found = [("id", "17"), ("title", "Feature stores in production"), ("source", "cms")]
    value = published(event, settings=Settings(decider="rules", **tomllib.loads(SHAPE[1]))).value
    assert in_order(value or b"")[:5] == [*in_order(event), *found]
    assert isinstance(published(event).outcome, Refusal)


def test_the_settings_of_several_topics_can_be_used() -> None:
    """The table of the page names three topics with their fields, and its variable one of them."""
    assert SEVERAL is not None
    settings = Settings.model_validate(tomllib.loads(SEVERAL[1]))
    assert settings.content_topics == ("papers", "posts", "wire.en")
    variable = re.search(r"`TAGSTREAM_CONTENTS='(.*?)'`", PAGE)
    assert variable is not None
    assert load({"TAGSTREAM_CONTENTS": variable[1]}, folder=Path("/nonexistent")).settings.content_topics == (
        "content",
        "posts",
    )
