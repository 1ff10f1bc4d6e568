"""
The stream's model for a program beside the stream: the champion now, at a time, or in an epoch.

The rollout's log names the champion, the place of bundles has it by its digest, and each decision names the epoch. So a decision has the
bytes that the stream publishes for the same event in that epoch, except `tagged_at`. In an epoch with a canary the champion also decides the
events that the stream gives to the challenger.

Only `champion_as_of` needs a Kafka client.
"""

import asyncio
import contextlib
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime

from tagstream.model_export.extras import OF_WORKER, install
from tagstream.stream.decide.from_settings import load_decider
from tagstream.stream.decide.pipeline import Decider
from tagstream.stream.rollout.deciders import depot_of, in_epoch
from tagstream.stream.rollout.epochs import Models
from tagstream.stream.rollout.errors import AsOfError, NoRolloutError, RolloutError
from tagstream.stream.settings.settings import Settings

NOW = "now"
_NUMBER = re.compile(r"[0-9]{1,18}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Champion:
    """
    The champion of an epoch.

    Attributes:
        models: The models of the epoch.
        since_ms: When the epoch began, Unix milliseconds: the time of the record that began it.
    """

    models: Models
    since_ms: int


def champion_as_of(settings: Settings, as_of: str | int | datetime) -> Champion:
    """
    Return the champion that the rollout's log names. The wait for brokers is bounded by `startup_timeout_seconds`.

    Args:
        settings: The workers' settings.
        as_of: `now`, a time, or the number of an epoch. A text is one of the three, with the time in ISO 8601. A time without a zone is UTC.

    Raises:
        AsOfError: No epoch is meant, the log cannot be read, the settings name the keyword rules, or the extra `worker` is missing.
    """
    with _said():
        if settings.decider == "rules":
            msg = "the keyword rules decide by these settings, and no epoch has rules. Next: set TAGSTREAM_DECIDER=model."
            raise AsOfError(msg, exit_code=2)
        from tagstream.stream.rollout import history

        epoch, moment_ms = _asked(as_of)
        try:
            # In a thread, since the caller may be inside an event loop, such as a notebook's.
            with ThreadPoolExecutor(1, thread_name_prefix="rollout") as aside:
                entries, epochs = aside.submit(asyncio.run, history.history(settings)).result()
            history.require_begun(epochs)
        except NoRolloutError as error:
            why = str(error).partition(" Next: ")[0]
            msg = f"{why} Next: leave out --as-of (in Python as_of) until the first `tagstream rollout promote`; see that brokers and group are those of the workers."
            raise RolloutError(msg) from error
        history.require_group(settings, epochs)
        if moment_ms is not None:
            began = history.begun_at(entries, moment_ms)
        else:
            began = history.beginning_of(entries, epochs, epochs.newest if epoch is None else epoch)
        return Champion(models=epochs.models(began.record.epoch), since_ms=began.written_ms)


def decider_as_of(settings: Settings, models: Models) -> Decider:
    """
    Return the decider of an epoch's champion: fetched by its digest from the place of bundles, verified, and loaded.

    Args:
        settings: The place of bundles, and the threshold if one is set.
        models: The models of the epoch.

    Raises:
        AsOfError: The place lacks the bundle or does not answer, or the bundle is refused.
    """
    wanted = models.champion
    with _said():
        depot = depot_of(settings)
        if not depot.size(wanted.digest):
            msg = (
                f"epoch {models.epoch} was decided by {wanted.name} {wanted.version} ({wanted.digest}), and {depot.place} does not have this bundle whole. "
                "Next: store a copy of it by `tagstream rollout store FOLDER`, or name another epoch."
            )
            raise RolloutError(msg)
        found = load_decider(depot.read(wanted.digest), threshold=settings.confidence_threshold)
    return in_epoch(found, models, "champion")


def _asked(as_of: str | int | datetime) -> tuple[int | None, int | None]:
    """
    Return the epoch or the time that is meant; None twice for now.

    Returns:
        The number of the epoch, and the time in Unix milliseconds.

    Raises:
        AsOfError: The text is none of the three.
    """
    from tagstream.stream.rollout.history import milliseconds_of, moment_of

    if isinstance(as_of, datetime):
        return None, milliseconds_of(as_of)
    if isinstance(as_of, int) and not isinstance(as_of, bool):
        return as_of, None
    wrong = AsOfError(
        f"as_of is {as_of!r}, and that is neither now, an epoch nor a time. Next: write it as now, 7 or 2026-01-31T12:00Z.",
        exit_code=2,
    )
    if not isinstance(as_of, str):
        raise wrong
    if as_of == NOW:
        return None, None
    if _NUMBER.fullmatch(as_of):
        return int(as_of), None
    try:
        return None, moment_of(as_of)
    except RolloutError as error:
        raise wrong from error


@contextlib.contextmanager
def _said() -> Iterator[None]:
    """
    Turn each error that is a sentence into an `AsOfError`, with its exit code.

    Raises:
        AsOfError: The block raised such an error, or lacks the extra `worker`.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in OF_WORKER:
            raise
        msg = f"as_of reads the rollout's log on Kafka, and needs the extra `worker` ({error}). Next: {install('worker')}"
        raise AsOfError(msg, exit_code=2) from error
    except Exception as error:
        code = getattr(error, "exit_code", None)
        if isinstance(error, AsOfError) or not isinstance(code, int):
            raise
        raise AsOfError(str(error), exit_code=code) from error
