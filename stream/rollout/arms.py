"""Chooses which of two models decides an event, by a hash of the event's unit: the same for every worker and at every delivery."""

import hashlib

from tagstream.stream.contract.rollout_records import Challenger

_NUMBERS = 1 << 64


def is_challengers(challenger: Challenger, *, key: bytes | None, event_id: str, source: str | None) -> bool:
    """
    Return True if the challenger decides this event.

    A larger share under the same salt keeps every unit that is already in the arm. Audits are drawn by another hash: if both used the same
    hash, all audits would fall into one arm.

    Args:
        challenger: Its share, salt, unit and audience.
        key: The key of the event's record. An event without a key is its own unit.
        event_id: The event's id.
        source: The event's source.

    >>> from tagstream.stream.contract.rollout_records import BundleName
    >>> bundle = BundleName(digest="0" * 64, name="b", version="1")
    >>> half = Challenger(bundle=bundle, share=0.5, unit="key", salt="s")
    >>> [is_challengers(half, key=key, event_id="1", source=None) for key in (b"a", b"b", b"c", b"d")]
    [False, False, True, True]
    """
    if challenger.sources and source not in challenger.sources:
        return False
    unit = key if challenger.unit == "key" and key is not None else event_id.encode()
    digest = hashlib.sha256(b"rollout:%b:%b" % (challenger.salt.encode(), unit)).digest()
    return int.from_bytes(digest[:8], "big") < challenger.share * _NUMBERS
