"""`tagstream quality`: measures the decisions by people's answers, and says whether new thresholds are worth computing."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tagstream.stream.cli.exits import EXIT_FAILED, EXIT_USAGE, fail, needing, note
from tagstream.stream.cli.options import Brokers, Json, finite, not_empty, settings

if TYPE_CHECKING:
    from tagstream.stream.settings.settings import Settings

MOST_DAYS = 90


def quality(
    brokers: Brokers = None,
    store: Annotated[
        str | None,
        typer.Option(
            help="Store of the review console: sqlite:///FILE or postgresql://...; its file in state_folder unless given.",
            callback=not_empty,
        ),
    ] = None,
    days: Annotated[
        float,
        typer.Option(help="Measure the decisions of this number of days, up to now.", min=0.1, max=MOST_DAYS, callback=finite),
    ] = 30.0,
    promise: Annotated[
        float | None,
        typer.Option(
            help="Precision that consumers are promised, of all and of each label; the bundle's certified precision unless given.",
            min=0.5,
            max=0.9999,
            metavar="0..1",
            callback=finite,
        ),
    ] = None,
    value: Annotated[
        bool,
        typer.Option(
            "--value",
            help="Show what the decisions are worth instead: people's minutes, and money if costs.toml is in the working directory.",
        ),
    ] = False,
    json: Json = False,
) -> None:
    """
    Show live accuracy, precision, recall and F1 with 95 % intervals, from people's answers in the review console.

    It reads no topic. It reads the store of the console that runs with the same brokers and group.
    """
    chosen = settings(brokers=brokers)
    with needing("the store", "review"):
        from tagstream.stream.review.store.records import unix_ms
        from tagstream.stream.review.store.store import open_store
    from tagstream.monitoring.quality.costs import read
    from tagstream.stream.cli.show.quality import print_quality
    from tagstream.stream.review.bundles import Bundles
    from tagstream.stream.review.live_quality import left_out, live_quality
    from tagstream.stream.review.live_value import live_value

    costs = read(Path.cwd()) if value else None
    url = store or _of_the_console(chosen)
    with open_store(url) as opened:
        found = live_quality(opened, now_ms=unix_ms(), bundles=Bundles.of(chosen), days=days, promise=promise)
        worth = live_value(opened, found, costs) if value else None
    if worth is not None and costs is not None and not worth.priced:
        fail(worth.unpriced, EXIT_USAGE)
    print_quality(found, worth, as_json=json)
    if unused := left_out(found):
        note(unused)
    if found.report is None and not (worth is not None and worth.whole.events):
        fail(
            f"the store {url.rpartition('@')[2]} has no decision of the last {days:g} days that people were asked about. "
            "Next: let the review console run until it has read the topics; audits need the topic audit and an audit_rate above 0.",
            EXIT_FAILED,
        )


def _of_the_console(chosen: "Settings") -> str:
    """Return the URL of the console's default store. End the command if its file is missing: opening it would create an empty file."""
    from tagstream.stream.deliver.state_folder import stem_of
    from tagstream.stream.review.store.store import file_of

    folder = chosen.state_folder.expanduser()
    path = file_of(folder, stem_of(chosen))
    if not path.exists():
        fail(
            f"{path} does not exist: no review console has run on {chosen.brokers} in the group {chosen.group} with the state_folder "
            f"{folder}. Next: start one, give its --brokers, or give its --store.",
            EXIT_FAILED,
        )
    return f"sqlite:///{path}"
