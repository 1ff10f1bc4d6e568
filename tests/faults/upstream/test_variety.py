"""The varied input holds all that it promises, and the contract sees each event as the harness does."""

from collections import Counter

import pytest

from tagstream.stream.contract.event import ContentEvent, Record, decode
from tagstream.stream.contract.refusal import Refusal
from tests.faults.inputs import SENT_AGAIN, Planted, Transaction
from tests.faults.upstream.variety import MOST_BYTES, varied

EVENTS, MALFORMED = 4_000, 40


@pytest.fixture(scope="module")
def planted() -> list[Planted]:
    """A varied input."""
    return varied(EVENTS, malformed=MALFORMED, seed="variety")


def read(one: Planted) -> ContentEvent | Refusal:
    """The event as the contract reads it."""
    return decode(Record(key=one.key, value=one.value, headers=one.headers))


def test_the_contract_reads_each_event_as_the_harness_does(planted: list[Planted]) -> None:
    """A good event has the id that the harness expects, and a malformed one is refused."""
    for one in planted:
        found = read(one)
        assert (None if isinstance(found, Refusal) else found.id) == one.event_id, one


def test_every_size_and_codec_occurs(planted: list[Planted]) -> None:
    """Good and malformed events, from one byte to the largest, come in batches of every codec."""
    sizes = [len(one.value or b"") for one in planted]
    good = [len(one.value or b"") for one in planted if one.event_id is not None]

    assert 1 in sizes
    assert max(good) == MOST_BYTES
    assert max(sizes) == MOST_BYTES + 1
    assert {one.codec for one in planted} == {None, "gzip", "snappy", "lz4", "zstd"}
    assert {one.codec for one in planted if len(one.value or b"") > MOST_BYTES} == {None}


def test_every_end_of_a_transaction_occurs(planted: list[Planted]) -> None:
    """Transactions commit, abort and hang, with events behind each; no id of an uncommitted record is an event's."""
    ways = Counter(one.transaction for one in planted)
    hung = max(place for place, one in enumerate(planted) if one.transaction is Transaction.HUNG)
    dropped = {one.event_id for one in planted if not one.is_event}

    assert set(ways) == {None, *Transaction}
    assert len(planted) - hung > EVENTS // 10
    assert planted[-1].is_event
    assert not dropped & {one.event_id for one in planted if one.is_event}


def test_events_without_key_or_id_and_with_the_id_of_another_occur(planted: list[Planted]) -> None:
    """Of each there are some; of two events of one id one says that it was sent again."""
    good = [one for one in planted if one.is_event and one.event_id is not None]
    by_id: dict[str, list[Planted]] = {}
    for one in good:
        by_id.setdefault(one.event_id or "", []).append(one)
    twins = [found for found in by_id.values() if len(found) > 1]

    assert sum(one.key is None for one in good) > EVENTS // 4
    assert any(one.key == b"" for one in good)
    assert sum((one.event_id or "").startswith("sha256-") for one in good) > EVENTS // 100
    assert all([SENT_AGAIN in one.headers for one in found].count(True) == len(found) - 1 == 1 for found in twins)
    assert any(one.value == other.value for one, other in twins)
    assert any(one.value != other.value for one, other in twins)


def test_the_same_seed_gives_the_same_input(planted: list[Planted]) -> None:
    """A run that was cut off can go on with the same events."""
    assert planted == varied(EVENTS, malformed=MALFORMED, seed="variety")
    assert planted != varied(EVENTS, malformed=MALFORMED, seed="another")
