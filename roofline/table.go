package roofline

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/olekukonko/tablewriter"
	"github.com/olekukonko/tablewriter/renderer"
	"github.com/olekukonko/tablewriter/tw"

	"github.com/rooftune/rooftune/internal/machine"
	"github.com/rooftune/rooftune/internal/profile"
	"github.com/rooftune/rooftune/kernels/tile"
)

// Table writes a profile's ceilings and the tuned points under them, in at most 80
// columns.
func Table(w io.Writer, p *profile.Profile) error {
	if err := Ceilings(w, &p.Machine, &p.Measured); err != nil {
		return err
	}
	return PointTable(w, Points(p))
}

// Ceilings writes the measured ceilings, a table per thread count with the median and in brackets the
// smallest and largest sample, and the memory levels as reported and as measured.
func Ceilings(w io.Writer, m *machine.Machine, measured *machine.Measured) error {
	var threads []int
	for _, c := range measured.Ceilings {
		if !slices.Contains(threads, c.Threads) {
			threads = append(threads, c.Threads)
		}
	}
	slices.Sort(threads)
	for _, n := range threads {
		var isas []tile.ISA
		var rows []Spec // without ISA
		for _, c := range measured.Ceilings {
			if c.Threads != n {
				continue
			}
			if !slices.Contains(isas, c.ISA) {
				isas = append(isas, c.ISA)
			}
			r := Spec{Kind: c.Kind, Level: c.Level, RowBytes: c.RowBytes}
			if !slices.Contains(rows, r) {
				rows = append(rows, r)
			}
		}
		slices.SortStableFunc(rows, func(a, b Spec) int { return rowOrder(a) - rowOrder(b) })
		header := []string{"ceiling, " + threadsText(n), "unit"}
		for _, isa := range isas {
			header = append(header, string(isa))
		}
		t := newTable(w, header, 2)
		for _, r := range rows {
			cells := []string{rowName(r), "GB/s"}
			if r.Kind == machine.KindFlops {
				cells[1] = "GFLOP/s"
			}
			for _, isa := range isas {
				cell := "-"
				if c, ok := measured.Find(r.Kind, isa, r.Level, n, r.RowBytes); ok {
					cell = fmt.Sprintf("%s [%s, %s]", number(c.Median/1e9), number(c.Min/1e9), number(c.Max/1e9))
				}
				cells = append(cells, cell)
			}
			if err := t.Append(cells); err != nil {
				return err
			}
		}
		if err := finishTable(w, t); err != nil {
			return err
		}
	}
	return levelTable(w, m, measured)
}

// levelTable writes what is reported of the memory levels beside what the latency curve says.
func levelTable(w io.Writer, m *machine.Machine, measured *machine.Measured) error {
	if len(measured.Plateaus) == 0 {
		return nil
	}
	t := newTable(w, []string{"level", "reported", "measured", "latency"}, 1)
	for i, level := range levels {
		reported, size, latency := "unknown", "unknown", "unknown"
		if c, ok := m.Cache(i + 1); ok {
			reported = bytesText(float64(c.Bytes))
		}
		for _, p := range measured.Plateaus {
			if p.Level == level {
				size, latency = bytesText(float64(p.Bytes)), timeText(p.NsPerLoad)
			}
		}
		if level == levelDRAM {
			reported, size = "-", "-"
		}
		if err := t.Append([]string{level, reported, size, latency}); err != nil {
			return err
		}
	}
	if err := finishTable(w, t); err != nil {
		return err
	}
	if measured.StealPct >= 0 {
		_, err := fmt.Fprintf(w, "steal while measuring: %s %% of CPU time\n\n", number(measured.StealPct))
		return err
	}
	return nil
}

// PointTable writes points, a table per op. Rates are useful GFLOP/s, or for hash layers GB/s that the binding level must
// move; "roof" is how much of the fastest possible speed was reached.
func PointTable(w io.Writer, points []Point) error {
	for start := 0; start < len(points); {
		name := opName(points[start].Problem)
		end := start
		for end < len(points) && opName(points[end].Problem) == name {
			end++
		}
		if _, err := fmt.Fprintln(w, name); err != nil {
			return err
		}
		rate := "GFLOP/s"
		if points[start].BytesBound() {
			rate = "GB/s"
		}
		t := newTable(w, []string{"problem", "isa", "config", "time", rate, "roof", "bound"}, 3)
		for _, p := range points[start:end] {
			speed := p.FlopsPerS
			if p.BytesBound() {
				speed = p.BytesPerS
			}
			if err := t.Append([]string{
				wrap(shapeText(p.Problem.Shape), ' ', 20),
				fmt.Sprintf("%s x%d", p.Candidate.ISA, p.Problem.Threads),
				wrap(p.Candidate.Config.String(), ',', 16),
				timeText(p.MedianNs),
				number(speed / 1e9),
				fmt.Sprintf("%.0f%%", 100*p.Fraction),
				p.BoundBy,
			}); err != nil {
				return err
			}
		}
		if err := finishTable(w, t); err != nil {
			return err
		}
		start = end
	}
	return nil
}

// newTable makes a table without a frame: a line under the header, columns two spaces apart, the first
// left columns aligned left and the others right.
func newTable(w io.Writer, header []string, left int) *tablewriter.Table {
	align := make(tw.Alignment, len(header))
	for i := range align {
		align[i] = tw.AlignRight
		if i < left {
			align[i] = tw.AlignLeft
		}
	}
	t := tablewriter.NewTable(w,
		tablewriter.WithRenderer(renderer.NewBlueprint(tw.Rendition{
			Borders: tw.BorderNone,
			Symbols: tw.NewSymbols(tw.StyleASCII),
			Settings: tw.Settings{
				Separators: tw.Separators{BetweenColumns: tw.Off, BetweenRows: tw.Off},
				Lines:      tw.Lines{ShowHeaderLine: tw.On, ShowTop: tw.Off, ShowBottom: tw.Off, ShowFooterLine: tw.Off},
			},
		})),
		tablewriter.WithHeaderAutoFormat(tw.Off),
		tablewriter.WithHeaderAutoWrap(tw.WrapNone),
		tablewriter.WithRowAutoWrap(tw.WrapNone),
		tablewriter.WithPadding(tw.Padding{Left: "", Right: "  ", Overwrite: true}),
		tablewriter.WithAlignment(align),
	)
	cells := make([]any, len(header))
	for i, h := range header {
		cells[i] = h
	}
	t.Header(cells...)
	return t
}

func finishTable(w io.Writer, t *tablewriter.Table) error {
	if err := t.Render(); err != nil {
		return err
	}
	_, err := fmt.Fprintln(w)
	return err
}

// wrap breaks a text after separators so that lines are at most width long where its parts allow it.
func wrap(text string, separator byte, width int) string {
	var b strings.Builder
	length := 0
	for part := range strings.SplitAfterSeq(text, string(separator)) {
		if length > 0 && length+len(strings.TrimRight(part, string(separator))) > width {
			b.WriteByte('\n')
			length = 0
		}
		b.WriteString(part)
		length += len(part)
	}
	return b.String()
}

func rowOrder(s Spec) int {
	kind := slices.Index([]string{machine.KindFlops, machine.KindRead, machine.KindCopy, machine.KindGather}, s.Kind)
	return kind<<40 + slices.Index(levels, s.Level)<<32 + s.RowBytes
}

func rowName(s Spec) string {
	switch s.Kind {
	case machine.KindFlops:
		return "multiply-add f32"
	case machine.KindGather:
		return "rows of " + bytesText(float64(s.RowBytes))
	}
	return s.Kind + " " + s.Level
}

func threadsText(n int) string {
	if n == 1 {
		return "1 thread"
	}
	return fmt.Sprintf("%d threads", n)
}
