"""Checks of this machine: Python, Faust, codecs, the metrics port, the state folder, and the files of the credentials."""

import os
import socket
import sys
import tempfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

from monitoring.top.workers import address, ask
from stream.deliver.crash.crash_file import CrashFile
from stream.deliver.crash.crash_guard import CONSEQUENCE
from stream.deliver.state_folder import mistaken, stem_of
from stream.doctor.findings import Finding, Status, finding_of
from stream.kafka.batches.inflate import missing_codecs
from stream.kafka.credentials import client_options, warnings
from stream.settings.metrics_address import is_taken, next_step, own_address
from stream.settings.secret_files import SecurityError, answer_keys
from stream.settings.settings import Settings

TRIAL_BYTES = 4096


def python() -> Finding:
    """The version of Python."""
    return Finding(check="python", status=Status.OK, detail=f"{sys.version.split()[0]}")


def stream_engine() -> Finding:
    """Faust's version, and whether it has its C extension."""
    # Faust takes a second to load: earlier findings are printed before.
    from stream.worker.faust_app import has_c_extension

    if not has_c_extension():
        return Finding(
            check="faust",
            status=Status.FAIL,
            detail="runs without its C extension, and its pure-Python stream loses stale messages",
            fix="install a binary wheel of faust-streaming for this CPython and unset NO_CYTHON",
        )
    return Finding(check="faust", status=Status.OK, detail=f"{version('faust-streaming')} with its C extension")


def codecs() -> Finding:
    """The compression codecs of producers that a worker can read."""
    lacking = missing_codecs()
    if not lacking:
        return Finding(check="codecs", status=Status.OK, detail="gzip, snappy, lz4, zstd")
    return Finding(
        check="codecs",
        status=Status.WARN,
        detail=f"a worker stops at a batch that a producer compressed with {', '.join(lacking)}: no library here reads it",
        fix="install cramjam beside tagstream",
    )


def metrics_port(settings: Settings) -> Finding:
    """Whether a worker can bind the address of its metrics."""
    where = f"{settings.metrics_host}:{settings.metrics_port}"
    if settings.metrics_host in {"0.0.0.0", "::"}:  # noqa: S104
        return Finding(
            check="metrics",
            status=Status.WARN,
            detail=f"{where} listens on every address, without authentication",
            fix="keep TAGSTREAM_METRICS_HOST on loopback or a private network",
        )
    try:
        with socket.create_server((settings.metrics_host, settings.metrics_port)):
            pass
    except OSError as error:
        if not is_taken(error):
            detail = f"{where} cannot be bound: {error.strerror}"
            return Finding(check="metrics", status=Status.FAIL, detail=detail, fix=next_step(error).removesuffix("."))
        return running_worker(settings) or Finding(
            check="metrics",
            status=Status.WARN,
            detail=f"{where} cannot be bound ({error.strerror}), and the process that holds it answers as no worker does",
            fix="TAGSTREAM_METRICS_PORT=0 takes a free port for each worker, but a scrape configuration does not know it",
        )
    if settings.metrics_port == 0:
        detail = f"a free port of {settings.metrics_host} will be taken and logged; a scrape configuration does not know it"
        return Finding(check="metrics", status=Status.OK, detail=detail)
    return Finding(check="metrics", status=Status.OK, detail=f"{where} is free")


def running_worker(settings: Settings) -> Finding | None:
    """The worker that holds the address of the metrics, with its own words if it is not ready; None if it is another program."""
    url = own_address(settings)
    found, trouble = ask(address(url))
    if found is None:
        return None
    if trouble is None:
        return Finding(check="metrics", status=Status.OK, detail=f"a worker answers at {url}")
    return finding_of("metrics", Status.WARN, f"a worker answers at {url} and is not ready: {trouble.why}")


def state_folder(settings: Settings) -> Finding:
    """Whether a worker can write its files to the state folder; tried as a worker does it, and undone."""
    if not settings.crash_deaths:
        return Finding(check="state folder", status=Status.OK, detail="no guard against crash loops (crash_deaths is 0)")
    folder = settings.state_folder.expanduser()
    try:
        exists = _try(folder, stem=stem_of(settings))
    except OSError as error:
        if (mistake := mistaken(settings, error)) is not None:
            return finding_of("state folder", Status.FAIL, mistake)
        return Finding(
            check="state folder",
            status=Status.WARN,
            detail=f"no guard against crash loops: {folder}: {error.strerror or error}; {CONSEQUENCE}",
            fix="set TAGSTREAM_STATE_FOLDER to a folder that survives the process",
        )
    detail = f"{folder} can be written" if exists else f"{folder} can be made"
    return Finding(check="state folder", status=Status.OK, detail=detail)


def _try(folder: Path, *, stem: str) -> bool:
    """
    Write to the folder, or make one beside it if it does not exist, and undo that. Returns whether it exists.

    Raises:
        OSError: A worker could not make the folder, or not write to it.
    """
    if folder.exists() or folder.is_symlink():
        # Raises if it is a file.
        folder.mkdir(exist_ok=True)
        # The file is locked while it exists, so that a worker that starts now does not take it for a dead worker's.
        CrashFile(folder, stem=stem, payload_bytes=TRIAL_BYTES).close(remove=True)
        return True
    above = next(parent for parent in folder.absolute().parents if parent.exists())
    # Under another name, so that a folder which a worker makes at this moment is not removed.
    os.rmdir(tempfile.mkdtemp(prefix=".tagstream-", dir=above))  # noqa: PTH106 - a name, not a path
    return False


def security(settings: Settings) -> Iterator[Finding]:
    """Whether the files of the credentials can be used, and a warning for each thing that could be safer."""
    found = settings.security
    try:
        client_options(settings)
        answer_keys(found)
    except SecurityError as error:
        yield finding_of("security", Status.FAIL, error)
        return
    user = f", user {found.username!r}" if found.sasl else ", our certificate" if found.certificate_file else ""
    detail = f"{found.protocol}{user}"
    if found.protocol == "PLAINTEXT":
        detail += ": every client that reaches the brokers may read and write, and traffic can be read on the network"
    yield Finding(check="security", status=Status.OK, detail=detail)
    for warning in warnings(found):
        yield Finding(
            check="security",
            status=Status.WARN,
            detail=warning,
            fix="chmod 0400; in Kubernetes fsGroup, and defaultMode: 0440 of the Secret",
        )
