package main

import (
	"fmt"
	"unsafe"

	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	"github.com/rooftune/rooftune/kernels/asm/gen/emit"
	"github.com/rooftune/rooftune/kernels/tile"
)

var (
	noSteps tile.Steps
	noUnit  tile.StepUnit
)

const (
	stepsQ        = int(unsafe.Offsetof(noSteps.Q))
	stepsK        = int(unsafe.Offsetof(noSteps.K))
	stepsV        = int(unsafe.Offsetof(noSteps.V))
	stepsO        = int(unsafe.Offsetof(noSteps.O))
	stepsS        = int(unsafe.Offsetof(noSteps.S))
	stepsDecay    = int(unsafe.Offsetof(noSteps.Decay))
	stepsBeta     = int(unsafe.Offsetof(noSteps.Beta))
	stepsRoom     = int(unsafe.Offsetof(noSteps.Room))
	stepsUnits    = int(unsafe.Offsetof(noSteps.Units))
	stepsLDS      = int(unsafe.Offsetof(noSteps.LDS))
	stepsDk       = int(unsafe.Offsetof(noSteps.Dk))
	stepsN        = int(unsafe.Offsetof(noSteps.N))
	stepsScale    = int(unsafe.Offsetof(noSteps.Scale))
	stepsKeyDecay = int(unsafe.Offsetof(noSteps.KeyDecay))
	stepsDone     = int(unsafe.Offsetof(noSteps.Done))

	unitQ     = int(unsafe.Offsetof(noUnit.Q))
	unitK     = int(unsafe.Offsetof(noUnit.K))
	unitV     = int(unsafe.Offsetof(noUnit.V))
	unitO     = int(unsafe.Offsetof(noUnit.O))
	unitS     = int(unsafe.Offsetof(noUnit.S))
	unitDecay = int(unsafe.Offsetof(noUnit.Decay))
	unitBeta  = int(unsafe.Offsetof(noUnit.Beta))
	unitSize  = int(unsafe.Sizeof(noUnit))

	sliceLen = int(unsafe.Sizeof(uintptr(0)))
)

// A stepGenerator writes one kernel of decode steps. All its vectors are held from panel to panel.
type stepGenerator struct {
	*generator
	vectors int

	erased, acc, update []reg.VecPhysical // of the panel that is read; what the panel before it takes
	read, written       []reg.VecPhysical // state rows
	k, q, key, factor   reg.VecPhysical
	product             reg.VecPhysical // k.q of the state that is read

	unit, left, column          operand.Mem // the state of the next panel to read; states from it on; the panel's place in a row, in bytes
	rowStep, keyStep, decayStep operand.Mem // from row to row, in bytes, in the direction of the sweep
	lastRow, lastKey, lastDecay operand.Mem // from where a panel begins to where the sweep does
	panel, panelKey, panelDecay operand.Mem // what is to be updated: the panel, its keys and its factors; no panel at first
	fresh, rows                 operand.Mem // the panel that is read; keys of a state
}

// steps writes the kernel of tile.Steps for panels of some vectors.
//
// The sweeps go down one panel and up the next. A panel is thereby updated from the row on that was read last and is still in the first level, and both
// streams of memory go the same way.
func (f *generator) steps(vectors int) {
	g := stepGenerator{generator: f, vectors: vectors}
	g.TileFunction(fmt.Sprintf("steps%d", vectors*g.Lanes), "Steps",
		fmt.Sprintf("takes decode steps as tile.Steps says, against panels of %d state columns.", vectors*g.Lanes))
	for _, m := range []*operand.Mem{
		&g.unit, &g.left, &g.column, &g.rowStep, &g.keyStep, &g.decayStep, &g.lastRow, &g.lastKey, &g.lastDecay,
		&g.panel, &g.panelKey, &g.panelDecay, &g.fresh, &g.rows,
	} {
		*m = g.AllocLocal(8)
	}
	free := g.Vec
	take := func(n int) []reg.VecPhysical {
		t := free[:n:n]
		free = free[n:]
		return t
	}
	g.erased, g.acc, g.update, g.read, g.written = take(vectors), take(vectors), take(vectors), take(vectors), take(vectors)
	few := take(5)
	g.k, g.q, g.key, g.factor, g.product = few[0], few[1], few[2], few[3], few[4]

	g.startSteps()
	next, first, both, solve, drain, done := "next", "first", "both", "solve", "drain", "done"
	g.Label(next)
	fresh := g.NewLabel("fresh")
	g.CMPQ(g.column, operand.U8(0))
	g.JNE(emit.Ref(fresh))
	g.CMPQ(g.left, operand.U8(0))
	g.JEQ(emit.Ref(drain))
	g.prepare(drain)
	g.Label(fresh)
	for n := range g.erased {
		g.Zero(g.erased[n])
		g.Zero(g.acc[n])
	}
	g.CMPQ(g.panel, operand.U8(0))
	g.JNE(emit.Ref(both))
	g.Label(first)
	g.sweep(true, false)
	g.JMP(emit.Ref(solve))
	g.Label(both)
	g.sweep(true, true)
	g.Label(solve)
	g.solveStep()
	g.turnAround()
	g.JMP(emit.Ref(next))

	g.Label(drain)
	g.CMPQ(g.panel, operand.U8(0))
	g.JEQ(emit.Ref(done))
	g.sweep(false, true)
	g.Label(done)
	g.Done()
}

// startSteps sets the walk to the first panel.
func (g *stepGenerator) startSteps() {
	zero := g.GP64()
	g.XORQ(zero, zero)
	for _, m := range []operand.Mem{g.column, g.lastRow, g.lastKey, g.lastDecay, g.panel, g.field(stepsDone)} {
		g.to(m, zero)
	}
	for _, m := range [][2]operand.Mem{{g.unit, g.field(stepsUnits)}, {g.left, g.field(stepsUnits + sliceLen)}, {g.rows, g.field(stepsDk)}} {
		v := g.from(m[1])
		g.to(m[0], v)
	}
	lds := g.Bytes(g.field(stepsLDS))
	g.to(g.rowStep, lds)
	step, decay, same := g.GP64(), g.GP64(), g.NewLabel("same")
	g.MOVQ(operand.U32(4), step)
	g.to(g.keyStep, step)
	g.XORQ(decay, decay)
	g.CMPB(g.field(stepsKeyDecay), operand.U8(0))
	g.JEQ(emit.Ref(same))
	g.MOVQ(step, decay)
	g.Label(same)
	g.to(g.decayStep, decay)
}

// at returns a register that points to where the next unit is in an array.
func (g *stepGenerator) at(array, index int) reg.GPVirtual {
	unit := g.from(g.unit)
	offset, p := g.Bytes(operand.Mem{Base: unit, Disp: index}), g.from(g.field(array))
	g.ADDQ(offset, p)
	return p
}

// prepare sets the room to the next state's key and query, each times the decay of its state row, and goes elsewhere if k.q is not finite.
func (g *stepGenerator) prepare(elsewhere string) {
	q, k, d, room, left := g.at(stepsQ, unitQ), g.at(stepsK, unitK), g.at(stepsDecay, unitDecay), g.from(g.field(stepsRoom)), g.from(g.rows)
	queries, zk, zq, factor := g.queryRoom(), g.k, g.q, g.factor
	g.VBROADCASTSS(operand.Mem{Base: d}, factor)
	g.Zero(g.product)
	vector := func(tail emit.Tail) {
		scalar := g.NewLabel("scalar")
		g.CMPQ(g.decayStep, operand.U8(0))
		g.JEQ(emit.Ref(scalar))
		tail.Load(operand.Mem{Base: d}, factor)
		g.ADDQ(operand.U8(g.vectorBytes()), d)
		g.Label(scalar)
		tail.Load(operand.Mem{Base: k}, zk)
		tail.Load(operand.Mem{Base: q}, zq)
		g.VFMADD231PS(zk, zq, g.product)
		g.VMULPS(factor, zk, zk)
		g.VMULPS(factor, zq, zq)
		g.VMOVUPS(zk, operand.Mem{Base: room})
		g.VMOVUPS(zq, operand.Mem{Base: room, Index: queries, Scale: 1})
	}
	loop, rest, prepared := g.NewLabel("prepare"), g.NewLabel("rest"), g.NewLabel("prepared")
	g.SUBQ(operand.U8(g.Lanes), left)
	g.JL(emit.Ref(rest))
	g.Label(loop)
	vector(g.Full())
	for _, p := range []reg.GPVirtual{k, q, room} {
		g.ADDQ(operand.U8(g.vectorBytes()), p)
	}
	g.SUBQ(operand.U8(g.Lanes), left)
	g.JGE(emit.Ref(loop))
	g.Label(rest)
	g.ADDQ(operand.U8(g.Lanes), left)
	g.JZ(emit.Ref(prepared))
	vector(g.mask(left))
	g.Label(prepared)

	// The sum of all lanes, in all of them.
	for _, swap := range []uint8{0x4e, 0xb1} { // halves, then quarters of halves
		g.VSHUFF32X4(operand.U8(swap), g.product, g.product, zk)
		g.VADDPS(zk, g.product, g.product)
	}
	for _, swap := range []uint8{0x4e, 0xb1} {
		g.VPERMILPS(operand.U8(swap), g.product, zk)
		g.VADDPS(zk, g.product, g.product)
	}
	g.VSUBSS(g.product.AsX(), g.product.AsX(), zk.AsX())
	g.VUCOMISS(zk.AsX(), zk.AsX())
	g.JPS(emit.Ref(elsewhere))
}

// queryRoom is the place of the query in the room, in bytes.
func (g *stepGenerator) queryRoom() reg.GPVirtual {
	n := g.from(g.rows)
	g.ADDQ(operand.U8(g.Lanes-1), n)
	g.ANDQ(operand.I32(int32(-g.Lanes)), n)
	g.SHLQ(operand.U8(2), n)
	return n
}

// sweep goes through the rows of a panel that is read, of one that is updated, or of both side by side.
func (g *stepGenerator) sweep(reads, writes bool) {
	rowStep, keyStep, count := g.from(g.rowStep), g.from(g.keyStep), g.from(g.rows)
	var s, k, q, w, key, factor, factorStep reg.GPVirtual
	begin := func(p reg.GPVirtual, offset operand.Mem) reg.GPVirtual {
		g.ADDQ(offset, p)
		return p
	}
	type pointer struct{ at, step reg.GPVirtual }
	var moved []pointer
	if reads {
		s = g.at(stepsS, unitS)
		g.ADDQ(g.column, s)
		g.to(g.fresh, s)
		begin(s, g.lastRow)
		k, q = begin(g.from(g.field(stepsRoom)), g.lastKey), g.queryRoom()
		g.ADDQ(k, q)
		moved = append(moved, pointer{s, rowStep}, pointer{k, keyStep}, pointer{q, keyStep})
	}
	if writes {
		w, key, factor, factorStep = begin(g.from(g.panel), g.lastRow), begin(g.from(g.panelKey), g.lastKey), begin(g.from(g.panelDecay), g.lastDecay), g.from(g.decayStep)
		moved = append(moved, pointer{w, rowStep}, pointer{key, keyStep}, pointer{factor, factorStep})
	}
	// row is row i on from the place of the sweep.
	row := func(i int) {
		at := func(p pointer, disp int) operand.Mem {
			m := operand.Mem{Base: p.at, Disp: disp}
			if i == 1 {
				m.Index, m.Scale = p.step, 1
			}
			return m
		}
		if reads {
			g.VBROADCASTSS(at(pointer{k, keyStep}, 0), g.k)
			g.VBROADCASTSS(at(pointer{q, keyStep}, 0), g.q)
		}
		if writes {
			g.VBROADCASTSS(at(pointer{factor, factorStep}, 0), g.factor)
			g.VBROADCASTSS(at(pointer{key, keyStep}, 0), g.key)
		}
		for n := range g.vectors {
			if reads {
				g.VMOVUPS(at(pointer{s, rowStep}, n*g.vectorBytes()), g.read[n])
				g.VFMADD231PS(g.read[n], g.k, g.erased[n])
				g.VFMADD231PS(g.read[n], g.q, g.acc[n])
			}
		}
		for n := range g.vectors {
			if writes {
				g.VMULPS(at(pointer{w, rowStep}, n*g.vectorBytes()), g.factor, g.written[n])
				g.VFMADD231PS(g.update[n], g.key, g.written[n])
				g.VMOVUPS(g.written[n], at(pointer{w, rowStep}, n*g.vectorBytes()))
			}
		}
	}
	const unroll = 2
	loop, odd, end := g.NewLabel("rows"), g.NewLabel("odd"), g.NewLabel("swept")
	g.SUBQ(operand.U8(unroll), count)
	g.JL(emit.Ref(odd))
	g.Label(loop)
	for i := range unroll {
		row(i)
	}
	for _, p := range moved {
		g.LEAQ(operand.Mem{Base: p.at, Index: p.step, Scale: unroll}, p.at)
	}
	g.SUBQ(operand.U8(unroll), count)
	g.JGE(emit.Ref(loop))
	g.Label(odd)
	g.ADDQ(operand.U8(unroll), count)
	g.JZ(emit.Ref(end))
	row(0)
	g.Label(end)
}

// solveStep turns what was read of a panel into its update and its output, and makes it the panel to be updated.
func (g *stepGenerator) solveStep() {
	v, o, beta, scale := g.at(stepsV, unitV), g.at(stepsO, unitO), g.at(stepsBeta, unitBeta), g.from(g.field(stepsScale))
	g.ADDQ(g.column, v)
	g.ADDQ(g.column, o)
	g.VBROADCASTSS(operand.Mem{Base: beta}, g.k)
	g.VBROADCASTSS(operand.Mem{Base: scale}, g.q)
	for n, u := range g.update {
		g.VMULPS(operand.Mem{Base: v, Disp: n * g.vectorBytes()}, g.k, u)
		g.VFNMADD231PS(g.erased[n], g.k, u)
	}
	for n, a := range g.acc {
		g.VFMADD231PS(g.update[n], g.product, a)
		g.VMULPS(g.q, a, a)
		g.VMOVUPS(a, operand.Mem{Base: o, Disp: n * g.vectorBytes()})
	}
	panel, key, decay := g.from(g.fresh), g.at(stepsK, unitK), g.at(stepsDecay, unitDecay)
	g.to(g.panel, panel)
	g.to(g.panelKey, key)
	g.to(g.panelDecay, decay)

	width := g.GP64()
	g.MOVQ(g.column, width)
	g.ADDQ(operand.I32(int32(g.vectors*g.vectorBytes())), width)
	g.to(g.column, width)
	n, within := g.Bytes(g.field(stepsN)), g.NewLabel("within")
	g.CMPQ(width, n)
	g.JL(emit.Ref(within))
	g.MOVQ(operand.U32(0), g.column)
	g.ADDQ(operand.U32(uint32(unitSize)), g.unit)
	g.DECQ(g.left)
	g.INCQ(g.field(stepsDone))
	g.Label(within)
}

// turnAround makes the next sweep begin where this one ended.
func (g *stepGenerator) turnAround() {
	rows := g.from(g.rows)
	g.DECQ(rows)
	for _, m := range [][2]operand.Mem{{g.rowStep, g.lastRow}, {g.keyStep, g.lastKey}, {g.decayStep, g.lastDecay}} {
		length := g.GP64()
		g.MOVQ(m[0], length)
		g.IMULQ(rows, length)
		g.ADDQ(length, m[1])
		g.NEGQ(m[0])
	}
}
