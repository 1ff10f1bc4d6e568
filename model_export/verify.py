"""
Checks a bundle as the worker does, in a child process that can be killed.

A network may compute for hours, take all memory, or crash its process, and the runtime cannot be interrupted. The child process protects
the calling process from these faults.

The child process is `python -m tagstream.model_export.verify PARENT`, with an order on its standard input. It answers in JSON.
"""

import contextlib
import itertools
import math
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from tagstream.model_export.bundle import bundle
from tagstream.model_export.bundle.child_process import belong_to, bound_memory, started
from tagstream.model_export.bundle.invariance import Invariance, ParityError, check_invariance
from tagstream.model_export.bundle.model import OnnxClassifier

MODULE = "tagstream.model_export.verify"
VERIFY_SEED = 23
# The shipped bundle takes eleven seconds on two busy cores.
VERIFY_SECONDS = 120.0
# For a bundle of a rollout to a running stream: in the command that changes the model, and in each worker.
TRIAL_SECONDS = 60.0
LOOK_SECONDS = 0.1
END_SECONDS = 10.0


class GivenUpError(Exception):
    """The caller gave the verification up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """A bundle that passed all checks: the folder, the golden texts, batch invariance on these texts, and the largest batches."""

    digest: str
    labels: tuple[str, ...]
    golden_texts: int
    invariance: Invariance
    model_bytes: int


class _Order(msgspec.Struct, frozen=True, kw_only=True):
    folder: str
    threads: int
    texts: tuple[str, ...]
    most_bytes: int | None


class _Answer(msgspec.Struct, frozen=True, kw_only=True):
    """The answer: `verified`, or the reason in `refused`. `parity` is true if a prediction depends on the other texts of its batch."""

    verified: Verified | None = None
    refused: str = ""
    parity: bool = False


def verify(
    folder: Path,
    *,
    seconds: float = VERIFY_SECONDS,
    threads: int = 1,
    texts: Sequence[str] = (),
    most_bytes: int | None = None,
    goes_on: Callable[[], bool] = lambda: True,
) -> Verified:
    """
    Check a bundle as the worker does, and that its predictions do not depend on their batch.

    Args:
        folder: The bundle.
        seconds: The time after which the process is killed.
        threads: The number of batches of the largest size that are decided at the same time.
        texts: Texts to decide in addition to the golden texts.
        most_bytes: The memory that the process may take in addition to its memory without a bundle; None for no bound.
        goes_on: Called about ten times a second. Once it returns false, the process is killed.

    Raises:
        BundleError: The folder, the network or the golden texts are refused; or the network did not finish in time, or crashed its process.
        ParityError: A prediction depends on the other texts of its batch.
        GivenUpError: `goes_on` returned false.
    """
    order = _Order(folder=str(folder), threads=threads, texts=tuple(texts), most_bytes=most_bytes)
    try:
        process = started(MODULE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    except OSError as error:
        raise _refused(folder, f"the process that would run its network cannot be started: {error}") from error
    try:
        output, errors = _ended(process, msgspec.json.encode(order), seconds, goes_on)
        answer = msgspec.json.decode(output, type=_Answer)
    except TimeoutError as error:
        raise _refused(folder, f"its network has not decided on the golden texts within {seconds:g} s") from error
    except msgspec.DecodeError:
        code, (*_, last) = process.wait(), ("", *errors.decode(errors="replace").splitlines())
        how = f"exit code {code}" if code >= 0 else f"signal {signal.Signals(-code).name}"
        raise _refused(folder, f"the process that runs its network was ended by {how} {last}".rstrip()) from None
    finally:
        process.kill()
        # A process that waits for a file system ends only when the file system answers.
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(END_SECONDS)
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()
    if answer.verified is None:
        raise (ParityError if answer.parity else bundle.BundleError)(answer.refused)
    return answer.verified


def _ended(
    process: "subprocess.Popen[bytes]", order: bytes, seconds: float, goes_on: Callable[[], bool]
) -> tuple[bytes, bytes]:
    """
    Return the output of the process once it has ended by itself.

    Looks are counted instead of seconds: a calling process that was suspended for a while must not judge the child process late.
    """
    looks = math.ceil(seconds / LOOK_SECONDS)
    for given in itertools.islice(itertools.chain([order], itertools.repeat(None)), looks):
        if not goes_on():
            raise GivenUpError
        with contextlib.suppress(subprocess.TimeoutExpired):
            return process.communicate(given, timeout=min(LOOK_SECONDS, seconds))
    raise TimeoutError


def main() -> None:
    """Execute the order on the standard input."""
    belong_to(int(sys.argv[-1]))
    order = msgspec.json.decode(sys.stdin.buffer.read(), type=_Order)
    folder = Path(order.folder)
    try:
        if order.most_bytes is not None:
            bound_memory(order.most_bytes)
        answer = _Answer(verified=_verified(folder, order))
    except ParityError as error:
        answer = _Answer(refused=str(error), parity=True)
    except bundle.BundleError as error:
        answer = _Answer(refused=str(error))
    except MemoryError:
        answer = _Answer(
            refused=str(_refused(folder, f"it needs more memory than the {order.most_bytes or 0:,} bytes that are left for it"))
        )
    # Any exception of the runtime refuses the bundle: the runtime's exceptions have only `Exception` as a common base class.
    except Exception as error:  # noqa: BLE001
        answer = _Answer(refused=str(_refused(folder, f"it raised {type(error).__name__}: {error}")))
    sys.stdout.buffer.write(msgspec.json.encode(answer))


def _verified(folder: Path, order: _Order) -> Verified:
    verified = bundle.read(folder)
    golden = [text.text for text in verified.manifest.golden]
    classifier = OnnxClassifier(verified)
    invariance = check_invariance(classifier, [*golden, *order.texts], seed=VERIFY_SEED)
    classifier.warm_up(order.threads)
    return Verified(
        digest=verified.digest,
        labels=verified.manifest.labels,
        golden_texts=len(golden),
        invariance=invariance,
        model_bytes=len(verified.model),
    )


def _refused(folder: Path, why: str) -> bundle.BundleError:
    return bundle.BundleError(f"bundle {folder} is refused: {why}. Next: use another bundle, or export this one again.")


if __name__ == "__main__":
    main()
