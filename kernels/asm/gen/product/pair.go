package main

import (
	"fmt"
	"unsafe"

	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	"github.com/rooftune/rooftune/kernels/tile"
)

// pairColumns is the width of the register tiles of pair products.
const pairColumns = 32

var pairOffsets = offsets{
	a: int(unsafe.Offsetof(tile.PairProduct{}.A)), b: int(unsafe.Offsetof(tile.PairProduct{}.B)),
	c: int(unsafe.Offsetof(tile.PairProduct{}.C)), row: int(unsafe.Offsetof(tile.PairProduct{}.Row)),
	lda: int(unsafe.Offsetof(tile.PairProduct{}.LDA)), ldb: int(unsafe.Offsetof(tile.PairProduct{}.LDB)), ldc: int(unsafe.Offsetof(tile.PairProduct{}.LDC)),
	m: int(unsafe.Offsetof(tile.PairProduct{}.M)), n: int(unsafe.Offsetof(tile.PairProduct{}.N)), k: int(unsafe.Offsetof(tile.PairProduct{}.K)),
	beta: int(unsafe.Offsetof(tile.PairProduct{}.Beta)), lower: int(unsafe.Offsetof(tile.PairProduct{}.Lower)),
	ahead: int(unsafe.Offsetof(tile.PairProduct{}.Ahead)), aheads: len(tile.PairProduct{}.Ahead),
}

const (
	offPairLead   = int(unsafe.Offsetof(tile.PairProduct{}.Lead))
	offPairStream = int(unsafe.Offsetof(tile.PairProduct{}.Stream))
	sizePrefetch  = int(unsafe.Sizeof(tile.Prefetch{}))
	offRows       = int(unsafe.Offsetof(tile.Prefetch{}.Rows))
	offLD         = int(unsafe.Offsetof(tile.Prefetch{}.LD))
	offLines      = int(unsafe.Offsetof(tile.Prefetch{}.Lines))
)

// pairProducts writes NN and TN of bfloat16 pairs for each register tile.
func (g *generator) pairProducts(tiles []registerTile) {
	g.pairs, g.at = true, pairOffsets
	for _, t := range tiles {
		for _, f := range []struct {
			form      form
			name, doc string
		}{{formNN, "NN", "C = Beta C + diag(Row) A B."}, {formTN, "TN", "C = Beta C + diag(Row) Aᵀ B."}} {
			name := fmt.Sprintf("pair%s%dx%d%s", f.name, t.rows, t.cols, g.isa.suffix)
			g.function(name, "PairProduct", fmt.Sprintf("%s is the %s product of tile.PairProduct on register tiles of %d x %d:", name, f.name, t.rows, t.cols), f.doc)
			g.panels(f.form, t)
			g.fence()
			g.done()
		}
	}
	g.pairs, g.at = false, productOffsets
}

// fence orders streamed stores before what tells other threads of them, in a call of no rows. One in each call that streams waits for the stores
// while the next call could work.
func (g *generator) fence() {
	c := g.ctx
	end := g.label("unfenced")
	c.CMPB(g.field(offPairStream), operand.U8(0))
	c.JEQ(ref(end))
	c.CMPQ(g.field(g.at.m), operand.U8(0))
	c.JNE(ref(end))
	c.SFENCE()
	c.Label(end)
}

// prefetchAhead asks for mr rows of what a call names, if these are its first columns.
func (g *generator) prefetchAhead(mr int, row, col reg.Register) {
	c := g.ctx
	end := g.label("asked")
	c.TESTQ(col, col)
	c.JNE(ref(end))
	for i := range g.at.aheads {
		at := g.at.ahead + i*sizePrefetch
		next := g.label("nothing")
		lines := g.loadField(at + offLines)
		c.TESTQ(lines, lines)
		c.JLE(ref(next))
		ld := g.leadingDimension(at + offLD)
		rows := g.element(at+offRows, ld, row, nil)
		line, left, count, each, again := c.GP64(), c.GP64(), c.GP64(), g.label("each"), g.label("line")
		c.MOVQ(operand.U32(uint32(mr)), count)
		c.Label(each)
		c.MOVQ(rows, line)
		c.MOVQ(lines, left)
		c.Label(again)
		c.PREFETCHT1(operand.Mem{Base: line})
		c.ADDQ(operand.U8(64), line)
		c.DECQ(left)
		c.JNE(ref(again))
		c.ADDQ(ld, rows)
		c.DECQ(count)
		c.JNE(ref(each))
		c.Label(next)
	}
	c.Label(end)
}
