"""The golden vectors through the Python package: within their tolerance, and the same bits as `tune apply` gives."""

import json
import math
import os
import subprocess
import tempfile
import unittest

import numpy as np

import rooftune

GOLDEN = os.environ.get("ROOFTUNE_GOLDEN") or os.path.join(os.path.dirname(__file__), *[".."] * 4, "shared", "golden")
TUNE = os.environ.get("ROOFTUNE_TUNE")

PAPERS = {  # op: (rule, further arguments)
    "linear_attn": ("linear", {}),
    "retention": ("gated", {}),
    "simple_gla": ("gated", {}),
    "gla": ("gated", {}),
    "lightning_attn2": ("gated", {}),
    "linear_attn_normalized": ("linear", {"normalize": True, "normalize_eps": 1e-10}),
    "delta_rule": ("delta", {}),
    "delta_rule_beta2": ("delta", {}),
    "gated_delta_rule": ("gated_delta", {}),
    "kda": ("gated_delta", {}),
}


def wide(a):
    """float64 numbers of a stored array; uint16 is bfloat16."""
    if a.dtype == np.uint16:
        return (a.astype(np.uint32) << 16).view(np.float32).astype(np.float64)
    return a.astype(np.float64)


def apply(flags, arrays):
    """What `tune apply` gives."""
    with tempfile.TemporaryDirectory() as folder:
        source, result = os.path.join(folder, "in.npz"), os.path.join(folder, "out.npz")
        np.savez(source, **{k: v for k, v in arrays.items() if v is not None})
        subprocess.run([TUNE, "apply", *flags, source, result], check=True, capture_output=True)
        with np.load(result) as z:
            return {k: z[k] for k in z.files}


@unittest.skipUnless(os.path.exists(os.path.join(GOLDEN, "onnx", "index.json")), f"no golden vectors at {GOLDEN}; ROOFTUNE_GOLDEN names their folder")
class Golden(unittest.TestCase):
    def normalised(self, name, got, want, rtol):
        self.assertEqual(got.shape, want.shape, name)
        if want.size:
            error = np.abs(wide(got) - want).max()
            self.assertLessEqual(error, rtol * np.abs(want).max(), name)

    def same_bits(self, flags, arrays, **got):
        if TUNE:
            want = apply(flags, arrays)
            for name, a in got.items():
                if a is not None:
                    self.assertEqual(a.tobytes(), want[name].tobytes(), f"{name} differs from Go's")

    def test_papers(self):
        ran = set()
        with open(os.path.join(GOLDEN, "papers", "index.json")) as f:
            cases = json.load(f)["cases"]
        for case in cases:
            if case["op"] not in PAPERS:
                continue
            with self.subTest(case["name"]), np.load(os.path.join(GOLDEN, "papers", case["file"])) as z:
                self.paper(case, z)
                ran.add(case["op"])
        self.assertEqual(ran, set(PAPERS))

    def paper(self, case, z):
        rule, more = PAPERS[case["op"]]
        params, rtol = case["params"], case["rtol_f32"]
        tokens, heads, _ = z["in_q"].shape
        flat = lambda name: z[name].reshape(1, tokens, -1) if name in z else None
        decay = [math.log(g) for g in params.get("gamma", [])] + [-s for s in params.get("slopes", [])] + list(params.get("log_decay", []))
        op = rooftune.Attention(heads, heads, rule, scale=params["scale"], head_decay=decay or None, **more)
        gates = {"decay": flat("in_g") if "in_g" in z else flat("in_gk"), "beta": flat("in_beta")}
        past = z["in_s0"][None] if "in_s0" in z else None
        q, k, v = flat("in_q"), flat("in_k"), flat("in_v")
        out = op(q, k, v, past_state=past, **gates)
        self.normalised("output", out.output[0].reshape(z["out_o"].shape), z["out_o"], rtol)
        if "out_sT" in z:
            self.normalised("state", out.present_state[0], z["out_sT"], rtol)
        flags = ["--op", "delta-rule" if "delta" in rule else "linear-attention", "--rule", rule, "--q-heads", str(heads), "--kv-heads", str(heads),
                 "--scale", repr(float(np.float32(params["scale"])))]
        if decay:
            flags.append("--head-decay=" + ",".join(repr(float(np.float32(d))) for d in decay))
        if more:
            flags += ["--normalize", "--normalize-eps", "1e-10"]
        self.same_bits(flags, {"query": q, "key": k, "value": v, "past_state": past, **gates}, output=out.output, present_state=out.present_state)
        if "grad_q" in z and not more and case["op"] != "kda":
            self.gradients(op, z, rtol, flags, q, k, v, past, gates)

    def gradients(self, op, z, rtol, flags, q, k, v, past, gates):
        dout = z["in_do"].reshape(q.shape[0], q.shape[1], -1)
        dstate = z["in_dsT"][None] if "in_dsT" in z else None
        grads = op.backward(q, k, v, dout, past_state=past, grad_present_state=dstate, **gates)
        for name, got in (("grad_q", grads.query), ("grad_k", grads.key), ("grad_v", grads.value), ("grad_s0", grads.past_state), ("grad_beta", grads.beta)):
            if name in z and got is not None:
                self.normalised(name, got[0].reshape(z[name].shape), z[name], rtol)
        self.same_bits(flags + ["--dir", "bwd"], {"query": q, "key": k, "value": v, "past_state": past, "grad_output": dout, "grad_present_state": dstate, **gates},
                       grad_query=grads.query, grad_key=grads.key, grad_value=grads.value, grad_decay=grads.decay, grad_beta=grads.beta)

    def test_onnx(self):
        with open(os.path.join(GOLDEN, "onnx", "index.json")) as f:
            cases = json.load(f)
        ran = 0
        for case in cases:
            if case["op"] not in ("LinearAttention", "CausalConvWithState"):
                continue
            with self.subTest(case["name"]), np.load(os.path.join(GOLDEN, "onnx", case["file"])) as z:
                self.onnx(case, z)
                ran += 1
        self.assertGreater(ran, 100)

    def onnx(self, case, z):
        given = case["attributes"]
        arrays = {name: z["in_" + name] for name in case["inputs"]}
        if case["op"] == "CausalConvWithState":
            out = rooftune.CausalConv(given.get("activation"))(arrays["input"], arrays["weight"], arrays.get("bias"), arrays.get("past_state"))
            flags = ["--op", "causal-conv"] + (["--activation", given["activation"]] if "activation" in given else [])
        else:
            rule = given.get("update_rule", "gated_delta")
            heads = given["q_num_heads"], given["kv_num_heads"]
            op = rooftune.Attention(*heads, rule, scale=given.get("scale", 0))
            out = op(arrays["query"], arrays["key"], arrays["value"], **{k: arrays[k] for k in ("past_state", "decay", "beta") if k in arrays})
            flags = ["--op", "delta-rule" if "delta" in rule else "linear-attention", "--rule", rule, "--q-heads", str(heads[0]),
                     "--kv-heads", str(heads[1]), "--scale", repr(given.get("scale", 0))]
        for name, got in (("output", out.output), ("present_state", out.present_state)):
            want, have = wide(z["out_" + name]), wide(got)
            self.assertEqual(have.shape, want.shape)
            finite = np.isfinite(want)
            near = np.abs(have[finite] - want[finite]) <= case["atol"] + case["rtol"] * np.abs(want[finite])
            self.assertTrue(near.all() and not np.isfinite(have[~finite]).any(), name)
        self.same_bits(flags, arrays, output=out.output, present_state=out.present_state)

    def test_hash_layer(self):
        with open(os.path.join(GOLDEN, "papers", "index.json")) as f:
            cases = [c for c in json.load(f)["cases"] if c["op"] == "memory_layer"]
        self.assertTrue(cases)
        for case in cases:
            with self.subTest(case["name"]), np.load(os.path.join(GOLDEN, "papers", case["file"])) as z:
                weighting = case["params"]["weighting"].split()[0].rstrip(":")
                x, tables = z["in_x"], z["in_tables"]
                out = rooftune.HashLayer(int(tables.shape[1]).bit_length() - 1, weighting)(x, tables)
                self.normalised("output", out.output, z["out_y"], case["rtol_f32"])
                self.normalised("weights", out.weights, z["out_weight"], case["rtol_f32"])
                np.testing.assert_array_equal(out.codes, z["out_code"])
                self.same_bits(["--op", "hash-layer", "--weighting", weighting], {"input": x, "tables": tables},
                               output=out.output, codes=out.codes, weights=out.weights)
                self.tables(z, weighting, case["rtol_f32"], out)

    def tables(self, z, weighting, rtol, plain):
        """Prepared tables, several sets of them, and gradients of a case."""
        x, tables = z["in_x"], z["in_tables"]
        layer = rooftune.HashLayer(int(tables.shape[1]).bit_length() - 1, weighting)
        for dtype in ("float32", "bfloat16", "int8"):
            for layout in ("rows", "panels", "both"):
                ready = rooftune.HashTables(tables, dtype, layout)
                self.assertEqual((ready.shape, ready.dtype), (tables.shape, dtype))
                out = layer(x, ready)
                np.testing.assert_array_equal(out.codes, plain.codes)
                self.normalised(f"{dtype} {layout}", out.output, wide(plain.output), {"float32": 1e-6, "bfloat16": 1e-2, "int8": 3e-2}[dtype])
                if layout == "rows":
                    self.same_bits(["--op", "hash-layer", "--weighting", weighting, "--dtype", dtype], {"input": x, "tables": tables},
                                   output=out.output, codes=out.codes, weights=out.weights)
        first, second = layer.sets(x, [(rooftune.HashTables(tables, layout="rows"), None), (tables[:, :, ::-1], None)])
        np.testing.assert_array_equal(first.output, plain.output)
        np.testing.assert_array_equal(second.output, layer(x, tables[:, :, ::-1]).output)
        if "grad_x" in z:
            dy = z["in_dy"]
            bias = np.zeros(tables.shape[2], np.float32)
            grads = layer.backward(x, tables, dy, bias)
            self.normalised("grad_x", grads.input, z["grad_x"], rtol)
            self.normalised("grad_tables", grads.tables, z["grad_tables"], rtol)
            self.normalised("grad_bias", grads.bias, wide(dy).sum(0), 1e-5)
            self.same_bits(["--op", "hash-layer", "--weighting", weighting, "--dir", "bwd"], {"input": x, "tables": tables, "bias": bias, "grad_output": dy},
                           grad_input=grads.input, grad_tables=grads.tables, grad_bias=grads.bias)

    def test_fronts(self):
        """The fronts of delta rules: gates and norms computed inside against those computed before."""
        with np.load(os.path.join(GOLDEN, "papers", "gated_delta_rule_T7_H1_dk16_dv16_s0.npz")) as z:
            tokens, heads, _ = z["in_q"].shape
            q, k, v = (z[n].reshape(1, tokens, -1) for n in ("in_q", "in_k", "in_v"))
            decay, beta, past = z["in_g"][None], z["in_beta"][None], z["in_s0"][None]
        log, bias = np.full(heads, 0.25, np.float32), np.full(heads, -0.5, np.float32)
        op = rooftune.Attention(heads, heads, front="silu_gates", rule="gated_delta", beta_scale=2, feature_map="l2norm", feature_map_eps=1e-6)
        out = op(q, k, v, past_state=past, decay=decay, beta=beta, decay_log=log, decay_bias=bias)
        self.same_bits(["--op", "delta-rule", "--q-heads", str(heads), "--kv-heads", str(heads), "--front", "silu_gates", "--beta-scale", "2", "--feature-map", "l2norm",
                        "--feature-map-eps", "1e-6"], {"query": q, "key": k, "value": v, "past_state": past, "decay": decay, "beta": beta, "decay_log": log,
                                                       "decay_bias": bias}, output=out.output, present_state=out.present_state)
        silu = lambda x: x / (1 + np.exp(-x))
        unit = lambda x: x / np.sqrt((x * x).sum(-1, keepdims=True) + 1e-6)
        split = lambda x: x.reshape(1, tokens, heads, -1)
        narrow = lambda x: x.reshape(1, tokens, -1).astype(np.float32)
        plain = rooftune.Attention(heads, heads, "gated_delta")(
            narrow(unit(split(silu(wide(q))))), narrow(unit(split(silu(wide(k))))), narrow(silu(wide(v))), past_state=past,
            decay=narrow(-np.exp(0.25) * np.log1p(np.exp(wide(decay) - 0.5))), beta=narrow(2 / (1 + np.exp(-wide(beta)))))
        self.normalised("output", out.output, wide(plain.output), 1e-5)
        self.normalised("state", out.present_state, wide(plain.present_state), 1e-5)

    def test_gates_apart(self):
        """Gates of erasing and of writing of channels, against the recurrence written out."""
        with np.load(os.path.join(GOLDEN, "papers", "gated_delta_rule_T7_H1_dk16_dv16_s0.npz")) as z:
            q, k, v = (z[n].reshape(1, 7, -1) for n in ("in_q", "in_k", "in_v"))
            decay, past = z["in_g"][None], z["in_s0"][None]
        erase, write = (np.random.default_rng(3).random((1, 7, 16), np.float32) for _ in range(2))
        out = rooftune.Attention(1, 1, "gated_delta", scale=1.0)(q, k, v, past_state=past, decay=decay, beta=erase, write=write)
        self.same_bits(["--op", "delta-rule", "--q-heads", "1", "--kv-heads", "1", "--scale", "1"],
                       {"query": q, "key": k, "value": v, "past_state": past, "decay": decay, "beta": erase, "write": write},
                       output=out.output, present_state=out.present_state)
        state, rows = wide(past)[0, 0], []
        for t in range(7):
            q_t, k_t, v_t, e_t, w_t = (wide(a)[0, t] for a in (q, k, v, erase, write))
            state = np.exp(wide(decay)[0, t]) * state
            state = state + np.outer(k_t, w_t * v_t - state.T @ (e_t * k_t))
            rows.append(state.T @ q_t)
        self.normalised("output", out.output[0], np.array(rows), 1e-5)
        self.normalised("state", out.present_state[0, 0], state, 1e-5)


if __name__ == "__main__":
    unittest.main()
