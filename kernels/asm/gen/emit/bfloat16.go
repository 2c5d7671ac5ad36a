package emit

import (
	"fmt"

	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/ir"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// Go's assembler lacks AVX512_BF16, so its instructions are bytes here: EVEX with 512-bit vectors, map 0F38 and W0 (Intel SDM
// volume 2, 2.7 and the instructions' own pages). Operands are in Go's order, the destination last.

// Mandatory prefixes as EVEX holds them.
const (
	prefixF3 = 2
	prefixF2 = 3
)

// VDPBF16PS adds to each float32 of dst the two products of the bfloat16 pairs of b and a.
func VDPBF16PS(c *build.Context, b, a, dst reg.VecPhysical) {
	evex(c, "VDPBF16PS", prefixF3, 0x52, b, a, dst)
}

// VCVTNE2PS2BF16 rounds two vectors of float32 to one of bfloat16, low to its lower half.
func VCVTNE2PS2BF16(c *build.Context, low, high, dst reg.VecPhysical) {
	evex(c, "VCVTNE2PS2BF16", prefixF2, 0x72, low, high, dst)
}

func evex(c *build.Context, mnemonic string, prefix, opcode byte, rm, v, dst reg.VecPhysical) {
	code, err := encode(prefix, opcode, number(rm), number(v), number(dst))
	if err != nil {
		panic(fmt.Sprintf("emit: %s: %v", mnemonic, err))
	}
	c.Commentf("%s Z%d, Z%d, Z%d", mnemonic, number(rm), number(v), number(dst))
	instruction(c, code)
}

// instruction writes one that Go's assembler lacks, byte by byte.
func instruction(c *build.Context, code []byte) {
	line := ""
	for _, b := range code[:len(code)-1] {
		line += fmt.Sprintf("BYTE $0x%02x; ", b)
	}
	c.Instruction(&ir.Instruction{Opcode: line + "BYTE", Operands: []operand.Op{operand.U8(code[len(code)-1])}})
}

// number is that of a zmm register, or -1 for another register.
func number(r reg.VecPhysical) int {
	if r.Size() != 64 {
		return -1
	}
	return int(r.PhysicalIndex())
}

// encode is an instruction on three zmm registers: rm and reg in the ModRM byte, v in EVEX.vvvv. Bits 3 and 4 of the numbers are stored
// inverted.
func encode(prefix, opcode byte, rm, v, dst int) ([]byte, error) {
	for _, r := range []int{rm, v, dst} {
		if r < 0 || r > 31 {
			return nil, fmt.Errorf("register number %d must be from 0 to 31", r)
		}
	}
	if prefix > 3 {
		return nil, fmt.Errorf("prefix %d must be from 0 to 3", prefix)
	}
	inverted := func(n, bit int) byte { return byte(n>>bit&1) ^ 1 }
	const map0F38 = 2
	p0 := inverted(dst, 3)<<7 | inverted(rm, 4)<<6 | inverted(rm, 3)<<5 | inverted(dst, 4)<<4 | map0F38
	p1 := byte(^v&15)<<3 | 1<<2 | prefix
	const length512 = 2 << 5
	p2 := byte(length512) | inverted(v, 4)<<3
	return []byte{0x62, p0, p1, p2, opcode, 3<<6 | byte(dst&7)<<3 | byte(rm&7)}, nil
}
