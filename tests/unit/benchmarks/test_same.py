"""`benchmarks.same` sees every byte that differs, and leaves aside the time of its own run alone."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from benchmarks import same
from benchmarks.same import Clock, Decided, Difference, Tree, differences, report

NOW = datetime.now(UTC)
CLOCK = Clock(NOW - timedelta(minutes=5))


def found(before: bytes, after: bytes) -> list[tuple[str, str | None, str | None]]:
    """Path, before and after of the differences between two lines."""
    return [(one.path, one.before, one.after) for one in differences({"out": [before]}, {"out": [after]}, CLOCK)]


@pytest.mark.parametrize(
    ("before", "after", "path"),
    [
        (b'{"a":{"b":1}}', b'{"a":{"b":2}}', "a.b"),
        (b'{"a":1}', b'{"a":1.0}', "a"),
        (b'{"a":1,"b":2}', b'{"b":2,"a":1}', " (order)"),
        (b'{"a":1}', b'{"a": 1}', "(same values, other bytes)"),
        (b'{"a":[1,2]}', b'{"a":[1,3]}', "a[1]"),
        (b'{"a":[1,2]}', b'{"a":[1,3,2]}', "a[]"),
        (b'{"value":"{\\"x\\":1}"}', b'{"value":"{\\"x\\":2}"}', "value:.x"),
        (b'{"value":"{\\"x\\":1}"}', b'{"value":"{\\"x\\": 1}"}', "value"),
        (b"plain", b"other", ""),
    ],
)
def test_a_difference_has_the_path_of_its_field(before: bytes, after: bytes, path: str) -> None:
    """Also within JSON that is text of JSON, and where the values are the same and the bytes are not."""
    assert [one for one, *_ in found(before, after)] == [path]
    assert found(before, before) == []


def test_fields_and_lines_that_are_missing_are_told() -> None:
    """A field on either side, a line, and a whole output."""
    assert found(b'{"a":1}', b'{"a":1,"b":2}') == [("b", None, "2")]
    assert len(list(differences({"out": [b"1", b"2"]}, {"out": [b"1"]}, CLOCK))) == 1
    assert len(list(differences({"out": [b"1"]}, {}, CLOCK))) == 1


def test_time_stamps_of_the_run_alone_are_left_aside() -> None:
    """In seconds or milliseconds; one of the input is compared, and so is how a stamp is written."""
    early, late = (NOW - timedelta(minutes=2)).isoformat(), (NOW - timedelta(minutes=1)).isoformat()
    assert found(f'{{"at":"{early}"}}'.encode(), f'{{"at":"{late}"}}'.encode()) == []
    assert found(b'{"at":"2020-01-01T00:00:00Z"}', b'{"at":"2020-01-01T00:00:01Z"}') != []
    assert found(f'{{"at":"{early}"}}'.encode(), f'{{"at":"{late[:19]}"}}'.encode()) != []
    stamps = [int(NOW.timestamp() * 1000) - less for less in (1000, 2000)]
    assert found(b'{"ms":%d}' % stamps[0], b'{"ms":%d}' % stamps[1]) == []
    assert found(b'{"ms":1500000000000}', b'{"ms":1500000000001}') != []


def test_only_the_very_difference_that_was_decided_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another value, path or output is a difference all the same."""
    decided = Decided(places=(("out", "a"),), before="1", after="2", because="it was wrong")
    monkeypatch.setattr(same, "DECIDED", (decided,))
    seen: dict[str, object] = {"output": "out", "line": 1, "path": "a", "before": "1", "after": "2"}

    def differs(**other: object) -> bool:
        fields: Mapping[str, object] = seen | other
        return report([Difference(**fields)])  # type: ignore[arg-type]

    assert not differs()
    assert differs(after="3")
    assert differs(path="b")
    assert differs(output="other")


def test_a_tree_is_not_answered_for_by_another(tmp_path: Path) -> None:
    """A command whose code comes from elsewhere, as from an editable install, ends the comparison."""
    (tmp_path / "pyproject.toml").write_text('[project.scripts]\ntagstream = "json:loads"\n', encoding="utf-8")
    with pytest.raises(SystemExit, match="not from"):
        Tree(tmp_path, tmp_path).run("worker")


def test_a_command_has_its_lines_and_its_exit_code(tmp_path: Path) -> None:
    """The folder of the tree is named alike in both trees."""
    script = "import pathlib, sys\ndef main():\n    print(pathlib.Path(__file__).parent, *sys.argv[1:])\n    return 4\n"
    (tmp_path / "there.py").write_text(script, encoding="utf-8")
    (tmp_path / "pyproject.toml").write_text('[project.scripts]\ntagstream = "there:main"\n', encoding="utf-8")
    (tmp_path / "work").mkdir()
    assert Tree(tmp_path, tmp_path / "work").run("a", "b") == [b"TREE a b", b"exit code 4"]
