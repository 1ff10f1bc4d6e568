"""What keeps a model from being changed, or a rollout from being seen, as it was asked."""


class RolloutError(Exception):
    """The model cannot be changed as asked: the message says why, and the next step."""

    exit_code = 1


class NoRolloutError(RolloutError):
    """There is no topic `rollout`, or nothing in it."""


class EndedBySignalError(RolloutError):
    """A signal ended a command before it changed anything."""

    exit_code = 130

    def __init__(self) -> None:
        """Say so."""
        super().__init__("a signal ended this command before it changed the model; nothing has changed.")
