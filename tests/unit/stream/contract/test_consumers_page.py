"""The tables of docs/consumers.md name every field and every value of the outcomes."""

import json
import re
from pathlib import Path

import pytest

from tagstream.monitoring.vocabulary import ReviewReason, TextFlag
from tagstream.stream.contract.answers import AnsweredEvent, read_answer, tagged_by_reviewer
from tagstream.stream.contract.event import Record
from tagstream.stream.contract.outcome import ASK_FIELD, DECISION_FIELDS, OPTIONAL_FIELD
from tagstream.stream.contract.published import REVIEWER_FIELDS
from tagstream.stream.decide.from_settings import pipeline_of
from tagstream.stream.settings.settings import Settings
from tests.answering import NOW_MS, UNSURE, answer, decided, reviewed

PAGE = (Path(__file__).parents[4] / "docs" / "consumers.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| `(\w+)` \| ([a-z ]+) \| `(.+?)` \| .+ \|$", PAGE, re.MULTILINE)
FIELDS = {name: (kind, example) for name, kind, example in ROWS}
TYPES = {"string": str, "number": (int, float), "boolean": bool, "object": dict, "array": list}


def values_of(column: str) -> set[str]:
    """The values in the first column of the table with this heading."""
    table = PAGE.split(f"| in `{column}` |")[1].split("\n\n")[0]
    firsts = [line.split("|")[1] for line in table.splitlines()[2:]]
    return {value for first in firsts for value in re.findall(r"`(\w+)`", first)}


def test_every_field_of_an_outcome_is_on_the_page() -> None:
    """The table has each name of ours and no other, each once."""
    assert [name for name, *_ in ROWS] == list(FIELDS)
    assert set(FIELDS) == DECISION_FIELDS | {OPTIONAL_FIELD, ASK_FIELD} | REVIEWER_FIELDS


def test_every_reason_and_flag_is_on_the_page() -> None:
    """The lists of values are those of the contract."""
    assert values_of("reasons") == {reason.value for reason in ReviewReason}
    assert values_of("text_flags") == {flag.value for flag in TextFlag}


@pytest.mark.parametrize("name", FIELDS)
def test_an_example_has_the_type_on_the_page(name: str) -> None:
    """Each example is JSON of its type, the elements of an array or an object included."""
    kind, example = FIELDS[name]
    value = json.loads(example)
    outer, _, inner = kind.partition(" of ")
    assert isinstance(value, TYPES[outer])
    if inner:
        elements = value.values() if isinstance(value, dict) else value
        assert all(isinstance(element, TYPES[inner.removesuffix("s")]) for element in elements)


def test_a_published_outcome_has_the_types_on_the_page() -> None:
    """An event with a hidden character and a field of ours gets fields of these types, in the order of the table."""
    record = Record(key=None, value=b'{"title": "a\\u200bb", "tag": "news"}')
    (publication,) = pipeline_of(Settings(decider="rules")).publications([record])
    ours = {name: value for name, value in json.loads(publication.value or b"").items() if name in FIELDS}
    assert ours.keys() == FIELDS.keys() - {OPTIONAL_FIELD, ASK_FIELD, "destination"} - REVIEWER_FIELDS
    for name, value in ours.items():
        assert isinstance(value, TYPES[FIELDS[name][0].partition(" of ")[0]]), name


def test_a_persons_decision_has_the_types_on_the_page() -> None:
    """The fields that only a reviewer's decision has stand behind `truncated`, in the order of their table."""
    record = decided(UNSURE)
    answered = read_answer(reviewed(record, answer(record)))
    assert isinstance(answered, AnsweredEvent)
    value = json.loads(tagged_by_reviewer(answered, NOW_MS)[1])
    names = [name for name in value if name in FIELDS]
    assert names[names.index("truncated") + 1 :] == [*(name for name in FIELDS if name in REVIEWER_FIELDS), "tagged_at"]
    for name in names:
        assert isinstance(value[name], TYPES[FIELDS[name][0].partition(" of ")[0]]), name
