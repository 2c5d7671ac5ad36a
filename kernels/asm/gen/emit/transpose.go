package emit

import (
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// Transposed turns a square block of 32-bit elements, a row in each register of r, and says which registers have its columns then. It needs as many more.
func (f *File) Transposed(r, t []reg.VecPhysical) (columns []reg.VecPhysical) {
	for i := 0; i < len(r); i += 2 {
		f.VPUNPCKLDQ(r[i+1], r[i], t[i])
		f.VPUNPCKHDQ(r[i+1], r[i], t[i+1])
	}
	for i := 0; i < len(r); i += 4 { // r[i+c]: in lane l, column 4l+c of rows i to i+3
		f.VPUNPCKLQDQ(t[i+2], t[i], r[i])
		f.VPUNPCKHQDQ(t[i+2], t[i], r[i+1])
		f.VPUNPCKLQDQ(t[i+3], t[i+1], r[i+2])
		f.VPUNPCKHQDQ(t[i+3], t[i+1], r[i+3])
	}
	if !f.Wide() {
		const low, high = 0x20, 0x31 // lanes of both operands
		for c := range 4 {
			f.VPERM2I128(operand.U8(low), r[4+c], r[c], t[c])
			f.VPERM2I128(operand.U8(high), r[4+c], r[c], t[4+c])
		}
		return t[:len(r)]
	}
	const even, odd = 0x88, 0xdd // lanes of both operands
	for c := range 4 {
		f.VSHUFI32X4(operand.U8(even), r[4+c], r[c], t[c])
		f.VSHUFI32X4(operand.U8(odd), r[4+c], r[c], t[4+c])
		f.VSHUFI32X4(operand.U8(even), r[12+c], r[8+c], t[8+c])
		f.VSHUFI32X4(operand.U8(odd), r[12+c], r[8+c], t[12+c])
	}
	for c := range 4 {
		f.VSHUFI32X4(operand.U8(even), t[8+c], t[c], r[c])
		f.VSHUFI32X4(operand.U8(odd), t[8+c], t[c], r[8+c])
		f.VSHUFI32X4(operand.U8(even), t[12+c], t[4+c], r[4+c])
		f.VSHUFI32X4(operand.U8(odd), t[12+c], t[4+c], r[12+c])
	}
	return r
}

// Quarter is the elements of 128 bits.
const Quarter = 4

// TransposedQuarter loads as many rows of four 32-bit elements as a vector has numbers, at(i) being where row i is, into four registers x, a column in each.
// Rows are put side by side as they are loaded, which leaves two shuffles a register of Transposed's three or four. t are four registers more.
func (f *File) TransposedQuarter(at func(i int) operand.Mem, x, t []reg.VecPhysical) {
	for i := range Quarter {
		f.VMOVUPS(at(i), x[i].AsX())
		for lane := 1; lane < f.Lanes/Quarter; lane++ {
			m := at(i + lane*Quarter)
			if f.Wide() {
				f.VINSERTF32X4(operand.U8(lane), m, x[i], x[i])
			} else {
				f.VINSERTF128(operand.U8(lane), m, x[i], x[i])
			}
		}
	}
	f.VUNPCKLPS(x[1], x[0], t[0])
	f.VUNPCKHPS(x[1], x[0], t[1])
	f.VUNPCKLPS(x[3], x[2], t[2])
	f.VUNPCKHPS(x[3], x[2], t[3])
	f.VUNPCKLPD(t[2], t[0], x[0])
	f.VUNPCKHPD(t[2], t[0], x[1])
	f.VUNPCKLPD(t[3], t[1], x[2])
	f.VUNPCKHPD(t[3], t[1], x[3])
}
