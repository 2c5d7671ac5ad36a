"""MemoryFormer's hash layer and its prepared tables."""

import ctypes
import os
import struct
from typing import NamedTuple, Optional

import numpy as np

from . import _library as lib

_WEIGHTINGS = {"paper": 0, "released": 1}
_DTYPES = {None: -1, "float32": 0, "bfloat16": 1, "int8": 3}
_LAYOUTS = {"both": 0, "rows": 1, "panels": 2}
_OP = struct.Struct("iiii")
_POINTER, _POINTERS = struct.Struct("P"), struct.Struct("PP")
_forward = lib.function("rooftune_hash_layer_forward", 3)
_backward = lib.function("rooftune_hash_layer_backward", 3)


def _signature(name, *arguments):
    f = getattr(lib.lib, name)
    f.restype, f.argtypes = ctypes.c_int32, [*arguments, ctypes.c_void_p, ctypes.c_size_t]
    return f


_P, _I = ctypes.c_void_p, ctypes.c_int32
_sets = _signature("rooftune_hash_layer_forward_sets", _P, _P, _P, ctypes.c_int64)
_prepare = _signature("rooftune_hash_tables_prepare", _P, _I, _I, _P)
_quantized = _signature("rooftune_hash_tables_quantized", _P, _P, _P, _I, _P)
_open = _signature("rooftune_hash_tables_open", ctypes.c_char_p, ctypes.c_char_p, _I, _I, _P)
_free = lib.lib.rooftune_hash_tables_free
_free.restype, _free.argtypes = None, [_P]
_info = lib.lib.rooftune_hash_tables_info
_info.restype, _info.argtypes = None, [_P, _P, _P, _P]


class HashOutputs(NamedTuple):
    output: np.ndarray   # (N, h)
    codes: np.ndarray    # (N, K), int32
    weights: np.ndarray  # (N, K), float32


class HashGradients(NamedTuple):
    """Gradients of a loss with respect to the inputs, laid out as these; bias is None where there was none."""

    input: np.ndarray
    tables: np.ndarray
    bias: Optional[np.ndarray]


class HashTables:
    """Tables (K, 2^tau, h) made ready once, for many calls: in the layouts that the kernels read, as float32, bfloat16 or int8.

    HashTables(tables, dtype, layout): from an array of float32 or uint16 (bfloat16 bits); dtype None keeps its type. layout is "rows" (few
    tokens), "panels" (many) or "both". Where type and rows stay, the array's own memory is used: do not change it.
    HashTables.quantized(values, scales): from int8 values with a scale for each row, (K, 2^tau). HashTables.open(path): from a .npy or
    safetensors file, mapped into memory.
    """

    def __init__(self, tables, dtype=None, layout="both"):
        tables, fields = lib.tensor("tables", tables)
        if tables is None:
            raise TypeError("tables: None, must be a NumPy array")
        self._take((tables,), _prepare, lib.one(fields), _DTYPES[None] if dtype is None else _of("dtype", _DTYPES, dtype), _of("layout", _LAYOUTS, layout))

    @classmethod
    def quantized(cls, values, scales, layout="both"):
        values, scales = np.ascontiguousarray(values), np.ascontiguousarray(scales)
        if values.dtype != np.int8 or values.ndim != 3 or scales.dtype != np.float32 or scales.shape != values.shape[:2]:
            raise ValueError("values must be int8 (K, 2^tau, h) and scales float32 (K, 2^tau)")
        self = cls.__new__(cls)
        shape = np.array(values.shape, np.int64)
        self._take((values, scales), _quantized, values.ctypes.data, scales.ctypes.data, shape.ctypes.data, _of("layout", _LAYOUTS, layout))
        return self

    @classmethod
    def open(cls, path, tensor=None, dtype=None, layout="both"):
        self = cls.__new__(cls)
        self._take((), _open, os.fsencode(path), None if tensor is None else tensor.encode(), _of("dtype", _DTYPES, dtype), _of("layout", _LAYOUTS, layout))
        return self

    _pointer = None

    def _take(self, arrays, function, *arguments):
        pointer = ctypes.c_void_p()
        lib.call(function, *arguments, ctypes.byref(pointer))
        self._arrays, self._pointer = arrays, pointer.value  # the library uses the arrays' memory
        shape, dtype, size = np.empty(3, np.int64), ctypes.c_int32(), ctypes.c_int64()
        _info(self._pointer, shape.ctypes.data, ctypes.byref(dtype), ctypes.byref(size))
        self.shape = tuple(int(n) for n in shape)  # (K, 2^tau, h)
        self.dtype = next(name for name, value in _DTYPES.items() if value == dtype.value)
        self.nbytes = size.value

    def __del__(self):
        if self._pointer is not None:
            _free(self._pointer)
            self._pointer = None


def _of(name, names, value):
    if value not in names:
        raise ValueError(f"{name}: {value!r}, must be one of {', '.join(str(n) for n in names)}")
    return names[value]


class HashLayer:
    """MemoryFormer's memory layer: output = bias + sum over k of weights[:, k] tables[k, codes[:, k]].

    tau: bits of a code, 1 to 16. weighting: "paper" or "released". int8_weights: with int8 tables, weights of 8 bits. threads: 0 for all that
    the process may use.
    """

    def __init__(self, tau, weighting="paper", *, int8_weights=False, threads=0):
        self._op = _OP.pack(tau, _of("weighting", _WEIGHTINGS, weighting), int8_weights, threads)

    def __call__(self, input, tables, bias=None, *, output=None):
        """Runs the layer on input (N, d) and tables (K, 2^tau, h), an array or HashTables, and bias (h). Returns HashOutputs."""
        input, x = lib.tensor("input", input)
        held, inputs, shape = _inputs(input, x, tables, bias)
        result, outputs = _outputs(input, shape, output)
        lib.call(_forward, self._op, inputs, outputs)
        return result

    def sets(self, input, sets):
        """Runs several layers on one input, hashed once, as queries, keys and values: sets lists (tables, bias) with bias None for none. Returns
        their outputs, a list of HashOutputs of the same codes and weights."""
        input, x = lib.tensor("input", input)
        held, inputs, results, outputs = [], b"", [], b""
        for tables, bias in sets:
            arrays, i, shape = _inputs(input, lib.ABSENT if held else x, tables, bias)
            result, o = _outputs(input, shape, None, results[0] if results else None)
            held.append(arrays)
            results.append(result)
            inputs, outputs = inputs + i, outputs + o
        lib.call(_sets, self._op, inputs, outputs, len(results))
        return results

    def backward(self, input, tables, grad_output, bias=None):
        """Gradients of input, tables and bias from that of the output. float32. Returns HashGradients."""
        input, x = lib.tensor("input", input)
        held, inputs, shape = _inputs(input, x, tables, bias)
        grad_output, g = lib.tensor("grad_output", grad_output)
        grad_input, i = lib.result("grad_input", None, input.shape, np.float32)
        grad_tables, t = lib.result("grad_tables", None, shape, np.float32)
        grad_bias, b = None, lib.ABSENT
        if bias is not None:
            grad_bias, b = lib.result("grad_bias", None, shape[2:], np.float32)
        lib.call(_backward, self._op, inputs, g + i + t + b)
        return HashGradients(grad_input, grad_tables, grad_bias)


def _inputs(input, fields, tables, bias):
    """What must be held during the call, the struct, and the tables' shape."""
    prepared, t = 0, lib.ABSENT
    if isinstance(tables, HashTables):
        prepared = tables._pointer
    else:
        tables, t = lib.tensor("tables", tables)
    if input is None or input.ndim != 2 or tables is None or len(tables.shape) != 3:
        raise ValueError("input must be (N, d) and tables (K, 2^tau, h)")
    bias, b = lib.tensor("bias", bias)
    return (tables, bias), fields + t + _POINTER.pack(prepared) + b, tables.shape


def _outputs(input, shape, output, first=None):
    """The outputs and their struct. Codes and weights are those of the first set, if there is one."""
    n = input.shape[0]
    output, o = lib.result("output", output, (n, shape[2]), np.float32)
    if first is not None:
        return HashOutputs(output, first.codes, first.weights), o + _POINTERS.pack(0, 0)
    codes, weights = np.empty((n, shape[0]), np.int32), np.empty((n, shape[0]), np.float32)
    return HashOutputs(output, codes, weights), o + _POINTERS.pack(codes.ctypes.data, weights.ctypes.data)
