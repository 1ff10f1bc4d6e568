"""Bounds on one event and on its outcome."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds on one event. `max_bytes` leaves room for the decision below Kafka's default of one megabyte a record."""

    max_bytes: int = 900_000
    max_depth: int = 32
    max_id_characters: int = 256
    max_number_digits: int = 1_000
    # The most that key, headers and a copied envelope may add to `max_bytes`; with the decision, the record stays below one megabyte.
    max_added_bytes: int = 100_000
    # The largest record of `tagged` and `review`, and of the dead letters: `max.message.bytes` of their topics.
    max_outcome_bytes: int = 1_048_588
    max_dead_letter_bytes: int = 2 * 1024 * 1024


DEFAULT_LIMITS = Limits()
