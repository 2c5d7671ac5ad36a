package gpu

import (
	"encoding/csv"
	"fmt"
	"io"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Row is a published timing: the columns of measured.csv.
type Row struct {
	ID, Family, Kernel, Algorithm, GPU, DType, Source string
	B, H, T, DK, DV                                   float64 // 0 where the row has none
	Params                                            map[string]string
	Blocks                                            string
	MS                                                float64 // 0 where a rate was measured
	GBps                                              float64
	Direction, Tier                                   string
	bad                                               error // what in it is no number: it can't be scored
}

// rowColumns must be there.
var rowColumns = []string{"family", "kernel", "gpu", "direction"}

// Limits of a rows file.
const (
	maxRows     = 1 << 20
	maxRowBytes = 256 << 20
)

// ReadRows reads timings in the columns of measured.csv, in any order. A row with a cell that should be a number and is none is kept, to be named
// among those that can't be scored.
func ReadRows(r io.Reader) ([]Row, error) {
	limited := &io.LimitedReader{R: r, N: maxRowBytes}
	c := csv.NewReader(limited)
	c.FieldsPerRecord = -1
	head, err := c.Read()
	if err != nil {
		return nil, fmt.Errorf("rows: no header: %w", err)
	}
	at := map[string]int{}
	for i, name := range head {
		at[strings.TrimPrefix(strings.TrimSpace(name), "\ufeff")] = i
	}
	for _, name := range rowColumns {
		if _, ok := at[name]; !ok {
			return nil, fmt.Errorf("rows: column %q is missing", name)
		}
	}
	var rows []Row
	for line := 2; ; line++ {
		rec, err := c.Read()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("rows: %w", err)
		}
		if len(rows) == maxRows || limited.N == 0 {
			return nil, fmt.Errorf("rows: more than %d rows or %d bytes", maxRows, maxRowBytes)
		}
		get := func(name string) string {
			if i, ok := at[name]; ok && i < len(rec) {
				return strings.TrimSpace(rec[i])
			}
			return ""
		}
		var bad error
		number := func(name string) float64 {
			s := get(name)
			if s == "" {
				return 0
			}
			x, err := strconv.ParseFloat(s, 64)
			if (err != nil || math.IsNaN(x) || math.IsInf(x, 0) || x < 0) && bad == nil {
				bad = fmt.Errorf("line %d: %s is %q: want a number", line, name, s)
				return 0
			}
			return x
		}
		row := Row{
			ID: get("id"), Family: get("family"), Kernel: get("kernel"), Algorithm: get("algorithm"), GPU: get("gpu"), DType: get("dtype"), Source: get("source"),
			B: number("B"), H: number("H"), T: number("T"), DK: number("d_k"), DV: number("d_v"), Blocks: get("block_sizes_if_known"),
			MS: number("measured_ms"), Direction: strings.ToLower(get("direction")), Tier: get("tier"), Params: map[string]string{},
		}
		if row.MS == 0 {
			row.GBps = number("measured_GB_or_GBps")
		}
		row.bad = bad
		if row.ID == "" {
			row.ID = fmt.Sprintf("line %d", line)
		}
		for _, pair := range strings.Split(get("other_params"), ";") {
			if k, v, ok := strings.Cut(pair, "="); ok {
				row.Params[strings.ToLower(strings.TrimSpace(k))] = strings.TrimSpace(v)
			}
		}
		rows = append(rows, row)
	}
	return rows, nil
}

// param is a number among the row's parameters.
func (r *Row) param(name string) (float64, bool) {
	x, err := strconv.ParseFloat(r.Params[name], 64)
	return x, err == nil && !math.IsNaN(x) && !math.IsInf(x, 0)
}

// paramNames are other names of programs' dimensions.
var paramNames = map[string]string{
	"h_qk": "hk", "h_k": "hk", "h_v": "hq", "h_q": "hq", "heads_q": "hq", "h_kv": "hkv", "hkv": "hkv", "heads_kv": "hkv", "kv_heads": "hkv", "n_kv_heads": "hkv", "nkv": "hkv", "gqa_kv": "hkv",
	"t_k": "tk", "tkv": "tk", "t_kv": "tk", "kv_len": "tk", "seqlen_k": "tk", "s_kv": "tk", "context": "tk", "cache_len": "tk", "skv": "tk",
	"seqlen_q": "t", "t_q": "t", "sq": "t", "window_size": "window", "swa": "window", "ngroups": "groups", "n_groups": "groups", "g": "groups", "d_state": "dk", "state": "dk", "headdim": "dv",
	"chunk_size": "chunk", "bt": "chunk", "threads_per_sm": "threads", "bm": "bm", "bn": "bn", "batch": "batch",
	"e": "rows", "table_rows": "rows", "num_embeddings": "rows", "vocab": "rows", "dim": "d", "pooling": "bag", "pooling_factor": "bag", "l": "bag", "gpus": "p", "world": "p", "n_gpus": "p", "ngpus": "p", "world_size": "p", "devices": "p", "nranks": "p",
}

var tilePattern = regexp.MustCompile(`^(\d+)x(\d+)(?:x(\d+))?$`)

// streamBytes is how much a row with a rate but no size moves in an array.
const streamBytes = 4 << 30

// values turns a row into what the program of the choice is given.
func (r *Row) values(t *Template, c *kernelChoice, elementBytes float64) Values {
	v := Values{}
	set := func(name string, x float64) {
		if x > 0 && t.Has(name) {
			v[name] = x
		}
	}
	set("b", r.B)
	set("t", r.T)
	set("hq", r.H)
	set("dk", r.DK)
	set("dv", r.DV)
	switch c.Rows {
	case "btd":
		set("n", max(1, r.B)*max(1, r.T)*max(1, r.H))
		set("d", r.DK)
	case "nd":
		set("n", max(1, r.B)*max(1, r.T)*max(1, r.H))
		set("d", max(r.DK, r.DV))
	case "bytes":
		for _, name := range []string{"bytes", "size", "message_bytes"} {
			if x, ok := r.param(name); ok {
				set("n", x/elementBytes)
			}
		}
	case "elements":
		set("n", max(1, r.B)*max(1, r.T)*max(1, r.H)*max(1, r.DK))
	}
	for key := range r.Params {
		x, ok := r.param(key)
		if !ok {
			continue
		}
		name := key
		if other, ok := paramNames[key]; ok && !t.Has(name) {
			name = other
		}
		if t.Has(name) && (x > 0 || !t.mustBePositive(name)) {
			v[name] = x
		}
	}
	if hv, ok := r.param("h_v"); ok {
		set("hq", hv)
	}
	if hk, ok := r.param("h_qk"); ok {
		set("hk", hk)
	}
	switch strings.ToLower(r.Params["causal"]) {
	case "true", "yes":
		set("causal", 1)
	}
	for name, x := range c.Set {
		v[name] = x
	}
	if _, ok := r.Params["cudagraph"]; ok { // kernels alone, without autograd
		delete(v, "accumulate")
	}
	if _, ok := v["n"]; !ok && t.Name == "stream" {
		bytes := float64(streamBytes)
		if x, ok := r.param("bytes"); ok {
			bytes = x / max(1, v["read"]+v["write"])
		}
		v["n"] = bytes / elementBytes
	}
	if t.Name == "stream" {
		if x, ok := r.param("threads_per_sm"); ok {
			v["threads"], v["blocks"] = x, 1
		}
	}
	if bt, ok := strings.CutPrefix(r.Blocks, "BT="); ok {
		if x, err := strconv.ParseFloat(bt, 64); err == nil {
			set("chunk", x)
		}
	}
	if m := tilePattern.FindStringSubmatch(r.Blocks); m != nil && t.Has("bm") && t.Has("bn") && v["m"] > 0 && v["n"] > 0 {
		r.knownTile(t, v, m)
	}
	return v
}

// knownTile sets the tile that a profiler saw, the way round that agrees with the grid it saw, and the split that the grid implies.
func (r *Row) knownTile(t *Template, v Values, tile []string) {
	a, _ := strconv.ParseFloat(tile[1], 64)
	b, _ := strconv.ParseFloat(tile[2], 64)
	blocks := 0.0
	if g := tilePattern.FindStringSubmatch(r.Params["grid"]); g != nil {
		blocks = 1
		for _, s := range g[1:] {
			if x, err := strconv.ParseFloat(s, 64); err == nil {
				blocks *= x
			}
		}
	}
	batch := max(1, v["batch"])
	of := func(bm, bn float64) float64 { return math.Ceil(v["m"]/bm) * math.Ceil(v["n"]/bn) * batch }
	v["bm"], v["bn"] = b, a
	if blocks > 0 && math.Mod(blocks, of(b, a)) != 0 && math.Mod(blocks, of(a, b)) == 0 {
		v["bm"], v["bn"] = a, b
	}
	if split := math.Round(blocks / of(v["bm"], v["bn"])); split > 1 && split <= 64 && t.Has("split") {
		v["split"] = split
	} else if t.Has("split") && blocks > 0 {
		v["split"] = 1
	}
	if x, ok := r.param("block"); ok && t.Has("threads") {
		v["threads"] = x
	}
}

// mustBePositive tells whether zero makes no sense for a name.
func (t *Template) mustBePositive(name string) bool {
	return slices.ContainsFunc(t.configs, func(p parameter) bool { return p.name == name })
}
