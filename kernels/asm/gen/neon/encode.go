package main

import "fmt"

// A V is a vector register, V0 to V31.
type V uint

// An R is a general register.
type R uint

// p is the register of a function's argument.
const p R = 0

// general are the registers that functions may use. Those left out belong to the platform
// (18), the assembler (27), the goroutine (28), the frame (29) and the return address (30).
var general = []R{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 19, 20, 21, 22, 23, 24, 25, 26}

func (r R) String() string {
	for _, ok := range general {
		if r == ok {
			return fmt.Sprintf("R%d", uint(r))
		}
	}
	panic(fmt.Sprintf("R%d is not for use", uint(r)))
}

// F is the register's name in loads, stores and scalar instructions.
func (v V) F() string { return "F" + v.number() }

// S4 is the register as four floats or words, B16 as bytes.
func (v V) S4() string { return "V" + v.number() + ".S4" }

// H8 is the register as 16-bit numbers, B8 its lower half as bytes.
func (v V) H8() string { return "V" + v.number() + ".H8" }
func (v V) B8() string { return "V" + v.number() + ".B8" }

// B16 is the register as bytes.
func (v V) B16() string { return "V" + v.number() + ".B16" }

// D2 is the register as two pairs of floats.
func (v V) D2() string { return "V" + v.number() + ".D2" }

// lane is one element of the register, of words (S) or double words (D).
func (v V) lane(size string, index int) string {
	return fmt.Sprintf("V%s.%s[%d]", v.number(), size, index)
}

func (v V) number() string { return fmt.Sprint(field(uint(v), 5)) }

// field returns x if it fits into a field of that many bits.
func field(x uint, bits uint) uint32 {
	if x >= 1<<bits {
		panic(fmt.Sprintf("%d does not fit into %d bits", x, bits))
	}
	return uint32(x)
}

// registers places up to three register numbers where A64 has them: Rd in bits 0 to 4, Rn in 5 to 9, Rm in 16 to 20.
func registers(word uint32, d, n, m V) uint32 {
	return word | field(uint(m), 5)<<16 | field(uint(n), 5)<<5 | field(uint(d), 5)
}

// An instruction is a word that Go's assembler has no name for, and what it stands for.
type instruction struct {
	word uint32
	text string
}

// three is an instruction of three vectors of four floats each: "Advanced SIMD three same" of the
// Arm Architecture Reference Manual, chapter C4.
func three(name string, word uint32) func(d, n, m V) instruction {
	return func(d, n, m V) instruction {
		return instruction{registers(word, d, n, m), fmt.Sprintf("%s v%d.4s, v%d.4s, v%d.4s", name, d, n, m)}
	}
}

var (
	fadd  = three("fadd", 0x4e20d400)
	fsub  = three("fsub", 0x4ea0d400)
	fmul  = three("fmul", 0x6e20dc00)
	fdiv  = three("fdiv", 0x6e20fc00)
	fmax  = three("fmax", 0x4e20f400)
	fmin  = three("fmin", 0x4ea0f400)
	fcmeq = three("fcmeq", 0x4e20e400)
	fcmge = three("fcmge", 0x6e20e400) // all ones where n >= m, which is not so of NaN
	fcmgt = three("fcmgt", 0x6ea0e400)
	faddp = three("faddp", 0x6e20d400) // the sums of pairs, those of n first
	ushl  = three("ushl", 0x6ea04400)  // words shifted left, each by the number in the other's place
)

// two is an instruction of two vectors of four: "Advanced SIMD two-register miscellaneous".
func two(name string, word uint32) func(d, n V) instruction {
	return func(d, n V) instruction {
		return instruction{registers(word, d, n, 0), fmt.Sprintf("%s v%d.4s, v%d.4s", name, d, n)}
	}
}

var (
	frintn = two("frintn", 0x4e218800) // to an integer, ties to even
	fcvtns = two("fcvtns", 0x4e21a800) // the same, as a signed word
	scvtf  = two("scvtf", 0x4e21d800)  // from a signed word
	fcvtzu = two("fcvtzu", 0x6ea1b800) // to an unsigned word, towards 0
)

// fmaxv is the largest of four floats, NaN if one is.
func fmaxv(d, n V) instruction {
	return instruction{registers(0x6e30f800, d, n, 0), fmt.Sprintf("fmaxv s%d, v%d.4s", d, n)}
}

// half is one between a vector of four and the four 16-bit numbers in the lower half of another.
func half(name string, word uint32, to, from, more string) func(d, n V) instruction {
	return func(d, n V) instruction {
		return instruction{registers(word, d, n, 0), fmt.Sprintf("%s v%d.%s, v%d.%s%s", name, d, to, n, from, more)}
	}
}

var (
	fcvtl = half("fcvtl", 0x0e217800, "4s", "4h", "") // float16 to float32
	fcvtn = half("fcvtn", 0x0e216800, "4h", "4s", "") // float32 to float16, ties to even
	shll  = half("shll", 0x2e613800, "4s", "4h", ", #16")
	xtn   = half("xtn", 0x0e612800, "4h", "4s", "") // the lower halves
)

// Signed integers twice as wide, those in the lower half: SSHLL by 0.
var (
	sxtlBytes  = half("sxtl", 0x0f08a400, "8h", "8b", "")
	sxtlHalves = half("sxtl", 0x0f10a400, "4s", "4h", "")
)

// The same of those in the upper half.
var (
	sxtl2Bytes  = half("sxtl2", 0x4f08a400, "8h", "16b", "")
	sxtl2Halves = half("sxtl2", 0x4f10a400, "4s", "8h", "")
)

// longShift makes signed words of four 16-bit numbers, shifted left by up to 15: those in the lower half, or in the upper one.
func longShift(name string, word uint32, from string) func(d, n V, shift uint) instruction {
	return func(d, n V, shift uint) instruction {
		return instruction{registers(word|field(shift, 4)<<16, d, n, 0), fmt.Sprintf("%s v%d.4s, v%d.%s, #%d", name, d, n, from, shift)}
	}
}

var (
	sshllHalves  = longShift("sshll", 0x0f10a400, "4h")
	sshll2Halves = longShift("sshll2", 0x4f10a400, "8h")
)

// halfElement is an instruction of four 16-bit numbers of one half of a vector and one of another, whose register has four bits. The index is H:L:M (11, 21, 20).
func halfElement(name string, word uint32, from string) func(d, n, m V, index uint) instruction {
	return func(d, n, m V, index uint) instruction {
		i := field(index, 3)
		_ = field(uint(m), 4)
		return instruction{registers(word|i>>2<<11|i>>1&1<<21|i&1<<20, d, n, m), fmt.Sprintf("%s v%d.4s, v%d.%s, v%d.h[%d]", name, d, n, from, m, index)}
	}
}

// Products of signed 16-bit numbers that are added to words: of those in the lower half of n, or in the upper one.
var (
	smlalElement  = halfElement("smlal", 0x0f402000, "4h")
	smlal2Element = halfElement("smlal2", 0x4f402000, "8h")
)

// Conversions between four floats and two pairs of float64, the lower and, with a 2 in their name, the upper two floats.
var (
	fcvtlDouble  = half("fcvtl", 0x0e617800, "2d", "2s", "")
	fcvtl2Double = half("fcvtl2", 0x4e617800, "2d", "4s", "")
	fcvtnDouble  = half("fcvtn", 0x0e616800, "2s", "2d", "") // clears the upper two
	fcvtn2Double = half("fcvtn2", 0x4e616800, "4s", "2d", "")
)

// faddDouble adds pairs of float64.
func faddDouble(d, n, m V) instruction {
	return instruction{registers(0x4e60d400, d, n, m), fmt.Sprintf("fadd v%d.2d, v%d.2d, v%d.2d", d, n, m)}
}

// element is an instruction of two vectors and one element of a third: "Advanced SIMD vector x indexed
// element". The index of a float is in bits H (11) and L (21).
func element(name string, word uint32) func(d, n, m V, index uint) instruction {
	return func(d, n, m V, index uint) instruction {
		i := field(index, 2)
		return instruction{registers(word|i>>1<<11|i&1<<21, d, n, m), fmt.Sprintf("%s v%d.4s, v%d.4s, v%d.s[%d]", name, d, n, m, index)}
	}
}

var (
	fmlaElement = element("fmla", 0x4f801000)
	fmlsElement = element("fmls", 0x4f805000)
	fmulElement = element("fmul", 0x4f809000)
)

// bfdotElement adds the products of four pairs of bfloat16 with one pair to four floats: BFDOT (by element), an extension (FEAT_BF16).
// The index of a pair lies as that of a float does.
func bfdotElement(d, n, m V, index uint) instruction {
	i := field(index, 2)
	return instruction{registers(0x4f40f000|i>>1<<11|i&1<<21, d, n, m), fmt.Sprintf("bfdot v%d.4s, v%d.8h, v%d.2h[%d]", d, n, m, index)}
}

// bfmmla adds, to a matrix of 2 x 2 floats, that of two rows of four bfloat16 times two columns of four: the even and the odd pair of a row and a column as BFDOT
// would, one after the other. FEAT_BF16 has both.
func bfmmla(d, n, m V) instruction {
	return instruction{registers(0x6e40ec00, d, n, m), fmt.Sprintf("bfmmla v%d.4s, v%d.8h, v%d.8h", d, n, m)}
}

// sshr shifts signed words right by 1 to 32: "Advanced SIMD shift by immediate", where immh:immb is 64 less the shift.
func sshr(d, n V, shift uint) instruction {
	if shift < 1 || shift > 32 {
		panic(fmt.Sprintf("cannot shift by %d", shift))
	}
	return instruction{registers(0x4f000400|uint32(64-shift)<<16, d, n, 0), fmt.Sprintf("sshr v%d.4s, v%d.4s, #%d", d, n, shift)}
}

// lane moves one float to the first place of a register and clears the rest: DUP (element), scalar, where imm5 is index:100.
func lane(d, n V, index uint) instruction {
	return instruction{registers(0x5e000400|(field(index, 2)<<3|4)<<16, d, n, 0), fmt.Sprintf("mov s%d, v%d.s[%d]", d, n, index)}
}

// stnp stores two vectors with the hint that they are not read soon: "Load/store no-allocate pair", offset
// in vectors of 16 bytes, signed.
func stnp(t, t2 V, base R, offset int) instruction {
	if offset%16 != 0 || offset < -1024 || offset > 1008 {
		panic(fmt.Sprintf("cannot store a pair at %d", offset))
	}
	_ = base.String() // checks it
	word := 0xac000000 | uint32(offset/16)&0x7f<<15 | field(uint(t2), 5)<<10 | field(uint(base), 5)<<5 | field(uint(t), 5)
	text := fmt.Sprintf("stnp q%d, q%d, [x%d]", t, t2, uint(base))
	if offset != 0 {
		text = fmt.Sprintf("stnp q%d, q%d, [x%d, #%d]", t, t2, uint(base), offset)
	}
	return instruction{word, text}
}

// loadLane loads one float into a place of a register and moves the pointer by a register: LD1 (single structure),
// post-index, where the index is Q:S (30, 12).
func loadLane(t V, index uint, base, step R) instruction {
	_, _ = base.String(), step.String()
	i := field(index, 2)
	word := 0x0dc08000 | i>>1<<30 | i&1<<12 | field(uint(step), 5)<<16 | field(uint(base), 5)<<5 | field(uint(t), 5)
	return instruction{word, fmt.Sprintf("ld1 {v%d.s}[%d], [x%d], x%d", t, index, uint(base), uint(step))}
}
