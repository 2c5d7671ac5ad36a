"""The roofline of `tune roofline --json`, drawn with Matplotlib. The cells (# %%) run one by one in an editor that knows them.

    go run ./cmd/tune roofline --json > roofline.json
    python bindings/python/examples/roofline.py roofline.json roofline.png
"""

# %% What to draw: the widest instruction set that has ceilings, at the largest number of threads.
import json
import sys

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

source, picture = sys.argv[1:3] if len(sys.argv) > 2 else ("roofline.json", "roofline.png")
with open(source) as f:
    report = json.load(f)
flops = [c for c in report["ceilings"] if c["kind"] == "flops" and c["dtype"] == "float32"]
top = max(flops, key=lambda c: (c["threads"], c["median"]))
isa, threads = top["isa"], top["threads"]
levels = [c for c in report["ceilings"] if c["kind"] == "copy" and (c["isa"], c["threads"]) == (isa, threads)]
points = [p for p in report["points"] if (p["candidate"]["isa"], p["problem"]["threads"]) == (isa, threads) and p["intensity"] > 0]
if not points:
    sys.exit(f"{source} has no point of {isa} with {threads} threads")

# %% The roof: under each level's bandwidth, and under the peak.
figure, axes = plt.subplots(figsize=(8, 5), constrained_layout=True)
low, high = min(p["intensity"] for p in points) / 2, max(p["intensity"] for p in points) * 2
x = np.geomspace(low, max(high, 2 * top["median"] / min((c["median"] for c in levels), default=top["median"])), 200)
axes.axhline(top["median"] / 1e9, color="0.2", linewidth=1.5)
axes.annotate(f"{top['median'] / 1e9:.0f} GFLOP/s", (x[-1], top["median"] / 1e9), ha="right", va="bottom")
for level, dashes in zip(levels, ("-", "--", "-.", ":")):
    roof = np.minimum(x * level["median"], top["median"]) / 1e9
    axes.plot(x, roof, dashes, linewidth=1.2, label=f"{level['level']} {level['median'] / 1e9:.0f} GB/s")

# %% The points: one mark an op, so that the picture reads in grey as well.
marks = dict(zip(sorted({p["problem"]["op"] for p in points}), "os^Dv"))
for op, mark in marks.items():
    mine = [p for p in points if p["problem"]["op"] == op]
    axes.scatter([p["intensity"] for p in mine], [p["flops_per_s"] / 1e9 for p in mine], marker=mark, s=24, label=op, zorder=3)
    best = max(mine, key=lambda p: p["fraction"])
    print(f"{op:18} {len(mine):3} problems, the best at {100 * best['fraction']:.0f} % of its roof ({best['bound_by']})")

axes.set(xscale="log", yscale="log", xlabel="flops per byte at the level that binds", ylabel="GFLOP/s (useful)", title=f"{isa}, {threads} threads")
axes.grid(which="major", linewidth=0.4)
axes.legend(fontsize="small", loc="lower right")
figure.savefig(picture, dpi=120)
