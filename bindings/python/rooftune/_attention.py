"""Linear attention and the delta rules."""

import struct
from typing import NamedTuple, Optional

import numpy as np

from . import _library as lib

_RULES = {"linear": 0, "gated": 1, "delta": 2, "gated_delta": 3}
_MAPS = {None: 0, "relu": 1, "elu1": 2, "exp": 3, "l2norm": 4}
_OP = struct.Struct("qqifPiififiii4x")
_INPUTS = struct.Struct(lib.TENSOR * 7 + "PqPq")
_OUTPUTS = struct.Struct(lib.TENSOR * 4)
_GRADIENTS = struct.Struct(lib.TENSOR * 8)
_forward = lib.function("rooftune_attention_forward", 3)
_backward = lib.function("rooftune_attention_backward", 3)


class AttentionOutputs(NamedTuple):
    """What a call returns; None where nothing was asked for."""

    output: np.ndarray                        # (B, T, max(Hq, Hkv)*dv)
    present_state: Optional[np.ndarray]       # (B, Hkv, dk, dv)
    present_normalizer: Optional[np.ndarray]  # (B, Hkv, dk)
    kept_states: Optional[np.ndarray]         # (len(keep), B, Hkv, dk, dv)


class AttentionGradients(NamedTuple):
    """Gradients of a loss with respect to the inputs, laid out as these; None for an input that was not given."""

    query: np.ndarray
    key: np.ndarray
    value: np.ndarray
    past_state: Optional[np.ndarray]
    decay: Optional[np.ndarray]
    beta: Optional[np.ndarray]


class Attention:
    """Linear attention (rules "linear" and "gated") and the delta rules ("delta", "gated_delta"), as ONNX LinearAttention defines them.

    q_heads, kv_heads: query heads, and heads of key, value and state. rule: the update of a head's state S (dk x dv). scale: of the
    queries, 1/sqrt(dk) if 0. head_decay: kv_heads log decays for all tokens, in place of the decay array. full: not causal. feature_map: of
    queries and keys, "relu", "elu1", "exp" or "l2norm". normalize: divide by scale q.(sum of keys) + normalize_eps. inverse_gqa: allow fewer
    query than state heads. bf16_products: products of operands rounded to bfloat16. threads: 0 for all that the process may use.
    """

    def __init__(self, q_heads, kv_heads, rule="linear", *, scale=0.0, head_decay=None, full=False, feature_map=None, feature_map_eps=0.0,
                 normalize=False, normalize_eps=0.0, inverse_gqa=False, bf16_products=False, threads=0):
        if rule not in _RULES:
            raise ValueError(f"rule: {rule!r}, must be one of {', '.join(_RULES)}")
        if feature_map not in _MAPS:
            raise ValueError(f"feature_map: {feature_map!r}, must be None or one of {', '.join(k for k in _MAPS if k)}")
        if q_heads <= 0 or kv_heads <= 0:
            raise ValueError(f"q_heads, kv_heads: {q_heads}, {kv_heads}, must be positive")
        self.q_heads, self.kv_heads, self.normalize = q_heads, kv_heads, normalize
        self._head_decay = None
        if head_decay is not None:
            self._head_decay = np.ascontiguousarray(head_decay, np.float32)
            if self._head_decay.shape != (kv_heads,):
                raise ValueError(f"head_decay: shape {self._head_decay.shape}, must be ({kv_heads},)")
        self._op = _OP.pack(q_heads, kv_heads, _RULES[rule], scale, self._head_decay.ctypes.data if head_decay is not None else 0, full,
                            _MAPS[feature_map], feature_map_eps, normalize, normalize_eps, inverse_gqa, bf16_products, threads)

    def __call__(self, query, key, value, *, past_state=None, past_normalizer=None, decay=None, beta=None, offsets=None, keep=None,
                 output=None, present_state=None, present_normalizer=None, want_state=True):
        """Runs the operator on query (B, T, Hq*dk), key (B, T, Hkv*dk) and value (B, T, Hkv*dv); decay (B, T, Hkv) or (B, T, Hkv*dk) is a
        natural logarithm, beta (B, T, Hkv) or (B, T, 1). offsets packs sequences in one batch item; keep lists numbers of tokens after
        which the state is kept. output, present_state and present_normalizer are arrays to write to; present_state may be past_state
        itself (in place). A new state has the type of past_state, or query's where there is none. want_state=False leaves it out. Returns AttentionOutputs.
        """
        arrays, inputs, shape = self._inputs(query, key, value, past_state, past_normalizer, decay, beta, offsets, keep)
        batch, tokens, state = shape
        dtype = arrays[0].dtype
        sdtype = dtype if arrays[3] is None else arrays[3].dtype
        output = lib.writable("output", output, (batch, tokens, max(self.q_heads, self.kv_heads) * state[3]), dtype)
        if want_state or present_state is not None:
            present_state = lib.writable("present_state", present_state, state, sdtype)
        if self.normalize and want_state or present_normalizer is not None:
            present_normalizer = lib.writable("present_normalizer", present_normalizer, state[:3], np.float32)
        kept = None
        if keep is not None:
            kept = np.empty((len(keep), 1 if offsets is not None else batch, *state[1:]), sdtype if present_state is None else present_state.dtype)
        tensor = lib.tensor
        out = _OUTPUTS.pack(*tensor(output), *tensor(present_state), *tensor(present_normalizer), *tensor(kept))
        lib.call(_forward, self._op, inputs, out)
        return AttentionOutputs(output, present_state, present_normalizer, kept)

    def backward(self, query, key, value, grad_output, *, past_state=None, decay=None, beta=None, grad_present_state=None):
        """Gradients of the inputs from those of the outputs. float32. Returns AttentionGradients."""
        arrays, inputs, _ = self._inputs(query, key, value, past_state, None, decay, beta, None, None)
        given = (lib.contiguous("grad_output", grad_output), lib.contiguous("grad_present_state", grad_present_state))
        grads = [None if a is None else np.empty(a.shape, np.float32) for a in arrays[:4] + arrays[5:7]]
        out = _GRADIENTS.pack(*[x for a in (*given, *grads) for x in lib.tensor(a)])
        lib.call(_backward, self._op, inputs, out)
        return AttentionGradients(*grads)

    def _inputs(self, query, key, value, past_state, past_normalizer, decay, beta, offsets, keep):
        """The arrays as the library can read them, their struct, and (B, T, the state's shape)."""
        get, tensor = lib.contiguous, lib.tensor
        query, key, value, past_state = get("query", query), get("key", key), get("value", value), get("past_state", past_state)
        past_normalizer, decay, beta = get("past_normalizer", past_normalizer), get("decay", decay), get("beta", beta)
        if query is None or value is None or query.ndim != 3 or value.ndim != 3:
            raise ValueError("query and value must be arrays of 3 dimensions, (batch, tokens, heads * width)")
        starts = None if offsets is None else np.ascontiguousarray(offsets, np.int64)
        kept = None if keep is None else np.ascontiguousarray(keep, np.int64)
        batch, tokens, keys = query.shape
        states = batch if starts is None else len(starts) - 1
        numbers = _NONE if starts is None and kept is None else _numbers(starts) + _numbers(kept)
        inputs = _INPUTS.pack(*tensor(query), *tensor(key), *tensor(value), *tensor(past_state), *tensor(past_normalizer), *tensor(decay),
                              *tensor(beta), *numbers)
        held = (query, key, value, past_state, past_normalizer, decay, beta, starts, kept)  # the struct has their addresses
        return held, inputs, (
            batch, tokens, (states, self.kv_heads, keys // self.q_heads, value.shape[2] // self.kv_heads))


def _numbers(a):
    """The pointer and the length of an array of integers."""
    return (0, 0) if a is None else (a.ctypes.data, len(a))


_NONE = (0, 0, 0, 0)
