"""A record goes to the partition to which any other client would send it."""

from aiokafka import partitioner as aiokafkas
from hypothesis import given
from hypothesis import strategies as st

from tagstream.stream.kafka.partitioner import STAYS_RECORDS, Partitioner, murmur2


@given(key=st.binary(max_size=70), partitions=st.integers(1, 400))
def test_the_partition_of_a_key_is_that_of_the_library(key: bytes, partitions: int) -> None:
    """The library's function is the oracle."""
    everything = list(range(partitions))
    assert murmur2(key) == aiokafkas.murmur2(key)
    assert Partitioner()(key, everything, []) == aiokafkas.DefaultPartitioner()(key, everything, [])


def test_records_without_a_key_share_a_partition_for_a_while() -> None:
    """One that has a leader, if any has; then another one is drawn, so that all of them get records."""
    choose = Partitioner()
    drawn = [{choose(None, range(6), range(6)) for _ in range(STAYS_RECORDS)} for _ in range(200)]
    assert {len(one) for one in drawn} == {1}
    assert set.union(*drawn) == set(range(6))
    assert {choose(None, [0, 1, 2], [1]) for _ in range(20)} == {1}
    assert {choose(None, [4], []) for _ in range(3)} == {4}
