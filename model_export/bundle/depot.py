"""Bundles by their digest, in a folder or an object store, with a bounded cache of fetched bundles.

A bundle lies at `PLACE/DIGEST/`, with its three files side by side. A bundle is read by its digest, and the digest is checked: a bundle that
was replaced, cut off or altered is refused. If keys are named, one of them must have signed the bundle; its signature lies at
`PLACE/DIGEST.sig`. A bundle is fetched beside the cache, verified there, and only then moved into the cache.

A setting is easily wrong, so the folder of the cache may have other files. The depot marks each folder that it fetches, and removes a folder
only if it has the mark and a name that the depot gives.
"""

import contextlib
import os
import re
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, wait
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from tagstream.model_export.bundle.bundle import MAX_BYTES, Bundle, BundleError, read, read_manifest
from tagstream.model_export.bundle.manifest import MANIFEST, MODEL, TOKENIZER, Manifest
from tagstream.model_export.bundle.signature import MAX_BYTES as MOST_OF_SIGNATURE
from tagstream.model_export.bundle.signature import SUFFIX, read_signature, require_signed, signature_of
from tagstream.model_export.extras import install

# The manifest comes last: a place without a manifest holds no bundle.
FILES = (MODEL, TOKENIZER, MANIFEST)
CONNECT_SECONDS = 10.0
RETRIES = 3
MOST_WHY = 300
# The prefix of a folder that is being filled, and the age at which a killed process must have left it.
PART, LEFT_SECONDS = ".part-", 3_600.0
# The mark in each folder of a cache.
MARK = ".fetched-by-tagstream"
DIGEST = re.compile("[0-9a-f]{64}")

T = TypeVar("T")


class DepotError(Exception):
    """A bundle cannot be fetched or stored: the message says which bundle, why, and the next step."""

    exit_code = 1


class Depot:
    """The place of a group's bundles. Its methods wait for the network, within a bound. Any thread may call them."""

    def __init__(self, place: str, *, cache: Path, cache_bytes: int, seconds: float, keys: Sequence[Path] = ()) -> None:
        """
        Prepare the depot. Its place is not read yet.

        Args:
            place: A folder, or `s3://BUCKET/PREFIX` (`gs://`, `az://`), with the credentials of its own variables (`AWS_*` and the like).
            cache: A folder of this machine for bundles that were fetched from an object store.
            cache_bytes: The most bytes in the cache.
            seconds: The most seconds for one file of an object store, and for all files of a folder.
            keys: Files of public keys, one of which must have signed a bundle; empty to accept unsigned bundles.
        """
        self.place = place.rstrip("/")
        self._cache = cache.expanduser()
        self._cache_bytes = cache_bytes
        self._seconds = seconds
        self._keys = keys

    @property
    def _is_folder(self) -> bool:
        return "://" not in self.place

    def size(self, digest: str) -> int:
        """
        The size in bytes of the bundle of this digest, which is not verified yet; 0 if the place lacks it.

        Raises:
            DepotError: The place does not answer.
        """
        folder = Path(self.place).expanduser() / digest if self._is_folder else self._cache / digest
        with _translated(f"bundle {digest[:12]}", f"cannot be found in {self.place}"), contextlib.suppress(FileNotFoundError):
            # A fetched folder that lost a file is fetched again.
            if self._is_folder or all((folder / name).is_file() for name in FILES):
                return self._bounded(digest, lambda: sum((folder / name).stat().st_size for name in FILES))
            store = _store_at(self.place, self._seconds)
            return sum(int(store.head(f"{digest}/{name}")["size"]) for name in FILES)
        return 0

    def read(self, digest: str) -> Bundle:
        """
        The bundle of this digest, verified.

        Raises:
            DepotError: The place lacks the bundle, or does not answer.
            BundleError: The bundle cannot be trusted, or has another digest.
        """
        if self._is_folder:
            return self._bounded(digest, lambda: self._verified(Path(self.place).expanduser() / digest, digest))
        folder = self._cache / digest
        # A fetch that was cut off leaves nothing here. A folder that was altered later is refused and fetched again.
        if folder.is_dir():
            with contextlib.suppress(BundleError):
                found = self._verified(folder, digest)
                # Another worker of this machine may make room at the same time.
                with contextlib.suppress(OSError):
                    os.utime(folder)
                return found
            if not _is_fetched(folder):
                msg = f"{folder} is not the bundle of its name, and tagstream did not put it there. Next: move it away, or set rollout.cache to an empty folder."
                raise BundleError(msg)
            shutil.rmtree(folder, ignore_errors=True)
        return self._fetched(digest, folder)

    def manifest(self, digest: str) -> Manifest:
        """
        The manifest of the bundle of this digest. The network is neither fetched nor checked, so nothing may be decided by this bundle.

        Raises:
            DepotError: The place does not answer.
            BundleError: The place lacks the bundle, the file is not a manifest, or it has another digest.
        """
        if self._is_folder:
            return self._bounded(digest, lambda: _manifest(Path(self.place).expanduser() / digest, digest))
        folder = self._cache / digest
        if folder.is_dir():
            with contextlib.suppress(BundleError):
                return _manifest(folder, digest)
        store = _store_at(self.place, self._seconds)
        with _translated(f"bundle {digest[:12]}", f"cannot be fetched from {self.place}"):
            self._cache.mkdir(parents=True, exist_ok=True)
            with _beside(self._cache, MARK) as part:
                try:
                    self._fetch(store, f"{digest}/{MANIFEST}", part / MANIFEST, MAX_BYTES[MANIFEST])
                except FileNotFoundError as error:
                    msg = f"bundle {digest[:12]} is not in {self.place}. Next: store it again, with `tagstream rollout store`."
                    raise BundleError(msg) from error
                return _manifest(part, digest)

    def write(self, bundle: Path) -> Bundle:
        """
        Put a bundle into the place under its digest, unless it is there already.

        Args:
            bundle: The bundle's folder.

        Raises:
            BundleError: The bundle cannot be trusted.
            DepotError: The place does not accept the bundle.
        """
        found = read(bundle)
        signature = read_signature(bundle)
        if self._keys:
            require_signed(found, signature, self._keys)
        with _translated(f"bundle {found.digest[:12]}", f"cannot be stored in {self.place}"):
            if self._is_folder:
                self._copied(found, signature)
            else:
                self._sent(found, signature)
        return found

    def _bounded(self, digest: str, work: Callable[[], T]) -> T:
        """
        Run `work` on a folder in a thread. A thread that does not end in time is abandoned: a remote file system may never answer.

        Raises:
            DepotError: `work` did not end in time.
        """
        done: Future[T] = Future()

        def run() -> None:
            try:
                done.set_result(work())
            except (BundleError, OSError, MemoryError) as error:
                done.set_exception(error)
            finally:
                # After an unexpected error, which the thread prints, the caller must not wait until the bound.
                if not done.done():
                    done.set_exception(DepotError(f"bundle {digest[:12]} cannot be read: the log has an error of this program"))

        threading.Thread(target=run, name="bundle", daemon=True).start()
        wait([done], self._seconds)
        if not done.done():
            msg = f"bundle {digest[:12]} cannot be read: the folder {self.place} did not answer within {self._seconds:g} s (rollout.fetch_seconds). Next: see whether the machine that serves it is up."
            raise DepotError(msg)
        return done.result()

    def _verified(self, folder: Path, digest: str) -> Bundle:
        found = _verified(folder, digest)
        if self._keys:
            require_signed(found, read_signature(folder), self._keys)
        return found

    def _copied(self, bundle: Bundle, signature: bytes | None) -> None:
        place = Path(self.place).expanduser()
        place.mkdir(parents=True, exist_ok=True)
        if signature is not None:
            # The signature comes before the bundle, which must not be found without it. A new signature replaces an earlier one.
            _written(signature_of(place / bundle.digest), signature)
        with contextlib.suppress(BundleError):
            _verified(place / bundle.digest, bundle.digest)
            return
        # An altered folder of this name is not a bundle.
        shutil.rmtree(place / bundle.digest, ignore_errors=True)
        with _beside(place) as folder:
            for name in FILES:
                shutil.copyfile(bundle.path / name, folder / name)
            # Workers of other users read the folder.
            folder.chmod(0o755)
            _put(folder, place / bundle.digest)

    def _sent(self, bundle: Bundle, signature: bytes | None) -> None:
        store = _store_at(self.place, self._seconds)
        if signature is not None:
            store.put(bundle.digest + SUFFIX, signature)
        for name in FILES:
            store.put(f"{bundle.digest}/{name}", (bundle.path / name).read_bytes())

    def _fetched(self, digest: str, folder: Path) -> Bundle:
        store = _store_at(self.place, self._seconds)
        with _translated(f"bundle {digest[:12]}", f"cannot be fetched from {self.place}"):
            self._cache.mkdir(parents=True, exist_ok=True)
            with _beside(self._cache, MARK) as part:
                for name in FILES:
                    self._fetch(store, f"{digest}/{name}", part / name, MAX_BYTES[name])
                found = _verified(part, digest)
                if self._keys:
                    self._fetch_signature(store, digest)
                    require_signed(found, read_signature(folder), self._keys)
                self._make_room(sum((part / name).stat().st_size for name in FILES))
                _put(part, folder)
        return msgspec.structs.replace(found, path=folder)

    def _fetch_signature(self, store: Any, digest: str) -> None:
        """Fetch the signature into the cache, in place of an earlier one. If the store has no signature, the cache has none either."""
        place = signature_of(self._cache / digest)
        with tempfile.NamedTemporaryFile(dir=self._cache, prefix=PART, delete=False) as part:
            pass
        try:
            self._fetch(store, digest + SUFFIX, Path(part.name), MOST_OF_SIGNATURE)
            Path(part.name).replace(place)
        except FileNotFoundError:
            place.unlink(missing_ok=True)
        finally:
            Path(part.name).unlink(missing_ok=True)

    def _fetch(self, store: Any, name: str, file: Path, most_bytes: int) -> None:
        found = store.get(name)
        size = int(found.meta["size"])
        if size > most_bytes:
            msg = f"{name} has {size} bytes, at most {most_bytes} are taken"
            raise ValueError(msg)
        with file.open("wb") as out:
            for piece in found.stream():
                out.write(piece)

    def _make_room(self, size: int) -> None:
        """
        Remove the least recently used bundles until a bundle of this size fits, and the leftovers of killed processes.

        Folders that are not the cache's own stay, and do not count.
        """
        sizes: dict[Path, int] = {}
        used: dict[Path, float] = {}
        for folder in filter(_is_fetched, self._cache.iterdir()):
            with contextlib.suppress(OSError):
                used[folder] = folder.stat().st_mtime
                sizes[folder] = sum(file.stat().st_size for file in folder.iterdir())
        total = sum(sizes.values()) + size
        for folder in sorted(sizes, key=used.__getitem__):
            is_left = folder.name.startswith(PART) and time.time() - used[folder] > LEFT_SECONDS
            if is_left or (total > self._cache_bytes and not folder.name.startswith(PART)):
                shutil.rmtree(folder, ignore_errors=True)
                signature_of(folder).unlink(missing_ok=True)
                total -= sizes[folder]


def _is_fetched(folder: Path) -> bool:
    """True if a depot made this folder in a cache: the folder has the depot's name and mark."""
    named = folder.name.startswith(PART) or DIGEST.fullmatch(folder.name)
    return bool(named) and not folder.is_symlink() and (folder / MARK).is_file()


def _store_at(place: str, seconds: float) -> Any:
    """
    The client of an object store.

    Args:
        place: The address of the store.
        seconds: The most seconds of one request.

    Raises:
        DepotError: The library is not installed, or does not support the address.
    """
    try:
        from obstore.store import from_url
    except ModuleNotFoundError as error:
        msg = f"{place} needs the extra `object-store` ({error}). Next: {install('object-store')}, or name a folder in rollout.bundles"
        raise DepotError(msg) from error
    with _translated(place, "cannot be opened"):
        return from_url(
            place,
            client_options={
                "allow_http": os.environ.get("AWS_ALLOW_HTTP", "").lower() == "true",
                "timeout": f"{seconds:g}s",
                "connect_timeout": f"{min(seconds, CONNECT_SECONDS):g}s",
            },
            retry_config={"max_retries": RETRIES, "retry_timeout": timedelta(seconds=seconds)},
        )


def _verified(folder: Path, digest: str) -> Bundle:
    found = read(folder)
    _require_digest(folder, found.digest, digest)
    return found


def _manifest(folder: Path, digest: str) -> Manifest:
    found, its = read_manifest(folder)
    _require_digest(folder, its, digest)
    return found


def _require_digest(folder: Path, found: str, asked: str) -> None:
    if found != asked:
        msg = f"bundle {folder} is refused: its digest is {found}, and not {asked}. Next: store that bundle again, or ask for this one."
        raise BundleError(msg)


@contextlib.contextmanager
def _beside(place: Path, mark: str | None = None) -> Iterator[Path]:
    """A temporary folder in `place`, with an empty file `mark` if one is named. It is removed afterwards, unless it was moved."""
    folder = Path(tempfile.mkdtemp(prefix=PART, dir=place))
    try:
        if mark is not None:
            (folder / mark).touch()
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _written(file: Path, data: bytes) -> None:
    """Put a file into its place in one step."""
    with tempfile.NamedTemporaryFile(dir=file.parent, prefix=PART, delete=False) as part:
        part.write(data)
    # Workers of other users read the file.
    Path(part.name).chmod(0o644)
    Path(part.name).replace(file)


def _put(part: Path, folder: Path) -> None:
    """Move a whole folder to its place, in one step. Another process may have put the same bundle there meanwhile."""
    try:
        part.rename(folder)
    except OSError:
        if not folder.is_dir():
            raise


@contextlib.contextmanager
def _translated(what: str, failed: str) -> Iterator[None]:
    """Turn the errors of an object store or a disk into our error."""
    try:
        from obstore.exceptions import BaseError
    except ModuleNotFoundError:
        errors: tuple[type[Exception], ...] = (OSError, ValueError)
    else:
        errors = (OSError, ValueError, BaseError)
    try:
        yield
    except errors as error:
        why = " ".join(str(error).split())[:MOST_WHY]
        msg = f"{what} {failed} ({type(error).__name__}: {why}). Next: check rollout.bundles, its credentials and rights, and the disk."
        raise DepotError(msg) from error
