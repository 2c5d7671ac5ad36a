"""rooftune: linear-time sequence operators on the CPU, for NumPy arrays.

    import numpy as np, rooftune
    op = rooftune.Attention(q_heads=8, kv_heads=8, rule="gated_delta")
    out = op(query, key, value, decay=decay, beta=beta)       # (B, T, H*d) each, as ONNX LinearAttention
    out.output, out.present_state

Arrays are float32, float16, or uint16 (the bits of bfloat16). They are read where they lie: an array that is not contiguous is copied first.
The shared library is found at $ROOFTUNE_LIBRARY, beside this package, or where the system looks. Needs NumPy, nothing else.
"""

from ._attention import Attention, AttentionGradients, AttentionOutputs
from ._conv import CausalConv, ConvOutputs
from ._hash import HashGradients, HashLayer, HashOutputs, HashTables
from ._library import RooftuneError, close, explain, load

__all__ = ["Attention", "AttentionGradients", "AttentionOutputs", "CausalConv", "ConvOutputs", "HashGradients", "HashLayer", "HashOutputs",
           "HashTables", "RooftuneError", "close", "explain", "load"]
