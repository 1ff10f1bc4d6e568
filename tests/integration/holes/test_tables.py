"""Tables of predictions by the names that people give them, by commands alone."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.serving.running import NO_BROKER, TINY
from tests.waiting import HANG_SECONDS


@pytest.mark.parametrize("name", ["main.t", "t-1", "1t", "two words"])
def test_a_name_that_no_table_can_have_makes_no_other_file(tmp_path: Path, name: str) -> None:
    """The name behind # is refused with the next step; it never becomes a part of the file's name."""
    (tmp_path / "rows.csv").write_text("id,title\na,Deploying models\n", encoding="utf-8")
    words = ["batch", "rows.csv", f"sqlite:///x.db#{name}", "--bundle", str(TINY)]
    done = subprocess.run(
        [sys.executable, "-m", "tagstream.stream.cli.main", *words],
        cwd=tmp_path,
        env=os.environ | {"TAGSTREAM_BROKERS": NO_BROKER},
        capture_output=True,
        timeout=HANG_SECONDS,
        check=False,
    )
    said = " ".join(done.stderr.decode().split())
    assert done.returncode == 2, said
    assert f"'{name}' cannot be the name of a table. Next: " in said
    assert [path.name for path in tmp_path.iterdir()] == ["rows.csv"]
