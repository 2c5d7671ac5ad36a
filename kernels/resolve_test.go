package kernels

import "testing"

// The choice for a problem that was met before costs no allocation.
func TestResolveAllocates(t *testing.T) {
	isolate(t)
	explain(t, tuned)
	if n := testing.AllocsPerRun(100, func() {
		if _, err := resolve(tuned); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%g allocations a call", n)
	}
}

func BenchmarkResolve(b *testing.B) {
	if _, err := resolve(tuned); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := resolve(tuned); err != nil {
			b.Fatal(err)
		}
	}
}
