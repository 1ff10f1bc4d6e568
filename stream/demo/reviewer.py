"""A reviewer by script, who answers from the console's own queue: one item at a time, nearly always right."""

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
# Thirty items a minute, as a person with a keyboard.
PACE_SECONDS = 2.0
# Until an item comes.
AGAIN_SECONDS = 0.5


class Reviewer:
    """
    The reviewer's turns, for a thread of their own.

    Attributes:
        troubles: Answers that were not saved, and why; and why the turns ended early.
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
        Answer nothing yet.

        Args:
            labels: The right answer by title; items with other titles are skipped.
            given: Called in the reviewer's thread with each answer that is saved.
            over: Ends `run` once the answer under way has its word.
            pace_seconds: Between two answers.
        """
        self._labels = labels
        self._given = given
        self._over = over
        self._pace_seconds = pace_seconds
        self.troubles: list[str] = []

    def run(self, settings: Settings, url: str, ready: Callable[[], bool]) -> None:
        """
        Answer until it is over.

        Args:
            settings: Brokers and topics.
            url: Of the console's store.
            ready: Whether the console has filled the store; before that nothing is answered.
        """
        while not ready():
            if self._over.wait(AGAIN_SECONDS):
                return
        # A sender that is not idempotent may write an answer twice: the same bytes, which the stream takes once.
        try:
            with open_store(url) as store, verbatim_sender(settings, idempotent=False) as sender:
                self.answer(store, AnswerSaver(store, sender, settings.topics, keys=answer_keys(settings.security)))
        except (BrokerUnreachableError, DatabaseUnavailableError) as error:
            self.troubles.append(str(error))

    def answer(self, store: Store, saving: AnswerSaver) -> None:
        """Answer the items of a store until it is over."""
        wait = 0.0
        while not self._over.wait(wait):
            claim = store.queue.claim(NAME)
            wait = AGAIN_SECONDS if claim is None else self._one(store, saving, claim)

    def _one(self, store: Store, saving: AnswerSaver, claim: Claim) -> float:
        """Answer or skip one item; seconds until the next."""
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
    The script's answer: mostly the label, else one of the other tags. The same for the same event in each run.

    Args:
        event_id: Of the event.
        label: The right one of the tags.
        tags: All that may be answered.
    """
    chance = random.Random(f"{SEED} {event_id}")  # noqa: S311 - a script, not a secret
    others = [tag for tag in tags if tag != label]
    return label if not others or chance.random() < RIGHT else chance.choice(others)
