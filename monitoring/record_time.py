"""Which timestamps of records can be true. Any producer sets them, and ages are computed from those that can be true alone."""

# 2011-01-01, the year of Kafka's first release: no record of Kafka is older.
EARLIEST_MS = 1_293_840_000_000
# Kafka's own default bound for a clock that is ahead, `message.timestamp.after.max.ms`; older brokers have none.
AHEAD_MS = 3_600_000


def can_be_true(timestamp_ms: float, now_ms: float) -> bool:
    """
    Whether a record can have been written at this time, Unix milliseconds.

    A record without a timestamp has -1 or 0, which cannot be true either.

    >>> can_be_true(1_700_000_000_000, 1_700_000_100_000), can_be_true(-1, 1_700_000_100_000), can_be_true(2**62, 1_700_000_100_000)
    (True, False, False)
    """
    return EARLIEST_MS <= timestamp_ms <= now_ms + AHEAD_MS
