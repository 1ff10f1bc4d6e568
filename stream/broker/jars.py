"""Apache Kafka's jars: resolved once by Maven from the project's `pom.xml`, kept in CACHE/tagstream/kafka-VERSION-HASH."""

import hashlib
import re
import shutil
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from tagstream.stream.broker.processes import Process, Processes
from tagstream.stream.broker.provider import Deadline, Log, ProviderUnavailable

DOWNLOAD_SECONDS = 600.0
_TELL_EVERY_SECONDS = 10.0


def kafka_version() -> str:
    """The version of Apache Kafka that the project runs, from its `pom.xml`."""
    match = re.search(r"<kafka.version>(.+?)</kafka.version>", _pom().read_text(encoding="utf-8"))
    if match is None:
        msg = "stream/broker/pom.xml has no <kafka.version>: put the property back"
        raise ValueError(msg)
    return match[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Jars:
    """All of Kafka's jars, in a folder of the cache that came there whole."""

    version: str
    folder: Path

    def classpath(self) -> str:
        """All jars in one order: a class archive is only valid for the class path that it was made with."""
        return ":".join(str(jar) for jar in sorted(self.folder.glob("*.jar")))


def get_jars(environ: Mapping[str, str], log: Log) -> Jars:
    """
    The jars from the cache, or by Maven into the cache.

    Raises:
        ProviderUnavailable: They are not in the cache, and Maven is missing or failed, or the cache cannot be written.
    """
    jars = Jars(version=kafka_version(), folder=cache_folder(environ))
    try:
        if not jars.folder.is_dir():
            jars.folder.parent.mkdir(parents=True, exist_ok=True)
            _download(jars.folder, environ, log)
    except OSError as error:
        msg = f"the cache {jars.folder.parent} cannot be used ({error}); set XDG_CACHE_HOME to a folder that can be written"
        raise ProviderUnavailable(msg) from error
    return jars


def cache_folder(environ: Mapping[str, str]) -> Path:
    """Where this version of the jars lives; another pom is another folder."""
    root = environ.get("XDG_CACHE_HOME") or Path(environ.get("HOME") or Path.home()) / ".cache"
    digest = hashlib.sha256(_pom().read_bytes()).hexdigest()[:12]
    return Path(root) / "tagstream" / f"kafka-{kafka_version()}-{digest}"


def _pom() -> Traversable:
    return files("tagstream.stream.broker") / "pom.xml"


def _download(folder: Path, environ: Mapping[str, str], log: Log) -> None:
    maven = shutil.which("mvn", path=environ.get("PATH", ""))
    if maven is None:
        msg = f"Apache Kafka's jars are not in {folder} and there is no `mvn` on PATH to fetch them; install Maven"
        raise ProviderUnavailable(msg)
    log(f"fetching Apache Kafka {kafka_version()} (about 54 MB, once) with Maven into {folder}")
    # Beside the goal, so that a rename makes it whole at once.
    work = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    with Processes(grace_seconds=0, remove=work) as processes:
        jars = work / "jars"
        (work / "pom.xml").write_bytes(_pom().read_bytes())
        words = [maven, "--batch-mode", "--no-transfer-progress", "--file", str(work / "pom.xml")]
        words += ["dependency:copy-dependencies", f"-DoutputDirectory={jars}", "-DincludeScope=runtime"]
        _wait_for_maven(processes.start(words, env=environ, log_file=work / "maven.log"), log)
        if not any(jars.glob("*.jar")):
            msg = f"Maven ended well and copied no jar: try `mvn dependency:copy-dependencies` with {_pom()}"
            raise ProviderUnavailable(msg)
        try:
            jars.rename(folder)
        except OSError:
            # Another process was here first, with the same jars.
            if not folder.is_dir():
                raise


def _wait_for_maven(process: Process, log: Log) -> None:
    deadline = Deadline.after(DOWNLOAD_SECONDS)
    started = time.monotonic()
    while not process.wait(deadline.left(at_most=_TELL_EVERY_SECONDS)):
        waited = time.monotonic() - started
        if deadline.passed():
            msg = f"Maven had not fetched Apache Kafka's jars after {waited:.0f} s: is the network slow or closed?"
            raise ProviderUnavailable(msg)
        log(f"still fetching Apache Kafka's jars, {waited:.0f} of at most {DOWNLOAD_SECONDS:.0f} s")
    if process.exit_code != 0:
        plain = re.sub(r"\x1b\[[0-9;]*m", "", process.output())
        errors = [line.removeprefix("[ERROR] ") for line in plain.splitlines() if line.startswith("[ERROR] ")]
        reason = (errors or plain.strip().splitlines() or ["it said nothing"])[0][:400]
        msg = f"Maven could not fetch Apache Kafka's jars ({reason}); can it reach a repository?"
        raise ProviderUnavailable(msg)
