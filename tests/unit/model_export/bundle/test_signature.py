"""A bundle is signed by a key, and one that is not signed by a trusted key is refused, wherever it comes from."""

import base64
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tagstream.model_export.bundle import bundle as bundles
from tagstream.model_export.bundle.bundle import Bundle
from tagstream.model_export.bundle.depot import Depot
from tagstream.model_export.bundle.manifest import MANIFEST
from tagstream.model_export.bundle.signature import (
    DESCRIPTIONS,
    MAX_BYTES,
    SignatureError,
    keys_in,
    read_signature,
    require_signed,
    sign,
    signature_of,
)
from tests.unit.model_export.bundle.test_depot import Make, depot, other, s3

__all__ = ["depot", "other", "s3"]


def new_keys(folder: Path, name: str) -> tuple[Path, Path]:
    """A new private key and its public key."""
    private, public = folder / f"{name}.pem", folder / f"{name}.pub"
    subprocess.run(("openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", private), check=True)
    subprocess.run(("openssl", "ec", "-in", private, "-pubout", "-out", public), check=True, capture_output=True)
    return private, public


@pytest.fixture
def mine(tmp_path: Path, tiny_bundle: Bundle) -> Bundle:
    """A bundle whose folder may get a neighbour."""
    made = tiny_bundle
    return bundles.write(tmp_path / "mine", manifest=made.manifest, model=made.model, tokenizer=made.tokenizer)


def test_a_bundle_is_taken_by_the_key_that_signed_it_and_by_no_other(mine: Bundle, tmp_path: Path) -> None:
    """Without a signature, or by another key, it is refused with the next step; several keys may be trusted."""
    private, public = new_keys(tmp_path, "a")
    _, stranger = new_keys(tmp_path, "b")
    with pytest.raises(SignatureError, match=r"it is not signed.*Next:"):
        require_signed(mine, read_signature(mine.path), [public])
    assert sign(mine.path, private) == signature_of(mine.path)
    signed = read_signature(mine.path)
    require_signed(mine, signed, [public])
    require_signed(mine, signed, [stranger, public])
    with pytest.raises(SignatureError, match=r"no trusted key has signed it.*Next:"):
        require_signed(mine, signed, [stranger])


def test_a_signature_holds_with_and_without_the_card(mine: Bundle, tmp_path: Path) -> None:
    """A store leaves out card and bill of materials, so a signature covers neither, and a bundle is taken with them and without."""
    private, public = new_keys(tmp_path, "a")
    for name in DESCRIPTIONS:
        (mine.path / name).write_text("about it", encoding="utf-8")
    sign(mine.path, private)
    require_signed(mine, read_signature(mine.path), [public])
    (mine.path / DESCRIPTIONS[0]).write_text("something else", encoding="utf-8")
    require_signed(mine, read_signature(mine.path), [public])
    stored = Depot(str(tmp_path / "store"), cache=tmp_path / "cache", cache_bytes=0, seconds=20, keys=[public])
    stored.write(mine.path)
    assert sorted(file.name for file in stored.read(mine.digest).path.iterdir()) == sorted([MANIFEST, *mine.manifest.files])


def test_the_signature_of_another_bundle_is_none(mine: Bundle, other: Bundle, tmp_path: Path) -> None:
    """Also where the folder is changed between the check of the library and the reading."""
    private, public = new_keys(tmp_path, "a")
    sign(other.path, private)
    theirs = read_signature(other.path)
    with pytest.raises(SignatureError, match="no trusted key"):
        require_signed(mine, theirs, [public])
    switched = Bundle(manifest=mine.manifest, digest=mine.digest, model=mine.model, tokenizer=mine.tokenizer, path=other.path)
    with pytest.raises(SignatureError, match="another manifest"):
        require_signed(switched, theirs, [public])


def damaged() -> dict[str, Callable[[bytes], bytes]]:
    """Ways to spoil a signature."""

    def without(*path: str) -> Callable[[bytes], bytes]:
        def spoil(raw: bytes) -> bytes:
            found = json.loads(raw)
            inner = found
            for name in path[:-1]:
                inner = inner[name]
            del inner[path[-1]]
            return json.dumps(found).encode()

        return spoil

    def forged(raw: bytes) -> bytes:
        found = json.loads(raw)
        payload = base64.b64decode(found["dsseEnvelope"]["payload"]).replace(b"sha256", b"sha512", 1)
        found["dsseEnvelope"]["payload"] = base64.b64encode(payload).decode()
        return json.dumps(found).encode()

    return {
        "empty": lambda _: b"",
        "no text": lambda _: b"\xff\xfe\x00",
        "a list": lambda _: b"[]",
        "deep": lambda _: b"[" * 60_000,
        "no envelope": without("dsseEnvelope"),
        "no signatures": without("dsseEnvelope", "signatures"),
        "no key": without("verificationMaterial"),
        "another statement": forged,
    }


@pytest.mark.parametrize("spoil", damaged().values(), ids=damaged().keys())
def test_bytes_that_are_no_signature_are_refused(mine: Bundle, tmp_path: Path, spoil: Callable[[bytes], bytes]) -> None:
    """Each with a sentence, and without a traceback of the library."""
    private, public = new_keys(tmp_path, "a")
    signed = sign(mine.path, private).read_bytes()
    with pytest.raises(SignatureError, match=r"no trusted key has signed it.*Next:"):
        require_signed(mine, spoil(signed), [public])


def test_keys_and_signatures_that_cannot_be_used_are_told(mine: Bundle, tmp_path: Path) -> None:
    """A missing key, a public key in the place of a private one and the other way round, and a file that is too large."""
    private, public = new_keys(tmp_path, "a")
    with pytest.raises(SignatureError, match=r"no public key is at .*Next:"):
        keys_in(tmp_path / "nowhere")
    (tmp_path / "folder").mkdir()
    with pytest.raises(SignatureError, match=r"no public key is at .*Next:"):
        keys_in(tmp_path / "folder")
    assert keys_in(None) == ()
    for unusable in (public, tmp_path / "nowhere"):
        with pytest.raises(SignatureError, match=r"cannot be signed with .*Next:"):
            sign(mine.path, unusable)
    note = mine.path / "notes.md"
    note.write_text("notes")
    with pytest.raises(SignatureError, match=r"other files \(notes.md\).*Next:"):
        sign(mine.path, private)
    note.unlink()
    sign(mine.path, private)
    with pytest.raises(SignatureError, match=r"cannot be used.*Next:"):
        require_signed(mine, read_signature(mine.path), [private])
    signature_of(mine.path).write_bytes(b" " * (MAX_BYTES + 1))
    with pytest.raises(SignatureError, match=r"is no signature.*Next:"):
        read_signature(mine.path)


def test_a_link_to_a_bundle_has_the_signature_of_its_folder(mine: Bundle, tmp_path: Path) -> None:
    """A release is often a link that is switched."""
    private, public = new_keys(tmp_path, "a")
    link = tmp_path / "current"
    link.symlink_to(mine.path)
    assert sign(link, private) == signature_of(mine.path)
    require_signed(mine, read_signature(link), [public])


def test_a_key_of_another_kind_is_told(mine: Bundle, tmp_path: Path) -> None:
    """The library takes keys on an elliptic curve alone, and raises what it likes for others."""
    rsa, public = tmp_path / "rsa.pem", tmp_path / "rsa.pub"
    subprocess.run(("openssl", "genrsa", "-out", rsa, "2048"), check=True, capture_output=True)
    subprocess.run(("openssl", "rsa", "-in", rsa, "-pubout", "-out", public), check=True, capture_output=True)
    with pytest.raises(SignatureError, match=r"cannot be signed with .*Next:"):
        sign(mine.path, rsa)
    private, _ = new_keys(tmp_path, "a")
    sign(mine.path, private)
    with pytest.raises(SignatureError, match=r"cannot be used.*Next:"):
        require_signed(mine, read_signature(mine.path), [public])


def test_a_place_of_bundles_with_keys_takes_and_gives_signed_ones_alone(depot: Make, mine: Bundle, tmp_path: Path) -> None:
    """Not stored without a signature; not read where somebody stored it without one, or took its signature away."""
    private, public = new_keys(tmp_path, "a")
    trusting, asking = depot(), depot(keys=[public])
    with pytest.raises(SignatureError, match="it is not signed"):
        asking.write(mine.path)
    trusting.write(mine.path)
    with pytest.raises(SignatureError, match="it is not signed"):
        asking.read(mine.digest)
    sign(mine.path, private)
    asking.write(mine.path)
    for _ in range(2):
        assert asking.read(mine.digest).digest == mine.digest
    assert trusting.read(mine.digest).digest == mine.digest


@pytest.mark.usefixtures("s3")
def test_the_cache_of_signed_bundles_is_bounded_with_their_signatures(mine: Bundle, other: Bundle, tmp_path: Path) -> None:
    """One that goes takes its signature with it."""
    private, public = new_keys(tmp_path, "a")
    size = sum(file.stat().st_size for file in mine.path.iterdir())
    cache = tmp_path / "cache"
    depot = Depot("s3://bundles/signed", cache=cache, cache_bytes=size * 3 // 2, seconds=20, keys=[public])
    for one in (mine, other):
        sign(one.path, private)
        depot.write(one.path)
        assert depot.read(one.digest).digest == one.digest
        assert sorted(file.name for file in cache.iterdir()) == [one.digest, f"{one.digest}.sig"]
