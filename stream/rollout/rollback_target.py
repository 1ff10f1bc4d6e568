"""Where a rollback goes: the epochs are a stack, and what goes back takes from it."""

from collections.abc import Sequence
from dataclasses import replace

from tagstream.stream.rollout.epochs import Models


def goes_back_to(begun: Sequence[Models]) -> tuple[Models, str] | None:
    """
    Where a rollback goes: the newest epoch without its challenger, or else the epoch before (`champion_before`).

    Args:
        begun: All epochs that have begun, in their order.

    Returns:
        The models that decide then, and the words on it; None where there is nothing to go back to.
    """
    if begun and begun[-1].challenger is not None:
        return replace(begun[-1], challenger=None, guards=None), "the challenger goes"
    before = champion_before(begun)
    return None if before is None else (before, f"back to that of epoch {before.epoch}")


def champion_before(begun: Sequence[Models]) -> Models | None:
    """
    The epoch whose champion decided all before the present one was promoted; None if there is none.

    Going back is an epoch too. So the epochs are a stack, and going back twice goes on to the one before, instead of forth again.

    Args:
        begun: All epochs that have begun, in their order.
    """
    stack: list[Models] = []
    for one in begun:
        # A challenger comes and goes beside the champion.
        if one.challenger is not None or (stack and stack[-1].decides_as(one)):
            continue
        if len(stack) > 1 and stack[-2].decides_as(one):
            stack.pop()
        else:
            stack.append(one)
    return stack[-2] if len(stack) > 1 else None
