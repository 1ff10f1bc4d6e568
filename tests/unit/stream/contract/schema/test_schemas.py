"""Real records of every topic agree with its published schema, and known-bad ones do not."""

import itertools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest

from tagstream.monitoring.vocabulary import Destination, Reason, Stage
from tagstream.stream.contract.answers import AnsweredEvent, read_answer, tagged_by_reviewer
from tagstream.stream.contract.dead_letter import FIRST_OF_OURS
from tagstream.stream.contract.event import Headers, Record, decode
from tagstream.stream.contract.outcome import ASKED_FIELDS, OPTIONAL_FIELD, Decision, ReviewerDecision
from tagstream.stream.contract.refusal import Refusal
from tagstream.stream.contract.reports import Report, report_of, write_report
from tagstream.stream.contract.schema.events import NOT_BLANK
from tagstream.stream.contract.schema.pages import main, pages
from tagstream.stream.contract.schema.topics import schemas
from tagstream.stream.contract.shadow_records import write_shadowed
from tagstream.stream.decide.answer import answer_of
from tagstream.stream.demo.samples import load_events
from tests.answering import MODEL, NOW_MS, PIPELINE, SURE, UNSURE, answer, audited, decided, reviewed
from tests.hostile.corpus import corpus
from tests.unit.stream.contract.test_shadow_records import WHOLE as COMPARED
from tests.unit.stream.demo.demo_records import found_words
from tests.unit.stream.serve.conftest import ask

DOCS = Path(__file__).parents[5] / "docs" / "contract"
SCHEMAS = schemas()
CORPUS = 3_000
# An event with fields that have names of ours, and one for a person whose text hides characters.
COLLIDING = b'{"id":"e-3","title":"deployment","tag":"news","reasons":1,"tagged_at":null,"version":"v","destination":[]}'
HIDDEN = '{"id":"e-4","title":"deploy\u200bment of a model"}'.encode()


def faults(name: str, value: Any) -> list[str]:
    """The faults that the schema of this name finds in the value."""
    return [error.message[:200] for error in jsonschema.Draft7Validator(SCHEMAS[name]).iter_errors(value)]


def parsed(record: Record) -> Any:
    """The value of a record."""
    return json.loads(record.value or b"")


def ours(found: Headers) -> dict[str, str]:
    """The part of a dead letter's headers that a producer cannot write: from the last header of this name on."""
    names = [name for name, _ in found]
    first = len(names) - 1 - names[::-1].index(FIRST_OF_OURS)
    return {name: content.decode("utf-8", "replace") for name, content in found[first:]}


def by_person(**said: Any) -> Record:
    """The decision of a person on `tagged`."""
    found = read_answer(reviewed(decided(), answer(**said)))
    assert isinstance(found, AnsweredEvent)
    key, value, kept, _ = tagged_by_reviewer(found, NOW_MS)
    return Record(key=key, value=value, headers=kept, topic="tagged")


def a_report() -> bytes:
    """The value of a report."""
    report = report_of({"event_id": "e-1", "suggested_tag": "mlops", "note": "It is about servers.", "reporter": "bo"}, NOW_MS)
    assert isinstance(report, Report)
    return write_report(report)


def given_events() -> Iterator[Record]:
    """Sample events of the demo, and hostile records, as they lie on `content`."""
    for number, event in enumerate(load_events()):
        yield Record(topic="content", partition=0, offset=number, key=None, value=msgspec.json.encode(event))
    for number, (_, record) in enumerate(corpus(CORPUS)):
        yield record.raw(number)


GOOD: dict[str, list[Any]] = {
    "content.write": [json.loads(SURE), {"title": "a", "description": None, "id": 17, "source": "blog", "created_on": "now"}],
    "content.read": [json.loads(SURE), {"title": "a", "tag": "news", "views": 1.1, "id": None}],
    "tagged": [parsed(decided(SURE)), parsed(decided(COLLIDING)), parsed(by_person()), parsed(by_person(tag="off_subject"))],
    "review": [parsed(decided(UNSURE)), parsed(decided(HIDDEN))],
    "content.dlq.headers": [
        ours(decided(b"[]").headers),
        ours(decided(b'{"title":" "}', headers=(("x-dlq-null-key", b"forged"),)).headers),
    ],
    "audit": [parsed(audited(decided(SURE)))],
    "reviewed": [
        parsed(reviewed(decided(SURE), answer(note="Look again."))),
        parsed(reviewed(decided(UNSURE), answer(decided(UNSURE), previous=answer(decided(UNSURE))))),
        parsed(reviewed(decided(COLLIDING), answer(decided(COLLIDING)))),
    ],
    "reports": [json.loads(a_report()), {"event_id": "e", "reported_at": "2026-11-26T16:20:33.527Z", "later": "a new field"}],
    "outcomes": [{"event_id": "e", "name": "clicks", "value": 1, "at": "2026-11-26T16:20:33.527Z", "later": "a new field"}],
    "drift": [json.loads(msgspec.json.encode(found_words("agents")))],
    "shadow": [
        json.loads(write_shadowed(COMPARED)),
        json.loads(write_shadowed(msgspec.structs.replace(COMPARED, challenger=None, failure="RuntimeError"))),
    ],
    "classified": [
        json.loads(answer_of(publication, line=3, row=2))
        for publication in PIPELINE.publications([Record(key=None, value=value) for value in (SURE, UNSURE, b"[]", HIDDEN)])
    ]
    + [{**parsed(by_person()), "destination": "tagged", "cached": True}],
}


def without(name: str) -> Callable[[dict[str, Any]], Any]:
    """The value lacks this field."""
    return lambda value: {key: content for key, content in value.items() if key != name}


def with_(**fields: Any) -> Callable[[dict[str, Any]], Any]:
    """The value has these fields."""
    return lambda value: {**value, **fields}


BAD: list[tuple[str, Callable[[dict[str, Any]], Any]]] = [
    ("content.write", with_(Title="misspelt")),
    ("content.write", with_(tag="news")),
    ("content.write", with_(id=2**53)),
    ("content.write", without("title")),
    ("content.read", with_(title=" \t")),
    ("content.read", with_(title=None)),
    ("content.read", with_(title=["a"])),
    ("content.read", with_(id="")),
    ("content.read", with_(id="x" * 257)),
    ("content.read", with_(id=True)),
    ("content.read", with_(id=1.5)),
    ("content.read", with_(description=1)),
    ("content.read", with_(source={})),
    ("content.read", lambda _: []),
    ("content.read", lambda _: {"specversion": "1.0", "id": "1", "source": "/b", "type": "t", "data": {"title": ""}}),
    ("content.read", lambda _: {"specversion": "0.3", "id": "1", "source": "/b", "type": "t", "data": {"title": "a"}}),
    ("content.read", lambda _: {"specversion": "1.0", "id": "1", "type": "t", "data": {"title": "a"}}),
    ("tagged", without("prediction_id")),
    ("tagged", without("tagged_at")),
    ("tagged", without("id")),
    ("tagged", with_(confidence=1.01)),
    ("tagged", with_(confidence="0.9")),
    ("tagged", with_(decider="rules")),
    ("tagged", with_(decider="reviewer")),
    ("tagged", with_(prediction_id="no uuid")),
    ("tagged", with_(probabilities={"mlops": 2})),
    ("tagged", with_(reasons=["low_confidence"])),
    ("tagged", with_(inclusion_probability=0.02)),
    ("tagged", with_(tagged_at="2026-11-26 16:20:33")),
    ("tagged", with_(id=6)),
    ("tagged", with_(overridden="tag")),
    ("tagged", with_(model={"name": "m", "version": "1"})),
    ("review", without("reasons")),
    ("review", with_(reasons=[])),
    ("review", without("inclusion_probability")),
    ("review", with_(inclusion_probability=0)),
    ("review", with_(text_flags=[])),
    ("review", with_(decider="reviewer")),
    ("audit", without("inclusion_probability")),
    ("audit", with_(reasons=["low_confidence"])),
    ("content.dlq.headers", without("x-dlq-code")),
    ("content.dlq.headers", with_(**{"__streams.errors.offset": "-"})),
    ("content.dlq.headers", with_(**{"x-dlq-attempts": 1})),
    ("reviewed", without("before")),
    ("reviewed", with_(version=0)),
    ("reviewed", with_(reviewer=" ")),
    ("reviewed", with_(asked_by="a friend")),
    ("reviewed", with_(before={})),
    ("reports", without("event_id")),
    ("reports", with_(note="x" * 2001)),
    ("reports", with_(reported_at="yesterday")),
    ("outcomes", without("value")),
    ("outcomes", with_(value="1")),
    ("outcomes", with_(value=1e13)),
    ("outcomes", with_(name="two words")),
    ("outcomes", with_(name="n" * 65)),
    ("outcomes", with_(at="yesterday")),
    ("drift", without("kind")),
    ("drift", with_(kind="weather")),
    ("drift", with_(words=[{"word": "agents"}])),
    ("shadow", without("event_id")),
    ("shadow", with_(champion={"tag": "mlops"})),
    ("shadow", with_(offset=-1)),
    ("shadow", with_(inclusion_probability=0)),
    ("classified", with_(destination="elsewhere")),
    ("classified", without("destination")),
]


def test_the_published_files_are_those_of_the_code() -> None:
    """If this fails: python -m tagstream.stream.contract.schema.pages docs/contract, and read the difference as your readers will."""
    assert {path.name: path.read_text(encoding="utf-8") for path in DOCS.glob("*.json")} == pages()


def test_writing_them_again_removes_a_file_without_a_schema(tmp_path: Path) -> None:
    """A schema that is gone from the code is gone from the folder."""
    (tmp_path / "gone.json").write_text("{}")
    main([str(tmp_path)])
    assert {path.name: path.read_text(encoding="utf-8") for path in tmp_path.iterdir()} == pages()


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_schema_is_one_of_its_dialect_without_references(name: str) -> None:
    """Each is draft-07 and can be used alone."""
    jsonschema.Draft7Validator.check_schema(SCHEMAS[name])
    assert "$ref" not in json.dumps(SCHEMAS[name])


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in GOOD.items() for value in values])
def test_a_record_of_ours_agrees(name: str, value: Any) -> None:
    """The records of tagstream's own code agree with the schema, for every schema."""
    assert faults(name, value) == []


def test_no_schema_is_untried() -> None:
    """Each schema has good records and bad ones."""
    assert set(GOOD) == {name for name, _ in BAD} == set(SCHEMAS)


@pytest.mark.parametrize(("name", "spoil"), BAD, ids=[f"{number}-{name}" for number, (name, _) in enumerate(BAD)])
def test_a_spoilt_record_does_not_agree(name: str, spoil: Callable[[dict[str, Any]], Any]) -> None:
    """A record that breaks the contract in one place is refused."""
    assert faults(name, spoil(GOOD[name][0]))


def test_every_outcome_agrees_with_the_schema_of_its_topic() -> None:
    """For any record the outcome's value, headers and answer object agree; and each kind of outcome was among them."""
    validators = {name: jsonschema.Draft7Validator(schema) for name, schema in SCHEMAS.items()}
    seen = dict.fromkeys(Destination, 0)
    records = given_events()
    while batch := list(itertools.islice(records, 200)):
        for publication in PIPELINE.publications(batch):
            seen[publication.destination] += 1
            if publication.destination is Destination.DLQ:
                validators["content.dlq.headers"].validate(ours(publication.headers))
            else:
                validators[publication.destination.value].validate(json.loads(publication.value or b""))
            validators["classified"].validate(json.loads(answer_of(publication, line=1, row=0)))
    assert min(seen.values()) > 50, seen


def test_the_answers_of_the_service_agree() -> None:
    """`POST /classify` gives objects of the published schema: decisions, and a rejection."""
    found = ask("POST", "/classify", content=b"[%b]" % b",".join([SURE, UNSURE, COLLIDING, HIDDEN, b'{"title":" "}']))
    answers = found.json()
    assert [answer["destination"] for answer in answers] == ["tagged", "review", "tagged", "review", "dlq"]
    assert [faults("classified", answer) for answer in answers] == [[]] * len(answers)


def test_a_worker_reads_what_the_schema_for_reading_takes() -> None:
    """For strict JSON without headers, decoder and schema say the same, but where no schema can tell."""
    validator = jsonschema.Draft7Validator(SCHEMAS["content.read"])
    agreed = {True: 0, False: 0}
    for record in given_events():
        decoded = decode(Record(key=None, value=record.value))
        if isinstance(decoded, Refusal) and decoded.stage is not Stage.VALIDATE:
            continue
        value = json.loads(record.value or b"")
        readable = not isinstance(decoded, Refusal) or _beyond_schemas(value, decoded)
        assert validator.is_valid(value) == readable, (value, decoded)
        agreed[readable] += 1
    assert min(agreed.values()) > 50, agreed


def _beyond_schemas(value: dict[str, Any], refusal: Refusal) -> bool:
    """Whether the fault is in the form of an integer, or in the bytes of `data_base64`."""
    is_envelope = "title" not in value
    event = value.get("data") if is_envelope else value
    found = event.get("id") if isinstance(event, dict) else None
    form = (isinstance(found, float) and found.is_integer() and "id is a JSON number" in refusal.message) or (
        isinstance(found, int) and refusal.reason is Reason.INVALID_ID
    )
    in_bytes = is_envelope and isinstance(value.get("data_base64"), str)
    return form or (in_bytes and "attribute" not in refusal.message and "specversion" not in refusal.message)


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("tagged", {*Decision.__struct_fields__, "tagged_at"} - (ASKED_FIELDS - {OPTIONAL_FIELD})),
        ("review", {*Decision.__struct_fields__, "tagged_at"}),
        ("tagged", set(ReviewerDecision.__struct_fields__) - ASKED_FIELDS),
    ],
)
def test_every_field_that_is_written_is_described(name: str, written: set[str]) -> None:
    """The code that writes a decision has no field which the schema does not describe."""
    forms = SCHEMAS[name].get("anyOf", [SCHEMAS[name]])
    described = {field for form in forms for field, schema in form["properties"].items() if schema and "description" in schema}
    assert written <= described


def test_each_field_of_a_decision_is_in_a_record_here() -> None:
    """A field that no decision is given would be described and never written; `tags` needs a bundle of several labels."""
    written = {field for name in ("tagged", "review", "audit") for value in GOOD[name] for field in value}
    assert set(Decision.__struct_fields__) - {OPTIONAL_FIELD} <= written


def test_the_closed_lists_are_those_of_the_vocabulary() -> None:
    """A new code is in the published schema as soon as it is in the vocabulary."""
    fields = SCHEMAS["content.dlq.headers"]["properties"]
    assert fields["x-dlq-code"]["x-known-values"] == [str(reason) for reason in Reason]
    assert fields["x-dlq-stage"]["x-known-values"] == [str(stage) for stage in Stage]


def test_blank_is_the_same_for_schema_and_decoder() -> None:
    """Every character that the decoder takes for white space alone is none to the schema's pattern, and the other way round."""
    spaces = "".join(chr(code) for code in range(0x3100) if chr(code).isspace())
    for character in spaces:
        value = {"title": character, "id": "e"}
        assert bool(faults("content.read", value)) == isinstance(
            decode(Record(key=None, value=json.dumps(value).encode())), Refusal
        )
    assert NOT_BLANK in json.dumps(SCHEMAS["content.read"], ensure_ascii=False).replace("\\\\", "\\")
    assert MODEL.name == parsed(decided(SURE))["model"]["name"]
