"""What a person who answers is told about the labels, by topics and HTTP alone."""

from pathlib import Path

import pytest
from kafka import KafkaProducer

from tagstream.stream.broker.processes import Processes
from tests.cold import begun_with
from tests.integration.holes.console_process import Console, ask
from tests.serving.running import TINY

pytestmark = pytest.mark.broker

SAID = {
    "mlops": {"about": "Everything that comes after the notebook."},
    "computer-vision": {"about": "Pictures and films."},
    "other": {"about": "The rest of the subject."},
}


def test_the_sentences_about_the_labels_are_on_the_page(environ: dict[str, str], processes: Processes, tmp_path: Path) -> None:
    """Of the bundle that the settings name, as `model start` has made it of labels in words."""
    bundle = begun_with(SAID, TINY, tmp_path / "begun")
    console = Console(processes, environ | {"TAGSTREAM_BUNDLE": str(bundle)}, tmp_path)
    with KafkaProducer(bootstrap_servers=environ["TAGSTREAM_BROKERS"], acks="all") as producer:
        ask(producer, environ["TAGSTREAM_TOPICS__REVIEW"], {"a": "A gateway."})
    console.until_waiting(1)
    page = console.page("ada")
    assert all(words["about"] in page for words in SAID.values())
