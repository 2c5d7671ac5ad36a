package kernels

import (
	"testing"

	"github.com/rooftune/rooftune/kernels/tile"
)

// Narrow panels are for those few heads of which more workers then get a share.
func TestWorkerColumns(t *testing.T) {
	for _, c := range []struct{ heads, dv, threads, wide, narrow int }{
		{1, 64, 1, 64, 64}, {1, 64, 2, 64, 32}, {1, 128, 2, 64, 64}, {1, 128, 3, 64, 64}, {1, 128, 4, 64, 32},
		{2, 64, 3, 64, 64}, {2, 64, 4, 64, 32}, {16, 64, 2, 512, 512}, {1, 0, 2, 64, 32},
	} {
		p := attentionProblem(0, c.threads, tile.Shape{B: 1, T: 16384, Hq: c.heads, Hkv: c.heads, Dk: 128, Dv: c.dv})
		if wide, narrow := workerColumns(p, 64), workerColumns(p, 32); wide != c.wide || narrow != c.narrow {
			t.Errorf("%d heads of %d columns, %d threads: %d columns a worker in wide panels and %d in narrow ones, want %d and %d",
				c.heads, c.dv, c.threads, wide, narrow, c.wide, c.narrow)
		}
	}
}
