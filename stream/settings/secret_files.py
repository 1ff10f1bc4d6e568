"""Files that settings name: certificates, and secrets, whose content is read and never printed."""

import ssl
import stat
from pathlib import Path

from tagstream.stream.contract.answers import AnswerKeys
from tagstream.stream.settings.security import Security, shown_path

MAX_SECRET_BYTES = 4096
# The least length keeps a key from being guessed. `openssl rand -hex 32` gives 64 characters.
LEAST_KEY_CHARACTERS, MOST_KEYS = 32, 8


class SecurityError(Exception):
    """A file of the security settings cannot be used: the message says which, why, and the next step."""

    exit_code = 2


def secret_in(path: Path, key: str) -> str:
    """
    The password in a file, which holds one line and nothing else.

    Args:
        path: The file.
        key: The setting that names the file, for messages.

    Raises:
        SecurityError: The file is missing or unreadable, others may write to it, or it holds something else.
    """
    text = _text_in(path, key, "write the password alone into it, as text")
    if not text or not text.isprintable():
        problem = "it must hold one line, the password, and nothing else"
        raise unusable(key, path, problem, "write the password alone into it (`printf %s`)")
    return text


def answer_keys(security: Security) -> AnswerKeys:
    """
    The keys of answers in the file that the settings name, one key a line: the first key signs. No keys if the settings name no file.

    Raises:
        SecurityError: The file is missing or unreadable, others may write to it, or it holds something else.
    """
    path = security.answer_keys_file
    return AnswerKeys() if path is None else AnswerKeys(_keys_in(path, "security.answer_keys_file"))


def ask_keys(security: Security) -> tuple[bytes, ...]:
    """
    The keys of viewers' tokens in the file that the settings name, one key a line: the first key signs. Empty if the settings name no file.

    Raises:
        SecurityError: The file is missing or unreadable, others may write to it, or it holds something else.
    """
    path = security.ask_keys_file
    return () if path is None else _keys_in(path, "security.ask_keys_file")


def _keys_in(path: Path, key: str) -> tuple[bytes, ...]:
    advice = "write one key a line into it, as `openssl rand -hex 32` makes them"
    found = _text_in(path, key, advice).splitlines()
    if not 1 <= len(found) <= MOST_KEYS:
        raise unusable(key, path, f"it must hold 1 to {MOST_KEYS} keys, one a line", advice)
    if not all(len(one) >= LEAST_KEY_CHARACTERS and one.isascii() and one.isprintable() and " " not in one for one in found):
        problem = f"every line must be a key of {LEAST_KEY_CHARACTERS} or more visible characters without a space"
        raise unusable(key, path, problem, advice)
    return tuple(one.encode() for one in found)


def _text_in(path: Path, key: str, advice: str) -> str:
    """
    The text of a file of secrets without the newline at its end.

    Raises:
        SecurityError: The file is missing, unreadable, too large or not UTF-8, or others may write to it.
    """
    check_file(path, key, secret=True)
    try:
        content = path.read_bytes()
        text = content.decode("utf-8")
    except OSError as error:
        raise unusable(key, path, f"it cannot be read: {error.strerror}", "let the worker's user read it") from error
    except UnicodeDecodeError:
        # Not `from error`, since that exception holds the bytes.
        raise unusable(key, path, "it is not UTF-8", advice) from None
    if len(content) > MAX_SECRET_BYTES:
        raise unusable(key, path, f"it has more than {MAX_SECRET_BYTES} bytes", advice)
    # Editors and `echo` end a file with a newline that is not part of the secret.
    return text.removesuffix("\n").removesuffix("\r")


def check_file(path: Path, key: str, *, secret: bool = False) -> None:
    """
    Check that the file exists, and that no other user may replace its content.

    Args:
        path: The file.
        key: The setting that names the file, for messages.
        secret: True if the file's group may not write to it either.

    Raises:
        SecurityError: The file does not exist, or another user may write to it.
    """
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise unusable(key, path, error.strerror or "it does not exist", "correct the setting, or mount the file") from error
    if not stat.S_ISREG(mode):
        raise unusable(key, path, "it is not a file", "name the file itself, not its folder")
    strangers = stat.S_IWOTH | (stat.S_IWGRP if secret else 0)
    if mode & strangers:
        problem = f"others may write to it (mode {stat.S_IMODE(mode):04o}), and could replace its content by their own"
        raise unusable(key, path, problem, f"chmod {'0600' if secret else '0644'}")


def verifying_context(ca_file: Path | None, key: str) -> ssl.SSLContext:
    """
    A context for TLS 1.2 or newer that verifies a server's certificate and host name.

    Args:
        ca_file: The trusted authorities, as PEM; None for the system's authorities.
        key: The setting that names the file, for messages.

    Raises:
        SecurityError: The file cannot be used.
    """
    if ca_file is not None:
        check_file(ca_file, key)
    try:
        context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=ca_file)
    except (ssl.SSLError, OSError) as error:
        problem = "it holds no certificate in PEM"
        raise unusable(key, ca_file, problem, "give the authority's certificate, as PEM") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def unusable(key: str, path: Path | None, problem: str, advice: str) -> SecurityError:
    """
    The error on a file that a setting names. A secret's file is named only if it exists.

    Args:
        key: The name of the setting.
        path: The file; None to name no file.
        problem: The predicate of a sentence whose subject is the file.
        advice: The next step, as an order.
    """
    shown = "" if path is None else f" ({shown_path(key, path)})"
    return SecurityError(
        f"{key}{shown} cannot be used: {problem}. Next: {advice}; `tagstream config show --sources` says where it was set."
    )
