"""`doctor` says what the newest records hold under each pointer: nothing readable is a failure, and a pointer that finds nothing a warning."""

import json
from typing import Any

import pytest

from tagstream.stream.contract.event import Record
from tagstream.stream.doctor.events import of_records
from tagstream.stream.doctor.findings import Status
from tagstream.stream.settings.settings import Settings

EVENTS = [{"payload": {"subject": "Hi", "nr": number}} for number in range(3)]


def records(*events: dict[str, Any]) -> list[Record]:
    """Their records."""
    return [Record(key=None, value=json.dumps(event).encode()) for event in events]


@pytest.mark.parametrize(
    ("fields", "events", "status", "says"),
    [
        (
            {"title": "/payload/subject", "id": "/payload/nr"},
            EVENTS,
            Status.OK,
            "of the newest 3 records of content 3 can be read",
        ),
        ({"title": "/payload/betreff"}, EVENTS, Status.FAIL, "of content 0 can be read"),
        ({"title": "/payload/subject"}, [*EVENTS, {"payload": {}}], Status.WARN, "of content 3 can be read"),
        ({"title": "/payload/subject", "id": "/payload/number"}, EVENTS, Status.WARN, "anything where table.id points"),
        (
            {"title": "/payload/subject", "id": "/x", "source": ["/y", "/z"]},
            EVENTS,
            Status.WARN,
            "anything where table.id and table.source point",
        ),
        ({"title": "/payload/subject", "id": []}, EVENTS, Status.OK, "3 can be read"),
    ],
)
def test_the_pointers_are_held_against_the_newest_records(
    fields: dict[str, Any], events: list[dict[str, Any]], status: Status, says: str
) -> None:
    """The finding counts what can be read; its next step names the table of the topic."""
    found = of_records(Settings.model_validate({"fields": fields}), records(*events), table="table")
    assert found.status is status
    assert says in found.detail
    assert ("table.title" in found.fix) == ("dead letters" in found.detail)
