"""Events of a shape of their own: found by JSON pointers, decided as if they were plain, and published with all that came."""

import base64
import json
from typing import Any

import jsonschema
import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tagstream.monitoring.vocabulary import Reason
from tagstream.stream.contract import shape as shape_file
from tagstream.stream.contract.event import ContentEvent, Limits, Record, decode
from tagstream.stream.contract.refusal import Refusal
from tagstream.stream.contract.schema.events import of_shape, read
from tagstream.stream.contract.shape import NAMES, PLAIN, PointerError, Shape, placed, pointer, spelled

NESTED = Shape(
    id=(("payload", "nr"), ("id",)),
    title=(("payload", "subject"), ("title",)),
    description=(("payload", "body"),),
    source=(("meta", "from"),),
    created_on=(("meta", "at"),),
)
JOINED = Shape(title=(), description=(), text=(("payload", "subject"), ("payload", "body"), ("notes", "0", "text")))
SHAPES = (NESTED, JOINED, Shape(title=(("a/b", "~c"),), description=(), id=(), source=(), created_on=()))

texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)
titles = texts.filter(str.strip)
plain_events = st.fixed_dictionaries(
    {"title": titles},
    optional={
        "id": titles,
        "description": texts,
        "source": titles,
        "created_on": texts,
        "views": st.integers(),
        "deep": st.just({"a": [1.5]}),
    },
)
leaves = st.none() | st.booleans() | st.integers() | texts
values = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["nr", "subject", "body", "from", "text", "x"]), inner, max_size=3)
    ),
    max_leaves=8,
)
loose_events = st.dictionaries(
    st.sampled_from(["payload", "meta", "notes", "id", "title", "description", "specversion", "a/b"]), values, max_size=5
)


def decoded(event: Any, shape: Shape) -> ContentEvent | Refusal:
    """The event in this JSON, for a stream of this shape."""
    return decode(Record(key=None, value=json.dumps(event).encode()), Limits(shape=shape))


def event_in(event: Any, shape: Shape) -> ContentEvent:
    """The same, which is one."""
    found = decoded(event, shape)
    assert isinstance(found, ContentEvent), found
    return found


def own_fields(event: ContentEvent) -> dict[str, Any]:
    """The fields as they are published."""
    fields: dict[str, Any] = json.loads(msgspec.json.encode(event.fields))
    return fields


@pytest.mark.parametrize("shape", SHAPES)
@given(event=plain_events)
def test_an_event_in_its_place_is_the_plain_event(shape: Shape, event: dict[str, Any]) -> None:
    """Title, description, id and source are those of the plain event, and every other member stays where it was."""
    shaped = placed(event, shape)
    found, plain = event_in(shaped, shape), event_in(event, PLAIN)
    assert found.title == plain.title
    if shape is NESTED:
        assert (found.description, found.source) == (plain.description, plain.source)
        assert "id" not in event or found.id == plain.id
    assert own_fields(found).items() >= shaped.items()


@pytest.mark.parametrize("shape", SHAPES)
@given(event=loose_events)
@example(event={"payload": {"subject": "a", "nr": 17}, "title": {"en": "b"}})
@example(event={"title": None, "payload": "x"})
def test_the_schema_and_the_decoder_agree(shape: Shape, event: dict[str, Any]) -> None:
    """What the published schema of the shape takes is an event, and what it refuses is none, but for later pointers of a list."""
    found = decoded(event, shape)
    fits = jsonschema.Draft202012Validator(read(shape)).is_valid(event)
    if isinstance(found, ContentEvent):
        assert fits
    elif fits:
        # The schema says nothing of what a second pointer or a place in an array finds.
        assert shape is not SHAPES[2]
        assert found.reason in {Reason.WRONG_TYPE, Reason.MISSING_TITLE, Reason.INVALID_ID, Reason.INVALID_CLOUDEVENT}


@given(event=loose_events)
def test_no_member_is_lost(event: dict[str, Any]) -> None:
    """Each member of an event is published at its place, or in `original` where the contract's field of its name has another value."""
    found = decoded(event, NESTED)
    if not isinstance(found, ContentEvent):
        return
    fields = own_fields(found)
    for name, value in event.items():
        kept = fields.get("original", {}).get(name) if name in NAMES and fields.get(name) != value else fields.get(name)
        assert kept == value or (name == "id" and str(value) == kept)


def test_a_displaced_member_is_kept_with_its_bytes() -> None:
    """A number keeps its digits, an `original` of the producer is in ours, and an integer id becomes a string."""
    value = b'{"payload":{"subject":"Hi","nr":17},"title":{"en":1.10},"id":2.50,"original":"mine","n":1.50}'
    found = decode(Record(key=None, value=value), Limits(shape=NESTED))
    assert isinstance(found, ContentEvent)
    assert found.id == "17"
    assert bytes(msgspec.json.encode(found.fields["original"])) == b'{"id":2.50,"title":{"en":1.10},"original":"mine"}'
    assert bytes(found.fields["n"]) == b"1.50"


def test_texts_are_joined_in_order() -> None:
    """The first text that is not blank is the title, those after it are the description, and what is absent is passed over."""
    found = event_in({"payload": {"subject": " ", "body": "A"}, "notes": [{"text": "B"}], "title": 7}, JOINED)
    assert (found.title, found.description) == ("A", "B")
    assert own_fields(found)["original"] == {"title": 7}
    assert event_in({"payload": {"subject": "A"}}, JOINED).description is None
    beside = Shape(title=(), description=(), text=(("title",), ("body",)))
    fields = own_fields(event_in({"id": "a", "title": "A", "body": "B"}, beside))
    assert fields == {"id": "a", "title": "A", "body": "B", "description": "B"}


@pytest.mark.parametrize("mode", ["structured", "base64", "binary"])
def test_the_data_of_a_cloudevent_has_the_shape(mode: str) -> None:
    """Pointers lead into the data; source and id of the envelope stand in for those that the data lacks."""
    data = {"payload": {"subject": "Hi"}}
    envelope = {"specversion": "1.0", "id": "c-1", "source": "/feed", "type": "made"}
    headers: tuple[tuple[str, bytes], ...] = ()
    if mode == "structured":
        value = {**envelope, "data": data}
    elif mode == "base64":
        value = {**envelope, "data_base64": base64.b64encode(json.dumps(data).encode()).decode()}
    else:
        value, headers = data, tuple((f"ce_{name}", text.encode()) for name, text in envelope.items())
    found = decode(Record(key=None, value=json.dumps(value).encode(), headers=headers), Limits(shape=NESTED))
    assert isinstance(found, ContentEvent)
    assert (found.id, found.title, found.source) == ("c-1", "Hi", "/feed")
    if mode == "structured":
        jsonschema.validate(value, read(NESTED))


@pytest.mark.parametrize(
    ("event", "shape", "reason", "message"),
    [
        (
            {"payload": {"name": "x", "a secret": 1}, "nr": 1},
            NESTED,
            Reason.MISSING_TITLE,
            "title is missing: nothing at /payload/subject or /title; the event has nr, payload; /payload has name and 1 other",
        ),
        ({}, NESTED, Reason.MISSING_TITLE, "title is missing: nothing at /payload/subject or /title; the event has no members"),
        (
            {"payload": {"subject": "x"}},
            PLAIN,
            Reason.MISSING_TITLE,
            "title is missing: nothing at /title; the event has payload",
        ),
        (
            {"payload": {"subject": 7}},
            NESTED,
            Reason.WRONG_TYPE,
            "title is a JSON number at /payload/subject, a string is expected",
        ),
        (
            {"payload": {"subject": ["x"]}},
            JOINED,
            Reason.WRONG_TYPE,
            "text is a JSON array at /payload/subject, a string is expected",
        ),
        (
            {"payload": {"subject": "x", "nr": {}}},
            NESTED,
            Reason.WRONG_TYPE,
            "id is a JSON object, a string or an integer is expected",
        ),
    ],
)
def test_a_refusal_says_where_it_looked(event: Any, shape: Shape, reason: Reason, message: str) -> None:
    """A dead letter names the pointers, and the members that there are; a name that may be somebody's text is counted."""
    found = decoded(event, shape)
    assert isinstance(found, Refusal)
    assert (found.reason, found.message) == (reason, message)


def test_a_blank_title_is_passed_over() -> None:
    """The next pointer that finds a text counts, and the blank one is kept; where all are blank, the message names the setting for several texts."""
    event = {"payload": {"subject": " "}, "title": "A"}
    assert event_in(event, NESTED).title == "A"
    assert own_fields(event_in(event, NESTED))["payload"] == {"subject": " "}
    for found in (decoded({"payload": {"subject": " "}, "title": ""}, NESTED), decoded({"title": " "}, PLAIN)):
        assert isinstance(found, Refusal)
        assert "title is blank; the first text of fields.text" in found.message


def test_members_are_sorted_once_however_many_pointers_lead_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """A dead letter for a large object costs one look at its members, not one for each pointer."""
    looks = []
    named = shape_file._named
    monkeypatch.setattr(shape_file, "_named", lambda found: (looks.append(len(found)), named(found))[1])
    many = Shape(title=tuple(("payload", f"title-{number}") for number in range(100)))
    found = decoded({"payload": {f"n{number}": 0 for number in range(1_000)}}, many)
    assert isinstance(found, Refusal)
    assert "/payload has n0, n1, n10, n100, n101, n102, n103, n104 and 992 others" in found.message
    assert looks == [1, 1_000]


@given(st.lists(texts, min_size=1, max_size=5).map(tuple))
def test_a_pointer_is_read_as_it_is_written(parts: tuple[str, ...]) -> None:
    """Every name can be written in a pointer, slashes and tildes too."""
    assert pointer(spelled(parts)) == parts


@pytest.mark.parametrize("text", ["", "title", "/a~2b", "/a~", "/" + "/".join("a" * 33)])
def test_what_is_no_pointer_is_refused(text: str) -> None:
    """A message says why a text is no pointer to a part of an event."""
    with pytest.raises(PointerError, match=r"pointer|levels"):
        pointer(text)


def test_the_plain_schema_is_not_changed() -> None:
    """A stream without the settings publishes the contract as ever."""
    assert of_shape(PLAIN)["required"] == ["title"]
    assert "anyOf" not in of_shape(PLAIN)


@given(topic=st.sampled_from(["", "content", "posts", "elsewhere"]), source=st.sampled_from([None, "cms"]))
def test_an_event_of_one_of_several_topics_has_the_shape_of_its_topic_and_a_source(topic: str, source: str | None) -> None:
    """The topic stands in for a source that is missing, in what is published too; a row of a file and another topic have neither."""
    limits = Limits(shapes={"content": PLAIN, "posts": Shape(title=(pointer("/payload/subject"),))})
    given_source = {} if source is None else {"source": source}
    event = {"payload": {"subject": "Hi"}, **given_source} if topic == "posts" else {"title": "Hi", **given_source}
    found = decode(Record(key=None, value=json.dumps(event).encode(), topic=topic), limits)
    assert isinstance(found, ContentEvent)
    expected = source or (topic if topic in limits.shapes else None)
    assert (found.title, found.source) == ("Hi", expected)
    assert (json.loads(bytes(found.fields["source"])) if "source" in found.fields else None) == expected


def test_one_topic_of_events_is_decoded_as_before() -> None:
    """Without further topics a record's topic plays no part."""
    value = b'{"id": "1", "title": "Hi"}'
    assert decode(Record(key=None, value=value, topic="content")).fields.keys() == {"id", "title"}  # type: ignore[union-attr]
