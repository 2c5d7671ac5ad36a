"""What the package does with the arrays it is given: views, types, packed sequences, and wrong ones."""

import os
import tempfile
import unittest

import numpy as np

import rooftune

RNG = np.random.default_rng(1)


def normal(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


class Arguments(unittest.TestCase):
    def test_views_are_copied_and_equal(self):
        op = rooftune.Attention(2, 2, threads=1)
        x = normal(1, 5, 3, 32)
        q, k, v = (x[:, :, i] for i in range(3))
        whole = op(*(np.ascontiguousarray(a) for a in (q, k, v)))
        np.testing.assert_array_equal(op(q, k, v).output, whole.output)

    def test_in_place_decode_equals_prefill(self):
        op = rooftune.Attention(4, 2, "gated_delta")
        q, k, v = normal(2, 6, 64), normal(2, 6, 32) / 4, normal(2, 6, 48)
        decay, beta = -np.abs(normal(2, 6, 2)), np.full((2, 6, 1), 0.5, np.float32)
        whole = op(q, k, v, decay=decay, beta=beta)
        state = np.zeros((2, 2, 16, 24), np.float32)
        for t in range(6):
            at = slice(t, t + 1)
            step = op(q[:, at], k[:, at], v[:, at], decay=decay[:, at], beta=beta[:, at], past_state=state, present_state=state)
            self.assertIs(step.present_state, state)
            np.testing.assert_allclose(step.output, whole.output[:, at], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(state, whole.present_state, rtol=1e-4, atol=1e-5)

    def test_packed_and_kept(self):
        op = rooftune.Attention(1, 1, "gated", head_decay=[-0.1])
        q, k, v = normal(1, 7, 16), normal(1, 7, 16), normal(1, 7, 16)
        out = op(q, k, v, offsets=[0, 3, 7], keep=[2, 5])
        self.assertEqual(out.present_state.shape, (2, 1, 16, 16))
        self.assertEqual(out.kept_states.shape, (2, 1, 1, 16, 16))
        alone = op(q[:, 3:], k[:, 3:], v[:, 3:], keep=[2])
        np.testing.assert_allclose(out.output[:, 3:], alone.output, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(out.kept_states[1], alone.kept_states[0], rtol=1e-5, atol=1e-6)

    def test_gradients_of_packed_sequences(self):
        """Normalised outputs of two sequences in one call, against each alone."""
        op = rooftune.Attention(1, 1, "gated", head_decay=[-0.1], feature_map="elu1", normalize=True, normalize_eps=1e-6)
        q, k, v, g = (normal(1, 7, 16) for _ in range(4))
        past, z, gs, gz = normal(2, 1, 16, 16), np.abs(normal(2, 1, 16)), normal(2, 1, 16, 16), normal(2, 1, 16)
        both = op.backward(q, k, v, g, past_state=past, past_normalizer=z, offsets=[0, 3, 7], grad_present_state=gs, grad_present_normalizer=gz)
        self.assertEqual(both.past_normalizer.shape, z.shape)
        for i, at in enumerate((slice(0, 3), slice(3, 7))):
            one = op.backward(q[:, at], k[:, at], v[:, at], g[:, at], past_state=past[i:i + 1], past_normalizer=z[i:i + 1],
                              grad_present_state=gs[i:i + 1], grad_present_normalizer=gz[i:i + 1])
            for name in ("query", "key", "value"):
                np.testing.assert_allclose(getattr(both, name)[:, at], getattr(one, name), rtol=1e-4, atol=1e-5)
            np.testing.assert_allclose(both.past_state[i], one.past_state[0], rtol=1e-4, atol=1e-5)
            np.testing.assert_allclose(both.past_normalizer[i], one.past_normalizer[0], rtol=1e-4, atol=1e-5)

    def test_gradients_behind_a_front(self):
        """Gradients of a front's parameters and of gates apart, against differences of the output's sum."""
        arrays = {"query": normal(1, 5, 8), "key": normal(1, 5, 8), "value": normal(1, 5, 8)}
        front = {"decay": normal(1, 5, 2), "beta": normal(1, 5, 2), "decay_log": normal(2), "decay_bias": normal(2)}
        apart = {"decay": -np.abs(normal(1, 5, 2)), "beta": np.abs(normal(1, 5, 8)), "write": normal(1, 5, 8)}
        for op, gates in ((rooftune.Attention(2, 2, "gated_delta", front="silu_gates", feature_map="l2norm", feature_map_eps=1e-6), front),
                          (rooftune.Attention(2, 2, "gated_delta", feature_map="l2norm", feature_map_eps=1e-6), apart)):
            grads = op.backward(**arrays, **gates, grad_output=np.ones((1, 5, 8), np.float32))
            for name, array in {**arrays, **gates}.items():
                grad = getattr(grads, name)
                self.assertEqual(grad.shape, array.shape)
                sums, place = [], (0,) * array.ndim
                for step in (2.0 ** -6, -2.0 ** -6):
                    moved = array.copy()
                    moved[place] += step
                    sums.append(op(**{**arrays, **gates, name: moved}).output.sum(dtype=np.float64))
                np.testing.assert_allclose(grad[place], (sums[0] - sums[1]) * 2 ** 5, rtol=2e-2, atol=2e-3, err_msg=name)

    def test_empty(self):
        state = normal(1, 1, 8, 8)
        none = np.zeros((1, 0, 8), np.float32)
        out = rooftune.Attention(1, 1)(none, none, none, past_state=state)
        np.testing.assert_array_equal(out.present_state, state)
        self.assertEqual(out.output.shape, (1, 0, 8))

    def test_16_bits(self):
        op = rooftune.Attention(1, 1)
        q, k, v = (normal(1, 9, 16).astype(np.float16) for _ in range(3))
        out = op(q, k, v)
        self.assertEqual((out.output.dtype, out.present_state.dtype), (np.float16, np.float16))
        kept = op(q, k, v, present_state=np.empty((1, 1, 16, 16), np.float32)).present_state
        np.testing.assert_allclose(out.present_state.astype(np.float32), kept, rtol=1e-3, atol=1e-6)
        wide = op(*(a.astype(np.float32) for a in (q, k, v)))
        np.testing.assert_allclose(out.output.astype(np.float32), wide.output, rtol=2e-3, atol=2e-3)

    def test_read_only_inputs(self):
        q = normal(1, 3, 8)
        q.flags.writeable = False
        self.assertEqual(rooftune.Attention(1, 1)(q, q, q).output.shape, (1, 3, 8))

    def test_quantized_and_opened_tables(self):
        x, values, scales = normal(5, 16), RNG.integers(-127, 128, (4, 16, 40)).astype(np.int8), np.abs(normal(4, 16))
        layer = rooftune.HashLayer(4)
        ready = rooftune.HashTables.quantized(values, scales)
        self.assertEqual((ready.shape, ready.dtype), ((4, 16, 40), "int8"))
        wide = values.astype(np.float32) * scales[:, :, None]
        np.testing.assert_allclose(layer(x, ready).output, layer(x, wide).output, rtol=1e-3, atol=1e-2)
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "tables.npy")
            np.save(path, wide)
            opened = rooftune.HashTables.open(path, layout="rows")
            np.testing.assert_array_equal(layer(x, opened).output, layer(x, wide).output)
            del opened  # a mapped file cannot be removed everywhere

    def test_explain(self):
        choice = rooftune.explain({"op": "linear-attention", "rule": "linear", "decay": "none", "dtype": "float32", "dir": "fwd",
                                   "shape": {"b": 1, "t": 4, "hq": 1, "hkv": 1, "dk": 16, "dv": 16}})
        self.assertIn("isa", choice["candidate"])

    def test_refusals(self):
        op = rooftune.Attention(2, 2)
        q = normal(1, 3, 32)
        read_only = normal(1, 3, 32)
        read_only.flags.writeable = False
        for error, pattern, call in (
            (ValueError, "rule", lambda: rooftune.Attention(1, 1, "softmax")),
            (ValueError, "feature_map", lambda: rooftune.Attention(1, 1, feature_map="tanh")),
            (ValueError, "head_decay", lambda: rooftune.Attention(1, 2, "gated", head_decay=[1.0])),
            (ValueError, "positive", lambda: rooftune.Attention(0, 1)),
            (ValueError, "query", lambda: op(q[0], q, q)),
            (ValueError, "key", lambda: op(q, q[:, :2], q)),
            (ValueError, "decay", lambda: op(q, q, q, decay=q)),
            (TypeError, "query", lambda: op(q.astype(np.float64), q, q)),
            (TypeError, "value", lambda: op(q, q, q.tolist())),
            (ValueError, "output", lambda: op(q, q, q, output=q)),
            (ValueError, "output", lambda: op(q, q, q, output=read_only)),
            (ValueError, "output", lambda: op(q, q, q, output=normal(1, 3, 64)[:, :, ::2])),
            (ValueError, "weighting", lambda: rooftune.HashLayer(8, "mean")),
            (ValueError, "tables", lambda: rooftune.HashLayer(2)(normal(3, 8), normal(4, 8, 5))),
            (ValueError, "front", lambda: rooftune.Attention(1, 1, "delta", front="relu")),
            (ValueError, "front", lambda: rooftune.Attention(1, 1, "linear", front="silu")(q[:, :, :16], q[:, :, :16], q[:, :, :16])),
            (ValueError, "layout", lambda: rooftune.HashTables(normal(4, 4, 5), layout="columns")),
            (ValueError, "dtype", lambda: rooftune.HashTables(normal(4, 4, 5), "float64")),
            (ValueError, "scales", lambda: rooftune.HashTables.quantized(np.zeros((1, 4, 2), np.int8), np.zeros(4, np.float32))),
            (rooftune.RooftuneError, "tables.npy", lambda: rooftune.HashTables.open("/nowhere/tables.npy")),
            (ValueError, "grad_output", lambda: rooftune.HashLayer(2).backward(normal(3, 8), normal(4, 4, 5), normal(3, 4))),
            (ValueError, "activation", lambda: rooftune.CausalConv("gelu")),
            (ValueError, "weight", lambda: rooftune.CausalConv()(q, normal(2, 1, 4))),
            (rooftune.RooftuneError, "profile", lambda: rooftune.load("/nowhere/profile.json")),
            (ValueError, "problem", lambda: rooftune.explain({"op": 3})),
        ):
            with self.subTest(pattern):
                with self.assertRaisesRegex(error, pattern):
                    call()


if __name__ == "__main__":
    unittest.main()
