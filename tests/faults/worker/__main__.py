"""`python -m tests.faults.worker`: the worker of the fault runs."""

from tests.faults.worker.faulty import in_a_sentence, main

if __name__ == "__main__":
    in_a_sentence(main)
