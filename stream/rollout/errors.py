"""What keeps a model from being changed, or a rollout from being seen, as it was asked."""


class RolloutError(Exception):
    """The model cannot be changed as asked: the message says why, and the next step."""

    exit_code = 1


class NoRolloutError(RolloutError):
    """There is no topic `rollout`, or nothing in it."""
