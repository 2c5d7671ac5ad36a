package roofline

import (
	"cmp"
	"fmt"
	"io"
	"strings"

	"github.com/rooftune/rooftune/internal/profile"
)

// Markdown writes a profile's machine, its ceilings and its points as tables for a README.
func Markdown(w io.Writer, p *profile.Profile) error {
	var b strings.Builder
	m := &p.Machine
	fmt.Fprintf(&b, "## Roofline of %s\n\n", markdownText(cmp.Or(m.Brand, m.Vendor, "an unknown CPU")))
	made := unknown
	if !p.Created.IsZero() {
		made = p.Created.UTC().Format("2006-01-02")
	}
	fmt.Fprintf(&b, "%s family %d model %d stepping %d, %s/%s, fingerprint %s, made %s.\n\n",
		markdownText(orUnknown(m.Vendor)), m.Family, m.Model, m.Stepping, markdownText(orUnknown(m.OS)), markdownText(orUnknown(m.Arch)), markdownText(orUnknown(m.Fingerprint)), made)
	for _, block := range ceilingBlocks(&p.Measured) {
		markdownTable(&b, append([]string{"ceiling, " + block.Threads}, block.ISAs...), 1, block.Rows)
	}
	var rows [][]string
	for _, pt := range Points(p) {
		rate := number(pt.FlopsPerS/1e9) + " GFLOP/s"
		if pt.BytesBound() {
			rate = number(pt.BytesPerS/1e9) + " GB/s"
		}
		rows = append(rows, []string{opName(pt.Problem) + " " + shapeText(pt.Problem.Shape), fmt.Sprintf("%s x%d", pt.Candidate.ISA, pt.Problem.Threads),
			pt.BoundBy, timeText(pt.MedianNs), rate, fmt.Sprintf("%.0f %%", 100*pt.Fraction)})
	}
	if rows == nil {
		b.WriteString("No tuned answers yet.\n")
	} else {
		markdownTable(&b, []string{"problem", "isa", "bound by", "time", "rate", "of roof"}, 3, rows)
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("roofline: write Markdown: %w", err)
	}
	return nil
}

// markdownTable writes a table whose first left columns are aligned left and the others right.
func markdownTable(b *strings.Builder, header []string, left int, rows [][]string) {
	line := func(cells []string) {
		for _, c := range cells {
			b.WriteString("| " + markdownText(c) + " ")
		}
		b.WriteString("|\n")
	}
	line(header)
	for i := range header {
		if i < left {
			b.WriteString("| --- ")
		} else {
			b.WriteString("| ---: ")
		}
	}
	b.WriteString("|\n")
	for _, r := range rows {
		line(r)
	}
	b.WriteString("\n")
}

// markdownText keeps a text from being markup.
func markdownText(s string) string {
	return markdownEscapes.Replace(strings.Join(strings.Fields(s), " "))
}

var markdownEscapes = strings.NewReplacer(`\`, `\\`, "`", "\\`", "*", `\*`, "_", `\_`, "|", `\|`, "[", `\[`, "]", `\]`, "<", "&lt;", ">", "&gt;", "&", "&amp;", "#", `\#`, "!", `\!`)
