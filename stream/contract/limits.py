"""Bounds on one event and on what becomes of it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds on one event. `max_bytes` leaves room for the decision below Kafka's default of one megabyte a record."""

    max_bytes: int = 900_000
    max_depth: int = 32
    max_id_characters: int = 256
    max_number_digits: int = 1_000
    # What key, headers and a copied envelope may add to `max_bytes`: with the decision the record stays below one megabyte.
    max_added_bytes: int = 100_000
    # What a record of `tagged` or `review`, and of the dead letters, may weigh: `max.message.bytes` of their topics.
    max_outcome_bytes: int = 1_048_588
    max_dead_letter_bytes: int = 2 * 1024 * 1024


DEFAULT_LIMITS = Limits()
