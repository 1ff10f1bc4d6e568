"""The target of a rollback. The epochs form a stack, and a rollback pops it."""

from collections.abc import Sequence
from dataclasses import replace

from tagstream.stream.rollout.epochs import Models


def goes_back_to(begun: Sequence[Models]) -> tuple[Models, str] | None:
    """
    Return the target of a rollback: the newest epoch without its challenger, or else an earlier epoch (`champion_before`).

    Args:
        begun: All epochs that have begun, in their order.

    Returns:
        The models after the rollback, and a note for people; None if there is no earlier model.
    """
    if begun and begun[-1].challenger is not None:
        return replace(begun[-1], challenger=None, guards=None), "the challenger goes"
    before = champion_before(begun)
    return None if before is None else (before, f"back to that of epoch {before.epoch}")


def champion_before(begun: Sequence[Models]) -> Models | None:
    """
    Return the epoch whose champion decided all events before the present champion was promoted; None if there is none.

    A rollback is an epoch too. So the epochs form a stack: a second rollback goes to a still earlier epoch, and not forward again.

    Args:
        begun: All epochs that have begun, in their order.
    """
    stack: list[Models] = []
    for one in begun:
        # Epochs with a challenger, and epochs that decide as the epoch before, do not change the stack.
        if one.challenger is not None or (stack and stack[-1].decides_as(one)):
            continue
        if len(stack) > 1 and stack[-2].decides_as(one):
            stack.pop()
        else:
            stack.append(one)
    return stack[-2] if len(stack) > 1 else None
