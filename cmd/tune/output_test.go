package main

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestTableFits(t *testing.T) {
	var b bytes.Buffer
	out := newOutput(&b, &b)
	long := "ahead=1,block=3,chunk=128,cols=16,copy=1,form=1,order=0,stream=1"
	rows := [][]string{{long, "1.23 ms", "34 %", "compute 12.1 µs, memory 33.4 µs, latency 12.1 µs, launch 4 µs", "\x1b[32mok\x1b[0m"}, {"", "", "", "", ""}, {"a", "2 ms", "1 %", "b", "c"}}
	if err := out.table([]string{"config", ">time", ">of roof", "alone", ""}, rows); err != nil {
		t.Fatal(err)
	}
	if err := out.w.Flush(); err != nil {
		t.Fatal(err)
	}
	text := b.String()
	for line := range strings.Lines(text) {
		if n := utf8.RuneCountInString(colours.ReplaceAllString(strings.TrimSuffix(line, "\n"), "")); n > columns {
			t.Errorf("%d columns: %s", n, line)
		}
	}
	for part := range parts(long) {
		if !strings.Contains(text, part) {
			t.Errorf("%q is lost in\n%s", part, text)
		}
	}
	if rows[0][0] != long {
		t.Error("the caller's rows were changed")
	}
}

func TestBroken(t *testing.T) {
	for _, c := range []struct {
		text  string
		width int
		want  string
	}{
		{"a b c", 80, "a b c"},
		{"aa bb cc", 5, "aa bb \ncc"},
		{"a=1,b=2,c=3", 8, "a=1,b=2,\nc=3"},
		{"longword,b", 4, "longword,\nb"},
		{"one\ntwo three", 6, "one\ntwo \nthree"},
		{"", 5, ""},
	} {
		if got := broken(c.text, c.width); got != c.want {
			t.Errorf("broken(%q, %d) = %q, want %q", c.text, c.width, got, c.want)
		}
	}
}
