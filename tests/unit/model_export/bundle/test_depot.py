"""Bundles by digest: in a folder, and in S3 on a server of this machine."""

import os
import shutil
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import boto3
import msgspec
import pytest
from moto.server import ThreadedMotoServer

from tagstream.model_export.bundle import bundle as bundles
from tagstream.model_export.bundle import depot as depots
from tagstream.model_export.bundle.bundle import Bundle, BundleError
from tagstream.model_export.bundle.depot import FILES, Depot, DepotError
from tests.waiting import HANG_SECONDS

BUCKET = "bundles"
MANY_BYTES = 2**40


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """The address of an S3 server with one bucket."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {
            "AWS_ACCESS_KEY_ID": "tester",
            "AWS_SECRET_ACCESS_KEY": "secret-of-tests",
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ALLOW_HTTP": "true",
        }.items():
            patch.setenv(name, value)
        server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        server.start()
        host, port = server.get_host_and_port()
        address = f"http://{host}:{port}"
        patch.setenv("AWS_ENDPOINT_URL", address)
        boto3.client("s3", endpoint_url=address).create_bucket(Bucket=BUCKET)
        yield address
        server.stop()


Make = Callable[..., Depot]


@pytest.fixture(params=["folder", "s3"])
def depot(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    """Makes the depot of this test, each time with nothing in memory."""
    place = str(tmp_path / "bundles")
    if request.param == "s3":
        request.getfixturevalue("s3")
        place = f"s3://{BUCKET}/{tmp_path.name}"

    def make(cache: str = "cache", cache_bytes: int = MANY_BYTES, keys: Sequence[Path] = ()) -> Depot:
        return Depot(place, cache=tmp_path / cache, cache_bytes=cache_bytes, seconds=20, keys=keys)

    return make


@pytest.fixture
def other(tiny_bundle: Bundle, tmp_path: Path) -> Bundle:
    """A second bundle."""
    manifest = msgspec.structs.replace(tiny_bundle.manifest, version="other")
    return bundles.write(tmp_path / "other", manifest=manifest, model=tiny_bundle.model, tokenizer=tiny_bundle.tokenizer)


def test_a_bundle_is_found_by_its_digest(depot: Make, tiny_bundle: Bundle, other: Bundle) -> None:
    """Each is the very one, and storing it again changes nothing."""
    for bundle in (tiny_bundle, other, tiny_bundle):
        assert depot().write(bundle.path).digest == bundle.digest
    for bundle in (tiny_bundle, other, tiny_bundle):
        found = depot().read(bundle.digest)
        assert (found.digest, found.model, found.manifest) == (bundle.digest, bundle.model, bundle.manifest)
        assert bundles.read(found.path).digest == bundle.digest


def test_a_digest_that_is_not_there_is_told(depot: Make, tiny_bundle: Bundle) -> None:
    """The message has the digest and the next step, and nothing of it is kept."""
    depot().write(tiny_bundle.path)
    with pytest.raises((DepotError, BundleError), match="0000") as missing:
        depot().read("0" * 64)
    assert "Next:" in str(missing.value)
    assert depot().read(tiny_bundle.digest).digest == tiny_bundle.digest


def test_a_manifest_is_had_without_the_network(depot: Make, tiny_bundle: Bundle, tmp_path: Path) -> None:
    """It is the one of that digest, or it is refused; from a cache, too; and it leaves nothing that looks like a bundle."""
    depot().write(tiny_bundle.path)
    assert depot().manifest(tiny_bundle.digest) == tiny_bundle.manifest
    assert not list((tmp_path / "cache").glob("*"))
    with pytest.raises(BundleError, match=r"0000.*Next:"):
        depot().manifest("0" * 64)
    depot().read(tiny_bundle.digest)
    assert depot().manifest(tiny_bundle.digest) == tiny_bundle.manifest


def test_a_manifest_of_another_bundle_is_refused(tiny_bundle: Bundle, tmp_path: Path) -> None:
    """The name of its folder says nothing."""
    depot = Depot(str(tmp_path / "bundles"), cache=tmp_path / "cache", cache_bytes=MANY_BYTES, seconds=20)
    depot.write(tiny_bundle.path)
    (tmp_path / "bundles" / tiny_bundle.digest).rename(tmp_path / "bundles" / ("1" * 64))
    with pytest.raises(BundleError, match="its digest is"):
        depot.manifest("1" * 64)


def test_what_is_no_bundle_is_not_stored(depot: Make, tmp_path: Path) -> None:
    """It is refused before anything is written."""
    with pytest.raises(BundleError, match="refused"):
        depot().write(tmp_path)


def test_an_altered_bundle_is_refused(tiny_bundle: Bundle, tmp_path: Path) -> None:
    """A byte of the network, or another bundle under the name of this one."""
    place = tmp_path / "bundles"
    depot = Depot(str(place), cache=tmp_path / "cache", cache_bytes=MANY_BYTES, seconds=20)
    depot.write(tiny_bundle.path)
    folder = place / tiny_bundle.digest
    renamed = folder.rename(place / ("1" * 64))
    with pytest.raises(BundleError, match="its digest is"):
        depot.read("1" * 64)
    renamed.rename(folder)
    model = folder / "model.onnx"
    model.write_bytes(model.read_bytes()[:-1] + b"\0")
    with pytest.raises(BundleError, match="SHA-256"):
        depot.read(tiny_bundle.digest)


def test_a_folder_that_hangs_is_left_alone(tiny_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As one of a machine that is away: whoever asks gets an error within the bound, and the next one asks anew."""
    place = Depot(str(tmp_path / "bundles"), cache=tmp_path / "cache", cache_bytes=MANY_BYTES, seconds=20)
    place.write(tiny_bundle.path)
    answers = threading.Event()

    def hangs(folder: Path) -> Bundle:
        answers.wait(HANG_SECONDS)
        return bundles.read(folder)

    monkeypatch.setattr(depots, "read", hangs)
    hasty = Depot(place.place, cache=tmp_path / "cache", cache_bytes=MANY_BYTES, seconds=0.05)
    with pytest.raises(DepotError, match=rf"{tiny_bundle.digest[:12]}.*{tmp_path}.*0.05 s.*Next:"):
        hasty.read(tiny_bundle.digest)
    answers.set()
    assert place.read(tiny_bundle.digest).digest == tiny_bundle.digest


def test_the_size_of_a_bundle_is_known_before_it_is_read(depot: Make, tiny_bundle: Bundle) -> None:
    """In the folder, in the store, and in the cache of it."""
    depot().write(tiny_bundle.path)
    expected = sum((tiny_bundle.path / name).stat().st_size for name in FILES)
    assert depot().size(tiny_bundle.digest) == expected
    depot().read(tiny_bundle.digest)
    assert depot().size(tiny_bundle.digest) == expected
    assert depot().size("0" * 64) == 0


@pytest.mark.usefixtures("s3")
def test_a_cached_bundle_that_was_altered_is_fetched_again(tiny_bundle: Bundle, tmp_path: Path) -> None:
    """The cache is another program's to spoil; what is loaded was verified just before. A bundle that lost a file there is still in the store."""
    depot = Depot(f"s3://{BUCKET}/{tmp_path.name}", cache=tmp_path / "cache", cache_bytes=MANY_BYTES, seconds=20)
    depot.write(tiny_bundle.path)
    cached = depot.read(tiny_bundle.digest).path
    assert cached.is_relative_to(tmp_path / "cache")
    (cached / "tokenizer.json").write_bytes(b"{}")
    assert bundles.read(depot.read(tiny_bundle.digest).path).digest == tiny_bundle.digest
    whole = depot.size(tiny_bundle.digest)
    (cached / "tokenizer.json").unlink()
    assert depot.size(tiny_bundle.digest) == whole
    assert depot.read(tiny_bundle.digest).digest == tiny_bundle.digest
    shutil.rmtree(tmp_path / "cache")
    assert depot.read(tiny_bundle.digest).digest == tiny_bundle.digest


@pytest.mark.usefixtures("s3")
def test_the_cache_is_bounded(tiny_bundle: Bundle, other: Bundle, tmp_path: Path) -> None:
    """The bundle that was used longest ago goes, and can be fetched again."""
    size = sum(file.stat().st_size for file in tiny_bundle.path.iterdir())
    depot = Depot(f"s3://{BUCKET}/{tmp_path.name}", cache=tmp_path / "cache", cache_bytes=size * 3 // 2, seconds=20)
    for bundle in (tiny_bundle, other):
        depot.write(bundle.path)
    for bundle in (tiny_bundle, other, tiny_bundle):
        assert depot.read(bundle.digest).digest == bundle.digest
        assert [folder.name for folder in (tmp_path / "cache").iterdir()] == [bundle.digest]


@pytest.mark.usefixtures("s3")
def test_folders_that_the_cache_did_not_make_stay(tiny_bundle: Bundle, other: Bundle, tmp_path: Path) -> None:
    """A folder of data, another program's part, a bundle that a person put there: whatever the bound and the time, and they count for nothing."""
    size = sum(file.stat().st_size for file in tiny_bundle.path.iterdir())
    cache = tmp_path / "cache"
    others = [cache / name for name in ("photographs", ".part-of-a-film", "2" * 64)]
    for folder in others:
        folder.mkdir(parents=True)
        (folder / "model.onnx").write_bytes(b"x" * size)
        os.utime(folder, (0, 0))
    (cache / "3").symlink_to(tmp_path)
    left = cache / ".part-left"
    depot = Depot(f"s3://{BUCKET}/{tmp_path.name}", cache=cache, cache_bytes=size * 3 // 2, seconds=20)
    for bundle in (tiny_bundle, other):
        depot.write(bundle.path)
    shutil.copytree(depot.read(tiny_bundle.digest).path, left)
    os.utime(left, (0, 0))
    assert depot.read(other.digest).digest == other.digest
    assert {place.name for place in cache.iterdir()} == {*(folder.name for folder in others), "3", other.digest}
    assert all((folder / "model.onnx").stat().st_size == size for folder in others)


@pytest.mark.usefixtures("s3")
def test_what_stands_in_the_way_of_a_bundle_is_told_and_stays(tiny_bundle: Bundle, tmp_path: Path) -> None:
    """The name of a bundle alone does not make a folder the cache's."""
    depot = Depot(f"s3://{BUCKET}/{tmp_path.name}", cache=tmp_path / "cache", cache_bytes=MANY_BYTES, seconds=20)
    depot.write(tiny_bundle.path)
    own = tmp_path / "cache" / tiny_bundle.digest / "own"
    own.mkdir(parents=True)
    with pytest.raises(BundleError, match=r"did not put it there.*Next: move it away"):
        depot.read(tiny_bundle.digest)
    assert own.is_dir()


@pytest.mark.usefixtures("s3")
def test_a_store_that_hangs_is_told_within_its_bound(tmp_path: Path) -> None:
    """It takes the connection and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
        depot = Depot(f"s3://{BUCKET}/x", cache=tmp_path / "cache", cache_bytes=MANY_BYTES, seconds=1)
        with pytest.raises(DepotError, match="cannot be fetched"):
            depot.read("0" * 64)
    assert not list((tmp_path / "cache").iterdir())


@pytest.mark.usefixtures("s3")
def test_a_full_disk_is_told(tiny_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing half-fetched stays."""
    depot = Depot(f"s3://{BUCKET}/{tmp_path.name}", cache=tmp_path / "cache", cache_bytes=MANY_BYTES, seconds=20)
    depot.write(tiny_bundle.path)

    def full(_: Path, *__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(DepotError, match="No space left"):
        depot.read(tiny_bundle.digest)
    monkeypatch.undo()
    assert not list((tmp_path / "cache").iterdir())
