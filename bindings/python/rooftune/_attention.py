"""Linear attention and the delta rules."""

import struct
from typing import NamedTuple, Optional

import numpy as np

from . import _library as lib

_RULES = {"linear": 0, "gated": 1, "delta": 2, "gated_delta": 3}
_MAPS = {None: 0, "relu": 1, "elu1": 2, "exp": 3, "l2norm": 4}
_FRONTS = {None: 0, "silu": 1, "gates": 2, "silu_gates": 3}
_OP = struct.Struct("qqifPiififiiifi")
_NUMBERS = struct.Struct("PqPq")
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
    past_normalizer: Optional[np.ndarray]
    decay: Optional[np.ndarray]
    beta: Optional[np.ndarray]
    write: Optional[np.ndarray]
    decay_log: Optional[np.ndarray]
    decay_bias: Optional[np.ndarray]


class Attention:
    """Linear attention (rules "linear" and "gated") and the delta rules ("delta", "gated_delta"), as ONNX LinearAttention defines them.

    q_heads, kv_heads: query heads, and heads of key, value and state. rule: the update of a head's state S (dk x dv). scale: of the
    queries, 1/sqrt(dk) if 0. head_decay: kv_heads log decays for all tokens, in place of the decay array. full: not causal. feature_map: of
    queries and keys, "relu", "elu1", "exp" or "l2norm". normalize: divide by scale q.(sum of keys) + normalize_eps. inverse_gqa: allow fewer
    query than state heads. bf16_products: products of operands rounded to bfloat16. front: what layers of Gated DeltaNet, KDA and Qwen3.5 do before a
    delta rule, "silu" (of query, key and value, before feature_map="l2norm"), "gates" (beta = beta_scale sigmoid(beta), decay =
    -exp(decay_log) softplus(decay + decay_bias)) or "silu_gates". threads: 0 for all that the process may use.
    """

    def __init__(self, q_heads, kv_heads, rule="linear", *, scale=0.0, head_decay=None, full=False, feature_map=None, feature_map_eps=0.0,
                 normalize=False, normalize_eps=0.0, inverse_gqa=False, bf16_products=False, front=None, beta_scale=0.0, threads=0):
        if rule not in _RULES:
            raise ValueError(f"rule: {rule!r}, must be one of {', '.join(_RULES)}")
        if feature_map not in _MAPS:
            raise ValueError(f"feature_map: {feature_map!r}, must be None or one of {', '.join(k for k in _MAPS if k)}")
        if front not in _FRONTS:
            raise ValueError(f"front: {front!r}, must be None or one of {', '.join(k for k in _FRONTS if k)}")
        if q_heads <= 0 or kv_heads <= 0:
            raise ValueError(f"q_heads, kv_heads: {q_heads}, {kv_heads}, must be positive")
        self.q_heads, self.kv_heads, self.normalize = q_heads, kv_heads, normalize
        self._head_decay = None
        if head_decay is not None:
            self._head_decay = np.ascontiguousarray(head_decay, np.float32)
            if self._head_decay.shape != (kv_heads,):
                raise ValueError(f"head_decay: shape {self._head_decay.shape}, must be ({kv_heads},)")
        self._op = _OP.pack(q_heads, kv_heads, _RULES[rule], scale, self._head_decay.ctypes.data if head_decay is not None else 0, full,
                            _MAPS[feature_map], feature_map_eps, normalize, normalize_eps, inverse_gqa, bf16_products, _FRONTS[front], beta_scale, threads)

    def __call__(self, query, key, value, *, past_state=None, past_normalizer=None, decay=None, beta=None, write=None, decay_log=None,
                 decay_bias=None, offsets=None, keep=None, output=None, present_state=None, present_normalizer=None, want_state=True):
        """Runs the operator on query (B, T, Hq*dk), key (B, T, Hkv*dk) and value (B, T, Hkv*dv); decay (B, T, Hkv) or (B, T, Hkv*dk) is a
        natural logarithm, beta (B, T, Hkv) or (B, T, 1). With write, (B, T, Hkv) or (B, T, Hkv*dv), a delta
        rule's beta, which may then be (B, T, Hkv*dk), gates only what is erased, and write what is written. decay_log (Hkv) and decay_bias (Hkv, or Hkv*dk) go with a front that has gates. offsets
        packs sequences in one batch item; keep lists numbers of tokens after which the state is kept. output, present_state and
        present_normalizer are arrays to write to; present_state may be past_state itself (in place). A new state has the type of past_state, or
        query's where there is none. want_state=False leaves it out. Returns AttentionOutputs.
        """
        held, inputs, (batch, tokens, state) = self._inputs(
            query, key, value, past_state, past_normalizer, decay, beta, write, decay_log, decay_bias, offsets, keep)
        result, absent = lib.result, lib.ABSENT
        dtype = held[0].dtype
        sdtype = dtype if past_state is None else held[3].dtype
        output, o = result("output", output, (batch, tokens, max(self.q_heads, self.kv_heads) * state[3]), dtype)
        s = n = k = absent
        if want_state or present_state is not None:
            present_state, s = result("present_state", present_state, state, sdtype)
        if self.normalize and want_state or present_normalizer is not None:
            present_normalizer, n = result("present_normalizer", present_normalizer, state[:3], np.float32)
        kept = None
        if keep is not None:
            kept, k = result("kept_states", None, (len(keep), 1 if offsets is not None else batch, *state[1:]),
                             sdtype if present_state is None else present_state.dtype)
        lib.call(_forward, self._op, inputs, b"".join((o, s, n, k)))
        return AttentionOutputs(output, present_state, present_normalizer, kept)

    def backward(self, query, key, value, grad_output, *, past_state=None, past_normalizer=None, decay=None, beta=None, write=None, decay_log=None,
                 decay_bias=None, offsets=None, grad_present_state=None, grad_present_normalizer=None):
        """Gradients of the arrays that are given, which are as in a forward call, from those of the outputs. float32. Returns AttentionGradients."""
        held, inputs, _ = self._inputs(query, key, value, past_state, past_normalizer, decay, beta, write, decay_log, decay_bias, offsets, None)
        grad_output, o = lib.tensor("grad_output", grad_output)
        grad_present_state, s = lib.tensor("grad_present_state", grad_present_state)
        grad_present_normalizer, n = lib.tensor("grad_present_normalizer", grad_present_normalizer)
        grads, fields = [], []
        for a in held[:10]:
            grad, f = (None, lib.ABSENT) if a is None else lib.result("gradient", None, a.shape, np.float32)
            grads.append(grad)
            fields.append(f)
        lib.call(_backward, self._op, inputs, b"".join((o, s, n, *fields)))
        return AttentionGradients(*grads)

    def _inputs(self, query, key, value, past_state, past_normalizer, decay, beta, write, decay_log, decay_bias, offsets, keep):
        """The arrays as the library can read them, their struct, and (B, T, the state's shape)."""
        tensor = lib.tensor
        query, q = tensor("query", query)
        key, k = tensor("key", key)
        value, v = tensor("value", value)
        if query is None or value is None or query.ndim != 3 or value.ndim != 3:
            raise ValueError("query and value must be arrays of 3 dimensions, (batch, tokens, heads * width)")
        past_state, s = tensor("past_state", past_state)
        past_normalizer, n = tensor("past_normalizer", past_normalizer)
        decay, d = tensor("decay", decay)
        beta, b = tensor("beta", beta)
        write, w = tensor("write", write)
        decay_log, l = tensor("decay_log", decay_log)
        decay_bias, z = tensor("decay_bias", decay_bias)
        batch, tokens, keys = query.shape
        states, numbers, starts, kept = batch, _NONE, None, None
        if offsets is not None or keep is not None:
            starts = None if offsets is None else np.ascontiguousarray(offsets, np.int64)
            kept = None if keep is None else np.ascontiguousarray(keep, np.int64)
            numbers = _NUMBERS.pack(*_numbers(starts), *_numbers(kept))
            if starts is not None:
                states = len(starts) - 1
        inputs = b"".join((q, k, v, s, n, d, b, w, l, z, numbers))
        held = (query, key, value, past_state, past_normalizer, decay, beta, write, decay_log, decay_bias, starts, kept)  # the struct has their addresses
        return held, inputs, (batch, tokens, (states, self.kv_heads, keys // self.q_heads, value.shape[2] // self.kv_heads))


def _numbers(a):
    """The pointer and the length of an array of integers."""
    return (0, 0) if a is None else (a.ctypes.data, len(a))


_NONE = bytes(_NUMBERS.size)
