"""The examples of Ray and Spark as processes of this machine: small, on loopback, and gone at their end."""

import os
import subprocess
import sys
import tempfile
import uuid
from pathlib import Path

import pyarrow.parquet as pq

from tagstream.stream.broker.kafka import find_java
from tagstream.stream.broker.provider import ProviderUnavailable
from tests.faults.worker.fleet import ROOT, without_settings
from tests.lacking import lacking
from tests.waiting import until

# By it, processes of a run are found, whoever their parent is.
MARK = "TESTED_ENGINE"
# Each starts five to ten processes that import much, on a machine that may be busy with other tests.
ENGINE_SECONDS = 1800
# Ray gives its own node 30 s to start, without a setting for it, and a busy machine takes longer: before any row is read, so it may begin again.
NOT_STARTED, STARTS = "The current node timed out during startup", 5
RAY = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # The objects of these few rows; Ray would reserve a third of the machine.
    "RAY_DEFAULT_OBJECT_STORE_MEMORY_PROPORTION": "0.01",
    # Else Ray ends its workers where other programs have filled the machine.
    "RAY_memory_monitor_refresh_ms": "0",
}
SPARK = {
    "SPARK_LOCAL_IP": "127.0.0.1",
    "PYSPARK_SUBMIT_ARGS": "--master local[2] --driver-memory 512m --conf spark.ui.enabled=false "
    "--conf spark.sql.shuffle.partitions=1 pyspark-shell",
}


def tagged_by_ray(articles: Path, tagged: Path, bundle: Path, *options: str) -> list[bytes]:
    """
    The answers of `examples/ray_tag_parquet.py`, in the order of the files that it writes.

    Args:
        articles: A Parquet file.
        tagged: A folder that does not exist.
        bundle: The folder of the bundle.
        options: Further words of the command line.
    """
    # In a short path, since Ray has Unix sockets in it, whose path has at most 107 bytes.
    with tempfile.TemporaryDirectory(prefix="ray-") as folder:
        _run("ray_tag_parquet.py", [articles, tagged, *options], {**RAY, "RAY_TMPDIR": folder}, bundle)
    return _answers(tagged)


def tagged_by_spark(articles: Path, tagged: Path, bundle: Path, *options: str) -> list[bytes]:
    """The same for `examples/spark_tag_parquet.py`; skipped where there is no Java."""
    try:
        java = find_java(os.environ)
    except ProviderUnavailable as error:
        lacking(f"Spark {error}")
    # The program's own folder tells nothing: it is mostly a link to the installation.
    home = java.path.resolve().parents[1]
    with tempfile.TemporaryDirectory(prefix="spark-") as folder:
        _run(
            "spark_tag_parquet.py",
            [articles, tagged, *options],
            {**SPARK, "JAVA_HOME": str(home), "SPARK_LOCAL_DIRS": folder},
            bundle,
        )
    return _answers(tagged)


def _run(example: str, words: list[object], environ: dict[str, str], bundle: Path) -> None:
    for _ in range(STARTS):
        done = _once(example, words, environ, bundle)
        if NOT_STARTED not in done.stderr:
            break
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"[-6000:]


def _once(example: str, words: list[object], environ: dict[str, str], bundle: Path) -> subprocess.CompletedProcess[str]:
    """The end of an example, and of every process that it has started."""
    mark = uuid.uuid4().hex
    done = subprocess.run(
        [sys.executable, ROOT / "examples" / example, *map(str, words)],
        env={
            **without_settings({name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "SPARK_"))}),
            "PYTHONPATH": str(ROOT),
            "TAGSTREAM_BUNDLE": str(bundle),
            MARK: mark,
            **environ,
        },
        # No tagstream.toml of a developer is in it.
        cwd=ROOT / "examples",
        capture_output=True,
        text=True,
        timeout=ENGINE_SECONDS,
        check=False,
    )
    until(lambda: not _alive(mark), f"all processes of {example} have ended", state=lambda: _alive(mark))
    return done


def _alive(mark: str) -> list[str]:
    """The command lines of processes that were started with this mark."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            marked = f"{MARK}={mark}".encode() in (process / "environ").read_bytes().split(b"\0")
            words = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            # It has ended in this moment, or belongs to somebody else.
            continue
        # A zombie has no command line, and waits for its parent alone.
        if marked and words:
            found.append(words)
    return found


def _answers(tagged: Path) -> list[bytes]:
    files = sorted(tagged.glob("*.parquet"))
    assert files, sorted(tagged.iterdir())
    return [answer.encode() for file in files for answer in pq.read_table(file, columns=["answer"])["answer"].to_pylist()]
