"""Finding a Java that Kafka runs on."""

import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from stream.broker.rung import RungUnavailable

OLDEST = 17
_ANSWER_SECONDS = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Java:
    """A Java that was asked for its version.

    Attributes:
        path: The `java` program.
        version: Its feature release: 17, 21, ...
        banner: All that `java -version` said: it tells two builds of one version apart.
    """

    path: Path
    version: int
    banner: str


def find_java(environ: Mapping[str, str]) -> Java:
    """
    The first Java of version 17 or later: JAVA_HOME, then `java` on PATH.

    Raises:
        RungUnavailable: There is none; the message names the versions that were found.
    """
    refused = []
    for place, path in _candidates(environ):
        try:
            banner = _banner(path, environ)
        except (OSError, subprocess.SubprocessError) as error:
            refused.append(f"{place} does not run ({error})")
            continue
        version = parse_version(banner)
        if version is not None and version >= OLDEST:
            return Java(path=path, version=version, banner=banner)
        refused.append(f"{place} is {f'Java {version}' if version else f'of a version it does not say ({banner[:80]!r})'}")
    found = "; ".join(refused) or "JAVA_HOME is not set and there is no `java` on PATH"
    msg = f"needs Java {OLDEST} or later: {found}; install a JRE or point JAVA_HOME at one"
    raise RungUnavailable(msg)


def parse_version(banner: str) -> int | None:
    """
    The feature release in the output of `java -version`; None if it has none.

    >>> parse_version('openjdk version "17.0.15" 2025-04-15')
    17
    >>> parse_version('java version "1.8.0_402"')
    8
    """
    match = re.search(r'version "(?:1\.)?(\d+)', banner)
    return int(match[1]) if match else None


def _candidates(environ: Mapping[str, str]) -> Iterator[tuple[str, Path]]:
    home = environ.get("JAVA_HOME")
    if home:
        yield f"JAVA_HOME ({home})", Path(home) / "bin" / "java"
    on_path = shutil.which("java", path=environ.get("PATH", ""))
    if on_path:
        yield f"`java` on PATH ({on_path})", Path(on_path)


def _banner(path: Path, environ: Mapping[str, str]) -> str:
    answer = subprocess.run(  # noqa: S603 - the user's own Java
        [path, "-version"], env=dict(environ), capture_output=True, text=True, timeout=_ANSWER_SECONDS, check=False
    )
    return (answer.stderr + answer.stdout).strip()
