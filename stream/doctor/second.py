"""A check of the second model: could `tagstream second` ask it?"""

from collections.abc import Iterator

from tagstream.model_export.bundle.bundle import BundleError
from tagstream.stream.doctor.findings import CheckFinding, Status, finding_of
from tagstream.stream.settings.second import Second
from tagstream.stream.settings.secret_files import SecurityError
from tagstream.stream.settings.settings import Settings


def second(settings: Settings) -> Iterator[CheckFinding]:
    """
    Make the second model as its process does, files and labels included, and ask it nothing. Yield nothing if the settings name none.

    A worker needs no second model, so that a fault is a warning.
    """
    chosen = settings.second
    if chosen.bundle is None and chosen.endpoint is None:
        return
    from tagstream.stream.second.adviser import SecondError
    from tagstream.stream.second.from_settings import adviser_of, budget_of

    try:
        adviser_of(settings, budget_of(settings))
    except (BundleError, SecondError, SecurityError) as error:
        yield finding_of("second", Status.WARN, error)
        return
    yield _of_a_bundle(chosen) if chosen.endpoint is None else _of_an_endpoint(chosen)


def _of_a_bundle(chosen: Second) -> CheckFinding:
    detail = f"{chosen.bundle} has the labels of the bundle that decides"
    return CheckFinding(check="second", status=Status.OK, detail=detail)


def _of_an_endpoint(chosen: Second) -> CheckFinding:
    asked = f"{chosen.endpoint}, model {chosen.model} (not asked now)"
    if not chosen.calls_a_day or (not chosen.cost_a_day and (chosen.input_price or chosen.output_price)):
        return CheckFinding(
            check="second",
            status=Status.WARN,
            detail=f"{asked}: a day's budget pays for no request, so all items go to people",
            fix="raise second.calls_a_day, and second.cost_a_day if the prices are set",
        )
    budget = f"at most {chosen.calls_a_day} requests and {chosen.cost_a_day:g} of money a day"
    return CheckFinding(
        check="second", status=Status.OK, detail=f"{asked}: {', '.join(chosen.sent_fields)} of an event leave, {budget}"
    )
