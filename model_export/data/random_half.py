"""
The lot: half of all events, drawn by a hash of their ids. People are asked about these in an order that no model has chosen.

Where nothing of a label is certified, the console asks by lot and by doubt in turn (`stream/review/store`). Answers by doubt teach most, and
answers by lot are like the stream: certificates rest on these alone. The id says which is which, wherever an answer comes from.
"""

import hashlib

SHARE = 0.5


def place(event_id: str) -> float:
    """
    The place of an event in the lot, 0 to 1: the least comes first.

    >>> place("T-3001") == place("T-3001"), 0 <= place("T-3001") < 1
    (True, True)
    """
    return int.from_bytes(hashlib.sha256(f"lot:{event_id}".encode()).digest()[:8], "big") / 2**64


def is_drawn(event_id: str) -> bool:
    """Whether an event is one of the lot."""
    return place(event_id) < SHARE
