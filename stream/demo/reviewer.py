"""A scripted reviewer. It takes items from the console's queue, one at a time, and nearly always answers right."""

import random
import threading
from collections.abc import Callable, Iterable, Mapping

from tagstream.stream.contract.answers import OFF_SUBJECT
from tagstream.stream.database.database import DatabaseUnavailableError
from tagstream.stream.demo.account import SavedAnswer
from tagstream.stream.kafka.errors import BrokerUnreachableError
from tagstream.stream.kafka.producer import verbatim_sender
from tagstream.stream.review.answer_saver import AnswerSaver, Saved
from tagstream.stream.review.store.records import Claim
from tagstream.stream.review.store.store import Store, open_store
from tagstream.stream.settings.secret_files import answer_keys
from tagstream.stream.settings.settings import Settings

NAME = "scripted reviewer"
RIGHT = 0.95
SEED = "demo"
# A person with a keyboard also answers about thirty items a minute.
PACE_SECONDS = 2.0
# The interval at which an empty queue is checked again.
AGAIN_SECONDS = 0.5


class Reviewer:
    """
    The scripted reviewer, for a thread of its own.

    Attributes:
        troubles: Each answer that was not saved, with the reason; also the error that ended the reviewer early.
    """

    def __init__(
        self,
        labels: Mapping[str, str],
        given: Callable[[SavedAnswer], None],
        over: threading.Event,
        *,
        pace_seconds: float = PACE_SECONDS,
    ) -> None:
        """
        Store the parts; `run` starts answering.

        Args:
            labels: The right answer by title; items with other titles are skipped.
            given: Called in the reviewer's thread with each saved answer.
            over: Ends `run` after the current answer is saved or has failed.
            pace_seconds: The pause between two answers, in seconds.
        """
        self._labels = labels
        self._given = given
        self._over = over
        self._pace_seconds = pace_seconds
        self.troubles: list[str] = []

    def run(self, settings: Settings, url: str, ready: Callable[[], bool]) -> None:
        """
        Answer until `over` is set.

        Args:
            settings: Brokers and topics.
            url: The URL of the console's store.
            ready: Returns True once the console has filled the store. The reviewer waits for this.
        """
        while not ready():
            if self._over.wait(AGAIN_SECONDS):
                return
        # A sender that is not idempotent may write an answer twice. Both records have the same bytes, and the stream counts one.
        try:
            with open_store(url) as store, verbatim_sender(settings, idempotent=False) as sender:
                self.answer(store, AnswerSaver(store, sender, settings.topics, keys=answer_keys(settings.security)))
        except (BrokerUnreachableError, DatabaseUnavailableError) as error:
            self.troubles.append(str(error))

    def answer(self, store: Store, saving: AnswerSaver) -> None:
        """Answer the items of a store until `over` is set."""
        wait = 0.0
        while not self._over.wait(wait):
            claim = store.queue.claim(NAME)
            wait = AGAIN_SECONDS if claim is None else self._one(store, saving, claim)

    def _one(self, store: Store, saving: AnswerSaver, claim: Claim) -> float:
        """Answer or skip one item. Return the pause before the next item, in seconds."""
        event = claim.item.event
        tags = (*claim.item.decision.probabilities, OFF_SUBJECT)
        label = self._labels.get(" ".join(event.title.split()))
        if label not in tags:
            store.queue.skip(event.id, claim.token)
            return 0.0
        tag = said(event.id, label, tags)
        outcome = saving.save(event.id, claim.token, tag)
        if isinstance(outcome, Saved):
            self._given(SavedAnswer(event_id=event.id, tag=tag))
        else:
            self.troubles.append(f"{event.id} ({outcome.message})")
        return self._pace_seconds


def said(event_id: str, label: str, tags: Iterable[str]) -> str:
    """
    Return the script's answer: mostly the right label, sometimes another tag. The same event gets the same answer in each run.

    Args:
        event_id: The id of the event.
        label: The right tag.
        tags: All possible answers.
    """
    chance = random.Random(f"{SEED} {event_id}")  # noqa: S311 - a script, not a secret
    others = [tag for tag in tags if tag != label]
    return label if not others or chance.random() < RIGHT else chance.choice(others)
