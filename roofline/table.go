package roofline

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/olekukonko/tablewriter"
	"github.com/olekukonko/tablewriter/renderer"
	"github.com/olekukonko/tablewriter/tw"

	"github.com/rooftune/rooftune/internal/machine"
	"github.com/rooftune/rooftune/internal/profile"
	"github.com/rooftune/rooftune/kernels"
	"github.com/rooftune/rooftune/kernels/tile"
)

// Table writes a profile's ceilings and the tuned points under them, in at most 80
// columns.
func Table(w io.Writer, p *profile.Profile) error {
	if err := Ceilings(w, &p.Machine, &p.Measured); err != nil {
		return err
	}
	if err := PointTable(w, Points(p)); err != nil {
		return err
	}
	return Crossovers(w, p.Crossovers)
}

// Crossovers writes where hash layers are faster than dense ones, and how much at each number of tokens that was measured.
func Crossovers(w io.Writer, crossovers []profile.Crossover) error {
	for i := range crossovers {
		c := &crossovers[i]
		if _, err := fmt.Fprintf(w, "%s\n%s x%d against a %s:\n%s\n", filled(Label(c.Problem)), c.ISA, c.Problem.Threads, c.Dense, filled(crossoverText(c))); err != nil {
			return err
		}
		t := newTable([]string{"tokens", "hash layer", "dense", "ratio", "form"}, 0)
		for _, x := range c.Points {
			form := "rows"
			if x.Config["form"] != 0 {
				form = "slabs"
			}
			if err := t.Append([]string{number(float64(x.Tokens)), timeText(x.HashNs), timeText(x.DenseNs), fmt.Sprintf("%.2fx", x.Ratio), form}); err != nil {
				return err
			}
		}
		if err := t.write(w); err != nil {
			return err
		}
	}
	return nil
}

// crossoverText says in words where a hash layer is faster than a dense one, and whether that is stale.
func crossoverText(c *profile.Crossover) string {
	text := c.Text()
	if c.SourceHash != kernels.SourceHash(c.Problem.Op, c.ISA) {
		text += "; stale: measured with other kernel sources than this program's"
	}
	return text
}

// Ceilings writes the measured ceilings, a table per thread count with the median and in parentheses the
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
		for some := range slices.Chunk(isas, 3) { // more would not fit in 80 columns
			if err := ceilingTable(w, measured, n, some, rows); err != nil {
				return err
			}
		}
	}
	return levelTable(w, m, measured)
}

func ceilingTable(w io.Writer, measured *machine.Measured, threads int, isas []tile.ISA, rows []Spec) error {
	header := []string{threadsText(threads) + ", GB/s"}
	for _, isa := range isas {
		header = append(header, string(isa))
	}
	t := newTable(header, 1)
	for _, r := range rows {
		cells := []string{rowName(r)}
		for _, isa := range isas {
			cell := "-"
			if c, ok := measured.Find(r.Kind, isa, r.Level, threads, r.RowBytes); ok {
				cell = fmt.Sprintf("%s (%s-%s)", number(c.Median/1e9), number(c.Min/1e9), number(c.Max/1e9))
			}
			cells = append(cells, cell)
		}
		if err := t.Append(cells); err != nil {
			return err
		}
	}
	return t.write(w)
}

// levelTable writes what is reported of the memory levels beside what the latency curve says.
func levelTable(w io.Writer, m *machine.Machine, measured *machine.Measured) error {
	if len(measured.Plateaus) == 0 {
		return nil
	}
	t := newTable([]string{"level", "reported", "measured", "latency"}, 1)
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
	if err := t.write(w); err != nil {
		return err
	}
	if measured.StealPct >= 0 {
		_, err := fmt.Fprintf(w, "steal while measuring: %s %% of CPU time\n\n", number(measured.StealPct))
		return err
	}
	return nil
}

// PointTable writes points, a table per op. Rates are useful GFLOP/s, or for hash layers GB/s that the binding level must
// move; "roof" is how much of the fastest possible speed was reached. Configs are their values alone, under a line that names them; one of another form
// says its own names.
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
		names := usualNames(points[start:end])
		if names != "" {
			if _, err := fmt.Fprintf(w, "config: %s\n", names); err != nil {
				return err
			}
		}
		rate := "GFLOP/s"
		if points[start].BytesBound() {
			rate = "GB/s"
		}
		t := newTable([]string{"problem", "isa", "config", "time", rate, "roof", "bound"}, 3)
		for _, p := range points[start:end] {
			speed := p.FlopsPerS
			if p.BytesBound() {
				speed = p.BytesPerS
			}
			if err := t.Append([]string{
				wrap(shapeText(p.Problem.Shape), ' ', 18),
				fmt.Sprintf("%s x%d", p.Candidate.ISA, p.Problem.Threads),
				configText(p.Candidate.Config, names),
				timeText(p.MedianNs),
				number(speed / 1e9),
				fmt.Sprintf("%.0f%%", 100*p.Fraction),
				p.BoundBy,
			}); err != nil {
				return err
			}
		}
		if err := t.write(w); err != nil {
			return err
		}
		if err := againstDense(w, points[start:end]); err != nil {
			return err
		}
		start = end
	}
	return nil
}

// usualNames are the names of most points' configs, of the first ones if several are as common.
func usualNames(points []Point) (usual string) {
	times := map[string]int{}
	for _, p := range points {
		times[p.Candidate.Config.Names()]++
	}
	for _, p := range points {
		if names := p.Candidate.Config.Names(); times[names] > times[usual] {
			usual = names
		}
	}
	return usual
}

// againstDense writes how hash layers compare with dense ones; nothing for other ops.
func againstDense(w io.Writer, points []Point) error {
	if points[0].Problem.Op != tile.HashLayer || points[0].Problem.Dir == tile.Backward {
		return nil
	}
	var parts []string
	for _, p := range points {
		ratio := unknown
		if p.DenseNs > 0 {
			ratio = fmt.Sprintf("%.2fx", p.DenseNs/p.MedianNs)
		}
		parts = append(parts, fmt.Sprintf("n%d %s x%d %s", p.Problem.Shape.N, p.Candidate.ISA, p.Problem.Threads, ratio))
	}
	_, err := fmt.Fprintf(w, "times as fast as a %s:\n%s\n\n", profile.DenseDriver, filled(strings.Join(parts, ", ")))
	return err
}

// filled breaks a text of words into lines of at most 80 columns.
func filled(text string) string {
	return strings.ReplaceAll(wrap(text, ' ', 79), " \n", "\n")
}

// configText gives a config's values in the order of names, or all of it where it has others.
func configText(c tile.Config, names string) string {
	if c.Names() != names {
		return wrap(c.String(), ',', 14)
	}
	return wrap(c.Values(), '/', 20)
}

// newTable makes a table without a frame: a line under the header, columns two spaces apart, the first
// left columns aligned left and the others right.
func newTable(header []string, left int) *table {
	align := make(tw.Alignment, len(header))
	for i := range align {
		align[i] = tw.AlignRight
		if i < left {
			align[i] = tw.AlignLeft
		}
	}
	t := new(table)
	t.Table = tablewriter.NewTable(&t.text,
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

// table is a table whose text is kept until it is complete.
type table struct {
	*tablewriter.Table
	text bytes.Buffer
}

// write renders the table without blanks at the ends of its lines, and an empty line after it.
func (t *table) write(w io.Writer) error {
	if err := t.Render(); err != nil {
		return err
	}
	for line := range strings.Lines(t.text.String()) {
		line = strings.TrimRight(line, " \n")
		if rule := strings.TrimRight(line, "-"); rule == "" && line != "" {
			line = line[:len(line)-2] // the rule without the last column's padding
		}
		if _, err := fmt.Fprintln(w, line); err != nil {
			return err
		}
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
	kind := slices.Index([]string{machine.KindFlops, machine.KindDotBF16, machine.KindRead, machine.KindCopy, machine.KindUpdate, machine.KindGather}, s.Kind)
	return kind<<40 + slices.Index(levels, s.Level)<<32 + s.RowBytes
}

func rowName(s Spec) string {
	switch s.Kind {
	case machine.KindFlops:
		return "FMA float32, GFLOP/s"
	case machine.KindDotBF16:
		return "products bfloat16, GFLOP/s"
	case machine.KindGather:
		name := "rows of " + bytesText(float64(s.RowBytes))
		if s.Level != levelDRAM {
			return s.Level + " " + name
		}
		return name
	}
	return s.Kind + " " + s.Level
}

func threadsText(n int) string {
	if n == 1 {
		return "1 thread"
	}
	return fmt.Sprintf("%d threads", n)
}
