"""Which device and which number format the encoders run in."""

import contextlib

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from mergelib.words import unknown

PRECISIONS = ("auto", "float32", "bfloat16")


def resolve_device(device: str | torch.device = "auto") -> torch.device:
    """`auto` is the first CUDA device if there is one, else the CPU.

    Raises ValueError if CUDA is named where there is none.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    resolved = torch.device(device)
    if resolved.type == "cuda" and not torch.cuda.is_available():
        raise ValueError("device 'cuda' was asked for, but torch sees no CUDA device")
    return resolved


def bfloat16_is_fast(device: torch.device) -> bool:
    """True where bfloat16 products run in hardware: CUDA, or a CPU with AVX512-BF16 or AMX."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    probes = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, probe, lambda: False)() for probe in probes)


def number_format(device: torch.device, precision: str = "auto") -> str:
    """ "float32" or "bfloat16": what `precision` means on a device.

    "auto" is bfloat16 where that runs in hardware, so its numbers depend on the processor in their
    third digit; the other two words mean themselves everywhere. Raises ValueError for another.
    """
    if precision not in PRECISIONS:
        raise ValueError(unknown("precision", precision, PRECISIONS, "mergelib.models.compute"))
    if precision == "auto":
        return "bfloat16" if bfloat16_is_fast(device) else "float32"
    return precision


@contextlib.contextmanager
def mixed_precision(device: torch.device, precision: str = "auto"):
    """Encoder products in the number format of `precision` (see number_format), accumulations and
    weights in float32.

    Where gradients are taken on a CPU with bfloat16, the plain ("math") attention is used: at a few
    dozen tokens the backward pass of the fused kernel is slower there than the products themselves.
    Its forward pass is faster, and so it is in float32 both ways.
    """
    with contextlib.ExitStack() as stack:
        if number_format(device, precision) == "bfloat16":
            stack.enter_context(torch.autocast(device.type, dtype=torch.bfloat16))
            if device.type == "cpu" and torch.is_grad_enabled():
                stack.enter_context(sdpa_kernel(SDPBackend.MATH))
        yield
