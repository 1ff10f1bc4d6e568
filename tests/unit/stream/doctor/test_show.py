"""Findings on the terminal: columns line up whatever the names of the topics are."""

import pytest

from tagstream.stream.doctor import remote
from tagstream.stream.doctor.findings import CheckFinding, Status
from tagstream.stream.doctor.show import LONGEST_NAMES, printer
from tagstream.stream.kafka.admin import TopicDescription
from tagstream.stream.settings.settings import Settings
from tagstream.stream.settings.topics import Topics


def of_topics(settings: Settings) -> list[CheckFinding]:
    """Findings on the topics: the first does not exist, the others have one partition each."""
    names: dict[str, str] = settings.topics.model_dump()
    partitions = [None, *[1] * (len(names) - 1)]
    return [
        remote.topic(settings, key, TopicDescription(partitions=count, operations=None), Status.FAIL)
        for key, count in zip(names, partitions, strict=True)
    ]


@pytest.mark.parametrize("content", ["content", "c", "org.team.events.content.v1", "content" * 20])
def test_names_and_details_stand_in_columns(content: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A name and its detail are always two spaces apart; details and next steps share a column unless a name is too long."""
    settings = Settings(topics=Topics(content=content))
    say = printer(settings, as_json=False)
    say(CheckFinding(check="python", status=Status.OK, detail="3.12"))
    for found in of_topics(settings):
        say(found)
    lines = capsys.readouterr().out.splitlines()
    column = lines[0].index("3.12")
    assert lines[1].startswith(f"FAIL topic {content}  ")
    assert lines[1].endswith("  does not exist")
    assert lines[2] == f"{'':<{column}}next: tagstream doctor --create-topics"
    for name, line in zip(list(settings.topics.model_dump().values())[1:], lines[3:], strict=True):
        assert line.split() == ["OK", "topic", name, "1", "partition"]
        assert line.index("1 partition") == column or len(f"topic {name}") > LONGEST_NAMES
        assert line.endswith("  1 partition")
