package sim

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/rooftune/rooftune/internal/machine"
	"github.com/rooftune/rooftune/kernels/tile"
)

// chunkDriver is a small linear-attention driver in the chunk form, for tests: for each chunk of each head
// P = lower(Q Kᵀ), O = Q S + P V, S += Kᵀ V.
func chunkDriver(p *tile.Primitives, s tile.Shape, chunk int, q, k, v, o, state, scratch []float32, trip func()) {
	ldk, ldv := s.Hkv*s.Dk, s.Hkv*s.Dv
	for t := 0; t < s.T; t += chunk {
		n := min(chunk, s.T-t)
		for h := range s.Hkv {
			qh, kh, vh, oh := q[t*ldk+h*s.Dk:], k[t*ldk+h*s.Dk:], v[t*ldv+h*s.Dv:], o[t*ldv+h*s.Dv:]
			sh := state[h*s.Dk*s.Dv:]
			p.NT[2].Run(&tile.Product{A: qh, B: kh, C: scratch, LDA: ldk, LDB: ldk, LDC: chunk, M: n, N: n, K: s.Dk, Lower: true})
			p.NN[0].Run(&tile.Product{A: qh, B: sh, C: oh, LDA: ldk, LDB: s.Dv, LDC: ldv, M: n, N: s.Dv, K: s.Dk})
			p.NN[0].Run(&tile.Product{A: scratch, B: vh, C: oh, LDA: chunk, LDB: ldv, LDC: ldv, M: n, N: s.Dv, K: n, Beta: 1, Lower: true})
			p.TN[0].Run(&tile.Product{A: kh, B: vh, C: sh, LDA: ldk, LDB: ldv, LDC: s.Dv, M: s.Dk, N: s.Dv, K: n, Beta: 1})
		}
		trip()
	}
}

// recordChunks records the first trips of chunkDriver (0: all) as the program of the whole.
func recordChunks(t testing.TB, s tile.Shape, chunk, trips int) *Program {
	t.Helper()
	short := s
	if trips > 0 {
		short.T = min(s.T, trips*chunk)
	}
	r := NewRecorder(testTable())
	array := func(name string, n int, kind BufferKind) []float32 {
		data := make([]float32, n)
		r.Buffer(name, data, kind)
		return data
	}
	n := short.T * s.Hkv
	q, k, v := array("q", n*s.Dk, Input), array("k", n*s.Dk, Input), array("v", n*s.Dv, Input)
	o, state, p := array("o", n*s.Dv, Output), array("s", s.Hkv*s.Dk*s.Dv, State), array("p", chunk*chunk, Scratch)
	chunkDriver(r.Primitives(), short, chunk, q, k, v, o, state, p, r.Trip)
	total := float64(s.T) / float64(chunk)
	if short.T == s.T {
		total = math.Ceil(total) // the ragged trip was recorded as it is
	}
	program, err := r.Program("chunks", tile.Config{"chunk": chunk}, total, 1)
	if err != nil {
		t.Fatal(err)
	}
	return program
}

func testMachine() *machine.Machine {
	return &machine.Machine{Brand: "test", Cores: 2, Threads: 2, Caches: []machine.Cache{
		{Level: 1, Bytes: 32 << 10, LineBytes: 64, SharedBy: 1}, {Level: 2, Bytes: 1 << 20, LineBytes: 64, SharedBy: 1}, {Level: 3, Bytes: 32 << 20, LineBytes: 64, SharedBy: 2},
	}}
}

func testCPU(t testing.TB, threads int) *Device {
	t.Helper()
	d, err := CPU(testMachine(), nil, tile.AVX512, threads)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func attention(s tile.Shape) tile.Problem {
	return tile.Problem{Op: tile.LinearAttention, Rule: tile.RuleLinear, Shape: s, DType: "float32", Dir: "fwd", Threads: 1, Decay: tile.DecayNone}
}

// Three recorded trips must say of the whole what recording all of it says.
func TestSteadyTripStandsForTheRest(t *testing.T) {
	d := testCPU(t, 1)
	for _, s := range []tile.Shape{
		{B: 1, T: 256, Hq: 2, Hkv: 2, Dk: 64, Dv: 64},   // stays in L2
		{B: 1, T: 2048, Hq: 4, Hkv: 4, Dk: 64, Dv: 64},  // stays in L3
		{B: 1, T: 8192, Hq: 4, Hkv: 4, Dk: 64, Dv: 128}, // does not
	} {
		for _, cold := range []bool{false, true} {
			whole, first := recordChunks(t, s, 32, 0), recordChunks(t, s, 32, 3)
			whole.Cold, first.Cold = cold, cold
			want, err := Simulate(d, whole)
			if err != nil {
				t.Fatal(err)
			}
			got, err := Simulate(d, first)
			if err != nil {
				t.Fatal(err)
			}
			if got.Flops != want.Flops || got.Bytes["L1"] != want.Bytes["L1"] {
				t.Errorf("%s: %d flops and %d bytes in L1, want %d and %d", s, got.Flops, got.Bytes["L1"], want.Flops, want.Bytes["L1"])
			}
			for level, bytes := range want.Bytes {
				if diff := got.Bytes[level] - bytes; max(diff, -diff) > bytes/25+64<<10 {
					t.Errorf("%s cold=%v: %s moves %d bytes, recorded in full %d", s, cold, level, got.Bytes[level], bytes)
				}
			}
		}
	}
}

// Traffic counted by hand: a warm copy of 4 MiB to 4 MiB goes through a 1 MiB L2 and stays in a 32 MiB L3; each line is read for
// ownership before it is written.
func TestTrafficOfCopies(t *testing.T) {
	const n = 1 << 20
	src, dst := make([]float32, n), make([]float32, n)
	for _, c := range []struct {
		elements    int
		cold        bool
		l2, l3, mem int64 // in copied bytes
	}{
		{n, false, 3, 3, 0}, // both arrays in, one back
		{n, true, 3, 3, 2},  // the caches end with what was written
		{2048, false, 0, 0, 0},
		{16384, false, 3, 0, 0},
	} {
		r := NewRecorder(testTable())
		r.Buffer("src", src, Input)
		r.Buffer("dst", dst, Output)
		p := r.Primitives()
		for i := 0; i < c.elements; i += 2048 {
			p.Pack(&tile.Pack{Src: src[i:], Dst: dst[i:], LDS: 2048, LDD: 2048, M: 1, N: 2048})
		}
		program, err := r.Program("copy", nil, 1, 1)
		if err != nil {
			t.Fatal(err)
		}
		program.Cold = c.cold
		res, err := Simulate(testCPU(t, 1), program)
		if err != nil {
			t.Fatal(err)
		}
		bytes := int64(c.elements) * 4
		if res.Bytes["L1"] != 2*bytes {
			t.Errorf("%d elements: L1 moves %d", c.elements, res.Bytes["L1"])
		}
		for level, times := range map[string]int64{"L2": c.l2, "L3": c.l3, "DRAM": c.mem} {
			slack := int64(0)
			if c.cold { // what is still dirty in a nearer level at the end
				slack = 1 << 20
			}
			if got := res.Bytes[level]; got > times*bytes || got < times*bytes-slack {
				t.Errorf("%d elements, cold=%v: %s moves %d bytes, want %d times %d", c.elements, c.cold, level, got, times, bytes)
			}
		}
	}
}

// No simulated time is below the problem's roof or the program's lower bound, and traffic is never below its bound.
func TestBoundsAreBelowSimulations(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	for range 60 {
		s := tile.Shape{B: 1, T: 1 + rng.IntN(400), Hq: 1 + rng.IntN(3), Dk: 8 * (1 + rng.IntN(12)), Dv: 8 * (1 + rng.IntN(12))}
		s.Hkv = s.Hq
		chunk := []int{1, 8, 16, 64}[rng.IntN(4)]
		program := recordChunks(t, s, chunk, 3*rng.IntN(2))
		program.Cold = rng.IntN(4) == 0
		d := testCPU(t, 1)
		if rng.IntN(2) == 0 { // caches that hide
			m := testMachine()
			m.Caches = m.Caches[:rng.IntN(4)]
			var err error
			if d, err = CPU(m, nil, tile.AVX2, 1); err != nil {
				t.Fatal(err)
			}
		}
		res, err := Simulate(d, program)
		if err != nil {
			t.Fatal(err)
		}
		roof, err := Roof(d, attention(s))
		if err != nil {
			t.Fatal(err)
		}
		if roof.RoofNs <= 0 || roof.RoofNs > res.TimeNs || res.LowerBoundNs > res.TimeNs {
			t.Errorf("%s chunk=%d: simulated %g ns, roof %g, lower bound %g", s, chunk, res.TimeNs, roof.RoofNs, res.LowerBoundNs)
		}
		if res.Flops < roof.Flops {
			t.Errorf("%s chunk=%d: executes %d flops, useful are %d", s, chunk, res.Flops, roof.Flops)
		}
		for level, bytes := range res.BytesLowerBound {
			if res.Bytes[level] < bytes {
				t.Errorf("%s chunk=%d cold=%v: %s moves %d bytes, below its bound %d", s, chunk, program.Cold, level, res.Bytes[level], bytes)
			}
		}
	}
}

// Measured shares of the ceiling for register tiles with everything in L1 (AVX-512, Zen 5) beside the model's: of the first row this module's own
// products, of the second C kernels of depth 128. The model is not fitted to them; it must see which tiles are starved, and be within a third.
func TestTileEfficiency(t *testing.T) {
	c := testCPU(t, 1).core()
	share := func(mr, nr int) float64 {
		return float64(mr*nr*128) / float64(c.lanes) / c.FMAs / c.tile(mr, c.vectors(nr), 128, false)
	}
	for _, m := range []struct {
		mr, nr   int
		measured float64
	}{
		{8, 32, .99}, {12, 32, .97}, {6, 64, .99}, {4, 32, .87},
		{6, 32, .98}, {14, 32, .99}, {8, 48, .99}, {4, 64, .79}, {8, 16, .85}, {16, 16, .65},
	} {
		got := share(m.mr, m.nr)
		t.Logf("%dx%d: %.2f, measured %.2f", m.mr, m.nr, got, m.measured)
		if got > 1 || got < m.measured*0.67 || got > m.measured*1.33 {
			t.Errorf("%dx%d: %.2f of the ceiling, measured %.2f", m.mr, m.nr, got, m.measured)
		}
	}
	if share(8, 32) <= share(8, 16) || share(8, 32) <= share(4, 32) {
		t.Error("8x32 must beat tiles bound by loads or latency")
	}
}

func TestSimulateRefuses(t *testing.T) {
	d := testCPU(t, 1)
	p := recordChunks(t, tile.Shape{B: 1, T: 16, Hq: 1, Hkv: 1, Dk: 16, Dv: 16}, 8, 0)
	p.Kind = "gpu"
	if _, err := Simulate(d, p); err == nil {
		t.Error("a program of another kind ran")
	}
	p.Kind = KindCPU
	p.Launches[0].Nest[0].Ops[0].Touches[0].Offset = 1 << 40
	if _, err := Simulate(d, p); err == nil {
		t.Error("a touch far outside its buffer was accepted")
	}
	if _, err := Simulate(nil, p); err == nil {
		t.Error("no device was accepted")
	}
}

func BenchmarkSimulateCPU(b *testing.B) {
	d := testCPU(b, 1)
	p := recordChunks(b, tile.Shape{B: 1, T: 4096, Hq: 8, Hkv: 8, Dk: 128, Dv: 128}, 64, 3)
	for b.Loop() {
		if _, err := Simulate(d, p); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "configs/s")
}
