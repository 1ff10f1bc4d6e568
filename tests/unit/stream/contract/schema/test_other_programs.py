"""Decisions that another program made by a model of its own: they need nothing of the contract that its first version did not have."""

import hashlib
import re
import uuid
from pathlib import Path

import jsonschema
import msgspec
import pytest

from tagstream import Answers, Decided, ForeignModel, Record
from tagstream.stream.contract.answers import Said, answer_to, write_answer
from tagstream.stream.contract.published import DecidedEvent, read_decision
from tagstream.stream.contract.schema.topics import schemas
from tests.data.contract import make
from tests.unit.stream.contract.schema.test_versions import FROZEN, frozen_schemas

PAGE = (Path(make.HERE).parents[2] / "docs" / "contract.md").read_text(encoding="utf-8")
LABELS = ("billing", "login", "other")
EVERYTHING = {folder.name: frozen_schemas(folder) for folder in FROZEN} | {"today": schemas()}


def decided(confidence: float) -> Decided:
    """The decision of the page's example; each that is published is drawn for an audit."""
    model = ForeignModel("intents", "7", LABELS, thresholds=0.8, settings={"audit_rate": 1})
    found = model.decide(
        {"id": "42", "title": "I cannot sign in"}, {"billing": 1 - confidence, "login": confidence, "other": 0}
    )
    assert isinstance(found, Decided)
    return found


def records() -> list[Record]:
    """One of each kind: published, its copy for an audit, one for a person, the answer, and the decision that follows from it."""
    asked = decided(0.6)
    shown = read_decision(asked.records[0])
    assert isinstance(shown, DecidedEvent)
    said = answer_to(shown, Said(tag="billing", reviewer="ann", blind=False, asked_by="review"), now_ms=1_700_000_000_000)
    answered = Record(topic="reviewed", key=b"42", value=write_answer(shown.event.fields, said))
    return [*decided(0.9).records, *asked.records, answered, *Answers().decide([answered])[0].records]


@pytest.mark.parametrize("version", EVERYTHING)
def test_they_have_the_schemas_of_every_version(version: str) -> None:
    """So that no reader of an earlier version is broken by an application, and the contract needs no version for them."""
    made = records()
    assert [one.topic for one in made] == ["tagged", "audit", "review", "reviewed", "tagged"]
    for one in made:
        jsonschema.validate(msgspec.json.decode(one.value or b""), EVERYTHING[version][one.topic])


def test_a_program_in_another_language_can_make_both_ids_by_the_page() -> None:
    """Digest and `prediction_id` are made of what docs/contract.md names, in the bytes that it shows."""
    found = decided(0.9).decision
    digest = re.search(r'`(\["intents".*?\])`.*?; here `([0-9a-f]{64})`', PAGE)
    made = re.search(r"namespace `([0-9a-f-]{36})` of .*? here `([0-9a-f-]{36})`", PAGE)
    assert digest is not None
    assert made is not None
    assert hashlib.sha256(digest[1].encode()).hexdigest() == digest[2] == found.model.digest
    assert str(uuid.uuid5(uuid.UUID(made[1]), f"1:{digest[2]}:42")) == made[2] == found.prediction_id
