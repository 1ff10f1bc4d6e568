"""The contract of `shadow`: what is written is read, and what is no record of it is refused."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagstream.stream.contract.event import Record
from tagstream.stream.contract.outcome import ModelRef
from tagstream.stream.contract.refusal import Refusal, UnwritableError
from tagstream.stream.contract.shadow_records import BatchTimes, Shadowed, ShadowSide, read_shadowed, write_shadowed

SIDE = ShadowSide(
    tag="mlops",
    confidence=0.5,
    destination="tagged",
    prediction_id="6d0f7c3e-5b0a-5d57-9c53-4a7c1c0f5a1e",
    model=ModelRef(name="m", version="1", digest="d" * 64, epoch="3", arm="champion"),
)
WHOLE = Shadowed(
    event_id="e-1",
    partition=2,
    offset=7,
    champion=SIDE,
    challenger=SIDE,
    inclusion_probability=0.1,
    compared_at="2023-11-14T22:13:20.123Z",
)


def record(value: bytes | None) -> Record:
    """A record of `shadow`."""
    return Record(topic="shadow", key=b"e-1", value=value)


@pytest.mark.parametrize(
    "found",
    [
        WHOLE,
        msgspec.structs.replace(WHOLE, challenger=None, failure="RuntimeError", failed="e" * 64),
        msgspec.structs.replace(WHOLE, champion=None, failure="model_raised", failed="d" * 64),
        msgspec.structs.replace(
            WHOLE, slices=("source: web", "text: not ASCII"), times=BatchTimes(champion=0.1, challenger=0.25)
        ),
    ],
)
def test_a_comparison_is_read_as_it_was_written(found: Shadowed) -> None:
    """With both sides, or with the reason for which one is missing; fields of a later version are ignored."""
    value = write_shadowed(found)
    assert read_shadowed(record(value)) == found
    assert read_shadowed(record(value[:-1] + b',"later":{"a":1}}')) == found


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(value: bytes) -> None:
    """It never raises."""
    assert isinstance(read_shadowed(record(value)), Shadowed | Refusal)


@pytest.mark.parametrize(
    "changes",
    [
        {"event_id": ""},
        {"partition": -1},
        {"inclusion_probability": 0.0},
        {"compared_at": "now"},
        {"failure": ""},
        {"champion": None, "challenger": None},
        {"slices": ("",)},
        {"times": BatchTimes(champion=-1.0, challenger=1.0)},
    ],
)
def test_what_no_reader_takes_is_not_written(changes: dict[str, object]) -> None:
    """The writer reads its own record back."""
    with pytest.raises(UnwritableError):
        write_shadowed(msgspec.structs.replace(WHOLE, **changes))
