package main

import (
	"bufio"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// TestEncodings compares with what GNU as makes of the same lines.
func TestEncodings(t *testing.T) {
	for _, c := range []struct {
		got  instruction
		word uint32
		text string
	}{
		{fadd(0, 0, 1), 0x4e21d400, "fadd v0.4s, v0.4s, v1.4s"},
		{fadd(31, 30, 29), 0x4e3dd7df, "fadd v31.4s, v30.4s, v29.4s"},
		{fsub(1, 2, 3), 0x4ea3d441, "fsub v1.4s, v2.4s, v3.4s"},
		{fmul(2, 0, 1), 0x6e21dc02, "fmul v2.4s, v0.4s, v1.4s"},
		{fdiv(4, 5, 6), 0x6e26fca4, "fdiv v4.4s, v5.4s, v6.4s"},
		{fcmge(4, 5, 6), 0x6e26e4a4, "fcmge v4.4s, v5.4s, v6.4s"},
		{fcmgt(4, 5, 6), 0x6ea6e4a4, "fcmgt v4.4s, v5.4s, v6.4s"},
		{fmax(4, 5, 6), 0x4e26f4a4, "fmax v4.4s, v5.4s, v6.4s"},
		{fmin(4, 5, 6), 0x4ea6f4a4, "fmin v4.4s, v5.4s, v6.4s"},
		{faddp(7, 8, 9), 0x6e29d507, "faddp v7.4s, v8.4s, v9.4s"},
		{frintn(10, 11), 0x4e21896a, "frintn v10.4s, v11.4s"},
		{fcvtns(12, 13), 0x4e21a9ac, "fcvtns v12.4s, v13.4s"},
		{fcmeq(4, 5, 6), 0x4e26e4a4, "fcmeq v4.4s, v5.4s, v6.4s"},
		{fcvtl(1, 0), 0x0e217801, "fcvtl v1.4s, v0.4h"},
		{fcvtn(1, 2), 0x0e216841, "fcvtn v1.4h, v2.4s"},
		{shll(1, 0), 0x2e613801, "shll v1.4s, v0.4h, #16"},
		{xtn(1, 2), 0x0e612841, "xtn v1.4h, v2.4s"},
		{scvtf(12, 13), 0x4e21d9ac, "scvtf v12.4s, v13.4s"},
		{sxtlBytes(31, 30), 0x0f08a7df, "sxtl v31.8h, v30.8b"},
		{sxtlHalves(1, 2), 0x0f10a441, "sxtl v1.4s, v2.4h"},
		{ushl(1, 2, 3), 0x6ea34441, "ushl v1.4s, v2.4s, v3.4s"},
		{fcvtzu(12, 13), 0x6ea1b9ac, "fcvtzu v12.4s, v13.4s"},
		{fmaxv(31, 30), 0x6e30fbdf, "fmaxv s31, v30.4s"},
		{sxtl2Bytes(31, 30), 0x4f08a7df, "sxtl2 v31.8h, v30.16b"},
		{sxtl2Halves(1, 2), 0x4f10a441, "sxtl2 v1.4s, v2.8h"},
		{sshllHalves(1, 2, 15), 0x0f1fa441, "sshll v1.4s, v2.4h, #15"},
		{sshll2Halves(31, 30, 1), 0x4f11a7df, "sshll2 v31.4s, v30.8h, #1"},
		{smlalElement(31, 30, 15, 0), 0x0f4f23df, "smlal v31.4s, v30.4h, v15.h[0]"},
		{smlalElement(1, 2, 3, 3), 0x0f732041, "smlal v1.4s, v2.4h, v3.h[3]"},
		{smlal2Element(1, 2, 3, 7), 0x4f732841, "smlal2 v1.4s, v2.8h, v3.h[7]"},
		{fcvtlDouble(1, 0), 0x0e617801, "fcvtl v1.2d, v0.2s"},
		{fcvtl2Double(31, 30), 0x4e617bdf, "fcvtl2 v31.2d, v30.4s"},
		{fcvtnDouble(1, 2), 0x0e616841, "fcvtn v1.2s, v2.2d"},
		{fcvtn2Double(31, 30), 0x4e616bdf, "fcvtn2 v31.4s, v30.2d"},
		{faddDouble(31, 30, 29), 0x4e7dd7df, "fadd v31.2d, v30.2d, v29.2d"},
		{fmlaElement(0, 1, 1, 0), 0x4f811020, "fmla v0.4s, v1.4s, v1.s[0]"},
		{fmlaElement(31, 30, 29, 1), 0x4fbd13df, "fmla v31.4s, v30.4s, v29.s[1]"},
		{fmlaElement(0, 0, 16, 2), 0x4f901800, "fmla v0.4s, v0.4s, v16.s[2]"},
		{fmlaElement(17, 18, 19, 3), 0x4fb31a51, "fmla v17.4s, v18.4s, v19.s[3]"},
		{fmlsElement(17, 18, 19, 3), 0x4fb35a51, "fmls v17.4s, v18.4s, v19.s[3]"},
		{fmulElement(17, 18, 19, 3), 0x4fb39a51, "fmul v17.4s, v18.4s, v19.s[3]"},
		{bfmmla(2, 0, 1), 0x6e41ec02, "bfmmla v2.4s, v0.8h, v1.8h"},
		{bfmmla(31, 30, 29), 0x6e5defdf, "bfmmla v31.4s, v30.8h, v29.8h"},
		{bfdotElement(2, 0, 1, 0), 0x4f41f002, "bfdot v2.4s, v0.8h, v1.2h[0]"},
		{bfdotElement(31, 30, 29, 1), 0x4f7df3df, "bfdot v31.4s, v30.8h, v29.2h[1]"},
		{bfdotElement(17, 18, 19, 2), 0x4f53fa51, "bfdot v17.4s, v18.8h, v19.2h[2]"},
		{bfdotElement(17, 18, 19, 3), 0x4f73fa51, "bfdot v17.4s, v18.8h, v19.2h[3]"},
		{sshr(1, 2, 1), 0x4f3f0441, "sshr v1.4s, v2.4s, #1"},
		{sshr(1, 2, 32), 0x4f200441, "sshr v1.4s, v2.4s, #32"},
		{lane(3, 4, 0), 0x5e040483, "mov s3, v4.s[0]"},
		{lane(3, 4, 3), 0x5e1c0483, "mov s3, v4.s[3]"},
		{stnp(0, 1, 2, 0), 0xac000440, "stnp q0, q1, [x2]"},
		{stnp(30, 31, 26, 1008), 0xac1fff5e, "stnp q30, q31, [x26, #1008]"},
		{stnp(30, 31, 26, -1024), 0xac207f5e, "stnp q30, q31, [x26, #-1024]"},
		{loadLane(5, 0, 1, 2), 0x0dc28025, "ld1 {v5.s}[0], [x1], x2"},
		{loadLane(5, 1, 1, 2), 0x0dc29025, "ld1 {v5.s}[1], [x1], x2"},
		{loadLane(31, 3, 25, 26), 0x4dda933f, "ld1 {v31.s}[3], [x25], x26"},
	} {
		if c.got.word != c.word || c.got.text != c.text {
			t.Errorf("%s is %#08x, want %s, %#08x", c.got.text, c.got.word, c.text, c.word)
		}
	}
}

// TestRanges checks that no field takes what does not fit.
func TestRanges(t *testing.T) {
	for name, encode := range map[string]func(){
		"vector 32":            func() { fadd(32, 0, 0) },
		"second vector 32":     func() { fmul(0, 32, 0) },
		"third vector 32":      func() { fmlaElement(0, 0, 32, 0) },
		"pair of float64 32":   func() { faddDouble(0, 0, 32) },
		"element 4":            func() { fmlaElement(0, 0, 0, 4) },
		"lane 4":               func() { lane(0, 0, 4) },
		"shift of 0":           func() { sshr(0, 0, 0) },
		"shift of 33":          func() { sshr(0, 0, 33) },
		"odd offset":           func() { stnp(0, 1, 2, 8) },
		"far offset":           func() { stnp(0, 1, 2, 1024) },
		"far negative offset":  func() { stnp(0, 1, 2, -1040) },
		"platform register":    func() { stnp(0, 1, 18, 0) },
		"goroutine's register": func() { loadLane(0, 0, 28, 1) },
		"assembler's register": func() { loadLane(0, 0, 1, 27) },
		"return address":       func() { _ = R(30).String() },
		"vector name 32":       func() { V(32).S4() },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s is taken", name)
				}
			}()
			encode()
		}()
	}
}

var word = regexp.MustCompile(`WORD \$0x([0-9a-f]{8}) // (.+)$`)

// TestDisassembly lets GNU objdump say what each word in the generated files is. It is skipped where there is none.
func TestDisassembly(t *testing.T) {
	objdump, err := exec.LookPath("aarch64-linux-gnu-objdump")
	if err != nil {
		t.Skip("no aarch64-linux-gnu-objdump")
	}
	said := map[uint32]string{}
	var code []byte
	for _, pattern := range []string{"../../*_neon_arm64.s", "../../probe/*_neon_arm64.s"} {
		names, err := filepath.Glob(pattern)
		if err != nil || len(names) == 0 {
			t.Fatalf("no files %s: %v", pattern, err)
		}
		for _, name := range names {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			for line := range strings.Lines(string(text)) {
				m := word.FindStringSubmatch(strings.TrimSpace(line))
				if m == nil {
					continue
				}
				w, err := strconv.ParseUint(m[1], 16, 32)
				if err != nil {
					t.Fatal(err)
				}
				if before, known := said[uint32(w)]; known && before != m[2] {
					t.Errorf("%08x is %s and %s", w, before, m[2])
				} else if !known {
					code = binary.LittleEndian.AppendUint32(code, uint32(w))
				}
				said[uint32(w)] = m[2]
			}
		}
	}
	path := filepath.Join(t.TempDir(), "code")
	if err := os.WriteFile(path, code, 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(objdump, "-D", "-b", "binary", "-m", "aarch64", path).Output()
	if err != nil {
		t.Fatal(err)
	}
	checked := 0
	for lines := bufio.NewScanner(strings.NewReader(string(out))); lines.Scan(); {
		fields := strings.Fields(lines.Text()) // "0: 4e21d400 fadd v0.4s, v0.4s, v1.4s"
		if len(fields) < 3 || len(fields[1]) != 8 {
			continue
		}
		w, err := strconv.ParseUint(fields[1], 16, 32)
		if err != nil {
			continue
		}
		text, _, _ := strings.Cut(strings.Join(fields[2:], " "), " //")
		if want := said[uint32(w)]; text != want {
			t.Errorf("%08x is %s, not %s", w, text, want)
		}
		checked++
	}
	if checked != len(said) {
		t.Errorf("%d words of %d disassembled", checked, len(said))
	}
}
