"""What the doctor finds, as a person reads it."""

import pytest

from stream.doctor import examine
from stream.doctor.examine import Finding, Status
from stream.doctor.show import LONGEST_NAMES, finding
from stream.kafka.admin import TopicDescription
from stream.settings.settings import Settings, Topics


def of_topics(settings: Settings) -> list[Finding]:
    """What the doctor says of topics of one partition each, and of one that is not there."""
    names: dict[str, str] = settings.topics.model_dump()
    partitions = [None, *[1] * (len(names) - 1)]
    return [
        examine._topic(settings, key, name, TopicDescription(partitions=count, operations=None), Status.FAIL)
        for (key, name), count in zip(names.items(), partitions, strict=True)
    ]


@pytest.mark.parametrize("content", ["content", "c", "org.team.events.content.v1", "content" * 20])
def test_a_findings_name_is_apart_from_its_text(content: str, capsys: pytest.CaptureFixture[str]) -> None:
    """However long the topics' names are; short ones and what to do next stand in one column."""
    settings = Settings(topics=Topics(content=content))
    say = finding(settings, as_json=False)
    say(Finding(check="python", status=Status.OK, detail="3.12"))
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
