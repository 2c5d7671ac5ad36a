package probe

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rooftune/rooftune/kernels/tile"
)

// body returns the lines of the innermost loop of a generated function, from its label to the jump back.
func body(t *testing.T, isa tile.ISA, function string) []string {
	t.Helper()
	return loopOf(source(t, isa, function), "loop")
}

// source is the file of a generated function from its beginning on.
func source(t *testing.T, isa tile.ISA, function string) string {
	t.Helper()
	arch := "amd64"
	if isa == tile.NEON {
		arch = "arm64"
	}
	text, err := os.ReadFile(filepath.Join(".", "loops_"+string(isa)+"_"+arch+".s"))
	if err != nil {
		t.Skipf("the sources are not here: %v", err)
	}
	_, after, found := strings.Cut(string(text), "TEXT ·"+function+"(SB)")
	if !found {
		t.Fatalf("no function %s", function)
	}
	return after
}

// loopOf is the text from a label to the jump back to it.
func loopOf(text, label string) []string {
	_, text, _ = strings.Cut(text, "\n"+label+":\n")
	loop, _, _ := strings.Cut(text, " "+label+"\n")
	return strings.Split(loop, "\n")
}

// places are the lines of readPlaces' loops over places of one line and of two.
func places(t *testing.T, isa tile.ISA, suffix string) (one, two []string) {
	t.Helper()
	text := source(t, isa, "readPlaces"+suffix)
	return loopOf(text, "one"), loopOf(text, "two")
}

// count is how many of the lines are the instruction, and how many move a vector of memory in that direction.
func count(lines []string, instruction string, fromMemory bool) int {
	n := 0
	for _, line := range lines {
		fields := strings.Fields(strings.ReplaceAll(line, ",", " "))
		if len(fields) > 1 && fields[0] == instruction && strings.Contains(fields[1], "(") == fromMemory {
			n++
		}
	}
	return n
}

// TestClaims counts instructions: a ceiling is only as true as the flops and bytes that a loop is said to do.
func TestClaims(t *testing.T) {
	for _, c := range []struct {
		isa    tile.ISA
		suffix string
		lanes  int
		flops  int
		step   int
		rows   int
	}{{tile.AVX2, "AVX2", 8, 768, 64, 8}, {tile.AVX512, "AVX512", 16, 1536, 128, 8}} {
		fma := 2 * c.lanes * count(body(t, c.isa, "fma"+c.suffix), "VFMADD231PS", false)
		loads := c.lanes * count(body(t, c.isa, "read"+c.suffix), "VMOVUPS", true)
		copyBody := body(t, c.isa, "copy"+c.suffix)
		ntBody := body(t, c.isa, "copyNT"+c.suffix)
		rows := count(body(t, c.isa, "readRows"+c.suffix), "VADDPS", true)
		if fma != c.flops || loads != c.step || rows != c.rows {
			t.Errorf("%s: %d flops, %d floats and %d rows in the loops, want %d, %d and %d", c.isa, fma, loads, rows, c.flops, c.step, c.rows)
		}
		one, two := places(t, c.isa, c.suffix)
		for n, lines := range [][]string{one, two} {
			if floats := c.lanes * count(lines, "VADDPS", true); floats != 8*16*(n+1) {
				t.Errorf("%s: %d floats of places of %d lines in the loop, want %d", c.isa, floats, n+1, 8*16*(n+1))
			}
		}
		for name, lines := range map[string][]string{"copy": copyBody, "copyNT": ntBody} {
			store := map[string]string{"copy": "VMOVUPS", "copyNT": "VMOVNTPS"}[name]
			in, out := c.lanes*count(lines, "VMOVUPS", true), c.lanes*count(lines, store, false)
			if in != c.step || out != c.step {
				t.Errorf("%s %s: %d floats loaded and %d stored in the loop, want %d", c.isa, name, in, out, c.step)
			}
		}
		if l, ok := For(c.isa); ok && (l.FMAFlops != c.flops || l.Step != c.step || l.Rows != c.rows || l.Lanes != c.lanes) {
			t.Errorf("%s claims %d flops, steps of %d, %d rows, %d lanes", c.isa, l.FMAFlops, l.Step, l.Rows, l.Lanes)
		}
	}
}

// TestClaimsBF16 counts the products of bfloat16 pairs: 4 flops in each of a vector's 16 lanes.
func TestClaimsBF16(t *testing.T) {
	dots := strings.Count(strings.Join(body(t, tile.AVX512, "dotBF16AVX512"), "\n"), "// VDPBF16PS ")
	if dots != 48 {
		t.Errorf("%d VDPBF16PS in the loop, want 48", dots)
	}
	if l, ok := For(tile.AVX512); ok && l.DotBF16 != nil && l.DotFlops != 4*16*dots {
		t.Errorf("claims %d flops, the loop does %d", l.DotFlops, 4*16*dots)
	}
}

// TestClaimsNEON counts on arm64, where a load or store moves two vectors and some instructions are words that say what they are.
func TestClaimsNEON(t *testing.T) {
	count := func(function, instruction string) int {
		return strings.Count(strings.Join(body(t, tile.NEON, function+"NEON"), "\n"), instruction+" ")
	}
	flops, step, rows := 2*4*count("fma", "VFMLA"), 4*2*count("read", "FLDPQ"), count("readRows", "// fadd")
	if flops != 384 || step != 64 || rows != 8 || count("readRows", "FMOVQ.P") != rows {
		t.Errorf("%d flops, %d floats and %d rows in the loops, want 384, 64 and 8", flops, step, rows)
	}
	for name, store := range map[string]string{"copy": "FSTPQ", "copyNT": "// stnp"} {
		if in, out := 4*2*count(name, "FLDPQ"), 4*2*count(name, store); in != step || out != step {
			t.Errorf("%s: %d floats loaded and %d stored in the loop, want %d", name, in, out, step)
		}
	}
	one, two := places(t, tile.NEON, "NEON")
	for n, lines := range [][]string{one, two} {
		if floats := 4 * 2 * strings.Count(strings.Join(lines, "\n"), "FLDPQ "); floats != 8*16*(n+1) {
			t.Errorf("%d floats of places of %d lines in the loop, want %d", floats, n+1, 8*16*(n+1))
		}
	}
	matrices := count("dotBF16", "// bfmmla") // 4 sums of 4 products each
	if matrices != 48 {
		t.Errorf("%d BFMMLA in the loop, want 48", matrices)
	}
	if l, ok := For(tile.NEON); ok && l.DotBF16 != nil && l.DotFlops != 2*16*matrices {
		t.Errorf("claims %d flops of bfloat16 products, the loop does %d", l.DotFlops, 2*16*matrices)
	}
	if l, ok := For(tile.NEON); ok && (l.FMAFlops != flops || l.Step != step || l.Rows != rows || l.Lanes != 4) {
		t.Errorf("claims %d flops, steps of %d, %d rows, %d lanes", l.FMAFlops, l.Step, l.Rows, l.Lanes)
	}
}
