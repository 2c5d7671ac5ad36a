package asm

import (
	"io/fs"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var requires = regexp.MustCompile(`(?m)^// Requires: (.*)\nTEXT ·(\w+)\(`)

// TestSourceFeatures checks that the functions of an instruction set use no
// feature that its detection does not ask for.
func TestSourceFeatures(t *testing.T) {
	// "MMX+" is how avo calls the prefetches that every amd64 CPU has.
	allowed := map[string][]string{
		"avx2":   {"MMX+", "SSE", "SSE2", "CMOV", "AVX", "AVX2", "FMA3", "F16C"},
		"avx512": {"MMX+", "SSE", "SSE2", "CMOV", "AVX", "AVX2", "FMA3", "F16C", "AVX512F", "AVX512BW", "AVX512DQ", "AVX512VL", "BMI2"},
		// of the kernels that are in a table only where the CPU has it
		"slabBytes16AVX512": {"AVX512VNNI"}, "slabBytes8AVX512": {"AVX512VNNI"},
	}
	for _, isa := range []string{"avx2", "avx512"} {
		eachSource(t, "*_"+isa+"_amd64.s", func(name, text string) {
			for _, list := range requires.FindAllStringSubmatch(text, -1) {
				for _, feature := range strings.Split(list[1], ", ") {
					if !slices.Contains(allowed[isa], feature) && !slices.Contains(allowed[list[2]], feature) {
						t.Errorf("%s: %s requires %s", name, list[2], feature)
					}
				}
			}
		})
	}
}

// TestSourceVZEROUPPER checks that every function clears the upper halves of the
// vector registers before it returns: leaving them dirty slows the code that follows.
func TestSourceVZEROUPPER(t *testing.T) {
	eachSource(t, "*_amd64.s", func(name, text string) {
		lines := strings.Split(text, "\n")
		for i, line := range lines {
			if strings.TrimSpace(line) == "RET" && strings.TrimSpace(lines[i-1]) != "VZEROUPPER" {
				t.Errorf("%s:%d: RET without VZEROUPPER", name, i+1)
			}
		}
	})
}

func eachSource(t *testing.T, pattern string, check func(name, text string)) {
	names, err := fs.Glob(sources, pattern)
	if err != nil || len(names) == 0 {
		t.Fatalf("no sources %s: %v", pattern, err)
	}
	for _, name := range names {
		text, err := sources.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		check(name, string(text))
	}
}

// TestSourceWords checks that every word in the place of an instruction says what it is.
func TestSourceWords(t *testing.T) {
	eachSource(t, "*_arm64.s", func(name, text string) {
		for i, line := range strings.Split(text, "\n") {
			if strings.Contains(line, "WORD") && !word.MatchString(line) {
				t.Errorf("%s:%d: %s", name, i+1, line)
			}
		}
	})
}

var word = regexp.MustCompile(`^\tWORD \$0x[0-9a-f]{8} // [a-z0-9]+ .+$`)
