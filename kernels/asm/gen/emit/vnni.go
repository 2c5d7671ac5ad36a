package emit

import (
	"fmt"

	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/reg"
)

// Go's assembler has VPDPBUSD of AVX512_VNNI alone, which CPUs with AVX-VNNI need not have, so the latter's is bytes too: VEX with 256-bit
// vectors, map 0F38, prefix 66 and W0 (Intel SDM volume 2, 2.3.5 and VPDPBUSD).

// VPDPBUSDVEX adds to each 32-bit integer of dst the four products of a's unsigned bytes and b's signed ones.
func VPDPBUSDVEX(c *build.Context, b, a, dst reg.VecPhysical) {
	for _, r := range []reg.VecPhysical{b, a, dst} {
		if r.Size() != 32 {
			panic(fmt.Sprintf("emit: VPDPBUSD of AVX-VNNI on a register of %d bytes", r.Size()))
		}
	}
	rm, v, to := int(b.PhysicalIndex()), int(a.PhysicalIndex()), int(dst.PhysicalIndex())
	c.Commentf("VPDPBUSD Y%d, Y%d, Y%d", rm, v, to)
	instruction(c, encodeVEX(0x50, rm, v, to))
}

// encodeVEX is an instruction on three of the first 16 ymm registers: rm and reg in the ModRM byte, v in VEX.vvvv. Bit 3 of the numbers is stored
// inverted.
func encodeVEX(opcode byte, rm, v, dst int) []byte {
	const map0F38, prefix66, length256, noIndex = 2, 1, 1 << 2, 1 << 6
	return []byte{0xc4, byte(^dst>>3&1)<<7 | noIndex | byte(^rm>>3&1)<<5 | map0F38, byte(^v&15)<<3 | length256 | prefix66, opcode, 3<<6 | byte(dst&7)<<3 | byte(rm&7)}
}
