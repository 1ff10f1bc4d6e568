"""Known bad for exactly once: transactional ids of the worker's own, so that a successor does not fence its predecessor."""

import os

import tagstream.stream.kafka.transactions
from tests.faults.worker.faulty import main

if __name__ == "__main__":
    tagstream.stream.kafka.transactions.transactional_prefix = lambda group, topic: f"{group}-{topic}-{os.getpid()}-"
    main()
