"""The AsyncAPI document: complete, with references that lead somewhere, and valid to AsyncAPI's own command."""

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tagstream.stream.contract.schema.asyncapi import document
from tagstream.stream.contract.schema.pages import rendered
from tagstream.stream.contract.schema.topics import schemas
from tagstream.stream.settings.settings import Settings
from tests.lacking import program

COMMITTED = Path(__file__).parents[5] / "docs" / "contract" / "asyncapi.json"
# Against hanging: a run takes some 5 seconds, and 30 on a busy machine.
SECONDS = 300


def validated(file: Path, home: Path) -> subprocess.CompletedProcess[str]:
    """AsyncAPI's own verdict; a warning is a fault too. The command reports its use to its makers, but not where CI is set."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(home), "CI": "true"}
    words = [program("asyncapi"), "validate", str(file), "--fail-severity=warn"]
    return subprocess.run(words, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False)


def target(reference: str, within: dict[str, Any]) -> Any:
    """The object that a reference leads to."""
    found: Any = within
    for step in reference.removeprefix("#/").split("/"):
        found = found[step]
    return found


def test_every_reference_leads_somewhere() -> None:
    """Each channel has its message, each operation its channel, and each message its schemas."""
    made = document()
    references = re.findall(r'"\$ref": "([^"]+)"', rendered(made))
    assert len(references) > 3 * len(made["channels"])
    assert all(target(reference, made) for reference in references)
    assert {operation["x-dead-letters"] for operation in made["operations"].values() if "x-dead-letters" in operation} == {
        "dlq"
    }


def test_every_topic_is_in_it_or_is_no_part_of_the_contract() -> None:
    """A new topic of the settings must be described; addresses are the default names."""
    topics = Settings().topics.model_dump()
    channels = {role: channel["address"] for role, channel in document()["channels"].items()}
    assert channels == {role: name for role, name in topics.items() if role not in {"replays", "references"}}


def test_every_schema_of_a_topic_is_in_it() -> None:
    """Only the answer object is of no topic."""
    assert set(document()["components"]["schemas"]) == schemas().keys() - {"classified"}


@pytest.mark.needs("asyncapi")
def test_asyncapis_own_command_takes_the_document(tmp_path: Path) -> None:
    """The committed document has no error and no warning."""
    done = validated(COMMITTED, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.needs("asyncapi")
def test_asyncapis_own_command_refuses_a_broken_document(tmp_path: Path) -> None:
    """Without the action of an operation, or with a schema that is none, it would be refused: the test above can fail."""
    broken = json.loads(COMMITTED.read_text(encoding="utf-8"))
    broken["operations"]["sendTagged"]["action"] = "publish"
    broken["components"]["schemas"]["reports"]["required"] = "event_id"
    file = tmp_path / "broken.json"
    file.write_text(rendered(broken), encoding="utf-8")
    done = validated(file, tmp_path)
    assert done.returncode != 0
    assert "operations.sendTagged.action" in done.stdout + done.stderr
    assert "schemas.reports.required" in done.stdout + done.stderr
