"""The input contract: `decode` accepts or refuses any bytes, keeps the producer's fields, and leaks no event text."""

import base64
import json
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tagstream.monitoring.vocabulary import AtFault, Reason, Stage, at_fault
from tagstream.stream.contract.event import ContentEvent, Limits, Record, decode
from tagstream.stream.contract.outcome import publish_all
from tagstream.stream.contract.refusal import Refusal
from tagstream.stream.deliver.breaker import OF_THE_MODEL
from tests.answering import OF_ANSWERS
from tests.fakes import raw

LIMITS = Limits(max_bytes=2_000_000)
TOKEN = "zq7-planted-K"  # noqa: S105
BINARY = {"ce_specversion": b"1.0", "ce_id": b"c-1", "ce_source": b"/feed", "ce_type": b"content.published"}
STRUCTURED = {"specversion": "1.0", "id": "c-1", "source": "/feed", "type": "content.published"}


def accepted(value: bytes, **where: Any) -> ContentEvent:
    """Decode a value that must be valid."""
    event = decode(raw(value, **where))
    assert isinstance(event, ContentEvent), event
    return event


def rejected(value: bytes | None, limits: Limits = LIMITS, **where: Any) -> Refusal:
    """Decode a value that must be refused."""
    outcome = decode(raw(value, **where), limits)
    assert isinstance(outcome, Refusal), outcome
    return outcome


def titled(extra: bytes) -> bytes:
    """A valid event with this addition."""
    return b'{"id":"a","title":"Hello",' + extra + b"}"


def envelope(data: object = None, **more: object) -> bytes:
    """A CloudEvent in structured mode."""
    return json.dumps({**STRUCTURED, "data": {"title": "Hello"} if data is None else data, **more}).encode()


def kept(event: ContentEvent) -> dict[str, Any]:
    """The fields of an event, parsed."""
    return {name: json.loads(bytes(value)) for name, value in event.fields.items()}


# --- the closed list of reasons ----------------------------------------------------------------------------------------

REFUSED: list[tuple[Reason, bytes | None, Mapping[str, bytes]]] = [
    (Reason.UNREADABLE_BATCH, b'{"title":"a"}', {"x-dlq-unreadable": b"why"}),
    (Reason.TOMBSTONE, None, {}),
    (Reason.EMPTY, b"", {}),
    (Reason.TOO_LARGE, titled(b'"x":"' + b"y" * 2_000_000 + b'"'), {}),
    (Reason.INVALID_UTF8, titled(b'"x":"\xff"'), {}),
    (Reason.INVALID_UTF8, titled(b'"x":"\xed\xa0\x80"'), {}),
    (Reason.INVALID_UTF8, '{"title":"a"}'.encode("utf-16"), {}),
    (Reason.INVALID_JSON, b"{", {}),
    (Reason.INVALID_JSON, b"not json", {}),
    (Reason.INVALID_JSON, b'{"title":"a"} {"title":"b"}', {}),
    (Reason.INVALID_JSON, b"\xef\xbb\xbf" + b'{"title":"a"}', {}),
    (Reason.INVALID_JSON, b'{"title":"a\x00b"}', {}),
    (Reason.INVALID_JSON, b"{'title': 'a'}", {}),
    (Reason.NOT_AN_OBJECT, b"[]", {}),
    (Reason.NOT_AN_OBJECT, b'"title"', {}),
    (Reason.NOT_AN_OBJECT, b"null", {}),
    (Reason.NOT_AN_OBJECT, b"7", {}),
    (Reason.DUPLICATE_KEY, b'{"title":"a","title":"b"}', {}),
    (Reason.DUPLICATE_KEY, titled(b'"x":[{"y":1,"\\u0079":2}]'), {}),
    (Reason.NON_FINITE_NUMBER, titled(b'"x":NaN'), {}),
    (Reason.NON_FINITE_NUMBER, titled(b'"x":[-Infinity]'), {}),
    (Reason.NON_FINITE_NUMBER, titled(b'"x":1e400'), {}),
    (Reason.NON_FINITE_NUMBER, titled(b'"x":-1E+999'), {}),
    (Reason.NUMBER_TOO_LONG, titled(b'"x":' + b"9" * 1_001), {}),
    (Reason.NUMBER_TOO_LONG, titled(b'"x":0.' + b"9" * 5_000), {}),
    (Reason.TOO_DEEP, titled(b'"x":' + b"[" * 32 + b"]" * 32), {}),
    (Reason.TOO_DEEP, titled(b'"x":' + b'{"a":' * 32 + b"1" + b"}" * 32), {}),
    (Reason.TOO_DEEP, b"[" * 100_000, {}),
    (Reason.TOO_DEEP, b'{"a":' * 100_000, {}),
    (Reason.NUL_CHARACTER, b'{"title":"a\\u0000"}', {}),
    (Reason.NUL_CHARACTER, titled(b'"x":{"y":[{"\\u0000z":1}]}'), {}),
    (Reason.LONE_SURROGATE, b'{"title":"\\ud800"}', {}),
    (Reason.LONE_SURROGATE, titled(b'"x":{"y":[{"\\udfff":1}]}'), {}),
    (Reason.LONE_SURROGATE, titled(b'"x":"\\udc00\\ud800"'), {}),
    (Reason.INVALID_CLOUDEVENT, b'{"title":"a"}', {"ce_specversion": b"1.0"}),
    (Reason.INVALID_CLOUDEVENT, b'{"title":"a"}', {**BINARY, "ce_specversion": b"0.3"}),
    (Reason.INVALID_CLOUDEVENT, b'{"title":"a"}', {**BINARY, "ce_id": b""}),
    (Reason.INVALID_CLOUDEVENT, b'{"title":"a"}', {**BINARY, "ce_source": b"\xff"}),
    (Reason.INVALID_CLOUDEVENT, b'{"title":"a"}', {**BINARY, "ce_planted": b"\xff"}),
    (Reason.INVALID_CLOUDEVENT, b'{"title":"a"}', {**BINARY, "ce_subject": b"a\x00b"}),
    (Reason.INVALID_CLOUDEVENT, b'{"title":"a"}', {"content-type": b"application/cloudevents+json; charset=UTF-8"}),
    (Reason.INVALID_CLOUDEVENT, b'{"specversion":"1.0"}', {}),
    (Reason.INVALID_CLOUDEVENT, b'{"specversion":1.0}', {}),
    (Reason.INVALID_CLOUDEVENT, envelope(id=7), {}),
    (Reason.INVALID_CLOUDEVENT, envelope(type=""), {}),
    (Reason.INVALID_CLOUDEVENT, envelope(["title"]), {}),
    (Reason.INVALID_CLOUDEVENT, envelope("title"), {}),
    (Reason.INVALID_CLOUDEVENT, json.dumps(STRUCTURED).encode(), {}),
    (Reason.INVALID_CLOUDEVENT, envelope(data_base64="%%%"), {}),
    (Reason.INVALID_CLOUDEVENT, envelope(data_base64="\u00e9"), {}),
    (Reason.INVALID_CLOUDEVENT, envelope(data_base64=7), {}),
    (Reason.INVALID_UTF8, envelope(data_base64=base64.b64encode(b'{"title":"\xff"}').decode()), {}),
    (Reason.NOT_AN_OBJECT, envelope(data_base64=base64.b64encode(b"[]").decode()), {}),
    (Reason.INVALID_JSON, envelope(data_base64=""), {}),
    (Reason.MISSING_TITLE, b"{}", {}),
    (Reason.MISSING_TITLE, b'{"title":null}', {}),
    (Reason.MISSING_TITLE, b'{"title":""}', {}),
    (Reason.MISSING_TITLE, b'{"title":" \\t\\n\\u00a0"}', {}),
    (Reason.MISSING_TITLE, envelope({}), {}),
    (Reason.WRONG_TYPE, b'{"title":7}', {}),
    (Reason.WRONG_TYPE, b'{"title":["a"]}', {}),
    (Reason.WRONG_TYPE, b'{"title":true}', {}),
    (Reason.WRONG_TYPE, b'{"title":"a","id":7.0}', {}),
    (Reason.WRONG_TYPE, b'{"title":"a","id":7e3}', {}),
    (Reason.WRONG_TYPE, b'{"title":"a","id":true}', {}),
    (Reason.INVALID_ID, b'{"title":"a","id":' + b"7" * 257 + b"}", {}),
    (Reason.WRONG_TYPE, titled(b'"description":["a"]'), {}),
    (Reason.WRONG_TYPE, titled(b'"created_on":20200101'), {}),
    (Reason.WRONG_TYPE, titled(b'"source":{}'), {}),
    (Reason.INVALID_ID, b'{"title":"a","id":""}', {}),
    (Reason.INVALID_ID, b'{"title":"a","id":" "}', {}),
    (Reason.INVALID_ID, b'{"title":"a","id":"' + b"i" * 257 + b'"}', {}),
    (Reason.INVALID_ID, b'{"title":"a"}', {**BINARY, "ce_id": b"i" * 257}),
    (Reason.INVALID_ID, envelope({"title": "a", "id": ""}), {}),
]


@pytest.mark.parametrize(
    ("reason", "value", "headers"), REFUSED, ids=lambda part: part.value if isinstance(part, Reason) else ""
)
def test_a_bad_event_is_refused_for_its_reason(reason: Reason, value: bytes | None, headers: Mapping[str, bytes]) -> None:
    """Every hostile input becomes a refusal with a code of the closed list, and the record is kept unchanged."""
    record = raw(value, headers=headers.items())
    outcome = decode(record, LIMITS)
    assert isinstance(outcome, Refusal)
    assert outcome.reason is reason
    assert outcome.message
    (publication,) = publish_all([record], [outcome], 0)
    assert publication.value == record.value
    assert publication.headers[: len(record.headers)] == record.headers


def test_every_reason_of_the_closed_list_has_an_input() -> None:
    """Every code has an input that causes it; those of outcomes, answers and frames have theirs in other files of tests."""
    assert {reason for reason, _, _ in REFUSED} == set(Reason) - OF_THE_MODEL - OF_ANSWERS - {
        one for one in Reason if at_fault(one) is AtFault.FRAME
    } - {Reason.OUTCOME_TOO_LARGE}


def test_the_stage_says_whether_the_bytes_or_the_contract_were_broken() -> None:
    """The stage is `decode` until the value is a JSON object, and `validate` from then on."""
    validate = {Reason.INVALID_CLOUDEVENT, Reason.MISSING_TITLE, Reason.WRONG_TYPE, Reason.INVALID_ID}
    for reason, value, headers in REFUSED:
        stage = rejected(value, headers=headers.items()).stage
        assert stage is (Stage.VALIDATE if reason in validate else Stage.DECODE), reason


@pytest.mark.parametrize(
    "value",
    [
        titled(b'"x":' + b"[" * 31 + b"]" * 31),
        titled(b'"x":' + b"9" * 1_000),
        titled(b'"x":1e308'),
        titled(b'"x":"\\ud83d\\ude00"'),
        titled(b'"x":"' + b"[{" * 1_000 + b'"'),
        b'{"title":"a","id":"' + b"i" * 256 + b'"}',
        b' \r\n\t{"title":"a"}\n ',
    ],
)
def test_an_event_at_its_limit_is_accepted(value: bytes) -> None:
    """A limit includes its last value, and brackets within a string add no depth."""
    accepted(value)


def test_the_size_limit_includes_its_last_byte() -> None:
    """An event of exactly `max_bytes` is accepted, and one byte more is refused."""
    value = b'{"title":"a"}'
    assert isinstance(decode(raw(value), Limits(max_bytes=len(value))), ContentEvent)
    assert rejected(value, Limits(max_bytes=len(value) - 1)).reason is Reason.TOO_LARGE


@given(number=st.integers())
def test_an_integer_id_and_its_text_are_one_event(number: int) -> None:
    """Both forms have the same id, and the same fields on the topic: an integer of any length is published as a string."""
    as_number, as_text = (accepted(json.dumps({"id": form, "title": "a"}).encode()) for form in (number, str(number)))
    assert as_number.id == as_text.id == str(number)
    assert as_number.fields == as_text.fields


def test_minus_zero_is_the_id_0() -> None:
    """JSON knows `-0`, which is the integer 0."""
    assert accepted(b'{"id":-0,"title":"a"}').id == "0"


# --- totality ----------------------------------------------------------------------------------------------------------

HEADER_NAMES = st.one_of(
    st.sampled_from(["ce_specversion", "ce_id", "ce_source", "ce_type", "ce_time", "content-type", "Content-Type", "ce_"]),
    st.text(),
)
HEADER_VALUES = st.one_of(
    st.none(), st.sampled_from([b"1.0", b"application/cloudevents+json", b"application/json", b"a"]), st.binary(max_size=20)
)
HEADERS = st.lists(st.tuples(HEADER_NAMES, HEADER_VALUES), max_size=8)
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text()),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=5), inner, max_size=4)),
    max_leaves=12,
)
NAMES = st.sampled_from(
    ["id", "title", "description", "created_on", "source", "specversion", "type", "data", "data_base64", "x"]
)
OBJECTS = st.dictionaries(NAMES, st.one_of(JSON, st.just("1.0"), st.dictionaries(NAMES, JSON)), max_size=8)


def check_total(value: bytes | None, headers: Any = (), key: bytes | None = None) -> None:
    """Decoding gives an event or a refusal, the same each time, and either can be published."""
    record = raw(value, headers=headers, key=key)
    outcome = decode(record)
    assert outcome == decode(record)
    if isinstance(outcome, Refusal):
        (publication,) = publish_all([record], [outcome], 1_700_000_000_000)
        assert publication.value == value
        assert publication.headers[: len(record.headers)] == record.headers
    else:
        assert outcome.title.strip()
        assert json.loads(bytes(outcome.fields["id"])) == outcome.id
        json.loads(msgspec.json.encode(outcome.fields))


@hypothesis_settings(max_examples=1_000)
@given(st.binary())
def test_random_bytes_are_decoded_or_refused(value: bytes) -> None:
    """`decode` raises no exception for random bytes."""
    check_total(value)


@hypothesis_settings(max_examples=1_000)
@given(
    st.binary(),
    st.sampled_from([b'{"title":"%b"}', b'{"title":"a","%b":1}', b'{"title":"a","x":%b}', b'{"title":"a","x":{"%b":[]}}']),
)
def test_random_bytes_within_a_valid_event_are_decoded_or_refused(inside: bytes, around: bytes) -> None:
    """Random bytes inside a valid event raise no foreign exception of a parser."""
    check_total(around.replace(b"%b", inside))


@hypothesis_settings(max_examples=500)
@given(st.text(alphabet='\\u0d8fcDE"{}[]:,x \n'), st.booleans())
def test_escapes_and_brackets_are_decoded_or_refused(inside: str, in_a_string: bool) -> None:
    """Text made of JSON's own characters is decoded or refused."""
    check_total(titled(b'"x":"' + inside.encode() + b'"' if in_a_string else b'"x":' + inside.encode()))


@hypothesis_settings(max_examples=100)
@given(OBJECTS, HEADERS, st.one_of(st.none(), st.binary(max_size=9)), st.booleans())
def test_any_json_under_our_names_with_any_headers_is_decoded_or_refused(
    fields: dict[str, Any], headers: Any, key: bytes | None, ascii_only: bool
) -> None:
    """Recursive JSON, wrong types, partial envelopes, lone surrogates, NaN and odd headers are decoded or refused."""
    check_total(json.dumps(fields, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass"), headers, key)


@hypothesis_settings(max_examples=200)
@given(st.data())
def test_a_mutated_valid_event_is_decoded_or_refused(data: st.DataObject) -> None:
    """A valid event with bytes cut, doubled or overwritten is decoded or refused."""
    value = bytearray(
        data.draw(st.sampled_from([titled(b'"x":{"y":[1,2.5,"\\u00e9"]}'), envelope(), envelope({"title": "\u00e9"})]))
    )
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(value)))
        stop = min(len(value), start + data.draw(st.integers(0, 3)))
        value[start:stop] = data.draw(st.one_of(st.binary(max_size=3), st.just(bytes(value[start:stop]) * 2)))
    check_total(bytes(value), data.draw(HEADERS))


# --- fields are kept unchanged ------------------------------------------------------------------------------------------

SNIPPETS = st.recursive(
    st.sampled_from(
        [
            b"1.10",
            b"12345678901234567890123456789",
            b"-0.0",
            b"1E5",
            b"0.1000000000000000055511151231257827",
            b"null",
            b"true",
            b'"\\u00e9\\/\\n"',
            '"\u00e9\u2028\U0001f600"'.encode(),
            b'"\\ud83d\\ude00"',
            b'""',
            b"[ ]",
            b"{ }",
        ]
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda parts: b"[ " + b" ,\n".join(parts) + b"]"),
        st.dictionaries(st.sampled_from([b"a", b"\\u0062", "\u00e9".encode()]), inner, max_size=3).map(
            lambda parts: b"{" + b", ".join(b'"%b" : %b' % part for part in parts.items()) + b"}"
        ),
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["x", "tags", "url", "\u00e9", "Title", "a b", ""]), SNIPPETS))
def test_the_value_of_every_unknown_field_is_kept_byte_for_byte(unknown: dict[str, bytes]) -> None:
    """Large integers, trailing zeros, escapes and inner white space are kept as they came."""
    value = b'{"title": "a" ' + b"".join(b', "%b" : %b' % (name.encode(), text) for name, text in unknown.items()) + b"}"
    fields = accepted(value).fields
    assert {name: bytes(fields[name]) for name in unknown} == unknown
    assert set(fields) == {*unknown, "title", "id"}


def test_optional_fields_may_be_null() -> None:
    """A null optional field counts as missing, gives a derived id, and is kept."""
    event = accepted(b'{"title":"a","id":null,"description":null,"created_on":null,"source":null}')
    assert (event.description, event.source) == (None, None)
    assert event.id.startswith("sha256-")
    assert kept(event) == {"title": "a", "id": event.id, "description": None, "created_on": None, "source": None}


def test_the_producers_own_id_is_the_events_id() -> None:
    """The producer's id is used unchanged, whatever characters it has."""
    assert accepted('{"title":"a","id":"\u00e9/1 2"}'.encode()).id == "\u00e9/1 2"


def test_a_derived_id_depends_on_key_and_value_alone() -> None:
    """A derived id is stable over redelivery, partition, topic and time, and its published value is fixed here."""
    value = b'{"title":"a"}'
    first = accepted(value, key=b"k")
    again = decode(Record(topic="other", partition=9, offset=9, timestamp_ms=9, key=b"k", value=value, headers=(("h", b""),)))
    assert isinstance(again, ContentEvent)
    assert again.id == first.id == "sha256-6580dd6b531cee0cb2592d994bf03421"
    assert len({first.id, accepted(value).id, accepted(value, key=b"l").id, accepted(value + b" ", key=b"k").id}) == 4


@given(st.binary(max_size=6), st.binary(max_size=6))
def test_a_derived_id_tells_key_and_value_apart(left: bytes, right: bytes) -> None:
    """Bytes that move from the key to the value give another id."""
    tail = b'{"title":"a"}'
    one, other = decode(raw(right + tail, key=left)), decode(raw(tail, key=left + right))
    if right and isinstance(one, ContentEvent) and isinstance(other, ContentEvent):
        assert one.id != other.id


# --- CloudEvents -------------------------------------------------------------------------------------------------------


def test_binary_mode_fills_missing_fields_from_the_headers() -> None:
    """The envelope's id, source and time fill the missing fields, and all attributes are kept under `cloudevent`."""
    headers = {**BINARY, "ce_time": b"2024-01-02T03:04:05Z", "ce_ext": "\u00e9".encode(), "content-type": b"application/json"}
    event = accepted(b'{"title":"a"}', headers=headers.items())
    assert (event.id, event.source) == ("c-1", "/feed")
    assert kept(event) == {
        "title": "a",
        "id": "c-1",
        "source": "/feed",
        "created_on": "2024-01-02T03:04:05Z",
        "cloudevent": {
            "specversion": "1.0",
            "id": "c-1",
            "source": "/feed",
            "type": "content.published",
            "time": "2024-01-02T03:04:05Z",
            "ext": "\u00e9",
        },
    }


def test_structured_mode_opens_the_envelope() -> None:
    """In structured mode the data is the event, and its fields are kept unchanged."""
    event = accepted(b'{"specversion":"1.0","id":"c-1","source":"/feed","type":"t","time":"now","data":{"title":"a","n":1.10}}')
    assert bytes(event.fields["n"]) == b"1.10"
    assert (event.id, event.title, event.source) == ("c-1", "a", "/feed")
    assert kept(event)["created_on"] == "now"
    assert kept(event)["cloudevent"] == {"specversion": "1.0", "id": "c-1", "source": "/feed", "type": "t", "time": "now"}


def test_structured_mode_opens_base64_data() -> None:
    """`data_base64` holds the bytes of the event."""
    inner = b'{"title":"a","n":12345678901234567890}'
    event = accepted(json.dumps({**STRUCTURED, "data_base64": base64.b64encode(inner).decode()}).encode())
    assert bytes(event.fields["n"]) == b"12345678901234567890"
    assert "data_base64" not in kept(event)["cloudevent"]


@pytest.mark.parametrize("mode", ["binary", "structured"])
def test_fields_of_the_data_win_over_the_envelope(mode: str) -> None:
    """The data's own id, source and date win over the envelope's, unless they are null."""
    data = {"id": "own", "title": "a", "source": "here", "created_on": None}
    if mode == "binary":
        event = accepted(json.dumps(data).encode(), headers={**BINARY, "ce_time": b"then"}.items())
    else:
        event = accepted(envelope(data, time="then"))
    assert (event.id, event.source) == ("own", "here")
    assert {name: kept(event)[name] for name in data} == {**data, "created_on": "then"}


def test_an_envelope_is_known_by_its_content_type() -> None:
    """An envelope is recognized by its content type, with any parameters."""
    header = ("content-type", b"application/cloudevents+json; charset=UTF-8")
    assert accepted(envelope(title="not this"), headers=[header]).title == "Hello"


def test_a_bare_event_may_have_fields_that_an_envelope_has() -> None:
    """In a bare event `specversion` is a field like any other."""
    assert accepted(titled(b'"specversion":"1.0","type":"t"')).id == "a"


def test_attributes_that_are_no_strings_are_kept_too() -> None:
    """Numbers and booleans in extension attributes are kept as the bytes that came."""
    event = accepted(b'{"specversion":"1.0","id":"c","source":"/f","type":"t","n":1.10,"b":true,"data":{"title":"a"}}')
    assert bytes(event.fields["cloudevent"]) == b'{"specversion":"1.0","id":"c","source":"/f","type":"t","n":1.10,"b":true}'


@pytest.mark.parametrize(
    "record",
    [
        raw(envelope(source="x" * 880_000)),
        raw(b'{"title":"a"}', headers=[*BINARY.items(), ("ce_x", b"\x01" * 250_000)]),
        raw(b'{"title":"' + b"y" * 899_900 + b'"}', headers=[("h", b"z" * 148_000)]),
        raw(b'{"title":"a"}', key=b"k" * 1_040_000),
    ],
    ids=["structured", "binary", "headers", "key"],
)
def test_an_event_whose_outcome_would_not_fit_into_a_record_is_refused(record: Record) -> None:
    """An event whose outcome would be too large for a record is refused, so that it cannot stop the worker."""
    outcome = decode(record)
    assert isinstance(outcome, Refusal)
    assert outcome.reason is Reason.TOO_LARGE


# --- no event text in refusals ------------------------------------------------------------------------------------------

PLANTED = f'"{TOKEN}"'.encode()


@pytest.mark.parametrize(
    "value",
    [
        PLANTED,
        TOKEN.encode(),
        b"[" + PLANTED + b"]",
        b'{"title":' + PLANTED,
        b'{"title":[' + PLANTED + b"]}",
        b'{"title":"\xff' + TOKEN.encode() + b'"}',
        b'{"title":' + PLANTED + b',"title":' + PLANTED + b"}",
        b'{"title":' + PLANTED + b',"' + TOKEN.encode() + b'":NaN}',
        b'{"title":"' + TOKEN.encode() + b'\\ud800"}',
        b'{"title":"' + TOKEN.encode() + b'\\u0000"}',
        b'{"title":"a","' + TOKEN.encode() + b'\\ud800":1}',
        b'{"title":"a","description":[' + PLANTED + b"]}",
        b'{"title":"a","id":"' + TOKEN.encode() * 40 + b'"}',
        envelope(data_base64=f"%{TOKEN}"),
        envelope(TOKEN),
        envelope({"title": {TOKEN: 1}}),
        envelope(specversion=TOKEN),
    ],
)
@pytest.mark.parametrize("headers", [{}, {f"ce_{TOKEN}": TOKEN.encode() + b"\xff", **BINARY}, {TOKEN: TOKEN.encode()}])
def test_a_refusal_never_holds_event_text(value: bytes, headers: Mapping[str, bytes]) -> None:
    """Neither the message nor the repr of a refusal holds event text, so no log line and no header does."""
    outcome = rejected(value, headers=headers.items(), key=TOKEN.encode())
    assert TOKEN not in outcome.message
    assert TOKEN not in repr(outcome)


@given(st.dictionaries(NAMES, st.sampled_from([None, "", 7, TOKEN, [TOKEN], {"title": TOKEN}])), HEADERS)
def test_no_repr_on_the_way_out_holds_the_title(fields: dict[str, Any], headers: Any) -> None:
    """The repr of record, event, outcome and publication hides the title, since each may appear in a traceback."""
    fields |= {name: "a" for name in ("id", "source") if isinstance(fields.get(name), str)}
    record = raw(json.dumps({**fields, "title": TOKEN}).encode(), headers=[*headers, ("h", TOKEN.encode())], key=TOKEN.encode())
    outcome = decode(record)
    assert TOKEN not in repr(record) + repr(outcome)
    if isinstance(outcome, Refusal):
        assert TOKEN not in repr(publish_all([record], [outcome], 1_700_000_000_000))
