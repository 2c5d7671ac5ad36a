package roofline

import (
	"bytes"
	"image/png"
	"strings"
	"testing"
)

func TestMarkdown(t *testing.T) {
	p := exampleProfile()
	p.Machine.Brand = "A|B <b>*x*</b>\n# _y_ `z` [l](u)"
	var b bytes.Buffer
	if err := Markdown(&b, p); err != nil {
		t.Fatal(err)
	}
	text := b.String()
	if !strings.HasPrefix(text, `## Roofline of A\|B &lt;b&gt;\*x\*&lt;/b&gt; \# \_y\_ \`+"`z\\`"+` \[l\](u)`+"\n") {
		t.Errorf("the heading is %q", strings.SplitN(text, "\n", 2)[0])
	}
	columns := 0
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "|") {
			columns = 0
			continue
		}
		n := strings.Count(strings.ReplaceAll(line, `\|`, ""), "|")
		if columns != 0 && n != columns {
			t.Errorf("a table with %d columns has a row with %d: %s", columns-1, n-1, line)
		}
		columns = n
	}
	for _, want := range []string{"ceiling, 2 threads", "| avx512 x2 |", "delta-rule/gated\\_delta", "| unknown |"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in the tables", want)
		}
	}
}

func TestPNG(t *testing.T) {
	p := exampleProfile()
	p.Entries = p.Entries[:3]
	var b bytes.Buffer
	if err := PNG(&b, p); err != nil {
		t.Fatal(err)
	}
	img, err := png.Decode(&b)
	if err != nil {
		t.Fatal(err)
	}
	if w := img.Bounds().Dx(); w != 2*svgWidth {
		t.Errorf("%d pixels wide", w)
	}
	colours := map[[3]uint32]int{}
	for y := range img.Bounds().Dy() {
		for x := range img.Bounds().Dx() {
			r, g, b, _ := img.At(x, y).RGBA()
			colours[[3]uint32{r >> 8, g >> 8, b >> 8}]++
		}
	}
	if colours[[3]uint32{0x00, 0x72, 0xb2}] < 20 || colours[[3]uint32{0x22, 0x22, 0x22}] < 500 {
		t.Error("points or lines are missing")
	}
	if p.Entries = nil; PNG(failing{}, p) == nil || Markdown(failing{}, p) == nil {
		t.Error("a write error is hidden")
	}
}
