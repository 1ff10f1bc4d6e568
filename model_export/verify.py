"""Check a bundle as the worker does, in a process that can be ended."""

import multiprocessing
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from tagstream.model_export.bundle import bundle
from tagstream.model_export.bundle.invariance import Invariance, ParityError, check_invariance
from tagstream.model_export.bundle.model import OnnxClassifier

VERIFY_SEED = 23
# The shipped bundle takes eleven seconds on two busy cores.
VERIFY_SECONDS = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """A bundle that passed every check: the folder's, the golden texts, and batch invariance on them."""

    digest: str
    labels: tuple[str, ...]
    golden_texts: int
    invariance: Invariance
    model_bytes: int


def verify(folder: Path, *, seconds: float = VERIFY_SECONDS) -> Verified:
    """
    Check a bundle as the worker does, and that its predictions do not depend on their batch.

    A network may compute for hours, and the runtime cannot be interrupted: it runs in a process of its own, which is ended.

    Raises:
        BundleError: The folder, the network or the golden texts are refused, or the network did not end in time.
        ParityError: A prediction depends on its neighbours.
    """
    spawned = multiprocessing.get_context("spawn")
    receiver, sender = spawned.Pipe(duplex=False)
    child = spawned.Process(target=_verify_apart, args=(folder, sender), daemon=True)
    child.start()
    sender.close()
    try:
        if not receiver.poll(seconds):
            raise _refused(folder, f"its network has not decided on the golden texts within {seconds:g} s")
        found: Verified | Exception = receiver.recv()
    except EOFError:
        child.join()
        raise _refused(folder, f"the process that runs its network ended with code {child.exitcode}") from None
    finally:
        child.kill()
        child.join()
        receiver.close()
    if isinstance(found, Exception):
        raise found
    return found


def _verify_apart(folder: Path, sender: Connection) -> None:
    try:
        sender.send(_verified(folder))
    except (bundle.BundleError, ParityError) as error:
        sender.send(error)


def _verified(folder: Path) -> Verified:
    verified = bundle.read(folder)
    texts = [text.text for text in verified.manifest.golden]
    return Verified(
        digest=verified.digest,
        labels=verified.manifest.labels,
        golden_texts=len(texts),
        invariance=check_invariance(OnnxClassifier(verified), texts, seed=VERIFY_SEED),
        model_bytes=len(verified.model),
    )


def _refused(folder: Path, why: str) -> bundle.BundleError:
    return bundle.BundleError(f"bundle {folder} is refused: {why}. Next: use another bundle, or export this one again.")
