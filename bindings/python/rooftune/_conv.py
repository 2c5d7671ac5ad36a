"""The causal convolution."""

import struct
from typing import NamedTuple, Optional

import numpy as np

from . import _library as lib

_CONV = struct.Struct("ii")
_forward = lib.function("rooftune_causal_conv_forward", 7)


class ConvOutputs(NamedTuple):
    output: np.ndarray                   # (B, C, L)
    present_state: Optional[np.ndarray]  # (B, C, K-1)


class CausalConv:
    """ONNX CausalConvWithState: a convolution over time of its own for each channel. activation: None or "silu"."""

    def __init__(self, activation=None, *, threads=0):
        if activation not in (None, "none", "silu", "swish"):
            raise ValueError(f"activation: {activation!r}, must be None or 'silu'")
        self._op = _CONV.pack(activation in ("silu", "swish"), threads)

    def __call__(self, input, weight, bias=None, past_state=None, *, output=None, present_state=None, want_state=True):
        """Runs the convolution on input (B, C, L) and weight (C, 1, K), bias (C), past_state (B, C, K-1). Returns ConvOutputs."""
        input, x = lib.tensor("input", input)
        weight, w = lib.tensor("weight", weight)
        bias, b = lib.tensor("bias", bias)
        past_state, p = lib.tensor("past_state", past_state)
        if input is None or input.ndim != 3 or weight is None or weight.ndim != 3:
            raise ValueError("input must be (B, C, L) and weight (C, 1, K)")
        output, o = lib.result("output", output, input.shape, input.dtype)
        s = lib.ABSENT
        if want_state or present_state is not None:
            present_state, s = lib.result("present_state", present_state, (*input.shape[:2], max(weight.shape[2] - 1, 0)), input.dtype)
        lib.call(_forward, self._op, *[lib.one(f) for f in (x, w, b, p, o, s)])
        return ConvOutputs(output, present_state)
