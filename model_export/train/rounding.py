"""Quantisation-aware training: the student is trained with the rounding of the exported file, so that the rounding costs little.

The int8 file rounds the input of each matrix product to 256 steps between the smallest and the largest value. The rounding changes several
percent of the labels of a network that was trained without it, and almost none of a network that was trained with it.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

STEPS = 255


@contextmanager
def rounded_activations(network: nn.Module) -> Iterator[None]:
    """While the context is open, every linear layer of `network` gets its input in 256 steps. Gradients pass as without rounding."""
    handles = [module.register_forward_pre_hook(_round_input) for module in network.modules() if isinstance(module, nn.Linear)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def in_steps(values: Tensor) -> Tensor:
    """Round to 256 steps over the range of `values`, extended to include zero, as in the arithmetic of the file."""
    low, high = torch.aminmax(values.detach())
    low, high = low.clamp(max=0.0), high.clamp(min=0.0)
    scale = ((high - low) / STEPS).clamp_min(1e-8)
    zero = torch.round(-low / scale).to(torch.int32)
    return torch.fake_quantize_per_tensor_affine(values, scale, zero, 0, STEPS)


def _round_input(_module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(in_steps(values.float()) for values in inputs)
