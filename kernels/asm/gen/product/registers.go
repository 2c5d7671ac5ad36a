package main

import (
	"fmt"
	"go/types"
	"unsafe"

	"github.com/mmcloughlin/avo/attr"
	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/gotypes"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	"github.com/rooftune/rooftune/kernels/asm/gen/emit"
	"github.com/rooftune/rooftune/kernels/tile"
)

// A registerTile is the block of C held in registers: rows x columns.
type registerTile struct{ rows, cols int }

// An instructionSet is what the generator must know of one: how many floats a
// vector has and which vector registers there are.
type instructionSet struct {
	suffix string
	lanes  int
	vec    []reg.VecPhysical
}

var (
	avx2 = &instructionSet{"AVX2", 8, []reg.VecPhysical{
		reg.Y0, reg.Y1, reg.Y2, reg.Y3, reg.Y4, reg.Y5, reg.Y6, reg.Y7,
		reg.Y8, reg.Y9, reg.Y10, reg.Y11, reg.Y12, reg.Y13, reg.Y14, reg.Y15,
	}}
	avx512 = &instructionSet{"AVX512", 16, []reg.VecPhysical{
		reg.Z0, reg.Z1, reg.Z2, reg.Z3, reg.Z4, reg.Z5, reg.Z6, reg.Z7,
		reg.Z8, reg.Z9, reg.Z10, reg.Z11, reg.Z12, reg.Z13, reg.Z14, reg.Z15,
		reg.Z16, reg.Z17, reg.Z18, reg.Z19, reg.Z20, reg.Z21, reg.Z22, reg.Z23,
		reg.Z24, reg.Z25, reg.Z26, reg.Z27, reg.Z28, reg.Z29, reg.Z30, reg.Z31,
	}}
)

// Offsets of the argument fields, from the Go types themselves.
const (
	offA      = int(unsafe.Offsetof(tile.Product{}.A))
	offB      = int(unsafe.Offsetof(tile.Product{}.B))
	offC      = int(unsafe.Offsetof(tile.Product{}.C))
	offRow    = int(unsafe.Offsetof(tile.Product{}.Row))
	offMask   = int(unsafe.Offsetof(tile.Product{}.Mask))
	offLDA    = int(unsafe.Offsetof(tile.Product{}.LDA))
	offLDB    = int(unsafe.Offsetof(tile.Product{}.LDB))
	offLDC    = int(unsafe.Offsetof(tile.Product{}.LDC))
	offLDM    = int(unsafe.Offsetof(tile.Product{}.LDM))
	offM      = int(unsafe.Offsetof(tile.Product{}.M))
	offN      = int(unsafe.Offsetof(tile.Product{}.N))
	offK      = int(unsafe.Offsetof(tile.Product{}.K))
	offBeta   = int(unsafe.Offsetof(tile.Product{}.Beta))
	offLower  = int(unsafe.Offsetof(tile.Product{}.Lower))
	offStrict = int(unsafe.Offsetof(tile.Product{}.Strict))
	offAhead  = int(unsafe.Offsetof(tile.Product{}.Ahead))
	offFrom   = int(unsafe.Offsetof(tile.Product{}.From))

	offSolveL   = int(unsafe.Offsetof(tile.Solve{}.L))
	offSolveX   = int(unsafe.Offsetof(tile.Solve{}.X))
	offSolveLDL = int(unsafe.Offsetof(tile.Solve{}.LDL))
	offSolveLDX = int(unsafe.Offsetof(tile.Solve{}.LDX))
	offSolveN   = int(unsafe.Offsetof(tile.Solve{}.N))
	offSolveW   = int(unsafe.Offsetof(tile.Solve{}.W))
)

// A generator writes functions into one assembly file.
type generator struct {
	ctx *build.Context
	isa *instructionSet

	// Of the function being written:
	arg     reg.GPVirtual // address of the arguments
	labels  int
	tail    reg.Register // mask of a ragged vector: an opmask, or a vector with AVX2
	leading operand.Mem  // table of vectors of leading ones, then zeros
	bits    operand.Mem  // table of opmasks of leading ones (AVX-512)
	pairs   bool         // of bfloat16
	at      offsets
}

// offsets are those of the argument fields that both kinds of products have.
// from is 0 where there is no such field.
type offsets struct{ a, b, c, row, lda, ldb, ldc, m, n, k, beta, lower, ahead, aheads, from int }

var productOffsets = offsets{offA, offB, offC, offRow, offLDA, offLDB, offLDC, offM, offN, offK, offBeta, offLower, offAhead, len(tile.Product{}.Ahead), offFrom}

// function starts a function of one argument, *tile.<argument>.
func (g *generator) function(name, argument string, doc ...string) {
	c := g.ctx
	c.Function(name)
	c.Doc(doc...)
	c.Attributes(attr.NOSPLIT)
	pkg := types.NewPackage("tile", "tile") // by its short name, as comments print it
	named := types.NewNamed(types.NewTypeName(0, pkg, argument, nil), types.NewStruct(nil, nil), nil)
	p := types.NewParam(0, pkg, "p", types.NewPointer(named))
	c.Signature(gotypes.NewSignature(types.NewPackage("asm", "asm"), types.NewSignatureType(nil, nil, nil, types.NewTuple(p), nil, false)))
	g.labels = 0
	g.arg = c.GP64()
	c.Load(c.Param("p"), g.arg)
}

// done ends a function.
func (g *generator) done() {
	g.ctx.VZEROUPPER()
	g.ctx.RET()
}

// label returns a name that no other label of the function has.
func (g *generator) label(what string) string {
	g.labels++
	return fmt.Sprintf("%s%d", what, g.labels)
}

func ref(l string) operand.LabelRef { return operand.LabelRef(l) }

// field is an argument field in memory.
func (g *generator) field(offset int) operand.Mem {
	return operand.Mem{Base: g.arg, Disp: offset}
}

// loadField returns a new register with a 64-bit field in it.
func (g *generator) loadField(offset int) reg.GPVirtual {
	r := g.ctx.GP64()
	g.ctx.MOVQ(g.field(offset), r)
	return r
}

// leadingDimension returns a new register with a leading dimension in bytes.
func (g *generator) leadingDimension(offset int) reg.GPVirtual {
	r := g.loadField(offset)
	g.ctx.SHLQ(operand.U8(2), r)
	return r
}

// rows returns the rows from pointer on, which becomes theirs.
func (g *generator) rows(pointer, ld reg.GPVirtual, n int) emit.Rows {
	return emit.NewRows(g.ctx, pointer, ld, n)
}

// element returns a new register with the address of element (row, col) of a
// matrix: its slice field and its leading dimension in bytes. row and col may be nil, for 0.
func (g *generator) element(slice int, ld, row, col reg.Register) reg.GPVirtual {
	c := g.ctx
	p := c.GP64()
	if row != nil {
		c.MOVQ(row, p)
		c.IMULQ(ld, p)
		c.ADDQ(g.field(slice), p)
	} else {
		c.MOVQ(g.field(slice), p)
	}
	if col != nil {
		c.LEAQ(operand.Mem{Base: p, Index: col, Scale: 4}, p)
	}
	return p
}

func (g *generator) zero(r reg.VecPhysical) {
	if g.isa == avx512 {
		g.ctx.VPXORD(r, r, r)
	} else {
		g.ctx.VXORPS(r, r, r)
	}
}

// load reads a vector, or the part of it that the tail mask selects, with zeros elsewhere.
func (g *generator) load(m operand.Mem, r reg.VecPhysical, masked bool) {
	switch {
	case !masked:
		g.ctx.VMOVUPS(m, r)
	case g.isa == avx512:
		g.ctx.VMOVUPS_Z(m, g.tail, r)
	default:
		g.ctx.VMASKMOVPS(m, g.tail, r)
	}
}

// store writes a vector, or the part of it that the tail mask selects.
func (g *generator) store(r reg.VecPhysical, m operand.Mem, masked bool) {
	switch {
	case !masked:
		g.ctx.VMOVUPS(r, m)
	case g.isa == avx512:
		g.ctx.VMOVUPS(r, g.tail, m)
	default:
		g.ctx.VMASKMOVPS(r, g.tail, m)
	}
}

// tables writes the tables of masks, once in a file.
func (g *generator) tables() {
	c := g.ctx
	g.leading = c.StaticGlobal("leading")
	c.DataAttributes(attr.RODATA | attr.NOPTR)
	for i := range 16 {
		v := operand.U32(0)
		if i < 8 {
			v = 0xffffffff
		}
		c.AppendDatum(v)
	}
	if g.isa == avx512 {
		g.bits = c.StaticGlobal("bits")
		c.DataAttributes(attr.RODATA | attr.NOPTR)
		for i := range 17 {
			c.AppendDatum(operand.U16(1<<i - 1))
		}
	}
}

// setTail sets the tail mask to n leading lanes, 0 <= n <= lanes; n is destroyed.
func (g *generator) setTail(n reg.GPVirtual) {
	c := g.ctx
	t := c.GP64()
	if g.isa == avx512 {
		g.tail = reg.K1
		c.LEAQ(g.bits, t)
		c.KMOVW(operand.Mem{Base: t, Index: n, Scale: 2}, g.tail)
		return
	}
	g.tail = reg.Y15
	c.LEAQ(g.leading, t)
	c.NEGQ(n)
	c.VMOVUPS(operand.Mem{Base: t, Index: n, Scale: 4, Disp: 32}, g.tail)
}
