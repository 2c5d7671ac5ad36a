"""Times the smallest call: one token of one head of 16x16, one thread. Prints nanoseconds a call, the median of 21 rounds.

    python bindings/python/examples/overhead.py
"""

import statistics
import time

import numpy as np

import rooftune

D, ROUNDS, CALLS = 16, 21, 1000
op = rooftune.Attention(1, 1, "gated_delta", threads=1)
row, gate = np.zeros((1, 1, D), np.float32), np.zeros((1, 1, 1), np.float32)
output, state = np.empty_like(row), np.zeros((1, 1, D, D), np.float32)
rounds = []
for _ in range(ROUNDS):
    start = time.perf_counter_ns()
    for _ in range(CALLS):
        op(row, row, row, past_state=state, decay=gate, beta=gate, output=output, present_state=state)
    rounds.append((time.perf_counter_ns() - start) / CALLS)
print(f"{statistics.median(rounds):.0f}")
