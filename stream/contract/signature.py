"""The signature of an answer: a header of its record on `reviewed`, made with a key that a console and the workers share.

No worker can know every event, so nothing in an answer shows that a person gave it. The signature shows that somebody with the key wrote
its key and its value, byte for byte. Headers are not signed: on their way, tracing and mirroring add some. A signed record that is written
again is the same answer, with the same ids.
"""

import hashlib
import hmac
from dataclasses import dataclass, field, replace

from monitoring.vocabulary import Reason
from stream.contract.record import Headers, Record
from stream.contract.refusal import invalid

HEADER = "x-tagstream-signature"
_FORM = b"sha256="
# Nothing else that may ever be signed with these keys begins with these bytes.
_PURPOSE = b"tagstream answer 1\n"


@dataclass(frozen=True, slots=True)
class AnswerKeys:
    """
    The keys of answers: the first signs, and each of them is accepted, so that keys can be changed one process after the other.

    Without a key nothing is signed, and every record is accepted.

    >>> keys = AnswerKeys((b"new", b"old"))
    >>> record = AnswerKeys((b"old",)).signed(Record(key=b"k", value=b"{}"))
    >>> keys.accept(record), keys.accept(replace(record, value=b"[]")), keys.accept(replace(record, headers=()))
    (True, False, False)
    """

    keys: tuple[bytes, ...] = field(default=(), repr=False)

    def signed(self, record: Record) -> Record:
        """The record with its signature; without a key, the record without any."""
        kept = unsigned(record.headers)
        own = ((HEADER, _signature(self.keys[0], record)),) if self.keys else ()
        return replace(record, headers=(*kept, *own))

    def accept(self, record: Record) -> bool:
        """Whether its signature is by one of the keys, or there is no key."""
        given = _given(record)
        return not self.keys or any(hmac.compare_digest(given, _signature(key, record)) for key in self.keys)

    def check(self, record: Record) -> None:
        """
        Is it signed?

        Raises:
            Refused: It is not, by any of the keys.
        """
        if not self.accept(record):
            why = "the signature is by no key that is accepted here" if _given(record) else "the record has no signature"
            raise invalid(Reason.UNSIGNED_ANSWER, f"{why} (security.answer_keys_file)")


UNSIGNED = AnswerKeys()


def unsigned(headers: Headers) -> Headers:
    """The headers but for a signature."""
    return tuple((name, content) for name, content in headers if name != HEADER)


def _given(record: Record) -> bytes:
    """The signature that the record has; empty without one. The last header counts: before it may stand those of an event."""
    return next((content or b"" for name, content in reversed(record.headers) if name == HEADER), b"")


def _signature(key: bytes, record: Record) -> bytes:
    # With its length before it, so that no byte can move between key and value.
    place = b"-" if record.key is None else b"%d:%b" % (len(record.key), record.key)
    made = hmac.new(key, _PURPOSE + place + b"\n", hashlib.sha256)
    made.update(record.value or b"")
    return _FORM + made.hexdigest().encode()
