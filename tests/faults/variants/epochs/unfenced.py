"""Known bad: a controller that does not end those before it, so that one that was stopped writes on."""

import os
from typing import Any

from aiokafka import AIOKafkaProducer

import tagstream.stream.rollout.writer
from tests.faults.epochs.controller import main
from tests.faults.worker.faulty import in_a_sentence


def producer(*, transactional_id: str, **options: Any) -> AIOKafkaProducer:
    """One with a transactional id of this process alone."""
    return AIOKafkaProducer(transactional_id=f"{transactional_id}-{os.getpid()}", **options)


if __name__ == "__main__":
    tagstream.stream.rollout.writer.AIOKafkaProducer = producer
    in_a_sentence(main)
