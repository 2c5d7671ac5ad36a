package emit

import (
	"github.com/mmcloughlin/avo/attr"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// A Tail masks the lanes of a ragged vector: an opmask, or a vector with AVX2.
type Tail struct {
	f    *File
	mask reg.Register
	none bool // a full vector
}

// Full is the tail of a whole vector.
func (f *File) Full() Tail { return Tail{f: f, none: true} }

// MaskTable writes the table that tails are set from, once in a file: an opmask for each
// number of lanes, or eight words of ones and eight of zeros, read from a place in between.
func (f *File) MaskTable() operand.Mem {
	table := f.StaticGlobal("leading")
	f.DataAttributes(attr.RODATA | attr.NOPTR)
	if f.Wide() {
		for i := range f.Lanes {
			f.AppendDatum(operand.U16(1<<i - 1))
		}
		return table
	}
	for i := range 16 {
		v := operand.U32(0)
		if i < 8 {
			v = 0xffffffff
		}
		f.AppendDatum(v)
	}
	return table
}

// MaskTail is the tail whose mask a register holds already.
func (f *File) MaskTail(mask reg.Register) Tail { return Tail{f: f, mask: mask} }

// NewTail masks the first n lanes, 0 <= n < Lanes. It takes opmask K1, or the vector register given for AVX2.
func (f *File) NewTail(table operand.Mem, n reg.GPVirtual, vec reg.VecPhysical) Tail {
	t := f.GP64()
	f.LEAQ(table, t)
	if f.Wide() {
		f.KMOVW(operand.Mem{Base: t, Index: n, Scale: 2}, reg.K1)
		return Tail{f: f, mask: reg.K1}
	}
	m := f.GP64()
	f.MOVQ(n, m)
	f.NEGQ(m)
	f.VMOVUPS(operand.Mem{Base: t, Index: m, Scale: 4, Disp: 32}, vec)
	return Tail{f: f, mask: vec}
}

// Load reads a vector; lanes that the tail leaves out become 0 and their memory is not touched.
func (t Tail) Load(m operand.Mem, r reg.VecPhysical) {
	switch {
	case t.none:
		t.f.VMOVUPS(m, r)
	case t.f.Wide():
		t.f.VMOVUPS_Z(m, t.mask, r)
	default:
		t.f.VMASKMOVPS(m, t.mask, r)
	}
}

// Store writes the lanes of a vector that the tail keeps.
func (t Tail) Store(r reg.VecPhysical, m operand.Mem) {
	switch {
	case t.none:
		t.f.VMOVUPS(r, m)
	case t.f.Wide():
		t.f.VMOVUPS(r, t.mask, m)
	default:
		t.f.VMASKMOVPS(r, t.mask, m)
	}
}

// MulAdd adds w*m to r; with a tail it needs a free register.
func (t Tail) MulAdd(m operand.Mem, w, r, free reg.VecPhysical) {
	switch {
	case t.none:
		t.f.VFMADD231PS(m, w, r)
	case t.f.Wide():
		t.f.VFMADD231PS(m, w, t.mask, r)
	default:
		t.f.VMASKMOVPS(m, t.mask, free)
		t.f.VFMADD231PS(free, w, r)
	}
}

// Mask is the register that holds the tail's mask.
func (t Tail) Mask() reg.Register { return t.mask }
