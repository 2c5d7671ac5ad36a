package gpu

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// tritonNames are what Triton's kernels call the tunables.
var tritonNames = map[string]string{
	"bm": "BLOCK_M", "bn": "BLOCK_N", "bk": "BLOCK_K", "bv": "BV", "chunk": "BT", "obk": "BK_O", "obv": "BV_O", "hbv": "BV_H", "block": "BLOCK", "tile": "BLOCK_SIZE",
	"bbm": "BLOCK_M_BWD", "bbn": "BLOCK_N_BWD", "sub": "BC", "split": "SPLIT_K", "rows": "ROWS",
}

// TritonConfigs writes results as a list for triton.autotune, fastest first.
func TritonConfigs(results []*Result) string {
	var b strings.Builder
	b.WriteString("configs = [\n")
	seen := map[string]bool{}
	for _, r := range results {
		var meta []string
		warps, stages := 4, 2
		for _, name := range slices.Sorted(maps.Keys(r.Config)) {
			n := r.Config[name]
			switch name {
			case "warps":
				warps = n
			case "stages":
				stages = n
			case "threads":
				warps = max(1, n/warpThreads)
			case "bwarps", "groups", "seq", "bseq", "blocks":
			default:
				key, ok := tritonNames[name]
				if !ok {
					key = strings.ToUpper(name)
				}
				meta = append(meta, fmt.Sprintf("%q: %d", key, n))
			}
		}
		line := fmt.Sprintf("    triton.Config({%s}, num_warps=%d, num_stages=%d),", strings.Join(meta, ", "), warps, stages)
		if !seen[line] {
			seen[line] = true
			fmt.Fprintf(&b, "%s  # %.4g us\n", line, r.TimeNs/1e3)
		}
	}
	b.WriteString("]\n")
	return b.String()
}

// Parts names the resources that take time.
func Parts() []string { return partNames[:] }
