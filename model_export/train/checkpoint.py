"""A trained network on disk, between training and export: one safetensors file, no pickle."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import msgspec
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from tagstream.model_export.train.network import Shape, TagNetwork
from tagstream.model_export.train.work import Work


class CheckpointError(Exception):
    """The file is not a checkpoint that was saved by this program."""

    exit_code = 1


class Trained(msgspec.Struct, frozen=True, kw_only=True):
    """The labels of a trained network and the record of its training."""

    labels: tuple[str, ...]
    record: dict[str, object]


def save(path: Path, network: TagNetwork, trained: Trained) -> None:
    """
    Write a network with its labels and its record.

    Args:
        path: The file; an existing file is overwritten.
        network: The network.
        trained: The network's labels and record.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {name: value.contiguous() for name, value in network.state_dict().items()}
    metadata = {
        "shape": msgspec.json.encode(asdict(network.shape)).decode(),
        "trained": msgspec.json.encode(trained).decode(),
    }
    save_file(tensors, path, metadata=metadata)


def load(path: Path) -> tuple[TagNetwork, Trained]:
    """
    Read a network back.

    Raises:
        CheckpointError: The file cannot be read or is not a checkpoint.
    """
    try:
        with safe_open(path, framework="pt") as opened:
            metadata = opened.metadata() or {}
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 - not a mapping
        shape = msgspec.json.decode(metadata["shape"], type=Shape)
        trained = msgspec.json.decode(metadata["trained"], type=Trained)
        network = TagNetwork(shape)
        network.load_state_dict(tensors)
    except (OSError, SafetensorError, KeyError, msgspec.DecodeError, RuntimeError) as error:
        msg = f"{path} is not a checkpoint: {error}. Next: make one with `tagstream model train --checkpoint`."
        raise CheckpointError(msg) from error
    return network.eval(), trained


def kept(work: Work, train: Callable[[], tuple[TagNetwork, Trained]]) -> tuple[TagNetwork, Trained]:
    """Return what `train` returns, from its file if an earlier run of the same training has finished it."""
    return work.stage("network.safetensors", train, save=lambda path, made: save(path, *made), load=load)
