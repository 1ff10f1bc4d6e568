"""The errors of a rollout: of commands that change a model or show it, and of programs that decide as the stream does."""


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


class AsOfError(Exception):
    """
    The stream's model of a moment or an epoch cannot decide here: the message says why, and the next step.

    Attributes:
        exit_code: The exit code of a command that ends by it: 1 failed, 2 usage or configuration, 3 no broker can be reached.
    """

    def __init__(self, message: str, *, exit_code: int) -> None:
        """Keep the exit code."""
        super().__init__(message)
        self.exit_code = exit_code
