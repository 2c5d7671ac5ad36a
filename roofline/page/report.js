"use strict";
// The page's own code. Text from the profile only ever becomes text: textContent and attributes, no markup.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const byId = id => document.getElementById(id);
  const narrow = () => byId("chart").clientWidth < 620;
  const css = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const unknown = "unknown";

  // ---- numbers ----
  function number(v) {
    const a = Math.abs(v);
    if (a >= 100 || (a >= 1 && Number.isInteger(v))) return v.toFixed(0);
    if (a >= 10) return v.toFixed(1);
    return String(+v.toPrecision(3));
  }
  function scaled(v, units) {
    for (const [size, name] of units) if (v >= size) return number(v / size) + " " + name;
    const last = units[units.length - 1];
    return number(v / last[0]) + " " + last[1];
  }
  const known = v => v !== null && v !== undefined;
  const time = ns => known(ns) ? scaled(ns, [[1e9, "s"], [1e6, "ms"], [1e3, "µs"], [1, "ns"]]) : unknown;
  const bytes = b => known(b) ? scaled(b, [[2 ** 40, "TiB"], [2 ** 30, "GiB"], [2 ** 20, "MiB"], [2 ** 10, "KiB"], [1, "B"]]) : unknown;
  const moved = b => b > 0 ? bytes(b) : "none"; // counted, and nothing had to move
  const rate = (v, unit) => known(v) ? number(v / 1e9) + " G" + unit : unknown;
  const percent = v => known(v) && isFinite(v) ? (100 * v).toFixed(100 * v < 9.95 ? 1 : 0) + " %" : unknown;
  const ratio = (a, b) => known(a) && known(b) && b > 0 ? number(a / b) : unknown;

  // ---- elements ----
  function el(name, attributes, ...children) {
    const e = document.createElement(name);
    for (const [k, v] of Object.entries(attributes || {})) e.setAttribute(k, v);
    e.append(...children);
    return e;
  }
  function terms(...pairs) {
    const dl = el("dl");
    for (const [name, value] of pairs) dl.append(el("dt", {}, name), el("dd", {}, value));
    return dl;
  }
  function option(select, value, text) { select.append(el("option", { value }, text)); }
  function svg(markPath, attributes) {
    const ns = "http://www.w3.org/2000/svg";
    const s = document.createElementNS(ns, "svg"), p = document.createElementNS(ns, "path");
    s.setAttribute("viewBox", "-8 -8 16 16");
    p.setAttribute("d", markPath);
    for (const [k, v] of Object.entries(attributes)) p.setAttribute(k, v);
    s.append(p);
    return s;
  }

  // ---- points ----
  const points = data.points || [], ceilings = data.ceilings || [], levels = data.levels;
  const name = p => data.ops[p.op] + " " + p.problem;
  const spaced = text => text.replaceAll(",", ", "); // so that lines can break
  const config = p => p.config ? spaced(p.config) : "none";
  const speed = p => p.by_bytes ? rate(p.rate, "B/s") : rate(p.rate, "FLOP/s");
  const flopsPerS = p => p.flops > 0 && p.ns > 0 ? p.flops / p.ns * 1e9 : null;
  const colour = p => css("--c" + p.op % 8);
  // The marks of the levels, nearest first: circle, square, triangle, diamond.
  const shapes = [
    "M0-5A5 5 0 1 0 0 5A5 5 0 1 0 0-5Z",
    "M-4.6-4.6H4.6V4.6H-4.6Z",
    "M0-5.6L5.4 4.4H-5.4Z",
    "M0-6.2L5.4 0L0 6.2L-5.4 0Z",
  ];
  const letter = op => String.fromCharCode(65 + op % 26); // ops can be told apart without colours
  const paths = shapes.map(d => new Path2D(d));
  const fastest = new Set();
  {
    const best = new Map();
    points.forEach((p, i) => {
      const key = p.group + p.threads;
      if (!best.has(key) || p.ns < points[best.get(key)].ns) best.set(key, i);
    });
    best.forEach(i => fastest.add(i));
  }

  const state = { threads: 0, isa: "", op: "", by: "least", levels: new Set(levels), selected: -1, hover: null };
  const threadCounts = [...new Set([...points.map(p => p.threads), ...ceilings.map(c => c.threads)])].sort((a, b) => a - b);
  state.threads = Math.max(0, ...points.map(p => p.threads)) || threadCounts[threadCounts.length - 1] || 0;

  function intensity(p, level) {
    const moved = state.by === "least" ? p.least : p.moved;
    return moved && moved[level] > 0 && p.flops > 0 ? p.flops / moved[level] : null;
  }
  // marks are what the chart shows now: one for each point and level.
  function marksOf(i) {
    const p = points[i], y = flopsPerS(p);
    if (!known(y)) return [];
    const out = [];
    // What barely spills out of a cache would stand far to the right and mean nothing.
    const least = Math.min(...levels.map((_, k) => intensity(p, k)).filter(known));
    levels.forEach((l, k) => {
      const x = intensity(p, k);
      if (known(x) && x < 64 * least && state.levels.has(l)) out.push({ i, level: k, x, y: y / 1e9, binds: l === p.level });
    });
    return out;
  }
  function visible(i) {
    const p = points[i];
    return p.threads === state.threads && (state.op === "" || data.ops[p.op] === state.op) &&
      (state.isa === "" ? fastest.has(i) : state.isa === "*" || p.isa === state.isa);
  }
  let marks = [];
  function collect() {
    marks = [];
    points.forEach((p, i) => { if (visible(i)) marks.push(...marksOf(i)); });
  }

  function chosenMarks() {
    return state.selected >= 0 && points[state.selected].threads === state.threads ? marksOf(state.selected) : [];
  }

  // ---- the roofline ----
  function lines() {
    const here = ceilings.filter(c => c.threads === state.threads);
    const flops = here.filter(c => c.kind === "flops").sort((a, b) => b.median - a.median);
    const isa = state.isa && state.isa !== "*" ? state.isa : flops.length ? flops[0].isa : "";
    const level = levels.map(l => {
      let of = here.filter(c => c.kind === "bytes" && c.level === l);
      if (state.isa && state.isa !== "*") of = of.filter(c => c.isa === isa);
      return of.sort((a, b) => b.median - a.median)[0];
    }).filter(Boolean);
    return { flops, isa, level };
  }
  function ranges() {
    const { flops, level } = lines();
    const all = [...marks, ...chosenMarks()];
    const peak = Math.max(1e-9, ...flops.map(c => c.median / 1e9), ...all.map(m => m.y));
    let xMin = 0.25, xMax = 16, low = Math.min(peak / 30, ...flops.map(c => c.median / 1e9));
    for (const l of level) xMax = Math.max(xMax, 4 * peak * 1e9 / l.median);
    for (const m of all) {
      xMin = Math.min(xMin, m.x / 2);
      xMax = Math.max(xMax, m.x * 2);
      low = Math.min(low, m.y);
    }
    const power = (v, round) => 2 ** round(Math.log2(v));
    return { x: [power(xMin, Math.floor), power(xMax, Math.ceil)], y: [low / 1.6, peak * 1.9] };
  }
  function every(list, most) { // thins a list of ticks evenly
    const step = Math.ceil(list.length / Math.max(1, most));
    return list.filter((_, i) => i % step === 0);
  }
  function ticks2(min, max, most) {
    const out = [];
    for (let e = Math.ceil(Math.log2(min) - 1e-9); 2 ** e <= max * 1.0001; e++) out.push(2 ** e);
    return every(out, most);
  }
  function ticks10(min, max, most) {
    for (const steps of [[1, 2, 5], [1, 3], [1]]) {
      const out = [];
      for (let e = Math.floor(Math.log10(min)); 10 ** e <= max; e++) {
        for (const s of steps) if (s * 10 ** e >= min * 0.9999 && s * 10 ** e <= max * 1.0001) out.push(s * 10 ** e);
      }
      if (out.length <= most || steps.length === 1) return every(out, most);
    }
  }
  const fraction = v => v < 1 ? "1/" + number(1 / v) : number(v);
  const pageFontSize = () => parseFloat(getComputedStyle(document.documentElement).fontSize) * 0.82;
  let chartFontSize = pageFontSize(); // of the axes, which keep it until the chart is made anew: on paper the page's letters are smaller
  const fontSize = () => chartFontSize;
  const font = bold => (bold ? "600 " : "") + fontSize() + 'px system-ui, "Segoe UI", Roboto, "Liberation Sans", Arial, sans-serif';
  const canvasFont = bold => (bold ? "600 " : "") + fontSize() * devicePixelRatio + 'px system-ui, "Segoe UI", Roboto, "Liberation Sans", Arial, sans-serif';

  function axes(xLabel, yLabel, xTicks, yTicks, xText, yText) {
    const size = fontSize();
    const axis = {
      stroke: () => css("--ink"), grid: { stroke: () => css("--grid"), width: 1 }, ticks: { stroke: () => css("--line"), width: 1, size: 5 },
      font: font(), labelFont: font(), labelSize: size * 1.7, filter: (u, splits) => splits, gap: 4,
    };
    return [
      { ...axis, label: xLabel, size: size * 2, splits: (u, i, min, max) => xTicks(min, max, u.bbox.width / devicePixelRatio / (size * 3.4)), values: (u, splits) => splits.map(xText) },
      { ...axis, label: yLabel, size: size * 4, splits: (u, i, min, max) => yTicks(min, max, u.bbox.height / devicePixelRatio / (size * 2)), values: (u, splits) => splits.map(yText) },
    ];
  }

  // A Labels places texts where nothing else is.
  class Labels {
    constructor(u) { this.u = u; this.ctx = u.ctx; this.boxes = []; this.box = u.bbox; this.h = fontSize() * devicePixelRatio * 1.25; }
    take(x, y, w, h) { this.boxes.push([x, y, x + w, y + h]); }
    free(x, y, w, h) {
      const b = this.box;
      if (x < b.left + 2 || y < b.top + 1 || x + w > b.left + b.width - 2 || y + h > b.top + b.height - 1) return false;
      return !this.boxes.some(([l, t, r, d]) => x < r && x + w > l && y < d && y + h > t);
    }
    // along writes text on a slope, at the first of the middles where it is free; nothing where it is nowhere. On the canvas a rotated text is
    // as free as squares along it.
    along(text, angle, middles, style) {
      const ctx = this.ctx, side = this.h * 0.9;
      ctx.font = canvasFont();
      const w = ctx.measureText(text).width + 4, n = Math.ceil(w / side), dx = Math.cos(angle) * w / n, dy = Math.sin(angle) * w / n;
      for (const [x, y] of middles(w, this.h)) {
        const squares = Array.from({ length: n }, (_, k) => [x + (k - (n - 1) / 2) * dx - side / 2, y + (k - (n - 1) / 2) * dy - side / 2]);
        if (!squares.every(([l, t]) => this.free(l, t, side, side))) continue;
        for (const [l, t] of squares) this.take(l, t, side, side);
        ctx.save();
        ctx.translate(x, y);
        ctx.rotate(angle);
        this.write(text, 0, "center", style);
        ctx.restore();
        return true;
      }
      return false;
    }
    write(text, x, align, style) {
      const ctx = this.ctx;
      ctx.textAlign = align;
      ctx.textBaseline = "middle";
      ctx.lineJoin = "round";
      ctx.lineWidth = 4 * devicePixelRatio;
      ctx.strokeStyle = css("--bg");
      ctx.strokeText(text, x, 0);
      ctx.fillStyle = style;
      ctx.fillText(text, x, 0);
    }
    // put writes text at the first free of the places, given as left and top; nothing where none is free.
    put(text, places, style, bold) {
      const ctx = this.ctx;
      ctx.font = canvasFont(bold);
      const w = ctx.measureText(text).width + 4;
      for (const [x, y] of places(w, this.h)) {
        if (!this.free(x, y, w, this.h)) continue;
        this.take(x, y, w, this.h);
        ctx.save();
        ctx.translate(x + 2, y + this.h / 2);
        this.write(text, 0, "left", style);
        ctx.restore();
        return true;
      }
      return false;
    }
  }

  function mark(ctx, level, x, y, size, stroke, fill) {
    ctx.save();
    ctx.translate(x, y);
    const scale = size * fontSize() / 12.5; // marks grow with letters
    ctx.scale(scale, scale);
    ctx.lineWidth = 1.6;
    ctx.strokeStyle = stroke;
    ctx.fillStyle = fill;
    ctx.fill(paths[level]);
    ctx.stroke(paths[level]);
    ctx.restore();
  }

  function draw(u) {
    const ctx = u.ctx, dpr = devicePixelRatio, { flops, level } = lines();
    const X = v => u.valToPos(v, "x", true), Y = v => u.valToPos(v, "y", true);
    const b = u.bbox, labels = new Labels(u);
    const [xMin, xMax] = [u.scales.x.min, u.scales.x.max];
    ctx.save();
    ctx.beginPath();
    ctx.rect(b.left, b.top, b.width, b.height);
    ctx.clip();
    const peak = flops.length ? flops[0].median : Infinity;
    const fast = level.length ? Math.max(...level.map(l => l.median)) : Infinity;
    flops.forEach((c, i) => {
      const from = Math.max(xMin, c.median / fast), y = Y(c.median / 1e9);
      ctx.beginPath();
      ctx.setLineDash(i ? [6 * dpr, 4 * dpr] : []);
      ctx.lineWidth = (i ? 1.2 : 2) * dpr;
      ctx.strokeStyle = i ? css("--faint") : css("--ink");
      ctx.moveTo(X(from), y);
      ctx.lineTo(X(xMax), y);
      ctx.stroke();
      labels.take(X(from), y - dpr, X(xMax) - X(from), 2 * dpr);
    });
    ctx.setLineDash([]);
    const dashes = [[], [10, 3], [5, 3], [2, 3]];
    for (const l of level) {
      const to = Math.min(xMax, peak / l.median), k = levels.indexOf(l.level);
      ctx.beginPath();
      ctx.setLineDash(dashes[k].map(d => d * dpr));
      ctx.lineWidth = 1.5 * dpr;
      ctx.strokeStyle = css("--ink");
      ctx.moveTo(X(xMin), Y(l.median * xMin / 1e9));
      ctx.lineTo(X(to), Y(l.median * to / 1e9));
      ctx.stroke();
    }
    ctx.setLineDash([]);
    // Marks take their ground before the labels look for theirs.
    for (const m of marks) labels.take(X(m.x) - 6 * dpr, Y(m.y) - 6 * dpr, 12 * dpr, 12 * dpr);
    const chosen = chosenMarks();
    if (chosen.length) {
      ctx.beginPath();
      ctx.lineWidth = 1.5 * dpr;
      ctx.strokeStyle = css("--ink");
      ctx.moveTo(X(chosen[0].x), Y(chosen[0].y));
      for (const m of chosen) ctx.lineTo(X(m.x), Y(m.y));
      ctx.stroke();
    }
    for (const m of marks) if (!m.binds) mark(ctx, m.level, X(m.x), Y(m.y), 0.8 * dpr, colour(points[m.i]), css("--bg"));
    for (const m of marks) if (m.binds) mark(ctx, m.level, X(m.x), Y(m.y), dpr, css("--bg"), colour(points[m.i]));
    for (const m of chosen) mark(ctx, m.level, X(m.x), Y(m.y), 1.5 * dpr, css("--ink"), m.binds ? colour(points[m.i]) : css("--bg"));
    if (state.hover) mark(ctx, state.hover.level, X(state.hover.x), Y(state.hover.y), 1.6 * dpr, css("--ink"), colour(points[state.hover.i]));
    // Labels of horizontals at their right ends, of diagonals along them from the lower left.
    for (const c of flops) {
      const text = narrow() ? c.isa + " " + number(c.median / 1e9) : c.isa + " " + rate(c.median, "FLOP/s");
      labels.put(text, (w, h) => {
        const y = Y(c.median / 1e9), places = [];
        for (let k = 0; k < 24; k++) for (const up of [h + 2 * dpr, -2 * dpr]) places.push([X(xMax) - w - 4 * dpr - k * w / 3, y - up]);
        return places;
      }, css("--ink"));
    }
    const along = l => { // the diagonal's piece that can be seen, from left to right
      const left = Math.max(X(xMin), X(u.scales.y.min * 1e9 / l.median)), right = Math.min(b.left + b.width, X(Math.min(xMax, peak / l.median)));
      const out = [];
      for (let x = left; x < right; x += 4 * dpr) out.push([x, Y(l.median * u.posToVal((x - b.left) / dpr, "x") / 1e9)]);
      return out;
    };
    for (const l of level) for (const [x, y] of along(l)) labels.take(x - 2 * dpr, y - 2 * dpr, 4 * dpr, 4 * dpr);
    for (const l of level) { // along its line, above it or below
      const path = along(l);
      if (path.length < 2) continue;
      const [[x0, y0], [x1, y1]] = [path[0], path[path.length - 1]], angle = Math.atan2(y1 - y0, x1 - x0);
      const off = labels.h * 0.75 + 3 * dpr, up = [Math.sin(angle) * off, -Math.cos(angle) * off];
      const middles = () => path.flatMap(([x, y]) => [[x + up[0], y + up[1]], [x - up[0], y - up[1]]]);
      if (narrow() || !labels.along(l.level + " " + rate(l.median, "B/s"), angle, middles, css("--ink"))) labels.along(l.level, angle, middles, css("--ink"));
    }
    const written = new Set(); // one letter where many marks lie on each other
    for (const m of marks) {
      const x = X(m.x), y = Y(m.y), key = letter(points[m.i].op) + Math.round(x / 24 / dpr) + "," + Math.round(y / 24 / dpr);
      if (!m.binds || written.has(key)) continue;
      written.add(key);
      labels.put(letter(points[m.i].op), (w, h) => [[x + 6 * dpr, y - h / 2], [x - w / 2, y - h - 6 * dpr], [x - w / 2, y + 6 * dpr], [x - w - 6 * dpr, y - h / 2], [x + 5 * dpr, y - h - 3 * dpr], [x + 5 * dpr, y + 3 * dpr]], css("--ink"), true);
    }
    ctx.restore();
  }

  let chart = null;
  function chartSize() {
    const width = byId("chart").clientWidth;
    return { width, height: Math.round(Math.min(Math.max(320, width * (narrow() ? 1 : 0.56)), Math.max(360, innerHeight * 0.8))) };
  }
  function makeChart() {
    if (chart) chart.destroy();
    chartFontSize = pageFontSize();
    collect();
    const r = ranges();
    chart = new uPlot({
      ...chartSize(), padding: [10, fontSize() * 1.6, 2, 2], legend: { show: false },
      cursor: { points: { show: false }, x: false, y: false, drag: { x: true, y: true, uni: 20 } },
      scales: { x: { time: false, distr: 3, log: 2, range: () => ranges().x }, y: { distr: 3, log: 10, range: () => ranges().y } },
      series: [{}, { points: { show: false }, stroke: "transparent" }],
      axes: axes(narrow() ? "useful FLOP / byte of the level" : "intensity: useful FLOP per byte of the memory level", "useful GFLOP/s", ticks2, ticks10, fraction, number),
      hooks: { draw: [draw], setCursor: [hover] },
    }, [r.x, [null, null]], byId("chart"));
    chart.over.addEventListener("mouseleave", () => show(null));
    chart.over.addEventListener("click", () => { const m = near(); if (m) select(m.i, true); });
    byId("chart").append(tip);
  }
  function refresh() { // after a filter changed: new ranges, same chart
    collect();
    chart.setData([ranges().x, [null, null]], true);
    chart.setScale("y", { min: ranges().y[0], max: ranges().y[1] });
    legend();
  }

  // ---- hover ----
  const tip = el("div", { id: "tip", role: "tooltip", hidden: "" });
  function near() {
    const { left, top } = chart.cursor;
    if (left < 0 || top < 0) return null;
    let best = null, least = 26;
    for (const m of marks) {
      const d = Math.hypot(chart.valToPos(m.x, "x") - left, chart.valToPos(m.y, "y") - top) - (m.binds ? 1 : 0);
      if (d < least) { best = m; least = d; }
    }
    return best;
  }
  function hover() { // the chart tells of its cursor also when it only draws itself again
    if (!chart) return;
    const m = near();
    if (m || !state.byKey) show(m);
  }
  function show(m, byKey) {
    state.byKey = Boolean(byKey);
    if (m === state.hover) return;
    state.hover = m;
    tip.hidden = !m;
    if (m) {
      const p = points[m.i];
      tip.replaceChildren(el("b", {}, name(p)), terms(
        ["isa", p.isa + " on " + p.threads + (p.threads === 1 ? " thread" : " threads")],
        ["config", config(p)],
        ["this mark", levels[m.level] + ": " + number(m.x) + " FLOP/B"],
        ["rate", speed(p)],
        ["measured", time(p.ns)],
        ["simulated", time(p.sim) + (known(p.sim) && p.sim_by ? ", bound by " + p.sim_by : "")],
        ["roof", time(p.roof) + " (" + percent(p.roof / p.ns) + " reached)"],
        ["bound by", p.bound],
        ["least bytes", levels.map((l, k) => l + " " + moved(p.least[k])).join(", ")],
        ["traffic", p.moved ? levels.map((l, k) => l + " " + moved(p.moved[k])).join(", ") : unknown],
      ));
      place(m);
    }
    chart.redraw(false, false);
  }
  function place(m) { // the tip beside a mark, within the chart
    const box = byId("chart"), area = chart.over, left = area.offsetLeft + area.parentElement.offsetLeft, top = area.offsetTop + area.parentElement.offsetTop;
    const x = left + chart.valToPos(m.x, "x"), y = top + chart.valToPos(m.y, "y");
    const w = tip.offsetWidth, h = tip.offsetHeight;
    tip.style.left = Math.max(2, Math.min(box.clientWidth - w - 2, x + 14 + w > box.clientWidth ? x - w - 14 : x + 14)) + "px";
    tip.style.top = (y + 16 + h > box.clientHeight && y - h - 12 > -40 ? y - h - 12 : y + 16) + "px";
  }

  function legend() {
    const box = byId("legend"), { level } = lines();
    box.replaceChildren();
    levels.forEach((l, k) => {
      const dash = ["", "5 1.6", "2.6 1.6", "1.1 1.6"][k], read = level.find(c => c.level === l);
      box.append(el("span", {}, svg(shapes[k] + "M-8 0H-5M5 0H8", { fill: "none", stroke: "currentColor", "stroke-width": "1.4", "stroke-dasharray": "none" }),
        svg("M-8 6L8-6", { stroke: "currentColor", "stroke-width": "1.6", "stroke-dasharray": dash || "none" }), l + (read ? " " + rate(read.median, "B/s") : ", ceiling unknown")));
    });
    [...new Set(points.filter((p, i) => visible(i)).map(p => p.op))].sort((a, b) => a - b).forEach(op => {
      box.append(el("span", {}, svg(shapes[0], { fill: "var(--c" + op % 8 + ")" }), letter(op) + " " + data.ops[op]));
    });
  }

  // ---- the table ----
  const rows = [...document.querySelectorAll("#points tbody tr")];
  const keys = {
    problem: i => i, isa: i => points[i].isa + " " + String(points[i].threads).padStart(4, "0"), ns: i => points[i].ns, rate: i => points[i].rate,
    fraction: i => points[i].roof / points[i].ns, bound: i => points[i].bound, roof: i => points[i].roof, sim: i => points[i].sim,
    ratio: i => known(points[i].sim) ? points[i].ns / points[i].sim : null, ties: i => (points[i].ties || []).length, config: i => points[i].config,
  };
  function sortBy(th) {
    const up = th.getAttribute("aria-sort") !== "ascending", key = keys[th.dataset.key];
    document.querySelectorAll("#points thead th").forEach(t => t.removeAttribute("aria-sort"));
    th.setAttribute("aria-sort", up ? "ascending" : "descending");
    const value = new Map(rows.map(r => [r, key(+r.dataset.i)]));
    rows.sort((a, b) => {
      const x = value.get(a), y = value.get(b);
      if (!known(x) || !known(y)) return known(x) ? -1 : known(y) ? 1 : 0; // what is unknown comes last either way
      return (x < y ? -1 : x > y ? 1 : 0) * (up ? 1 : -1);
    });
    document.querySelector("#points tbody").append(...rows);
  }
  document.querySelectorAll("#points thead th").forEach(th => {
    const button = el("button", { type: "button", title: "sort by this column" }, th.textContent);
    th.replaceChildren(button);
    button.addEventListener("click", () => sortBy(th));
  });
  function search() {
    const words = byId("search").value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const r of rows) {
      const text = r.textContent.toLowerCase();
      r.hidden = !words.every(w => text.includes(w));
      if (!r.hidden) shown++;
    }
    byId("count").textContent = shown + " of " + rows.length + " points";
  }
  byId("search-label").hidden = rows.length === 0;
  byId("search").addEventListener("input", search);
  search();
  document.querySelector("#points tbody").addEventListener("keydown", e => { // up and down go from row to row
    const step = { ArrowDown: 1, ArrowUp: -1 }[e.key], row = e.target.closest("tr");
    if (!step || !row) return;
    let to = row;
    do to = step > 0 ? to.nextElementSibling : to.previousElementSibling; while (to && to.hidden);
    if (to) {
      e.preventDefault();
      to.querySelector("a").focus();
    }
  });

  // ---- one problem ----
  let sweepChart = null;
  function select(i, scroll) {
    if (!(i >= 0 && i < points.length)) return;
    const p = points[i];
    state.selected = i;
    if (location.hash !== "#p" + i) history.replaceState(null, "", "#p" + i);
    rows.forEach(r => r.classList.toggle("selected", +r.dataset.i === i));
    if (p.threads !== state.threads) {
      state.threads = p.threads;
      byId("f-threads").value = p.threads;
    }
    byId("problem").hidden = false;
    byId("choose").value = i;
    byId("previous").disabled = i === 0;
    byId("next").disabled = i === points.length - 1;
    chart.setSize(chartSize());
    refresh();
    detail(p, i);
    byId("live").textContent = name(p) + ", " + p.isa + ", " + time(p.ns) + ", " + percent(p.roof / p.ns) + " of the roof, bound by " + p.bound;
    if (scroll && innerWidth < 1500) byId("problem").scrollIntoView();
  }

  function table(head, body) {
    const numeric = h => h.startsWith(">");
    const t = el("table", {}, el("thead", {}, el("tr", {}, ...head.map(h => el("th", { scope: "col", ...(numeric(h) ? { class: "n" } : {}) }, h.replace(">", ""))))));
    const b = el("tbody");
    for (const r of body) b.append(el("tr", {}, ...r.map((c, k) => k ? el("td", numeric(head[k]) ? { class: "n" } : {}, c) : el("th", { scope: "row" }, c))));
    t.append(b);
    return el("div", { class: "scroll" }, t);
  }

  function detail(p, i) {
    if (sweepChart) { sweepChart.destroy(); sweepChart = null; }
    const box = byId("detail");
    box.replaceChildren(el("h3", {}, name(p) + ", " + p.isa + " on " + p.threads + (p.threads === 1 ? " thread" : " threads")), terms(
      ["config", config(p)],
      ["measured", time(p.ns) + (known(p.min) && known(p.max) ? " (" + time(p.min) + " to " + time(p.max) + ")" : "") + ", samples: " + (p.samples || unknown)],
      ["roof", time(p.roof) + ", bound by " + p.bound + "; " + percent(p.roof / p.ns) + " of it reached"],
      ["simulated", known(p.sim) ? time(p.sim) + ", measured / simulated " + ratio(p.ns, p.sim) : unknown],
      ["rate", speed(p)],
      ["error", known(p.error) ? p.error.toExponential(2) + ", allowed " + p.allowed.toExponential(2) : unknown],
      ["smallest difference seen", percent(p.effect)],
      ["candidates measured", p.tried > 0 ? String(p.tried) : unknown],
      ["kernel sources", p.stale ? "changed since: this answer is stale" : "the same as this program's"],
    ));

    box.append(el("h3", {}, "Traffic"), table(["level", ">least", ">simulated", ">FLOP / least byte", ">ceiling"], levels.map((l, k) => {
      const c = ceilings.find(c => c.kind === "bytes" && c.level === l && c.threads === p.threads && c.isa === p.isa);
      return [l, moved(p.least[k]), p.moved ? moved(p.moved[k]) : unknown,
        p.least[k] > 0 ? number(p.flops / p.least[k]) : "no bound", c ? rate(c.median, "B/s") : unknown];
    })));

    box.append(el("h3", {}, "Where the time goes"));
    if (p.parts && p.parts.length) {
      const most = Math.max(p.ns, p.roof, p.sim || 0, ...p.parts.map(x => x.ns));
      const bars = el("div", { class: "bars" });
      const bar = (label, ns, kind) => {
        const b = el("div", { class: "bar" + kind });
        b.style.width = (100 * ns / most) + "%";
        bars.append(el("span", {}, label), b, el("span", { class: "v" }, time(ns)));
      };
      bar("measured", p.ns, " whole");
      if (known(p.sim)) bar("simulated", p.sim, " whole");
      bar("roof (" + p.bound + ")", p.roof, " roof");
      for (const x of p.parts) if (x.ns > 0) bar(x.name + " alone", x.ns, "");
      box.append(bars, el("p", { class: "help" }, "Simulated: how long each resource alone would take. What binds is the longest; the rest mostly hides behind it."));
    } else box.append(el("p", {}, "Unknown: this candidate could not be simulated."));

    const others = points.map((q, k) => [q, k]).filter(([q, k]) => q.group === p.group && k !== i);
    if (others.length) {
      box.append(el("h3", {}, "The same problem elsewhere"), table(["isa", ">measured", ">of roof", "bound by", "config"], others.map(([q, k]) =>
        [el("a", { href: "#p" + k }, q.isa + " x" + q.threads), time(q.ns), percent(q.roof / q.ns), q.bound, config(q)])));
    }

    box.append(el("h3", {}, "The sweep"));
    if (p.sweep && p.sweep.rows.length) sweep(box, p);
    else box.append(el("p", {}, data.journal ? "Unknown: the journal has no candidates of this problem." : "Unknown: there is no journal beside this profile."));

    box.append(el("h3", {}, "Tie set"));
    if (p.ties && p.ties.length) {
      const list = el("ul", { class: "ties" });
      for (const t of p.ties) list.append(el("li", {}, el("code", {}, spaced(t))));
      box.append(el("p", {}, "Could not be told apart from the answer; a fixed rule picked it."), list);
    } else box.append(el("p", {}, "No other config was within the smallest difference that the run could see."));

    if (p.hash) {
      box.append(el("h3", {}, "Against a dense layer"), terms(
        ["dense layer, rooftune A·B driver", time(p.dense)],
        ["hash layer", known(p.dense) ? time(p.ns) + ", " + (p.ns <= p.dense ? number(p.dense / p.ns) + " times as fast as dense" : number(p.ns / p.dense) + " times as slow as dense") : time(p.ns)],
        ["crossover", crossover(p)],
      ));
    }
    box.append(el("h3", {}, "On a GPU, predicted"));
    box.append(table(["device", ">time", "bound by", "program and config"], data.gpu[p.gpu].map(g =>
      [g.device, time(g.ns), g.bound || unknown, g.why ? g.why : g.program + " " + spaced(g.config)])),
      el("p", { class: "help" }, "The published kernel's own tiling at its default config, in bfloat16: a prediction, not a measurement. " + (data.gpu_fit || "")));
  }

  // crossover says up to how many tokens the hash layer was measured to be faster than a dense one.
  function crossover(p) {
    if (p.crosses) return p.crosses;
    const family = points.filter(q => q.hash && q.isa === p.isa && q.threads === p.threads && known(q.dense) && q.family === p.family).sort((a, b) => a.tokens - b.tokens);
    if (!family.length) return unknown;
    const wins = family.filter(q => q.ns <= q.dense), loses = family.filter(q => q.ns > q.dense);
    if (!loses.length) return "faster at every measured batch, up to " + family[family.length - 1].tokens + " tokens";
    if (!wins.length) return "slower at every measured batch, from " + family[0].tokens + " tokens";
    return "faster at " + wins.map(q => q.tokens).join(", ") + " tokens, slower at " + loses.map(q => q.tokens).join(", ");
  }

  function sweep(box, p) {
    const s = p.sweep, n = s.names.length;
    const values = s.names.map((_, k) => [...new Set(s.rows.map(r => r[k]).filter(known))].sort((a, b) => a - b));
    const spread = k => { // how much of the time this tunable decides: best time by value, worst over best
      const best = values[k].map(v => Math.min(...s.rows.filter(r => r[k] === v).map(r => r[n])));
      return best.length > 1 ? Math.max(...best) / Math.min(...best) : 0;
    };
    const order = s.names.map((_, k) => k).sort((a, b) => spread(b) - spread(a));
    const pick = el("select", { id: "sweep-by" });
    for (const k of order) option(pick, k, s.names[k] + (values[k].length > 1 ? "" : " (one value)"));
    const holder = el("div", { id: "sweep" });
    const measured = svg("M0-5A5 5 0 1 0 0 5A5 5 0 1 0 0-5Z", { fill: "var(--c0)" }), simulated = svg("M-4.6-4.6H4.6V4.6H-4.6Z", { fill: "none", stroke: "var(--c1)", "stroke-width": "1.8" });
    if (n > 0) {
      box.append(el("label", {}, "time over ", pick), holder, el("div", { class: "keys" },
        el("span", {}, measured, "measured, the line joins the fastest"), el("span", {}, simulated, "simulated")));
      const redraw = () => {
        if (sweepChart) sweepChart.destroy();
        sweepChart = drawSweep(holder, s, +pick.value, values[+pick.value]);
      };
      pick.addEventListener("change", redraw);
      redraw();
    }
    const list = el("details", {}, el("summary", {}, s.rows.length + " measured candidates" + (s.left_out ? ", " + s.left_out + " slower ones left out" : "")));
    list.addEventListener("toggle", () => {
      if (list.open && list.children.length === 1) {
        list.append(table(["config", ">measured", ">simulated", ">ratio", "verdict"], s.rows.map(r =>
          [s.names.map((m, k) => known(r[k]) ? m + "=" + r[k] : "").filter(Boolean).join(" "), time(r[n]), time(r[n + 1]), ratio(r[n], r[n + 1]), data.verdicts[r[n + 2]]])));
      }
    });
    box.append(list);
  }

  function drawSweep(holder, s, k, values) {
    const n = s.names.length;
    const here = s.rows.filter(r => known(r[k]));
    const times = here.flatMap(r => [r[n], r[n + 1]]).filter(known);
    const low = Math.min(...times) / 1.25, high = Math.max(...times) * 1.25;
    const at = v => values.indexOf(v);
    const u = new uPlot({
      width: holder.clientWidth, height: Math.round(Math.min(340, Math.max(220, holder.clientWidth * 0.5))), padding: [10, 14, 2, 2], legend: { show: false },
      cursor: { show: false },
      scales: { x: { time: false, range: () => [-0.5, values.length - 0.5] }, y: { distr: 3, log: 10, range: () => [low, high] } },
      series: [{}, { points: { show: false }, stroke: "transparent" }],
      axes: axes(s.names[k], "time", () => values.map((_, i) => i), (min, max, most) => ticks10(min, max, most), v => values[v] === undefined ? "" : String(values[v]), time),
      hooks: {
        draw: [u => {
          const ctx = u.ctx, dpr = devicePixelRatio, X = v => u.valToPos(v, "x", true), Y = v => u.valToPos(v, "y", true);
          const series = (col, level, dx, dash, filled, style) => {
            ctx.beginPath();
            ctx.setLineDash(dash.map(d => d * dpr));
            ctx.lineWidth = 1.8 * dpr;
            ctx.strokeStyle = style;
            let begun = false;
            values.forEach(v => {
              const all = here.filter(r => r[k] === v && known(r[col])).map(r => r[col]);
              if (!all.length) return;
              const x = X(at(v)) + dx, y = Y(Math.min(...all));
              if (begun) ctx.lineTo(x, y); else ctx.moveTo(x, y);
              begun = true;
            });
            ctx.stroke();
            ctx.setLineDash([]);
            for (const r of here) if (known(r[col])) mark(ctx, level, X(at(r[k])) + dx, Y(r[col]), 0.8 * dpr, style, filled ? style : css("--bg"));
          };
          series(n + 1, 1, 6 * dpr, [5, 4], false, css("--c1"));
          series(n, 0, -6 * dpr, [], true, css("--c0"));
        }],
      },
    }, [[-0.5, values.length - 0.5], [null, null]], holder);
    return u;
  }

  // ---- filters, keyboard, sizes, colours ----
  function filters() {
    for (const n of threadCounts) option(byId("f-threads"), n, String(n));
    byId("f-threads").value = state.threads;
    option(byId("f-isa"), "", "fastest of each problem");
    const isas = [...new Set([...points.map(p => p.isa), ...ceilings.map(c => c.isa)])];
    for (const isa of isas) option(byId("f-isa"), isa, isa);
    option(byId("f-isa"), "*", "all");
    option(byId("f-op"), "", "all");
    for (const op of data.ops || []) option(byId("f-op"), op, op);
    byId("f-threads").addEventListener("change", e => { state.threads = +e.target.value; refresh(); });
    byId("f-isa").addEventListener("change", e => { state.isa = e.target.value; refresh(); });
    byId("f-op").addEventListener("change", e => { state.op = e.target.value; refresh(); });
    byId("f-bytes").addEventListener("change", e => { state.by = e.target.value; refresh(); });
    for (const l of levels) {
      const check = el("input", { type: "checkbox", value: l, checked: "" });
      check.addEventListener("change", () => { if (check.checked) state.levels.add(l); else state.levels.delete(l); refresh(); });
      byId("f-levels").append(el("label", {}, check, " " + l));
    }
    points.forEach((p, i) => option(byId("choose"), i, name(p) + ", " + p.isa + " x" + p.threads));
    byId("filters").hidden = false;
    byId("choose").addEventListener("change", e => select(+e.target.value));
    byId("previous").addEventListener("click", () => select(state.selected - 1));
    byId("next").addEventListener("click", () => select(state.selected + 1));
  }
  byId("chart").addEventListener("keydown", e => {
    if (e.key === "Escape") {
      show(null);
      refresh();
      return;
    }
    if (e.key === "Enter" && state.hover) {
      select(state.hover.i, true);
      return;
    }
    const along = { ArrowRight: ["x", 1], ArrowLeft: ["x", -1], ArrowUp: ["y", 1], ArrowDown: ["y", -1] }[e.key];
    if (!along || !marks.length) return;
    e.preventDefault();
    const [axis, step] = along;
    const sorted = [...marks].sort((a, b) => a[axis] - b[axis] || a.i - b.i || a.level - b.level);
    const now = state.hover ? sorted.findIndex(m => m.i === state.hover.i && m.level === state.hover.level) : step > 0 ? -1 : sorted.length;
    const m = sorted[Math.max(0, Math.min(sorted.length - 1, now + step))];
    show(m, true);
    byId("live").textContent = name(points[m.i]) + ", " + levels[m.level] + ", " + number(m.x) + " FLOP per byte, " + speed(points[m.i]) + ", bound by " + points[m.i].bound;
  });
  byId("chart").addEventListener("blur", () => show(null));

  if (ceilings.length || points.length) {
    filters();
    makeChart();
    legend();
    let width = byId("chart").clientWidth, drawnFor = pageFontSize() + " " + narrow();
    new ResizeObserver(() => {
      if (byId("chart").clientWidth === width) return;
      width = byId("chart").clientWidth;
      const style = pageFontSize() + " " + narrow();
      if (style !== drawnFor) { // letters of another size need a new chart
        drawnFor = style;
        makeChart();
        if (state.selected >= 0) detail(points[state.selected], state.selected);
      } else {
        chart.setSize(chartSize());
        if (sweepChart) sweepChart.setSize({ width: byId("sweep").clientWidth, height: sweepChart.height });
      }
      if (state.hover) place(state.hover);
    }).observe(byId("chart"));
    const repaint = () => { chart.redraw(false, true); if (sweepChart) sweepChart.redraw(false, true); };
    dark.addEventListener("change", repaint);
    matchMedia("print").addEventListener("change", repaint);
    const go = () => { const m = /^#p(\d+)$/.exec(location.hash); if (m) select(+m[1], true); };
    addEventListener("hashchange", go);
    go();
  } else byId("chart").hidden = true;
})();
