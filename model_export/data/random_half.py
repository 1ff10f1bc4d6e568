"""
The random half (the lot): half of all events, drawn by a hash of the event id. No model influences the order of these questions.

While no certificate covers a label, the console alternates between drawn events and uncertain events (`stream/review/store`).
Answers about uncertain events improve the model most. Answers about drawn events represent the stream, and certificates use these
answers alone. The event id tells whether an event was drawn, whatever the source of the answer.
"""

import hashlib

SHARE = 0.5


def place(event_id: str) -> float:
    """
    Return the place of an event in the order of the draw, at least 0 and below 1. The smallest place comes first.

    >>> place("T-3001") == place("T-3001"), 0 <= place("T-3001") < 1
    (True, True)
    """
    return int.from_bytes(hashlib.sha256(f"lot:{event_id}".encode()).digest()[:8], "big") / 2**64


def is_drawn(event_id: str) -> bool:
    """Return True if an event is in the random half."""
    return place(event_id) < SHARE
