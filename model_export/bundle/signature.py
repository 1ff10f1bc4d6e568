"""
A bundle's signature, in the format of OpenSSF Model Signing. It lies beside the bundle's folder, and never in the folder.

The library checks that a key has signed the files of a folder. A folder may change between that check and the reading of its bytes, so the
signed SHA-256 of the manifest is also compared with the bytes that were read. The manifest has the SHA-256 of the other files.
"""

import base64
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from tagstream.model_export.bundle.bundle import Bundle, BundleError, read
from tagstream.model_export.bundle.manifest import MANIFEST, MODEL, TOKENIZER
from tagstream.model_export.extras import install
from tagstream.monitoring.vocabulary import few

SUFFIX = ".sig"
# The card and the bill of materials (`model_export.make.card`): a store leaves them out, so no signature covers them.
DESCRIPTIONS = ("README.md", "bundle.cdx.json")
MAX_BYTES = 65_536
MOST_WHY = 200


class SignatureError(BundleError):
    """No trusted key has signed a bundle, or a bundle cannot be signed; the message says why, and the next step."""


def signature_of(bundle: Path) -> Path:
    """
    The place of a bundle's signature: beside the folder. If the path is a link, beside the link's target.

    >>> signature_of(Path("/bundles/spring")).as_posix()
    '/bundles/spring.sig'
    """
    folder = bundle.resolve()
    return folder.with_name(folder.name + SUFFIX)


def sign(bundle: Path, key: Path) -> Path:
    """
    Verify a bundle, then sign it.

    Args:
        bundle: The bundle's folder.
        key: A file with a private key: PEM, on an elliptic curve.

    Returns:
        The file of the signature, which replaces an earlier one.

    Raises:
        BundleError: The bundle cannot be trusted.
        SignatureError: The key cannot be used, or the library is missing.
    """
    read(bundle)
    others = sorted({file.name for file in bundle.iterdir()} - {MANIFEST, MODEL, TOKENIZER, *DESCRIPTIONS})
    if others:
        msg = (
            f"bundle {bundle} is not signed: its folder has other files ({few(others)}), which the signature would cover and a store leaves out, so that "
            "workers would refuse it. Next: take them out of the folder."
        )
        raise SignatureError(msg)
    library = _library("signing")
    place = signature_of(bundle)
    try:
        signer = library.Config().use_elliptic_key_signer(private_key=key)
        signer.set_hashing_config(_library("hashing").Config().set_ignored_paths(paths=DESCRIPTIONS)).sign(
            bundle.resolve(), place
        )
    except _faults() as error:
        msg = (
            f"bundle {bundle} cannot be signed with {key} ({_words(error)}). Next: give a private key in PEM on an elliptic curve and without a "
            "passphrase, such as `openssl ecparam -name prime256v1 -genkey -noout -out FILE` makes."
        )
        raise SignatureError(msg) from error
    return place


def read_signature(bundle: Path) -> bytes | None:
    """
    The signature beside a bundle's folder; None if there is none.

    Raises:
        SignatureError: The file cannot be read, or is too large.
    """
    place = signature_of(bundle)
    try:
        with place.open("rb") as file:
            found = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        msg = f"the signature {place} cannot be read ({_words(error)}). Next: sign the bundle again, with `tagstream model verify --sign`."
        raise SignatureError(msg) from error
    if len(found) > MAX_BYTES:
        msg = f"{place} is no signature: it has more than {MAX_BYTES} bytes. Next: sign the bundle again, with `tagstream model verify --sign`."
        raise SignatureError(msg)
    return found


def keys_in(place: Path | None) -> tuple[Path, ...]:
    """
    The files of public keys that a setting names.

    Args:
        place: A file, or a folder whose files are keys; None if signatures are not required.

    Raises:
        SignatureError: There is no key at the place.
    """
    if place is None:
        return ()
    place = place.expanduser()
    found = tuple(sorted(file for file in place.iterdir() if file.is_file())) if place.is_dir() else (place,)
    if not found or not found[0].is_file():
        msg = f"no public key is at {place}. Next: put the keys there, as files in PEM."
        raise SignatureError(msg)
    return found


def require_signed(bundle: Bundle, signature: bytes | None, keys: Sequence[Path]) -> None:
    """
    Require that one of these keys has signed a bundle.

    Args:
        bundle: The bundle that was read.
        signature: The bytes of its signature; None if it has no signature.
        keys: Files with public keys, PEM, 1 or more.

    Raises:
        SignatureError: None of the keys has signed the bundle, or a key cannot be read.
    """
    if signature is None:
        msg = (
            f"bundle {bundle.digest[:12]} is refused: it is not signed, and only signed bundles are taken (rollout.bundle_keys). "
            "Next: sign it with `tagstream model verify BUNDLE --sign FILE`, and store it again."
        )
        raise SignatureError(msg)
    library = _library("verifying")
    failures = []
    with tempfile.TemporaryDirectory(prefix="tagstream-signature-") as folder:
        file = Path(folder) / "signature"
        file.write_bytes(signature)
        for key in keys:
            try:
                # Only the signed files are read, because a cache keeps its mark beside these files.
                verifier = library.Config().use_elliptic_key_verifier(public_key=key).set_ignore_unsigned_files(True)
            except _faults() as error:
                msg = f"the key {key} cannot be used ({_words(error)}). Next: name files with public keys in PEM in rollout.bundle_keys, or after --key."
                raise SignatureError(msg) from error
            try:
                verifier.verify(bundle.path.resolve(), file)
                signed = _signed_manifest(signature)
            except _faults() as error:
                failures.append(f"{key.name}: {_words(error)}")
                continue
            if signed == bundle.digest:
                return
            failures.append(f"{key.name}: it is the signature of another manifest")
    msg = (
        f"bundle {bundle.digest[:12]} is refused: no trusted key has signed it ({'; '.join(failures)}). Next: ask who made it for the key, "
        "or sign it with `tagstream model verify --sign`."
    )
    raise SignatureError(msg)


def _signed_manifest(signature: bytes) -> str | None:
    """The SHA-256 of the manifest in the signed statement."""
    envelope = msgspec.json.decode(signature)["dsseEnvelope"]
    statement = msgspec.json.decode(base64.b64decode(envelope["payload"]))
    return next((file["digest"] for file in statement["predicate"]["resources"] if file["name"] == MANIFEST), None)


def _faults() -> tuple[type[Exception], ...]:
    """The errors for bytes that are not a signature. The library has no class of its own for them, so they come from the libraries below."""
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

    return InvalidSignature, UnsupportedAlgorithm, OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError


def _library(part: str) -> Any:
    """A module of `model_signing`."""
    try:
        import model_signing
    except ModuleNotFoundError as error:
        msg = f"signatures need the extra `signing` ({error}). Next: {install('signing')}."
        raise SignatureError(msg) from error
    return getattr(model_signing, part)


def _words(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:MOST_WHY]}"
