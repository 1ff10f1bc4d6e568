"""The state folder, whose files outlive the worker: the names of the files, and the error if the folder cannot be used."""

import errno
import hashlib

from tagstream.stream.settings.settings import Settings

# A full disk passes, so a worker starts without the guard; any other failure of a folder that was named is a mistake in the settings.
_PASSING = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class StateFolderError(Exception):
    """`state_folder` was named and cannot be used: the message says why and what to do."""

    exit_code = 2


def mistaken(settings: Settings, error: OSError) -> StateFolderError | None:
    """The error to stop with if the named folder cannot be used. None if the worker goes on without the crash guard."""
    if "state_folder" not in settings.model_fields_set or error.errno in _PASSING:
        return None
    return StateFolderError(
        f"the folder {settings.state_folder.expanduser()} (state_folder) cannot be used: {error.strerror or error}. Next: let this user "
        f"write there, name another one, or set TAGSTREAM_CRASH_DEATHS=0 to work without the guard against crash loops."
    )


def stem_of(settings: Settings) -> str:
    """The beginning of the file names of one group on its topics of one cluster; offsets have no meaning in another."""
    identity = "\n".join((settings.brokers, settings.group, *settings.content_topics))
    return hashlib.blake2b(identity.encode(), digest_size=8).hexdigest()
