"""`tagstream model calibrate --reviewed`: people's answers from a file or the topic, and the bundle that they earn."""

from pathlib import Path

from model_export import commands
from model_export.commands import BundleOptions
from stream import logs
from stream.cli import making
from stream.cli.people.exchange import on_topics
from stream.review.exchange import lines
from stream.settings.settings import Settings
from stream.terminal import console
from stream.terminal.text import counted

TOPIC = "topic"


def calibrate(settings: Settings, *, reviewed: str, folder: Path, precision: float, as_json: bool) -> None:
    """
    Earn the thresholds of the settings' bundle, write the new one, and print what it buys.

    Args:
        settings: The bundle, and for the topic the brokers.
        reviewed: A file of records of `reviewed`, or `topic`.
        folder: Where the new bundle goes.
        precision: The share right that the thresholds shall reach.
        as_json: Print one object.

    Raises:
        ExtraMissingError: The extra `export` is not installed.
        ExchangeError: The file has a line that is no answer.
        BrokerUnreachableError: No broker answered in time, or one refused us.
        CalibrationError: The answers change no threshold.
    """
    making.require_export()
    # These need scikit-learn and scipy, which a worker does not have.
    from model_export.make.earn import earn_bundle, lineage
    from stream.review.exchange.evidence import gather

    logs.configure(level="info", form="console")
    bundle = commands.inspect(settings.bundle)
    answered, asked = on_topics(settings) if reviewed == TOPIC else (lines.answers_in_file(Path(reviewed)), [])
    gathered = gather(answered, digests=lineage(bundle.manifest, bundle.digest), asked=asked)
    for why, count in gathered.left_out.items():
        console.talk(f"left out: answers on {counted(count, 'event')} {why}")
    rows = BundleOptions(folder=folder, data_folder=settings.data).splits()
    if not set(rows.labels) <= set(bundle.manifest.labels):
        console.talk("the manifest keeps its figures, which are of the old thresholds: tagstream has no rows with these labels")
    elif settings.data is None:
        console.talk("the manifest will have no figures on the holdout: TAGSTREAM_DATA names no folder")
    gain = earn_bundle(folder, bundle=bundle, evidence=gathered.evidence, splits=rows, precision=precision)
    if as_json:
        console.show_json(gain.as_record())
    else:
        console.show(gain.as_text())
