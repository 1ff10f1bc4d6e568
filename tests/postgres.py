"""A real PostgreSQL for tests: Debian's binaries, a folder of its own, reached by a socket in this folder and by no port."""

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg

from tests.lacking import lacking
from tests.waiting import HANG_SECONDS, until

WHERE = Path("/usr/lib/postgresql")
# The server refuses to run as root.
USER = "nobody"


def binaries() -> Path:
    """The folder of `postgres` and `initdb`; without one the test is `lacking`."""
    found = sorted(WHERE.glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    if found:
        return found[-1].parent
    on_path = shutil.which("initdb")
    if on_path is None:
        lacking("no PostgreSQL to keep a store in: install the package postgresql")
    return Path(on_path).resolve().parent


class Postgres:
    """A running server."""

    def __init__(self, folder: Path) -> None:
        """Know where its socket is."""
        self._folder = folder
        self._made = 0

    def fresh(self) -> str:
        """The URL of a new, empty database."""
        self._made += 1
        name = f"store_{self._made}"
        with psycopg.connect(self._address("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        return f"postgresql://tester:secret-of-tests@/{name}?host={self._folder}"

    def answers(self) -> bool:
        """Whether it takes connections."""
        try:
            psycopg.connect(self._address("postgres")).close()
        except psycopg.OperationalError:
            return False
        return True

    def _address(self, name: str) -> str:
        return f"host={self._folder} user=tester dbname={name} connect_timeout=10"


@contextlib.contextmanager
def postgres() -> Iterator[Postgres]:
    """A server that ends with the block; nothing of it survives a power cut."""
    programs = binaries()
    as_root = os.getuid() == 0
    # Not pytest's folder: it is closed to other users, and a socket's path may have 107 characters.
    with tempfile.TemporaryDirectory(prefix="pg-", ignore_cleanup_errors=True) as made:
        folder = Path(made)
        if as_root:
            shutil.chown(folder, USER)
        data = folder / "data"
        user = {"user": USER} if as_root else {}
        subprocess.run(
            [programs / "initdb", "-D", data, "-U", "tester", "--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C"],
            check=True,
            capture_output=True,
            cwd=folder,
            timeout=HANG_SECONDS,
            **user,
        )
        settings = ["-c", "fsync=off", "-c", "full_page_writes=off", "-c", "max_connections=100"]
        with (folder / "log").open("wb") as log:
            server = subprocess.Popen(
                [programs / "postgres", "-D", data, "-k", folder, "-h", "", *settings],
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=folder,
                **user,
            )
        try:
            running = Postgres(folder)
            until(
                lambda: running.answers() or server.poll() is not None,
                "PostgreSQL takes connections",
                state=(folder / "log").read_text,
            )
            assert server.poll() is None, (folder / "log").read_text()
            yield running
        finally:
            # SIGINT: connections are ended and the server stops at once.
            server.send_signal(2)
            server.wait(timeout=HANG_SECONDS)
