"""The reference of settings: complete, right about the ranges, and the same on the page and in `config show`."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tagstream.stream.cli.show.settings import print_settings
from tagstream.stream.settings.loading import SettingsError, known_keys, load
from tagstream.stream.settings.reference import Entry, entries
from tagstream.stream.settings.settings import Settings

PAGE = Path(__file__).parents[4] / "docs" / "settings.md"
NUMBERS = [entry for entry in entries() if entry.allowed.get("type") in {"integer", "number"}]
CHOICES = [entry for entry in entries() if "enum" in entry.allowed and not entry.key.startswith("security.")]


def takes(entry: Entry, value: object, folder: Path) -> bool:
    """Can the setting's variable have this value?"""
    try:
        # A rate above 0 needs the name of a file of keys.
        load({entry.variable: str(value), "TAGSTREAM_SECURITY__ASK_KEYS_FILE": "keys"}, folder=folder)
    except SettingsError:
        return False
    return True


def key_of(entry: Entry) -> str:
    """Names a case."""
    return entry.key


def test_every_setting_stands_under_one_subject() -> None:
    """A new setting appears in `config show` and on the page only under a subject, so it must be given one."""
    assert sorted(entry.key for entry in entries()) == sorted(known_keys())


@pytest.mark.parametrize("entry", NUMBERS, ids=key_of)
def test_a_number_is_taken_up_to_its_bounds_and_refused_beyond(entry: Entry, tmp_path: Path) -> None:
    """The bounds in the reference are those that a command applies."""
    allowed = entry.allowed
    step = 1 if allowed["type"] == "integer" else 0.001
    taken = [allowed[name] for name in ("minimum", "maximum") if name in allowed]
    refused = [allowed[name] for name in ("exclusiveMinimum", "exclusiveMaximum") if name in allowed]
    refused += [allowed["minimum"] - step] if "minimum" in allowed else []
    refused += [allowed["maximum"] + step] if "maximum" in allowed else []
    if "not" in allowed:
        taken.append(allowed["not"]["exclusiveMaximum"])
        refused.append(allowed["not"]["exclusiveMaximum"] - step)
    assert refused
    assert [value for value in taken if not takes(entry, value, tmp_path)] == []
    assert [value for value in refused if takes(entry, value, tmp_path)] == []


@pytest.mark.parametrize("entry", CHOICES, ids=key_of)
def test_each_choice_is_taken_and_another_refused(entry: Entry, tmp_path: Path) -> None:
    """The choices in the reference are all that there are."""
    assert all(takes(entry, choice, tmp_path) for choice in entry.allowed["enum"])
    assert not takes(entry, "another", tmp_path)


def test_a_topic_name_is_checked_by_the_pattern_of_the_reference(tmp_path: Path) -> None:
    """A name is taken where it matches the pattern, and refused where it does not."""
    entry = next(entry for entry in entries() if entry.key == "topics.tagged")
    for name in ("a", "A.b_c-9", "x" * 249, "x" * 250, "with space", "ümlaut"):
        assert takes(entry, name, tmp_path) == bool(re.search(entry.allowed["pattern"], name))


def test_the_example_file_on_the_page_can_be_used(tmp_path: Path) -> None:
    """The `tagstream.toml` of the page loads as it stands, and every line of it has an effect."""
    example = PAGE.read_text(encoding="utf-8").split("```toml\n")[1].split("```")[0]
    (tmp_path / "tagstream.toml").write_text(example, encoding="utf-8")
    found = load({}, folder=tmp_path)
    default = Settings()
    lines = [line for line in example.splitlines() if " = " in line]
    set_there = [entry for entry in entries() if entry.key in found.origins]
    assert len(set_there) == len(lines)
    unchanged = [entry.key for entry in set_there if entry.value_in(found.settings) == entry.value_in(default)]
    assert unchanged == ["group"]
    assert found.settings.topics.dlq == "papers.dlq"


def shown(capsys: pytest.CaptureFixture[str], folder: Path, *, as_json: bool, terminal: bool = False) -> str:
    """The output of `config show` with one setting from a variable."""
    loaded = load({"TAGSTREAM_GROUP": "night"}, folder=folder)
    if terminal:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("sys.stdout.isatty", lambda: True)
            patch.setenv("TERM", "dumb")
            print_settings(loaded, sources=True, as_json=as_json)
    else:
        print_settings(loaded, sources=True, as_json=as_json)
    return capsys.readouterr().out


def test_config_show_has_each_setting_below_its_subject(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """In a pipe a setting is one line, with its range, below the line of its subject."""
    lines = shown(capsys, tmp_path, as_json=False).splitlines()
    assert len(lines) == len(known_keys()) + len({entry.subject for entry in entries()})
    start = lines.index("# Events that break the model")
    assert lines[start + 2].startswith("crash_deaths = 3  (default)  # ")
    assert lines[start + 2].endswith(" [0, or 2 to 100]")
    assert "group = night  (environment TAGSTREAM_GROUP)  # consumer group of the workers [not empty]" in lines


def test_config_show_on_a_terminal_has_a_table_for_each_subject(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A subject is a heading on a line of its own, and ranges stand in brackets behind the meanings."""
    text = shown(capsys, tmp_path, as_json=False, terminal=True)
    headings = [line.strip() for line in text.splitlines()]
    assert [entry.subject for entry in entries() if entry.subject not in headings] == []
    assert "[1 to 4096]" in " ".join(text.split())


def test_config_show_as_json_says_all_that_the_page_says(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A program finds variable, meaning, range, bounds and default of each setting beside its value."""
    found: dict[str, dict[str, Any]] = {}
    for line in shown(capsys, tmp_path, as_json=True).splitlines():
        setting = json.loads(line)
        found[setting["key"]] = setting
    assert list(found) == [entry.key for entry in entries()]
    assert found["batch_max_events"] == {
        "key": "batch_max_events",
        "value": 64,
        "source": "default",
        "subject": "Delivery",
        "variable": "TAGSTREAM_BATCH_MAX_EVENTS",
        "meaning": "most events in one call of the model",
        "range": "1 to 4096",
        "allowed": {"type": "integer", "minimum": 1, "maximum": 4096},
        "default": 64,
    }
    assert (found["group"]["value"], found["group"]["default"]) == ("night", "tagstream")
