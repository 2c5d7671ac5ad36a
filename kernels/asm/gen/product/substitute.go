package main

import (
	"fmt"
	"unsafe"

	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	"github.com/rooftune/rooftune/kernels/asm/gen/emit"

	"github.com/rooftune/rooftune/kernels/tile"
)

const (
	offSubstituteL          = int(unsafe.Offsetof(tile.Substitute{}.L))
	offSubstituteX          = int(unsafe.Offsetof(tile.Substitute{}.X))
	offSubstituteY          = int(unsafe.Offsetof(tile.Substitute{}.Y))
	offSubstituteRow        = int(unsafe.Offsetof(tile.Substitute{}.Row))
	offSubstituteLDL        = int(unsafe.Offsetof(tile.Substitute{}.LDL))
	offSubstituteLDX        = int(unsafe.Offsetof(tile.Substitute{}.LDX))
	offSubstituteLDY        = int(unsafe.Offsetof(tile.Substitute{}.LDY))
	offSubstituteN          = int(unsafe.Offsetof(tile.Substitute{}.N))
	offSubstituteW          = int(unsafe.Offsetof(tile.Substitute{}.W))
	offSubstituteTransposed = int(unsafe.Offsetof(tile.Substitute{}.Transposed))
)

// substitute writes the substitution with scaled rows, down and up.
func (g *generator) substitute(t registerTile) {
	name := "substitute" + g.isa.suffix
	g.function(name, "Substitute", fmt.Sprintf("%s is the substitution of tile.Substitute in blocks of %d rows and panels of %d columns:", name, t.rows, t.cols),
		"the rows that are solved are subtracted as a product, then the block's own triangle is",
		"substituted in registers.")
	up := g.label("up")
	g.ctx.CMPB(g.field(offSubstituteTransposed), operand.U8(0))
	g.ctx.JNE(ref(up))
	g.panels(formSubstitute, t)
	g.done()
	g.ctx.Label(up)
	g.panels(formTransposed, t)
	g.done()
}

// substituteBlock solves mr rows by v vectors of X at (row, col), of which the rows above are solved, or those below.
func (g *generator) substituteBlock(f form, mr, v int, masked bool, row, col reg.Register) {
	c := g.ctx
	vec := g.isa.vec
	acc := func(i, j int) reg.VecPhysical { return vec[i*v+j] }
	solved := func(j int) reg.VecPhysical { return vec[mr*v+j] }
	free := vec[mr*v+v:]
	if masked && g.isa == avx2 {
		free = free[:len(free)-1] // the last register holds the mask
	}
	bytes := g.isa.lanes * 4
	broadcast := 0
	subtract := func(value operand.Mem, i int) {
		broadcast++
		g.multiply(value, v, solved, func(j int) reg.VecPhysical { return acc(i, j) }, free[broadcast%min(len(free), 4)], true)
	}

	c.Commentf("%d rows x %d vectors", mr, v)
	ldx := g.leadingDimension(offSubstituteLDX)
	x := g.rows(g.element(offSubstituteX, ldx, row, col), ldx, mr)
	for i := range mr {
		for j := range v {
			g.load(x.At(i, j*bytes), acc(i, j), masked)
		}
	}

	// What is solved: L's rows along k, or a row of L a step.
	ldl, ldy := g.leadingDimension(offSubstituteLDL), g.leadingDimension(offSubstituteLDY)
	l := g.element(offSubstituteL, ldl, row, nil)
	var k, y reg.GPVirtual
	var a emit.Rows
	if f == formSubstitute {
		a, k = g.rows(l, ldl, mr), c.GP64()
		c.MOVQ(row, k)
		y = g.element(offSubstituteY, nil, nil, col)
	} else {
		first := c.GP64()
		c.LEAQ(operand.Mem{Base: row, Disp: mr}, first)
		k = g.loadField(offSubstituteN)
		c.SUBQ(first, k)
		a = g.rows(g.element(offSubstituteL, ldl, first, row), ldl, 1)
		y = g.element(offSubstituteY, ldy, first, col)
	}
	again, own := g.label("step"), g.label("own")
	c.TESTQ(k, k)
	c.JEQ(ref(own))
	c.Label(again)
	for j := range v {
		g.load(operand.Mem{Base: y, Disp: j * bytes}, solved(j), masked)
	}
	for i := range mr {
		if f == formSubstitute {
			subtract(a.At(i, 0), i)
		} else {
			subtract(a.At(0, 4*i), i)
		}
	}
	if f == formSubstitute {
		a.Advance(4)
	} else {
		a.Down()
	}
	c.ADDQ(ldy, y)
	c.DECQ(k)
	c.JNE(ref(again))
	c.Label(own)

	// The block's own triangle: a row is final once the solved ones are subtracted.
	factors := g.loadField(offSubstituteRow)
	scale := func(r int) {
		t := free[0]
		c.VBROADCASTSS(operand.Mem{Base: factors, Index: row, Scale: 4, Disp: 4 * r}, t)
		for j := range v {
			c.VMULPS(acc(r, j), t, solved(j))
			g.store(solved(j), operand.Mem{Base: y, Disp: j * bytes}, masked)
		}
	}
	if f == formSubstitute { // y is at the block's first row, and L's rows at their diagonal
		for r := range mr {
			scale(r)
			c.ADDQ(ldy, y)
			for i := r + 1; i < mr; i++ {
				subtract(a.At(i, 4*r), i)
			}
		}
	} else {
		last := c.GP64()
		c.LEAQ(operand.Mem{Base: row, Disp: mr - 1}, last)
		y = g.element(offSubstituteY, ldy, last, col)
		at := g.element(offSubstituteL, ldl, last, row)
		for r := mr - 1; r >= 0; r-- {
			scale(r)
			c.SUBQ(ldy, y)
			for i := range r {
				subtract(operand.Mem{Base: at, Disp: 4 * i}, i)
			}
			c.SUBQ(ldl, at)
		}
	}
	ldx = g.leadingDimension(offSubstituteLDX)
	x = g.rows(g.element(offSubstituteX, ldx, row, col), ldx, mr)
	for i := range mr {
		for j := range v {
			g.store(acc(i, j), x.At(i, j*bytes), masked)
		}
	}
}
