"""The parts of the worker's second agent: reviewers' answers on `reviewed` become decisions on `tagged`."""

from dataclasses import dataclass, replace
from typing import NoReturn

from monitoring.health import Progress
from monitoring.observer import Observer
from stream.contract.publication import Decide
from stream.deliver.crash.guard import Guard
from stream.deliver.delivery import Delivery, Send, Transact
from stream.deliver.fatal import die
from stream.settings.settings import Settings
from stream.tracing.parts import Tracing


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """
    What the second agent needs beside what it shares with the first.

    Attributes:
        decide: Returns one publication for each record of `reviewed`; see `Answering.publications`.
        observer: Counts them.
        progress: That on the topic of answers.
    """

    decide: Decide
    observer: Observer
    progress: Progress

    def traced(self, tracing: Tracing, topic: str) -> "Answers":
        """The same with traces around them; `topic` is that of answers."""
        return replace(self, decide=tracing.deciding(self.decide, topic), observer=tracing.observing(self.observer))

    def delivery(self, settings: Settings, guard: Guard, send: Send, transact: Transact | None) -> Delivery:
        """
        The delivery of answers: the engine of the events, with one thread, and without the two parts that are about a model.

        No crash guard: no native code that could abort reads an answer, and a model that dies with an event must not make a suspect of
        an answer that was in hand beside it. No circuit breaker: a tool that writes bad answers must not stop the events.

        Args:
            settings: Batch size and bounds.
            guard: That of the events. When this delivery ends the process, none of them is to blame.
            send: Hands one publication to the producer.
            transact: Delivers a batch in transactions instead of `send`.
        """

        def fail(error: BaseException) -> NoReturn:
            guard.excuse()
            die(error)

        return Delivery(
            decide=self.decide,
            send=send,
            observer=self.observer,
            progress=self.progress,
            settings=settings.model_copy(update={"inference_threads": 1}),
            transact=transact,
            fail=fail,
        )
