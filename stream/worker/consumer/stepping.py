"""Runs a coroutine without a task of its own, as far as it waits for nothing."""

from collections.abc import Coroutine, Generator
from typing import Any


class Stepped:
    """
    A coroutine that is run at once, up to the first future that it waits for.

    Faust makes four tasks for each record that it hands to an agent, although the handing waits for nothing unless the agent's queue is
    full. Awaiting this object goes on where the coroutine stands. It must not depend on its task before it first waits.

    >>> async def double(number):
    ...     return 2 * number
    >>> Stepped(double(2)).result
    4

    Attributes:
        is_done: The coroutine has returned.
        result: Its result, once it has.
    """

    def __init__(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        """Begin; an exception of the coroutine is raised here."""
        self._coroutine = coroutine
        self._waits_for: Any = None
        self.is_done = False
        self.result: Any = None
        try:
            self._waits_for = coroutine.send(None)
        except StopIteration as returned:
            self.is_done, self.result = True, returned.value

    def __await__(self) -> Generator[Any, Any, Any]:
        while not self.is_done:
            try:
                answer = yield self._waits_for
            # Whatever is thrown in, a cancellation above all, is for the coroutine.
            except BaseException as error:  # noqa: BLE001
                self._step(self._coroutine.throw, error)
            else:
                self._step(self._coroutine.send, answer)
        return self.result

    def _step(self, step: Any, argument: Any) -> None:
        try:
            self._waits_for = step(argument)
        except StopIteration as returned:
            self.is_done, self.result = True, returned.value
