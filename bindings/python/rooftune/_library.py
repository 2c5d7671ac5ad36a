"""The shared library and what every call needs: loading, tensors, errors."""

import ctypes
import ctypes.util
import json
import os
import struct
import sys

import numpy as np

ABI = 2  # ROOFTUNE_ABI of rooftune.h, which the layouts below follow

# rooftune_tensor: data, then shape[5], ndim, dtype.
_address = struct.Struct("P").pack
_layout = struct.Struct("5q2i")
ABSENT = bytes(struct.calcsize("P") + _layout.size)
_layouts = {}  # the bytes of _layout by shape and dtype
_DTYPES = {np.dtype(np.float32): 0, np.dtype(np.uint16): 1, np.dtype(np.float16): 2}
_OK, _INVALID = 0, 1


class RooftuneError(RuntimeError):
    """The library failed; a wrong argument is a ValueError instead."""


def _names():
    ending = {"darwin": "dylib", "win32": "dll"}.get(sys.platform, "so")
    return "librooftune." + ending


def _open():
    path = os.environ.get("ROOFTUNE_LIBRARY")
    if not path:
        here = os.path.join(os.path.dirname(os.path.abspath(__file__)), _names())
        path = here if os.path.exists(here) else ctypes.util.find_library("rooftune")
    if not path:
        raise ImportError(
            f"{_names()} was not found: set ROOFTUNE_LIBRARY to its path, or build it beside this package with "
            f"`go build -tags librooftune -buildmode=c-shared -o bindings/python/rooftune/{_names()} ./bindings/c`")
    lib = ctypes.CDLL(path)
    if lib.rooftune_abi() != ABI:
        raise ImportError(f"{path} has version {lib.rooftune_abi()} of the interface, this package needs {ABI}")
    return lib


lib = _open()
_from_buffer, _addressof = ctypes.c_char.from_buffer, ctypes.addressof
_messages = []  # buffers that no call uses; append and pop are atomic


def function(name, pointers):
    """A function of the library that takes so many pointers, then a buffer for its message."""
    f = getattr(lib, name)
    f.restype = ctypes.c_int32
    f.argtypes = [ctypes.c_void_p] * (pointers + 1) + [ctypes.c_size_t]
    return f


def call(f, *pointers):
    """Calls a function of the library and raises what it reports."""
    message = _messages.pop() if _messages else ctypes.create_string_buffer(512)
    status = f(*pointers, message, 512)
    if status != _OK:
        raise (ValueError if status == _INVALID else RooftuneError)(message.value.decode("utf-8", "replace"))
    _messages.append(message)


def tensor(name, a):
    """The array as the library can read it, and its rooftune_tensor. It is a copy where it was not row-major: hold it during the call.

    The buffer interface gives address, contiguity and writability at once, in a quarter of the time of a.ctypes.data."""
    if a is None:
        return None, ABSENT
    try:
        return a, _address(_addressof(_from_buffer(a))) + _layouts[a.shape, a.dtype]
    except (AttributeError, KeyError, TypeError, ValueError, BufferError):  # a new shape, read-only, empty, not contiguous, or wrong
        return _other(name, a)


def _other(name, a):
    if not isinstance(a, np.ndarray):
        raise TypeError(f"{name}: {type(a).__name__}, must be a NumPy array")
    if a.dtype not in _DTYPES:
        raise TypeError(f"{name}: {a.dtype}, must be float32, float16 or uint16 (bfloat16 bits)")
    if not 0 < a.ndim < 6:
        raise ValueError(f"{name}: an array of {a.ndim} dimensions, must be 1 to 5")
    if not a.flags.c_contiguous:
        a = np.ascontiguousarray(a)
    layout = _layout.pack(*a.shape, *(0,) * (5 - a.ndim), a.ndim, _DTYPES[a.dtype])
    if len(_layouts) > 4096:
        _layouts.clear()
    _layouts[a.shape, a.dtype] = layout
    return a, _address(a.ctypes.data) + layout


def result(name, a, shape, dtype):
    """The caller's array for a result, checked, or a new one; and its rooftune_tensor."""
    if a is None:
        a = np.empty(shape, dtype)
    try:
        return a, _address(_addressof(_from_buffer(a))) + _layouts[a.shape, a.dtype]
    except (AttributeError, KeyError, TypeError, ValueError, BufferError):  # a new shape, empty, or wrong
        pass
    if not isinstance(a, np.ndarray) or a.dtype not in _DTYPES:
        raise TypeError(f"{name}: must be a NumPy array of float32, float16 or uint16")
    if not a.flags.c_contiguous or not a.flags.writeable:
        raise ValueError(f"{name}: must be contiguous and writable, for the result is written there")
    return _other(name, a)


def one(fields):
    """A rooftune_tensor, or NULL for an absent one."""
    return None if fields is ABSENT else fields


_load = function("rooftune_load", 1)
_explain = lib.rooftune_explain
_explain.restype = ctypes.c_int32
_explain.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_size_t, ctypes.POINTER(ctypes.c_size_t)]


def load(path=""):
    """Choose from the profile at path first, as `tune` writes it; "" for the usual places."""
    call(_load, os.fsencode(path))


def explain(problem):
    """Which kernel runs a problem, from where and why. The problem is a dict with the keys that `tune --json` prints."""
    text, needed = json.dumps(problem).encode(), ctypes.c_size_t()
    _explain(text, None, 0, needed)
    answer = ctypes.create_string_buffer(needed.value)
    status = _explain(text, answer, needed.value, needed)
    if status != _OK:
        raise (ValueError if status == _INVALID else RooftuneError)(answer.value.decode("utf-8", "replace"))
    return json.loads(answer.value)


def close():
    """End the workers that calls of several threads have started. A later call starts new ones."""
    lib.rooftune_close()
