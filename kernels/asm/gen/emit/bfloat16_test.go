package emit

import (
	"bytes"
	"testing"
)

// TestEncode compares with what the GNU assembler writes.
func TestEncode(t *testing.T) {
	for _, c := range []struct {
		prefix, opcode byte
		rm, v, dst     int
		want           []byte
	}{
		{prefixF3, 0x52, 0, 1, 2, []byte{0x62, 0xf2, 0x76, 0x48, 0x52, 0xd0}},
		{prefixF3, 0x52, 9, 22, 31, []byte{0x62, 0x42, 0x4e, 0x40, 0x52, 0xf9}},
		{prefixF3, 0x52, 31, 7, 8, []byte{0x62, 0x12, 0x46, 0x48, 0x52, 0xc7}},
		{prefixF2, 0x72, 0, 1, 2, []byte{0x62, 0xf2, 0x77, 0x48, 0x72, 0xd0}},
		{prefixF2, 0x72, 17, 30, 12, []byte{0x62, 0x32, 0x0f, 0x40, 0x72, 0xe1}},
	} {
		if got, err := encode(c.prefix, c.opcode, c.rm, c.v, c.dst); err != nil || !bytes.Equal(got, c.want) {
			t.Errorf("%#x of Z%d, Z%d, Z%d: % x (%v), want % x", c.opcode, c.rm, c.v, c.dst, got, err, c.want)
		}
	}
	for _, n := range []int{-1, 32} {
		for i := range 3 {
			r := [3]int{1, 2, 3}
			r[i] = n
			if got, err := encode(prefixF3, 0x52, r[0], r[1], r[2]); err == nil {
				t.Errorf("registers %v: % x, want an error", r, got)
			}
		}
	}
	if _, err := encode(4, 0x52, 0, 0, 0); err == nil {
		t.Error("prefix 4: want an error")
	}
}
