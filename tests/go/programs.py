"""Programs and data that are published as Go modules alone, each at one version. Needs nothing but Python and a Go."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
# The version that these programs ask for. From 1.21 on a Go fetches the toolchain that it lacks; for an older one we do.
GO_VERSION = "1.24.9"
SELF_HELPING_GO = (1, 21)
ASK_SECONDS, BUILD_SECONDS = 600.0, 7200.0


class EngineError(Exception):
    """A program failed: the message has the end of what it said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GoProgram:
    """
    A program that is compiled from its Go modules; the checksum database vouches for them.

    Attributes:
        name: The file's name, without the version.
        module: The module's path.
        version: The module's version, such as `v2.40.3`.
        package: The path of the program's package.
        imported: The path of a package that the program imports, and that brings all that it needs.
        source: The file of a program of our own over the module; `package` is then `.`.
    """

    name: str
    module: str
    version: str
    package: str
    imported: str
    source: Path | None = None


def cache_folder(name: str) -> Path:
    """The folder of products of one kind that are kept between runs; it exists when this returns."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tagstream" / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def built(wanted: GoProgram, cache: Path) -> Path:
    """
    The program from the cache, or compiled into it.

    Raises:
        EngineError: Its modules cannot be fetched or compiled.
    """
    main = f'package main\n\nimport _ "{wanted.imported}"\n\nfunc main() {{}}\n'
    name = f"{wanted.name}-{wanted.version}"
    if wanted.source is not None:
        main = wanted.source.read_text(encoding="utf-8")
        name += f"-{hashlib.sha256(main.encode()).hexdigest()[:8]}"
    program = cache / name
    if program.is_file():
        return program
    with tempfile.TemporaryDirectory(prefix=f"{wanted.name}-", dir=cache) as made:
        folder = Path(made)
        (folder / "go.mod").write_text(
            f"module tagstream\n\ngo {GO_VERSION}\n\nrequire {wanted.module} {wanted.version}\n", encoding="utf-8"
        )
        (folder / "main.go").write_text(main, encoding="utf-8")
        environ = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-mod=mod"}
        go = _go(folder, environ)
        run_to_end((go, "mod", "tidy"), environ, BUILD_SECONDS, folder=folder)
        words = (go, "build", "-trimpath", "-ldflags", "-s -w", "-o", wanted.name, wanted.package)
        run_to_end(words, environ, BUILD_SECONDS, folder=folder)
        # A rename, so that a build that was broken off leaves no half program.
        (folder / wanted.name).rename(program)
    return program


def module_folder(module: str, version: str) -> Path:
    """
    The folder of a module's files, read-only, in Go's own cache.

    Raises:
        EngineError: It cannot be fetched.
    """
    with tempfile.TemporaryDirectory(prefix="tagstream-module-") as name:
        folder = Path(name)
        words = (_go(folder, os.environ), "mod", "download", "-json", f"{module}@{version}")
        return Path(json.loads(run_to_end(words, os.environ, BUILD_SECONDS, folder=folder))["Dir"])


def _go(folder: Path, environ: Mapping[str, str]) -> str:
    """A Go that is new enough: the one on PATH, or the toolchain that the one on PATH fetches, as Debian's 1.19 can."""
    version = run_to_end(("go", "env", "GOVERSION"), environ, ASK_SECONDS).removeprefix("go").split(".")
    if tuple(int(part) for part in version[:2] if part.isdigit()) >= SELF_HELPING_GO:
        return "go"
    architecture = run_to_end(("go", "env", "GOARCH"), environ, ASK_SECONDS)
    toolchain = f"golang.org/toolchain@v0.0.1-go{GO_VERSION}.linux-{architecture}"
    fetched = json.loads(
        run_to_end(("go", "mod", "download", "-json", toolchain), environ, BUILD_SECONDS, folder=folder.parent)
    )
    # A module's files have no right to be executed; a toolchain's need it.
    root = folder / "go"
    shutil.copytree(fetched["Dir"], root, copy_function=shutil.copyfile)
    for program in (*(root / "bin").iterdir(), *(path for path in (root / "pkg" / "tool").rglob("*") if path.is_file())):
        program.chmod(0o755)
    return str(root / "bin" / "go")


def run_to_end(words: Sequence[str], environ: Mapping[str, str], seconds: float, folder: Path | None = None) -> str:
    """
    The output of a program, stripped; run in the project's root unless a folder is given.

    Raises:
        EngineError: It failed, or did not end in time.
    """
    # A session of its own, so that what a script has started ends with it.
    with subprocess.Popen(
        words,
        env=dict(environ),
        cwd=folder or ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            out, errors = process.communicate(timeout=seconds)
        except BaseException as error:
            os.killpg(process.pid, signal.SIGKILL)
            if not isinstance(error, subprocess.TimeoutExpired):
                raise
            msg = f"{' '.join(words[:4])} ... did not end within {seconds:.0f} s"
            raise EngineError(msg) from error
    if process.returncode != 0:
        said = (out + errors).strip()[-2000:]
        msg = f"{' '.join(words[:4])} ... ended with code {process.returncode}:\n{said}"
        raise EngineError(msg)
    return out.strip()
