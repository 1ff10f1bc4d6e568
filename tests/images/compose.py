"""Compose 2 as a program, compiled from its Go modules where none can be fetched ready-made. Needs nothing but Python and a Go.

python -m tests.images.compose      compiles it into the cache beforehand, as CI does while packages are fetched
"""

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
COMPOSE_VERSION = "v2.40.3"
COMPOSE_MODULE = "github.com/docker/compose/v2"
# The version that this Compose asks for. From 1.21 on a Go fetches the toolchain that it lacks; for an older one we do.
GO_VERSION = "1.24.9"
SELF_HELPING_GO = (1, 21)
ASK_SECONDS, BUILD_SECONDS = 600.0, 7200.0


class EngineError(Exception):
    """Something that was to make or run images went wrong: the message has the end of what it said."""


def cache_folder() -> Path:
    """The folder of products that are kept between runs; it exists when this returns."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tagstream" / "images"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def compose_program(cache: Path) -> Path:
    """Compose's program from the cache, or built into it; the checksum database vouches for its modules."""
    program = cache / f"docker-compose-{COMPOSE_VERSION}"
    if program.is_file():
        return program
    module = cache / "compose"
    shutil.rmtree(module, ignore_errors=True)
    module.mkdir()
    (module / "go.mod").write_text(
        f"module images\n\ngo {GO_VERSION}\n\nrequire {COMPOSE_MODULE} {COMPOSE_VERSION}\n", encoding="utf-8"
    )
    (module / "main.go").write_text(
        f'package main\n\nimport _ "{COMPOSE_MODULE}/cmd/compose"\n\nfunc main() {{}}\n', encoding="utf-8"
    )
    environ = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-mod=mod"}
    go = _go(module, environ)
    run_to_end((go, "mod", "tidy"), environ, BUILD_SECONDS, folder=module)
    words = (go, "build", "-trimpath", "-ldflags", "-s -w", "-o", "docker-compose", f"{COMPOSE_MODULE}/cmd")
    run_to_end(words, environ, BUILD_SECONDS, folder=module)
    # A rename, so that a build that was broken off leaves no half program.
    (module / "docker-compose").rename(program)
    shutil.rmtree(module)
    return program


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


if __name__ == "__main__":
    compose_program(cache_folder())
