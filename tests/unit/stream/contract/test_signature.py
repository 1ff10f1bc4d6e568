"""Signatures of answers: only whoever has a key can make one, and it is of one key and one value."""

from hypothesis import assume, given
from hypothesis import strategies as st

from tagstream.monitoring.vocabulary import Reason
from tagstream.stream.contract.answers import (
    SIGNATURE_HEADER,
    UNSIGNED,
    AnsweredEvent,
    AnswerKeys,
    read_answer,
    tagged_by_reviewer,
    unsigned,
)
from tagstream.stream.contract.event import Record
from tagstream.stream.contract.refusal import Refusal
from tests.answering import NOW_MS, answer, decided, reviewed
from tests.replacing import replace

KEYS = AnswerKeys((b"n" * 32, b"o" * 32))
BYTES = st.none() | st.binary(max_size=12)
ANSWER = reviewed(decided(), answer())


@given(BYTES, BYTES, BYTES, BYTES)
def test_a_signature_is_of_one_key_and_one_value(key: bytes | None, value: bytes, other: bytes | None, another: bytes) -> None:
    """No byte can move between the two; a record without a value has that of an empty one, and neither is an answer."""
    assume((key, value or b"") != (other, another or b""))
    signed = KEYS.signed(Record(key=key, value=value))
    assert KEYS.accept(signed)
    assert not KEYS.accept(replace(signed, key=other, value=another))


def test_each_of_the_keys_is_accepted_and_the_first_signs() -> None:
    """So a key is changed by the order of the lines; a foreign one, and no signature, are refused with a code of their own."""
    assert AnswerKeys(KEYS.keys[:1]).accept(KEYS.signed(ANSWER))
    assert not AnswerKeys(KEYS.keys[1:]).accept(KEYS.signed(ANSWER))
    assert isinstance(read_answer(AnswerKeys(KEYS.keys[1:]).signed(ANSWER), keys=KEYS), AnsweredEvent)
    for record, why in ((AnswerKeys((b"f" * 32,)).signed(ANSWER), "by no key"), (ANSWER, "no signature")):
        found = read_answer(record, keys=KEYS)
        assert isinstance(found, Refusal)
        assert (found.reason, why in found.message) == (Reason.UNSIGNED_ANSWER, True)


def test_nothing_of_a_record_is_read_before_its_signature() -> None:
    """The refusal is the same for any bytes: an unsigned record costs no parse."""
    for value in (b"", b"{", None, ANSWER.value):
        found = read_answer(Record(key=None, value=value), keys=KEYS)
        assert isinstance(found, Refusal)
        assert found.reason is Reason.UNSIGNED_ANSWER


def test_a_signature_that_an_event_brought_is_replaced_and_none_is_published() -> None:
    """A producer may send a header of this name; the last one counts, and `tagged` has none."""
    brought = replace(ANSWER, headers=(("h", b"1"), (SIGNATURE_HEADER, b"sha256=theirs")))
    signed = KEYS.signed(brought)
    assert [name for name, _ in signed.headers] == ["h", SIGNATURE_HEADER]
    found = read_answer(signed, keys=KEYS)
    assert isinstance(found, AnsweredEvent)
    assert tagged_by_reviewer(found, NOW_MS)[2] == (("h", b"1"),)
    assert unsigned(signed.headers) == (("h", b"1"),)


def test_without_a_key_nothing_is_signed_and_all_is_accepted() -> None:
    """As before there were keys."""
    assert UNSIGNED.signed(ANSWER) == ANSWER
    assert isinstance(read_answer(ANSWER), AnsweredEvent)
    assert "n" * 32 not in repr(KEYS)
