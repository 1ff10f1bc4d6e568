"""Training with the rounding of the exported network, so that the student is robust to it (quantisation-aware
training).

The int8 file rounds the input of each matrix product to 256 steps between the smallest and the largest value. A network
that was trained without this loses several labels in a hundred to it; one that was trained with it loses almost none.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

STEPS = 255


@contextmanager
def rounded_activations(network: nn.Module) -> Iterator[None]:
    """While open, every linear layer of `network` sees its input in 256 steps; gradients pass as if it did not."""
    handles = [module.register_forward_pre_hook(_round_input) for module in network.modules() if isinstance(module, nn.Linear)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def in_steps(values: Tensor) -> Tensor:
    """Round to 256 steps over the range of `values`, which always includes zero, as in the file's arithmetic."""
    low, high = torch.aminmax(values.detach())
    low, high = low.clamp(max=0.0), high.clamp(min=0.0)
    scale = ((high - low) / STEPS).clamp_min(1e-8)
    zero = torch.round(-low / scale).to(torch.int32)
    return torch.fake_quantize_per_tensor_affine(values, scale, zero, 0, STEPS)


def _round_input(_module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(in_steps(values.float()) for values in inputs)
