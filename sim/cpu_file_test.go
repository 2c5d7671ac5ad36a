package sim

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/rooftune/rooftune/kernels/tile"
)

func TestPublishedCPUs(t *testing.T) {
	if len(CPUs()) < 4 {
		t.Fatalf("CPUs %q", CPUs())
	}
	s := tile.Shape{B: 1, T: 4096, Hq: 8, Hkv: 8, Dk: 128, Dv: 128}
	for _, name := range CPUs() {
		f, err := ReadCPU(name)
		if err != nil {
			t.Fatal(err)
		}
		if f.Source == "" || len(f.Notes) == 0 {
			t.Errorf("%s: no source, or nothing is said to be doubtful", name)
		}
		before := 0.0
		for _, threads := range []int{1, 8, f.Cores} {
			d, err := f.Device(threads)
			if err != nil {
				t.Fatal(err)
			}
			p := recordChunks(t, s, 32, 3)
			p.Launches[0].Blocks = int64(threads)
			r, err := Simulate(d, p)
			if err != nil {
				t.Fatal(err)
			}
			if !(r.TimeNs >= r.LowerBoundNs && r.LowerBoundNs > 0) {
				t.Errorf("%s, %d threads: %g ns under the bound of %g", name, threads, r.TimeNs, r.LowerBoundNs)
			}
			// The same work for each thread takes no less time where more share memory.
			if r.TimeNs < 0.99*before {
				t.Errorf("%s: %d threads take %g ns, fewer %g", name, threads, r.TimeNs, before)
			}
			before = r.TimeNs
		}
		if _, err := f.Device(f.Cores + 1); err == nil {
			t.Errorf("%s: more threads than cores", name)
		}
	}
	if _, err := ReadCPU("abacus"); err == nil {
		t.Error("an abacus")
	}
	for name, text := range map[string]string{
		"unknown field": `{"name":"x","colour":"red"}`, "no caches": `{"name":"x","isa":"avx2","cores":1,"clock_hz":1e9,"flops_per_clock":1,"line_bytes":64}`,
		"not JSON": `{`,
	} {
		path := filepath.Join(t.TempDir(), "x.json")
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadCPU(path); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
