"""`python -m tests.integration.review.killed STORE REVIEWER TAG`: a console that is killed between the brokers' word and the mark."""

import os
import signal
import sys
from typing import NoReturn

from tagstream.stream.kafka.producer import verbatim_sender
from tagstream.stream.review.answer_saver import AnswerSaver
from tagstream.stream.review.store.store import open_store
from tagstream.stream.settings.loading import load
from tests.faults.worker.fleet import ROOT


def killed(*_: object) -> NoReturn:
    """The text in the place of the mark."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def main(url: str, reviewer: str, tag: str) -> None:
    """Take the first item, answer it, and die."""
    settings = load(dict(os.environ), folder=ROOT).settings
    with open_store(url, second_opinion_rate=0.0) as store, verbatim_sender(settings, idempotent=True) as sender:
        claim = store.queue.claim(reviewer)
        assert claim is not None
        store.writer.fill = killed  # type: ignore[method-assign]
        AnswerSaver(store, sender, settings.topics).save(claim.item.event.id, claim.token, tag)


if __name__ == "__main__":
    main(*sys.argv[1:])
