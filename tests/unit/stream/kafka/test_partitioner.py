"""A record goes to the partition to which any other client would send it."""

from aiokafka import partitioner as aiokafkas
from hypothesis import given
from hypothesis import strategies as st

from stream.kafka.partitioner import murmur2, partition_of


@given(key=st.binary(max_size=70), partitions=st.integers(1, 400))
def test_the_partition_of_a_key_is_that_of_the_library(key: bytes, partitions: int) -> None:
    """The library's function is the oracle."""
    everything = list(range(partitions))
    assert murmur2(key) == aiokafkas.murmur2(key)
    assert partition_of(key, everything, []) == aiokafkas.DefaultPartitioner()(key, everything, [])


def test_a_record_without_a_key_goes_where_there_is_a_leader() -> None:
    """And anywhere if there is none."""
    assert {partition_of(None, [0, 1, 2], [1]) for _ in range(20)} == {1}
    assert {partition_of(None, [4], []) for _ in range(3)} == {4}
