"""From the settings to a second model."""

from pathlib import Path

from tagstream.model_export.bundle.bundle import read
from tagstream.model_export.extras import install
from tagstream.stream.decide.from_settings import load_decider
from tagstream.stream.second.adviser import Adviser, SecondError
from tagstream.stream.second.budget import DAY_MS, Budget
from tagstream.stream.second.by_bundle import BundleAdviser
from tagstream.stream.second.facts import Cells
from tagstream.stream.second.ledger import Ledger
from tagstream.stream.second.prompt import MOST_GUIDELINES_BYTES, Prompt
from tagstream.stream.settings.settings import Settings

# Scores below and above are certified apart. Another number would begin all certificates anew.
BANDS = (0.9,)
# Items that have waited longer are not asked about: people have answered them, or will.
ASKED_DAYS = 7


def budget_of(settings: Settings) -> Budget:
    """The budget of a day, of which nothing is spent yet: tell it every record that is on `second`."""
    return Budget(calls=settings.second.calls_a_day, cost=settings.second.cost_a_day)


def adviser_of(settings: Settings, budget: Budget) -> Adviser | None:
    """
    The second model that the settings name; None if they name none.

    Args:
        settings: Name a bundle or an endpoint, and the bundle that decides, whose labels count.
        budget: What an endpoint may cost.

    Raises:
        BundleError: A bundle is refused.
        SecondError: The second model cannot be used, or stamina is not installed.
        SecurityError: A file of the endpoint cannot be used.
    """
    second = settings.second
    if second.bundle is None and second.endpoint is None:
        return None
    first = read(settings.bundle)
    if second.bundle is not None:
        return BundleAdviser(load_decider(read(second.bundle), threshold=None), first.manifest.labels, first=first.digest)
    try:
        from tagstream.stream.second.by_endpoint import EndpointAdviser
    except ModuleNotFoundError as error:
        if error.name != "stamina":
            raise
        msg = f"second.endpoint is set, and stamina is not installed. Next: {install('second')}; or unset TAGSTREAM_SECOND__ENDPOINT."
        raise SecondError(msg) from error
    prompt = Prompt(
        model=second.model,
        labels=first.manifest.labels,
        guidelines="" if second.guidelines is None else _guidelines(second.guidelines),
        fields=second.sent_fields,
        answer_tokens=second.answer_tokens,
        response_format=second.response_format,
    )
    return EndpointAdviser(second, prompt, budget)


def ledger_of(settings: Settings, *, now_ms: int) -> Ledger:
    """
    An empty ledger for the labels of the bundle that decides.

    Raises:
        BundleError: The bundle is refused.
    """
    return Ledger(
        Cells(read(settings.bundle).manifest.labels, bands=BANDS),
        promise=settings.second.precision,
        audit=settings.second.audit,
        asked_since_ms=now_ms - ASKED_DAYS * DAY_MS,
    )


def _guidelines(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(MOST_GUIDELINES_BYTES + 1).decode("utf-8", "strict")
    except OSError as error:
        msg = f"second.guidelines ({path}) cannot be read: {error.strerror}. Next: correct the setting, or mount the file."
        raise SecondError(msg) from error
    except UnicodeDecodeError as error:
        msg = f"second.guidelines ({path}) is not UTF-8. Next: save the file as UTF-8."
        raise SecondError(msg) from error
