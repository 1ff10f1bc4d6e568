"""The check of a record's timestamp. A producer can set any timestamp, so ages are computed only from timestamps that can be true."""

# 2011-01-01, the year of Kafka's first release: no record of Kafka is older.
EARLIEST_MS = 1_293_840_000_000
# Kafka's default bound for a clock that is ahead, `message.timestamp.after.max.ms`; older brokers have no bound.
AHEAD_MS = 3_600_000


def can_be_true(timestamp_ms: float, now_ms: float) -> bool:
    """
    Whether a record can have been written at `timestamp_ms`, Unix milliseconds.

    A record without a timestamp has -1 or 0, which is not possible, either.

    >>> can_be_true(1_700_000_000_000, 1_700_000_100_000), can_be_true(-1, 1_700_000_100_000), can_be_true(2**62, 1_700_000_100_000)
    (True, False, False)
    """
    return EARLIEST_MS <= timestamp_ms <= now_ms + AHEAD_MS
