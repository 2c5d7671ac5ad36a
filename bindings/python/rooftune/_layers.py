"""MemoryFormer's hash layer and the causal convolution."""

import ctypes
import struct
from typing import NamedTuple, Optional

import numpy as np

from . import _library as lib

_WEIGHTINGS = {"paper": 0, "released": 1}
_HASH = struct.Struct("iii")
_CONV = struct.Struct("ii")
_hash_forward = lib.function("rooftune_hash_layer_forward", 7)
_conv_forward = lib.function("rooftune_causal_conv_forward", 7)


class HashOutputs(NamedTuple):
    output: np.ndarray   # (N, h)
    codes: np.ndarray    # (N, K), int32
    weights: np.ndarray  # (N, K), float32


class HashLayer:
    """MemoryFormer's memory layer: output = bias + sum over k of weights[:, k] tables[k, codes[:, k]].

    tau: bits of a code, 1 to 16. weighting: "paper" or "released". threads: 0 for all that the process may use.
    """

    def __init__(self, tau, weighting="paper", *, threads=0):
        if weighting not in _WEIGHTINGS:
            raise ValueError(f"weighting: {weighting!r}, must be one of {', '.join(_WEIGHTINGS)}")
        self._op = _HASH.pack(tau, _WEIGHTINGS[weighting], threads)

    def __call__(self, input, tables, bias=None, *, output=None):
        """Runs the layer on input (N, d) and tables (K, 2^tau, h), bias (h), all float32. Returns HashOutputs."""
        input, tables, bias = (lib.contiguous(n, a) for n, a in (("input", input), ("tables", tables), ("bias", bias)))
        if input is None or input.ndim != 2 or tables is None or tables.ndim != 3:
            raise ValueError("input must be (N, d) and tables (K, 2^tau, h)")
        n, k, h = input.shape[0], tables.shape[0], tables.shape[2]
        output = lib.writable("output", output, (n, h), np.float32)
        codes, weights = np.empty((n, k), np.int32), np.empty((n, k), np.float32)
        lib.call(_hash_forward, self._op, lib.one(input), lib.one(tables), lib.one(bias), lib.one(output), codes.ctypes.data, weights.ctypes.data)
        return HashOutputs(output, codes, weights)


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
        input, weight, bias, past_state = (lib.contiguous(n, a) for n, a in (
            ("input", input), ("weight", weight), ("bias", bias), ("past_state", past_state)))
        if input is None or input.ndim != 3 or weight is None or weight.ndim != 3:
            raise ValueError("input must be (B, C, L) and weight (C, 1, K)")
        output = lib.writable("output", output, input.shape, input.dtype)
        if want_state or present_state is not None:
            present_state = lib.writable("present_state", present_state, (*input.shape[:2], max(weight.shape[2] - 1, 0)), input.dtype)
        lib.call(_conv_forward, self._op, lib.one(input), lib.one(weight), lib.one(bias), lib.one(past_state), lib.one(output), lib.one(present_state))
        return ConvOutputs(output, present_state)
