"""The records that `tail` shows."""

import pytest

from stream.cli.show.wanted import Wanted
from stream.contract.record import Record

DECISION = Record(key=b"k", value=b'{"id":"e-1","tag":"mlops","decider":"model"}')


@pytest.mark.parametrize(
    ("wanted", "taken"),
    [
        (Wanted(), True),
        (Wanted(tag="mlops"), True),
        (Wanted(tag="other"), False),
        (Wanted(decider="model", id="e-1"), True),
        (Wanted(decider="reviewer"), False),
        (Wanted(id="k"), False),
        (Wanted(tag="mlops", id="e-2"), False),
    ],
)
def test_a_record_is_taken_if_it_has_all_that_is_asked_for(wanted: Wanted, taken: bool) -> None:
    """Tag, decider and id must all fit, and an empty filter takes every record."""
    assert wanted.takes(DECISION) is taken


@pytest.mark.parametrize("value", [None, b"", b"no json", b"[]", b"\xff", b'{"id":null}'])
def test_a_record_without_an_id_is_taken_by_its_key(value: bytes | None) -> None:
    """A dead letter may hold any bytes, and has the key of its event."""
    record = Record(key=b"e-1", value=value)
    assert Wanted(id="e-1").takes(record)
    assert not Wanted(tag="mlops").takes(record)
