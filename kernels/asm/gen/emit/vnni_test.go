package emit

import (
	"bytes"
	"testing"
)

// TestEncodeVEX compares with what the GNU assembler writes for {vex} vpdpbusd.
func TestEncodeVEX(t *testing.T) {
	for _, c := range []struct {
		rm, v, dst int
		want       []byte
	}{
		{0, 1, 2, []byte{0xc4, 0xe2, 0x75, 0x50, 0xd0}},
		{9, 14, 3, []byte{0xc4, 0xc2, 0x0d, 0x50, 0xd9}},
		{15, 7, 8, []byte{0xc4, 0x42, 0x45, 0x50, 0xc7}},
		{4, 15, 11, []byte{0xc4, 0x62, 0x05, 0x50, 0xdc}},
	} {
		if got := encodeVEX(0x50, c.rm, c.v, c.dst); !bytes.Equal(got, c.want) {
			t.Errorf("of Y%d, Y%d, Y%d: % x, want % x", c.rm, c.v, c.dst, got, c.want)
		}
	}
}
