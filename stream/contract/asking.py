"""
The token on a decision that viewers of web pages are asked about. A worker signs it, and `serve` verifies it by the same key alone.

The token is a day and a signature in base64url. The day is that of the content record's time, so that a redelivered event gets the same token.
The signature covers the day, the decision's id and the event's id.
"""

import binascii
import hashlib
import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable
from dataclasses import dataclass, field

DAY_MS = 24 * 3600 * 1000
# The bytes of the day, and of the signature: 128 bits of an HMAC-SHA256.
DAY_BYTES, SIGNATURE_BYTES = 2, 16
LAST_DAY = 256**DAY_BYTES - 1
TOKEN_CHARACTERS = 24
# No two kinds of messages that are signed with these keys begin alike.
_TOKEN, _VIEWER = b"tagstream ask 1\n", b"tagstream viewer 1\n"


@dataclass(frozen=True, slots=True)
class AskKeys:
    """
    The keys of tokens, one or more. The first key signs, and each key is accepted. A token is refused once its key is removed.

    >>> keys, decision = AskKeys((b"new", b"old")), "56cf42d5-89f5-55af-a5d8-1add448c8a2b"
    >>> token = AskKeys((b"old",)).token("e-1", decision, 20000)
    >>> token, day_of(token)
    ('TiC6J2SPcPIoTe5fE7Aejy6v', 20000)
    >>> keys.key_of(token, "e-1", decision), keys.key_of(token, "e-2", decision)
    (b'old', None)
    """

    keys: tuple[bytes, ...] = field(repr=False)

    def token(self, event_id: str, prediction_id: str, day: int) -> str:
        """The token on a decision: 24 characters. `day` counts the days since 1970, 0 to `LAST_DAY`."""
        return _written(day.to_bytes(DAY_BYTES), self.keys[0], event_id, prediction_id)

    def key_of(self, token: str, event_id: str, prediction_id: str) -> bytes | None:
        """The key that signed this token on this decision; None if no key did."""
        day = _day(token)
        given = token.encode()
        signers = (one for one in self.keys if hmac.compare_digest(given, _written(day, one, event_id, prediction_id).encode()))
        return next(signers, None)


def day_of(token: str) -> int:
    """The day in a token, in days since 1970; 0 if the text is no token."""
    return int.from_bytes(_day(token))


def viewer_of(key: bytes, prediction_id: str, mark: str) -> str:
    """
    What is kept of a viewer's mark: 32 hexadecimal digits. It is another one on each decision, so it shows nobody's ways.

    >>> viewer_of(b"key", "p-1", "mark") == viewer_of(b"key", "p-2", "mark")
    False
    """
    return _signed(key, _VIEWER, (prediction_id.encode(), mark.encode())).hex()


def _day(token: str) -> bytes:
    try:
        return urlsafe_b64decode(token)[:DAY_BYTES]
    except (binascii.Error, ValueError):
        return b""


def _written(day: bytes, key: bytes, event_id: str, prediction_id: str) -> str:
    signature = _signed(key, _TOKEN, (day, prediction_id.encode(), event_id.encode()))
    return urlsafe_b64encode(day + signature).decode()


def _signed(key: bytes, purpose: bytes, parts: Iterable[bytes]) -> bytes:
    # The length before each part keeps two lists of parts from being the same message.
    message = purpose + b"".join(b"%d:%b" % (len(part), part) for part in parts)
    return hmac.digest(key, message, hashlib.sha256)[:SIGNATURE_BYTES]
