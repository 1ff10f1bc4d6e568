"""Apache Kafka's jars: resolved once by Maven from the project's `pom.xml`, kept in the user's cache.

CACHE/tagstream/kafka-VERSION-HASH/       jars, and jars.json with the names and sizes that make it whole
CACHE/tagstream/kafka-VERSION-HASH.lock   one download at a time
"""

import fcntl
import hashlib
import json
import re
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from stream.broker.processes import Process, Processes
from stream.broker.rung import Deadline, Log, RungUnavailable

DOWNLOAD_SECONDS = 600.0
_TELL_EVERY_SECONDS = 10.0
_MANIFEST = "jars.json"


def kafka_version() -> str:
    """The version of Apache Kafka that the project runs, from its `pom.xml`."""
    match = re.search(r"<kafka.version>(.+?)</kafka.version>", _pom().read_text(encoding="utf-8"))
    if match is None:
        msg = "stream/broker/apache/pom.xml has no <kafka.version>: put the property back"
        raise ValueError(msg)
    return match[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Jars:
    """A whole set of Kafka's jars in the cache."""

    version: str
    folder: Path
    names: tuple[str, ...]

    def classpath(self) -> str:
        """All jars in one order: a class archive is only valid for the class path that it was made with."""
        return ":".join(str(self.folder / name) for name in self.names)


def get_jars(environ: Mapping[str, str], log: Log) -> Jars:
    """
    The jars from the cache, or by Maven into the cache.

    Raises:
        RungUnavailable: They are not in the cache, and Maven is missing or failed, or the cache cannot be written.
    """
    folder = cache_folder(environ)
    kept = _whole(folder)
    if kept:
        return kept
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _only_one(folder.with_name(folder.name + ".lock"), log):
            return _whole(folder) or _download(folder, environ, log)
    except OSError as error:
        msg = f"the cache {folder.parent} cannot be used ({error}); set XDG_CACHE_HOME to a folder that can be written"
        raise RungUnavailable(msg) from error


def cache_folder(environ: Mapping[str, str]) -> Path:
    """Where this version of the jars lives; another pom is another folder."""
    root = environ.get("XDG_CACHE_HOME") or Path(environ.get("HOME") or Path.home()) / ".cache"
    digest = hashlib.sha256(_pom().read_bytes()).hexdigest()[:12]
    return Path(root) / "tagstream" / f"kafka-{kafka_version()}-{digest}"


def _pom() -> Traversable:
    return files("stream.broker.apache") / "pom.xml"


def _whole(folder: Path) -> Jars | None:
    """The jars, unless one is missing or short: a cleaner of old files may have been here."""
    manifest = folder / _MANIFEST
    if not manifest.is_file():
        return None
    sizes: dict[str, int] = json.loads(manifest.read_text(encoding="utf-8"))
    for name, size in sizes.items():
        jar = folder / name
        if not jar.is_file() or jar.stat().st_size != size:
            return None
    return Jars(version=kafka_version(), folder=folder, names=tuple(sorted(sizes)))


def _download(folder: Path, environ: Mapping[str, str], log: Log) -> Jars:
    maven = shutil.which("mvn", path=environ.get("PATH", ""))
    if maven is None:
        msg = f"Apache Kafka's jars are not in {folder} and there is no `mvn` on PATH to fetch them; install Maven"
        raise RungUnavailable(msg)
    log(f"fetching Apache Kafka {kafka_version()} (about 54 MB, once) with Maven into {folder}")
    # Beside the goal, so that a rename makes it whole at once.
    work = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    with Processes(grace_seconds=0, remove=work) as processes:
        jars = work / "jars"
        (work / "pom.xml").write_bytes(_pom().read_bytes())
        words = [maven, "--batch-mode", "--no-transfer-progress", "--file", str(work / "pom.xml")]
        words += ["dependency:copy-dependencies", f"-DoutputDirectory={jars}", "-DincludeScope=runtime"]
        _wait_for_maven(processes.start(words, env=environ, log_file=work / "maven.log"), log)
        sizes = {jar.name: jar.stat().st_size for jar in jars.glob("*.jar")}
        if not sizes:
            msg = f"Maven ended well and copied no jar: try `mvn dependency:copy-dependencies` with {_pom()}"
            raise RungUnavailable(msg)
        (jars / _MANIFEST).write_text(json.dumps(sizes, indent=1), encoding="utf-8")
        if folder.exists():
            # Not whole, or it would have been used.
            shutil.rmtree(folder)
        jars.rename(folder)
    return Jars(version=kafka_version(), folder=folder, names=tuple(sorted(sizes)))


def _wait_for_maven(process: Process, log: Log) -> None:
    deadline = Deadline.after(DOWNLOAD_SECONDS)
    started = time.monotonic()
    while not process.wait(deadline.left(at_most=_TELL_EVERY_SECONDS)):
        waited = time.monotonic() - started
        if deadline.passed():
            msg = f"Maven had not fetched Apache Kafka's jars after {waited:.0f} s: is the network slow or closed?"
            raise RungUnavailable(msg)
        log(f"still fetching Apache Kafka's jars, {waited:.0f} of at most {DOWNLOAD_SECONDS:.0f} s")
    if process.exit_code != 0:
        reason = _maven_reason(process.output())
        msg = f"Maven could not fetch Apache Kafka's jars ({reason}); can it reach a repository?"
        raise RungUnavailable(msg)


def _maven_reason(output: str) -> str:
    plain = re.sub(r"\x1b\[[0-9;]*m", "", output)
    errors = [line.removeprefix("[ERROR] ") for line in plain.splitlines() if line.startswith("[ERROR] ")]
    return (errors or plain.strip().splitlines() or ["it said nothing"])[0][:400]


@contextmanager
def _only_one(lock: Path, log: Log) -> Iterator[None]:
    """Hold the lock file. The system releases it when its holder ends, so a killed download blocks no other."""
    deadline = Deadline.after(DOWNLOAD_SECONDS)
    told = False
    with lock.open("w", encoding="utf-8") as held:
        while True:
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if deadline.passed():
                    msg = f"another process has held {lock} for {DOWNLOAD_SECONDS:.0f} s: end it, or wait for it"
                    raise RungUnavailable(msg) from None
                if not told:
                    log(f"waiting for another process that fetches Apache Kafka's jars ({lock})")
                    told = True
                time.sleep(0.2)
        yield
