package main

import (
	"bytes"
	"io"
	"strings"
	"testing"
)

// Sentences keep to a terminal's 80 columns, and lose no word.
func TestSentence(t *testing.T) {
	for text, most := range map[string]int{
		"skipped: delta-rule/gated_delta b=1,t=4096,hq=32,hkv=32,dk=128,dv=128 x2 generic: needs about 6.606s of the budget, 0s is left for it": 2,
		"note: short": 1,
	} {
		var b bytes.Buffer
		out := newOutput(&b, io.Discard)
		out.sentence("%s", text)
		if err := out.w.Flush(); err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
		for _, line := range lines {
			if len(line) > 80 {
				t.Errorf("%d columns: %q", len(line), line)
			}
		}
		if got := strings.Join(strings.Fields(b.String()), " "); got != text || len(lines) > most {
			t.Errorf("%d lines: %q", len(lines), b.String())
		}
	}
}
