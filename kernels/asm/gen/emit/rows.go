package emit

import (
	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// Rows are the addresses of a few consecutive rows of a matrix: every third row has a pointer, and scaled leading dimensions reach the two after it.
type Rows struct {
	ctx      *build.Context
	pointers []reg.GPVirtual
	ld       reg.GPVirtual
}

// NewRows returns n rows from pointer on, which becomes theirs, ld bytes apart.
func NewRows(ctx *build.Context, pointer, ld reg.GPVirtual, n int) Rows {
	r := Rows{ctx, []reg.GPVirtual{pointer}, ld}
	for i := 3; i < n; i += 3 {
		next := ctx.GP64()
		ctx.LEAQ(operand.Mem{Base: r.pointers[i/3-1], Index: ld, Scale: 2}, next)
		ctx.ADDQ(ld, next)
		r.pointers = append(r.pointers, next)
	}
	return r
}

// At is the address of row i, disp bytes in.
func (r Rows) At(i, disp int) operand.Mem {
	m := operand.Mem{Base: r.pointers[i/3], Disp: disp}
	if i%3 != 0 {
		m.Index, m.Scale = r.ld, uint8(i%3)
	}
	return m
}

// Advance moves all the rows by a number of bytes.
func (r Rows) Advance(bytes int) {
	for _, p := range r.pointers {
		r.ctx.ADDQ(operand.I32(int32(bytes)), p)
	}
}

// Down moves a single row to the one below it.
func (r Rows) Down() { r.ctx.ADDQ(r.ld, r.pointers[0]) }
