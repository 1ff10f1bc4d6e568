"""Checks of this machine: Python, Faust, codecs, the metrics port, the state folder, the credential files, and the token."""

import os
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

from tagstream.monitoring.top.workers import address, ask
from tagstream.stream.deliver.crash.crash_file import CrashFile
from tagstream.stream.deliver.crash.guard import CONSEQUENCE
from tagstream.stream.deliver.state_folder import mistaken, stem_of
from tagstream.stream.doctor.findings import CheckFinding, Status, finding_of
from tagstream.stream.kafka.batches.inflate import missing_codecs
from tagstream.stream.kafka.credentials import client_options, warnings
from tagstream.stream.kafka.errors import TokenError
from tagstream.stream.kafka.tokens import fetched
from tagstream.stream.settings.metrics_address import is_taken, next_step, own_address
from tagstream.stream.settings.secret_files import SecurityError, answer_keys, ask_keys
from tagstream.stream.settings.security import Security, shown_command
from tagstream.stream.settings.settings import Settings

TRIAL_BYTES = 4096
# A restart of the token source takes longer than this, so a token with a shorter life would end during the restart.
SHORT_LIFE_SECONDS = 60.0


def python() -> CheckFinding:
    """Report Python's version."""
    return CheckFinding(check="python", status=Status.OK, detail=f"{sys.version.split()[0]}")


def stream_engine() -> CheckFinding:
    """Report Faust's version, and fail if Faust runs without its C extension."""
    # Faust takes a second to load. It is imported here, so that earlier findings are printed first.
    from tagstream.stream.worker.faust_app import has_c_extension

    if not has_c_extension():
        return CheckFinding(
            check="faust",
            status=Status.FAIL,
            detail="runs without its C extension, and its pure-Python stream loses stale messages",
            fix="install a binary wheel of faust-streaming for this CPython and unset NO_CYTHON",
        )
    return CheckFinding(check="faust", status=Status.OK, detail=f"{version('faust-streaming')} with its C extension")


def codecs() -> CheckFinding:
    """Check that a worker can read every compression codec of a producer."""
    lacking = missing_codecs()
    if not lacking:
        return CheckFinding(check="codecs", status=Status.OK, detail="gzip, snappy, lz4, zstd")
    return CheckFinding(
        check="codecs",
        status=Status.WARN,
        detail=f"a worker stops at a batch that a producer compressed with {', '.join(lacking)}: no library here reads it",
        fix="install cramjam beside tagstream",
    )


def metrics_port(settings: Settings) -> CheckFinding:
    """Check whether a worker can bind the address of its metrics."""
    where = f"{settings.metrics_host}:{settings.metrics_port}"
    if settings.metrics_host in {"0.0.0.0", "::"}:  # noqa: S104
        return CheckFinding(
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
            return CheckFinding(check="metrics", status=Status.FAIL, detail=detail, fix=next_step(error).removesuffix("."))
        return running_worker(settings) or CheckFinding(
            check="metrics",
            status=Status.WARN,
            detail=f"{where} cannot be bound ({error.strerror}), and the program that listens there does not answer as a worker does",
            fix="TAGSTREAM_METRICS_PORT=0 takes a free port for each worker, but a scrape configuration does not know it",
        )
    if settings.metrics_port == 0:
        detail = f"a free port of {settings.metrics_host} will be taken and logged; a scrape configuration does not know it"
        return CheckFinding(check="metrics", status=Status.OK, detail=detail)
    return CheckFinding(check="metrics", status=Status.OK, detail=f"{where} is free")


def running_worker(settings: Settings) -> CheckFinding | None:
    """Report the worker that listens on the metrics address, and why it is not ready. Return None if another program listens there."""
    url = own_address(settings)
    found, trouble = ask(address(url))
    if found is None:
        return None
    if trouble is None:
        return CheckFinding(check="metrics", status=Status.OK, detail=f"a worker answers at {url}")
    return finding_of("metrics", Status.WARN, f"a worker answers at {url} and is not ready: {trouble.why}")


def state_folder(settings: Settings) -> CheckFinding:
    """Check whether a worker can write its files to the state folder: write as a worker does, and remove what was written."""
    if not settings.crash_deaths:
        return CheckFinding(check="state folder", status=Status.OK, detail="no guard against crash loops (crash_deaths is 0)")
    folder = settings.state_folder.expanduser()
    try:
        exists = _try(folder, stem=stem_of(settings))
    except OSError as error:
        if (mistake := mistaken(settings, error)) is not None:
            return finding_of("state folder", Status.FAIL, mistake)
        return CheckFinding(
            check="state folder",
            status=Status.WARN,
            detail=f"no guard against crash loops: {folder}: {error.strerror or error}; {CONSEQUENCE}",
            fix="set TAGSTREAM_STATE_FOLDER to a folder that survives the process",
        )
    detail = f"{folder} can be written" if exists else f"{folder} can be made"
    return CheckFinding(check="state folder", status=Status.OK, detail=detail)


def _try(folder: Path, *, stem: str) -> bool:
    """
    Write a file to the folder, or create a folder beside it if the folder does not exist, and remove it again.

    Returns:
        True if the folder exists.

    Raises:
        OSError: A worker could not create the folder or write to it.
    """
    if folder.exists() or folder.is_symlink():
        # Raises if the path is a file.
        folder.mkdir(exist_ok=True)
        # The crash file is locked while it exists, so that a worker that starts now does not take it for a dead worker's file.
        CrashFile(folder, stem=stem, payload_bytes=TRIAL_BYTES).close(remove=True)
        return True
    above = next(parent for parent in folder.absolute().parents if parent.exists())
    # The trial folder has another name, so that a folder which a worker creates at this moment is not removed.
    os.rmdir(tempfile.mkdtemp(prefix=".tagstream-", dir=above))  # noqa: PTH106 - a name, not a path
    return False


def security(settings: Settings) -> Iterator[CheckFinding]:
    """Check the credential files, warn of each setting that could be safer, and fetch a token if the settings use tokens."""
    found = settings.security
    try:
        client_options(settings)
        answer_keys(found)
        ask_keys(found)
    except SecurityError as error:
        yield finding_of("security", Status.FAIL, error)
        return
    who = "a token's owner" if found.username is None else f"user {found.username!r}"
    user = f", {who}" if found.sasl else ", our certificate" if found.certificate_file else ""
    detail = f"{found.protocol}{user}"
    if found.protocol == "PLAINTEXT":
        detail += ": every client that reaches the brokers may read and write, and traffic can be read on the network"
    yield CheckFinding(check="security", status=Status.OK, detail=detail)
    for warning in warnings(found):
        yield CheckFinding(
            check="security",
            status=Status.WARN,
            detail=warning,
            fix="chmod 0400; in Kubernetes fsGroup, and defaultMode: 0440 of the Secret",
        )
    if found.by_token:
        yield from _token(found)


def _token(given: Security) -> Iterator[CheckFinding]:
    """Fetch a token and report the time that its source took and the token's life. No finding quotes the token."""
    asked = time.monotonic()
    try:
        found = fetched(given)
    except TokenError as error:
        yield finding_of("token", Status.FAIL, error)
        return
    took = time.monotonic() - asked
    source = given.token_url or shown_command(given.token_command or "")
    life = "does not say how long it lives" if found.seconds is None else f"lives {found.seconds:.0f} s"
    # A broker compares these claims with its own settings.
    claims = ", ".join(f"{name} {found.claims[name]!r}" for name in ("iss", "sub", "aud", "scope") if name in found.claims)
    detail = f"{source} gave one in {took:.1f} s; it {life}" + (f" ({claims})" if claims else "")
    yield CheckFinding(check="token", status=Status.OK, detail=detail)
    if took > given.token_timeout_seconds / 2:
        yield CheckFinding(
            check="token",
            status=Status.WARN,
            detail=f"{source} took {took:.1f} s of the {given.token_timeout_seconds:g} s that are allowed",
            fix="see why it is slow, or set a larger TAGSTREAM_SECURITY__TOKEN_TIMEOUT_SECONDS",
        )
    if found.seconds is not None and found.seconds < SHORT_LIFE_SECONDS:
        yield CheckFinding(
            check="token",
            status=Status.WARN,
            detail=f"a token lives {found.seconds:.0f} s, and no stream goes on for longer without {source}",
            fix="let the source give tokens a life of some minutes at least",
        )
