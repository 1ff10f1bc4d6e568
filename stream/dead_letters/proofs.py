"""The proof that a record is the replay of a dead letter: made with a key that lies in the ledger, which producers cannot read.

The proof is HMAC-SHA256 (RFC 2104) of the dead letter and the target under a random key. A header that names a dead letter is no proof,
since any producer of the target can write it. A client that may write to the ledger needs no proof, since notes in the ledger are believed.
"""

import hmac
import secrets
from collections.abc import Collection, Iterable

import msgspec

from stream.contract.dead_letter import REPLAY_PROOF
from stream.contract.record import Record

KEY_BYTES = 32


class _ProofKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The ledger's record of a key, in hexadecimal digits."""

    proof_key: str


def new_key(topic: str, run: str) -> Record:
    """A record of the ledger `topic` with a new key; its own key is unique to the run, so that compaction keeps every one."""
    value = msgspec.json.encode(_ProofKey(secrets.token_hex(KEY_BYTES)))
    return Record(topic=topic, key=f"proof-key/{run}".encode(), value=value)


def key_in(record: Record) -> bytes | None:
    """The key in a record of the ledger; None if the record is another."""
    try:
        key = bytes.fromhex(msgspec.json.decode(record.value or b"", type=_ProofKey).proof_key)
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError):
        return None
    return key if len(key) == KEY_BYTES else None


def proof(letter: str, key: bytes) -> str:
    """
    The proof for one dead letter and target, named as in the ledger: 64 hexadecimal digits.

    >>> proof("content.dlq/3/42@1700000000000>content", bytes(32))[:16]
    '4970d5b6febeae9e'
    """
    return hmac.digest(key, letter.encode(), "sha256").hex()


def proven(letters: Collection[str], keys: Iterable[bytes], records: Iterable[Record]) -> frozenset[str]:
    """Those of `letters`, named as in the ledger, of which one of the records carries a proof."""
    expected = {proof(letter, key).encode(): letter for key in keys for letter in letters}
    return frozenset(
        expected[content]
        for record in records
        for name, content in record.headers
        if name == REPLAY_PROOF and content in expected
    )
