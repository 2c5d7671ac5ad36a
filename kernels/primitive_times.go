package kernels

import (
	"fmt"
	"slices"
	"time"

	"github.com/rooftune/rooftune/internal/machine"
	"github.com/rooftune/rooftune/kernels/tile"
)

// What primitives are timed on: rows of 128 as in most models, operands that stay in the first level together with what else a
// driver keeps there.
const (
	timedRows   = 32
	timedDepth  = 64
	timedWidth  = 64
	timedTokens = 24  // a whole number of blocks of 2, 3, 4, 6 and 8
	timedHeads  = 4   // that may share a state, of
	timedShared = 12  // tokens: a whole number of the smaller blocks that they are taken in
	timedDk     = 128 // rows of a state panel
)

// MeasurePrimitives times the primitives of an ISA that the attention ops are made of, for about window each: what the simulator
// needs to know of this machine's cores beyond their ceilings. The machine should be idle.
func MeasurePrimitives(isa tile.ISA, window time.Duration) ([]machine.Primitive, error) {
	prim, ok := primitives(isa)
	if !ok {
		return nil, fmt.Errorf("kernels: ISA %q cannot run here", isa)
	}
	a, b, c := aligned(1<<14), aligned(1<<14), aligned(1<<14)
	for _, v := range [][]float32{a, b, c} {
		for i := range v {
			v[i] = 1.0 / 128
		}
	}
	var ones [timedRows]float32
	for i := range ones {
		ones[i] = 1
	}
	warm := tile.Product{A: a, LDA: timedDepth, B: b, LDB: timedWidth, C: c, LDC: timedWidth, M: timedRows, N: timedWidth, K: timedDepth}
	for start := time.Now(); time.Since(start) < window; { // a core takes a while to give its wide units their clock
		prim.NN[0].Run(&warm)
	}
	var out []machine.Primitive
	add := func(p machine.Primitive, run func()) {
		p.ISA, p.Ns = isa, shortest(run, window)
		out = append(out, p)
	}
	product := func(op string, ks []tile.ProductKernel, m, n, k int, x tile.Product) {
		for _, kernel := range ks {
			x.M, x.N, x.K, x.C = m, n, k, c
			add(machine.Primitive{Op: op, MR: kernel.MR, NR: kernel.NR, M: m, N: n, K: k}, func() { kernel.Run(&x) })
		}
	}
	product("nn", prim.NN, timedRows, timedWidth, timedDepth, tile.Product{A: a, LDA: timedDepth, B: b, LDB: timedWidth, LDC: timedWidth})
	product("nt", prim.NT, timedRows, timedRows, timedDepth, tile.Product{A: a, LDA: timedDepth, B: b, LDB: timedDepth, LDC: timedRows})
	product("tn", prim.TN, timedDepth, timedWidth, timedRows, tile.Product{A: a, LDA: timedDepth, B: b, LDB: timedWidth, LDC: timedWidth})
	// A state that decays once, as it does where all tokens' factors fold into those of their values and outputs.
	decays := slices.Clone(ones[:timedTokens])
	decays[0] = 1 - 1.0/64
	for heads := 1; heads <= timedHeads; heads++ {
		tokens := timedTokens
		if heads > 1 {
			tokens = timedShared
		}
		recur := func(nr int) tile.Recur {
			return tile.Recur{
				Q: a, LDQ: heads * timedDk, HeadQ: timedDk, K: a[timedTokens/2*timedHeads*timedDk:], LDK: timedDk, V: b, LDV: nr, O: b[1<<13:], LDO: heads * nr, HeadO: nr,
				S: c, LDS: nr, T: tokens, Heads: heads, Dk: timedDk, N: nr, RowV: a[1<<14-timedTokens:], RowO: b[1<<13-timedTokens*timedHeads:], Decay: decays,
			}
		}
		for _, kernel := range prim.Recur {
			r := recur(kernel.NR)
			add(machine.Primitive{Op: "recur", MR: kernel.Block(heads), NR: kernel.NR, M: tokens, N: kernel.NR, K: timedDk, Group: heads, Decays: 1}, func() {
				kernel.Run(&r)
			})
		}
		for _, kernel := range prim.Delta {
			block := kernel.Block(heads)
			d := tile.Delta{Recur: recur(kernel.NR), Beta: ones[:timedTokens], Block: block}
			if block > 1 {
				d.C = make([]float32, tokens/block*tile.Record(block, heads))
				products := tile.Products(block, heads)
				add(machine.Primitive{Op: "couple", MR: block, M: tokens, N: products, K: timedDk, Group: heads,
					Elements: int64(tokens / block * products * timedDk)}, func() { prim.Couple(&d) })
			}
			add(machine.Primitive{Op: "delta", MR: block, NR: kernel.NR, M: tokens, N: kernel.NR, K: timedDk, Group: heads, Decays: 1}, func() {
				kernel.Run(&d)
			})
		}
	}
	solve := tile.Solve{L: make([]float32, timedRows*timedRows), X: b, LDL: timedRows, LDX: timedWidth, N: timedRows, W: timedWidth}
	add(machine.Primitive{Op: "solve", MR: prim.NN[0].MR, NR: prim.NN[0].NR, M: timedRows, N: timedWidth, K: timedRows}, func() { prim.Solve(&solve) })
	pack := tile.Pack{Src: a, Dst: b, LDS: timedDk, LDD: timedDk, M: timedRows, N: timedDk}
	add(machine.Primitive{Op: "pack", M: timedRows, N: timedDk, Elements: timedRows * timedDk}, func() { prim.Pack(&pack) })
	exp := tile.Exp{Src: a, Dst: b, Stride: 1, N: timedDk, Scale: 1}
	add(machine.Primitive{Op: "exp", N: timedDk, Elements: timedDk}, func() { prim.Exp(&exp) })
	matrix := tile.Decay{G: ones[:], C: b, D: c, LDD: timedRows, N: timedRows}
	add(machine.Primitive{Op: "decay", M: timedRows, N: timedRows, Elements: timedRows*timedRows + timedRows}, func() { prim.Decay(&matrix) })
	return out, nil
}

// shortest is the least time of a call over several batches, in ns: what disturbs a core only ever adds.
func shortest(run func(), window time.Duration) float64 {
	const batches = 8
	run()
	start := time.Now()
	run()
	n := max(1, int(window/batches/max(time.Since(start), 50*time.Nanosecond)))
	best := 0.0
	for i := range batches {
		start := time.Now()
		for range n {
			run()
		}
		if ns := float64(time.Since(start)) / float64(n); i == 0 || ns < best {
			best = ns
		}
	}
	return best
}
