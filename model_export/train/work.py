"""Checkpoints and progress of a long training: finished stages are kept on disk, so that a stopped training can resume.

A stage depends on the rows, the recipe and the code. Its file is in a folder that is named after a digest of these three. Tuning is one
long stage: weights, optimiser state and random state are saved from time to time. A training that resumes there computes the same bits as
a training that was not stopped.
"""

import contextlib
import hashlib
import logging
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from importlib.metadata import version
from pathlib import Path
from typing import TypeVar

import msgspec
import torch
from torch import Tensor, nn

logger = logging.getLogger(__name__)

KEEP_EVERY = 100
LOG_EVERY = 50
DIGEST_CHARACTERS = 16
LIBRARIES = ("torch", "transformers", "tokenizers", "onnx", "onnxscript", "onnxruntime", "scikit-learn", "numpy")

T = TypeVar("T")
Tell = Callable[[str, int, int], None]
"""Told of the stage's name, of the steps that are done, and of all its steps."""


def _silent(_stage: str, _done: int, _of: int) -> None:
    """Ignore the progress."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Optimisation:
    """
    The optimisation of a network's parameters, step by step.

    Attributes:
        optimiser: Changes the parameters by their gradients.
        schedule: Changes the optimiser's learning rate.
        max_gradient: The largest norm of the gradient.
    """

    optimiser: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.LRScheduler
    max_gradient: float


@dataclass(frozen=True, slots=True)
class Work:
    """
    Keeps the finished stages of a training, and reports its progress.

    Attributes:
        folder: The folder of the finished stages; None to keep nothing.
        tell: Is told the progress of a stage.
    """

    folder: Path | None = None
    tell: Tell = _silent

    @contextlib.contextmanager
    def told(self, stage: str) -> Iterator[None]:
        """Report the beginning and the end of a stage of one step."""
        self.tell(stage, 0, 1)
        yield
        self.tell(stage, 1, 1)

    def within(self, *parts: object) -> "Work":
        """Return a copy with a subfolder for this input: these values, the code and the versions of the libraries."""
        if self.folder is None:
            return self
        digest = hashlib.sha256(msgspec.json.encode([_code(), *parts], enc_hook=repr)).hexdigest()[:DIGEST_CHARACTERS]
        return Work(self.folder / digest, self.tell)

    def forget(self, done: "Work") -> None:
        """Remove the kept stages of `done`, and remove the folder if it is empty then."""
        if self.folder is None or done.folder is None:
            return
        shutil.rmtree(done.folder, ignore_errors=True)
        with contextlib.suppress(OSError):
            self.folder.rmdir()

    def stage(self, name: str, make: Callable[[], T], *, save: Callable[[Path, T], None], load: Callable[[Path], T]) -> T:
        """
        Return the result of a stage, from its file if an earlier run has finished the stage.

        Args:
            name: The name of the stage's file.
            make: Computes the result.
            save: Writes the result to a file. The file gets its name once it is complete.
            load: Reads the result back, with the same bits.
        """
        if self.folder is None:
            return make()
        path = self.folder / name
        if path.is_file():
            logger.info("stage_kept stage=%s", name)
            return load(path)
        made = make()
        self._write(path, lambda unfinished: save(unfinished, made))
        return made

    def descend(
        self,
        name: str,
        network: nn.Module,
        optimisation: Optimisation,
        *,
        plan: Iterable[Sequence[int]],
        loss_of: Callable[[Sequence[int]], Tensor],
        steps: int,
    ) -> None:
        """
        Tune a network in place. If an earlier run was stopped, the tuning resumes after the last kept step.

        Args:
            name: The stage's name.
            network: The network, with all else that is tuned beside it.
            optimisation: Changes the network's parameters.
            plan: The rows of every step. The plan is always drawn from its beginning, so that its random numbers are the same.
            loss_of: Returns the loss of the rows of a step, with its gradient.
            steps: The number of steps of the plan.
        """
        kept = self.folder / f"{name}.steps" if self.folder is not None else None
        first = _resume(kept, network, optimisation) if kept is not None and kept.is_file() else 0
        for step, drawn in enumerate(plan):
            if step < first:
                continue
            loss = loss_of(drawn)
            torch.autograd.backward(loss)
            nn.utils.clip_grad_norm_(network.parameters(), optimisation.max_gradient)
            optimisation.optimiser.step()
            optimisation.schedule.step()
            optimisation.optimiser.zero_grad()
            self.tell(name, step + 1, steps)
            if step % LOG_EVERY == 0:
                logger.info("step_done step=%d of=%d loss=%.4f", step, steps, float(loss.detach()))
            if kept is not None and (step + 1) % KEEP_EVERY == 0:
                self._write(kept, partial(_keep, done=step + 1, network=network, optimisation=optimisation))

    @staticmethod
    def _write(path: Path, save: Callable[[Path], None]) -> None:
        """Write a file and rename it. A rename is atomic, so a stage's file is either complete or missing."""
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(f"{path.name}.partial")
        save(unfinished)
        unfinished.replace(path)


NO_WORK = Work()


def _keep(path: Path, done: int, network: nn.Module, optimisation: Optimisation) -> None:
    state = {
        "done": done,
        "network": network.state_dict(),
        "optimiser": optimisation.optimiser.state_dict(),
        "schedule": optimisation.schedule.state_dict(),
        "random": torch.get_rng_state(),
    }
    torch.save(state, path)


def _resume(path: Path, network: nn.Module, optimisation: Optimisation) -> int:
    """Restore the state of the kept step, and return the number of finished steps. Code in the file is not run."""
    state = torch.load(path, weights_only=True)
    network.load_state_dict(state["network"])
    optimisation.optimiser.load_state_dict(state["optimiser"])
    optimisation.schedule.load_state_dict(state["schedule"])
    torch.set_rng_state(state["random"])
    logger.info("tuning_goes_on from=%d", state["done"])
    return int(state["done"])


def libraries() -> dict[str, str]:
    """Return the versions of the libraries that determine the result of a training."""
    return {name: version(name) for name in LIBRARIES}


@cache
def _code() -> str:
    """Return a digest of the code that makes bundles and of the libraries' versions."""
    found = hashlib.sha256(repr(libraries()).encode())
    root = Path(__file__).parents[1]
    for path in sorted(root.rglob("*.py")):
        found.update(f"{path.relative_to(root)}\n".encode() + path.read_bytes())
    return found.hexdigest()
