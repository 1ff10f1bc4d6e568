"""What every second model has in common: it is asked about an item of `review`, and always answers with an opinion."""

from typing import Protocol

from tagstream.stream.contract.published import DecidedEvent
from tagstream.stream.contract.second_opinions import SecondOpinion


class SecondError(Exception):
    """A second model cannot be used as it is set: the message says why, and the next step."""

    exit_code = 2


class Adviser(Protocol):
    """
    A second model.

    `ask` is total: whatever fails is an opinion with a reason. It ends within a bound of its own. Several threads may call it at once.
    """

    def ask(self, item: DecidedEvent) -> SecondOpinion:
        """Return the opinion on one item, ready for the topic `second`."""
        ...
