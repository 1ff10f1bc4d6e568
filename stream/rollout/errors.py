"""The errors of commands that change a model or show a rollout."""


class RolloutError(Exception):
    """The model cannot be changed as asked: the message says why, and the next step."""

    exit_code = 1


class NoRolloutError(RolloutError):
    """The topic `rollout` does not exist, or it is empty."""


class EndedBySignalError(RolloutError):
    """A signal ended a command before it changed anything."""

    exit_code = 130

    def __init__(self) -> None:
        """Write the message."""
        super().__init__("a signal ended this command before it changed the model; nothing has changed.")
