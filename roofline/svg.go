package roofline

import (
	"bytes"
	"fmt"
	"image/color"
	"io"
	"math"
	"slices"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"
	"gonum.org/v1/plot/vg/vgsvg"

	"github.com/rooftune/rooftune/internal/machine"
	"github.com/rooftune/rooftune/internal/profile"
	"github.com/rooftune/rooftune/kernels/tile"
)

// Sizes of the drawing, in points.
const (
	svgWidth    = 1040
	plotWidth   = 600 // of a panel; the key stands beside it
	leastHeight = 430
	headHeight  = 62
	keyLine     = 14
)

// SVG draws a profile's roofline: one panel per thread count, both axes logarithmic, a
// diagonal per memory level and a horizontal per ISA at the measured medians, and for every problem the tuned answer
// of its fastest ISA, numbered, with a key beside it. A point's intensity is that of the level that
// binds it (Point.Level), so it is to be read against that level's diagonal. Diagonals are the highest bandwidths, of
// reading, copying or updating in place, of the fastest measured ISA.
func SVG(w io.Writer, p *profile.Profile) error {
	height, err := drawingHeight(p)
	if err != nil {
		return err
	}
	canvas := vgsvg.New(svgWidth, height)
	paint(draw.New(canvas), p)
	var out bytes.Buffer
	if _, err := canvas.WriteTo(&out); err != nil {
		return fmt.Errorf("roofline: draw SVG: %w", err)
	}
	// Where a viewer lacks the font that was measured with, these are as wide or nearly so.
	svg := bytes.ReplaceAll(out.Bytes(), []byte("font-family:Liberation Sans;"), []byte("font-family:Liberation Sans,Arial,Helvetica,sans-serif;"))
	if _, err := w.Write(svg); err != nil {
		return fmt.Errorf("roofline: write SVG: %w", err)
	}
	return nil
}

// PNG draws what SVG draws, 2080 pixels wide.
func PNG(w io.Writer, p *profile.Profile) error {
	height, err := drawingHeight(p)
	if err != nil {
		return err
	}
	canvas := vgimg.NewWith(vgimg.UseWH(svgWidth, height), vgimg.UseDPI(144))
	paint(draw.New(canvas), p)
	var out bytes.Buffer
	if _, err := (vgimg.PngCanvas{Canvas: canvas}).WriteTo(&out); err != nil {
		return fmt.Errorf("roofline: draw PNG: %w", err)
	}
	if _, err := w.Write(out.Bytes()); err != nil {
		return fmt.Errorf("roofline: write PNG: %w", err)
	}
	return nil
}

func drawingHeight(p *profile.Profile) (vg.Length, error) {
	panels := panelsOf(p)
	if len(panels) == 0 {
		return 0, fmt.Errorf("roofline: the profile has no measured ceilings to draw")
	}
	height := vg.Length(headHeight)
	for _, a := range panels {
		height += a.height()
	}
	return height, nil
}

// paint draws the whole drawing on a canvas of drawingHeight.
func paint(dc draw.Canvas, p *profile.Profile) {
	height := dc.Max.Y
	dc.FillPolygon(color.White, []vg.Point{{X: 0, Y: 0}, {X: svgWidth, Y: 0}, {X: svgWidth, Y: height}, {X: 0, Y: height}})
	head(dc, p)
	top := height - headHeight
	for _, a := range panelsOf(p) {
		bottom := top - a.height()
		left := draw.Crop(dc, 14, plotWidth-svgWidth, bottom+12, top-height)
		a.plot().Draw(left)
		a.drawKey(draw.Crop(dc, plotWidth+18, -8, bottom+12, top-height))
		top = bottom
	}
}

var (
	ink   = color.Gray{Y: 0x22}
	faint = color.Gray{Y: 0x66}
	grid  = color.Gray{Y: 0xe6}
	// Okabe and Ito's palette, told apart with any colour vision.
	palette = []color.Color{
		color.RGBA{0x00, 0x72, 0xb2, 0xff}, color.RGBA{0xd5, 0x5e, 0x00, 0xff}, color.RGBA{0x00, 0x9e, 0x73, 0xff},
		color.RGBA{0xcc, 0x79, 0xa7, 0xff}, color.RGBA{0xe6, 0x9f, 0x00, 0xff}, color.RGBA{0x56, 0xb4, 0xe9, 0xff},
	}
	shapes = []draw.GlyphDrawer{draw.CircleGlyph{}, draw.BoxGlyph{}, draw.PyramidGlyph{}, draw.TriangleGlyph{}}
)

func style(size vg.Length, bold bool, c color.Color) text.Style {
	f := font.Font{Typeface: "Liberation", Variant: "Sans", Size: size}
	if bold {
		f.Weight = 2 // x/image's bold
	}
	return text.Style{Color: c, Font: f, XAlign: text.XLeft, YAlign: text.YBottom, Handler: plot.DefaultTextHandler}
}

// head writes the title with the machine and how to read the drawing.
func head(dc draw.Canvas, p *profile.Profile) {
	m := &p.Machine
	name := m.Brand
	if name == "" {
		name = m.Vendor
	}
	top := dc.Max.Y
	dc.FillText(style(16, true, ink), vg.Point{X: 14, Y: top - 24}, "Roofline of "+cut(name, 80))
	about := fmt.Sprintf("%s family %d model %d stepping %d, %s/%s", m.Vendor, m.Family, m.Model, m.Stepping, m.OS, m.Arch)
	if m.Hypervisor != "" {
		about += ", guest of " + m.Hypervisor
	}
	about += ", fingerprint " + m.Fingerprint
	if !p.Created.IsZero() {
		about += ", " + p.Created.UTC().Format("2006-01-02")
	}
	dc.FillText(style(10, false, faint), vg.Point{X: 14, Y: top - 40}, cut(about, 170))
	dc.FillText(style(10, false, faint), vg.Point{X: 14, Y: top - 54},
		"Ceilings: medians measured on pinned threads. Points: useful flops over median time, at the intensity of the level that binds (compute-bound: the farthest level used).")
}

// cut shortens a text that comes from outside.
func cut(s string, most int) string {
	if r := []rune(s); len(r) > most {
		return string(r[:most-1]) + "…"
	}
	return s
}

// panel is the roofline of one thread count.
type panel struct {
	threads int
	isas    []machine.Ceiling // FLOP/s, fastest first
	levels  []machine.Ceiling // bytes per second, nearest first
	points  []Point
	ops     []string // of all panels, for colours
}

// panelsOf makes a panel for each thread count that has both ceilings and points, or, where nothing has been
// tuned, ceilings.
func panelsOf(p *profile.Profile) []*panel {
	var all []*panel
	panelFor := func(threads int) *panel {
		for _, a := range all {
			if a.threads == threads {
				return a
			}
		}
		a := &panel{threads: threads}
		all = append(all, a)
		return a
	}
	for _, c := range p.Measured.Ceilings {
		if c.Kind == machine.KindFlops && c.Median > 0 && !math.IsInf(c.Median, 0) {
			a := panelFor(c.Threads)
			a.isas = append(a.isas, c)
		}
	}
	best := map[string]machine.Ceiling{} // the fastest ISA's by level and threads
	for _, c := range bandwidths(&p.Measured) {
		if key := fmt.Sprint(c.Level, c.Threads); c.Median > best[key].Median {
			best[key] = c
		}
	}
	points := Points(p)
	var ops []string
	for _, pt := range points {
		if name := opName(pt.Problem); !slices.Contains(ops, name) {
			ops = append(ops, name)
		}
	}
	any := false
	for _, a := range all {
		slices.SortStableFunc(a.isas, func(x, y machine.Ceiling) int {
			if x.Median > y.Median {
				return -1
			}
			return 1
		})
		for _, level := range levels {
			if c, ok := best[fmt.Sprint(level, a.threads)]; ok {
				a.levels = append(a.levels, c)
			}
		}
		a.ops = ops
		a.points = fastest(points, a.threads)
		any = any || len(a.points) > 0
	}
	all = slices.DeleteFunc(all, func(a *panel) bool { return any && len(a.points) == 0 })
	slices.SortFunc(all, func(a, b *panel) int { return a.threads - b.threads })
	return all
}

// bandwidths are the fastest of reading, copying and updating in place, of each ISA, number of threads and level.
func bandwidths(m *machine.Measured) (all []machine.Ceiling) {
	for _, c := range m.Ceilings {
		if c.Kind != machine.KindRead && c.Kind != machine.KindCopy && c.Kind != machine.KindUpdate || !(c.Median > 0) || math.IsInf(c.Median, 0) {
			continue
		}
		i := slices.IndexFunc(all, func(x machine.Ceiling) bool { return x.ISA == c.ISA && x.Threads == c.Threads && x.Level == c.Level })
		switch {
		case i < 0:
			all = append(all, c)
		case c.Median > all[i].Median:
			all[i] = c
		}
	}
	return all
}

// fastest keeps of each problem the point of its fastest ISA.
func fastest(points []Point, threads int) []Point {
	var out []Point
	at := map[tile.Problem]int{}
	for _, pt := range points {
		if pt.Problem.Threads != threads || !(pt.Intensity > 0) || !(pt.FlopsPerS > 0) {
			continue
		}
		if i, ok := at[pt.Problem]; !ok {
			at[pt.Problem] = len(out)
			out = append(out, pt)
		} else if pt.MedianNs < out[i].MedianNs {
			out[i] = pt
		}
	}
	return out
}

func (a *panel) height() vg.Length {
	lines := len(a.points) + 3
	for i, pt := range a.points {
		if i == 0 || opName(pt.Problem) != opName(a.points[i-1].Problem) {
			lines++
		}
	}
	return max(leastHeight, vg.Length(lines*keyLine)+40)
}

func (a *panel) color(pt Point) color.Color {
	return palette[slices.Index(a.ops, opName(pt.Problem))%len(palette)]
}

func (a *panel) glyph(pt Point) draw.GlyphStyle {
	i := slices.Index(a.ops, opName(pt.Problem))
	return draw.GlyphStyle{Color: a.color(pt), Radius: 3.5, Shape: shapes[i%len(shapes)]}
}

// ranges chooses the axes: whole powers of two in x, with room around what is drawn.
func (a *panel) ranges() (xMin, xMax, yMin, yMax float64) {
	peak, low := 0.0, math.Inf(1)
	for _, c := range a.isas {
		peak, low = max(peak, c.Median), min(low, c.Median)
	}
	xMin, xMax = 0.25, 16
	for _, l := range a.levels {
		xMax = max(xMax, 4*peak/l.Median)
	}
	for _, pt := range a.points {
		xMin, xMax = min(xMin, pt.Intensity/2), max(xMax, pt.Intensity*2)
		low = min(low, pt.FlopsPerS)
	}
	for _, l := range a.levels { // see at least a piece of every diagonal's lower end
		low = min(low, 2*xMin*l.Median)
	}
	power := func(v float64, round func(float64) float64) float64 { return math.Exp2(round(math.Log2(v))) }
	return power(xMin, math.Floor), power(xMax, math.Ceil), low / 1e9 / 1.6, peak / 1e9 * 1.7
}

func (a *panel) plot() *plot.Plot {
	p := plot.New()
	p.BackgroundColor = color.White
	p.Title.Text = threadsText(a.threads)
	p.Title.TextStyle = style(12, true, ink)
	p.Title.TextStyle.XAlign, p.Title.TextStyle.YAlign = text.XCenter, text.YTop
	p.X.Min, p.X.Max, p.Y.Min, p.Y.Max = a.ranges()
	for _, axis := range []*plot.Axis{&p.X, &p.Y} {
		axis.Scale = plot.LogScale{}
		rotation, x, y := axis.Label.TextStyle.Rotation, axis.Label.TextStyle.XAlign, axis.Label.TextStyle.YAlign
		axis.Label.TextStyle = style(11, false, ink)
		axis.Label.TextStyle.Rotation, axis.Label.TextStyle.XAlign, axis.Label.TextStyle.YAlign = rotation, x, y
		x, y = axis.Tick.Label.XAlign, axis.Tick.Label.YAlign
		axis.Tick.Label = style(10, false, ink)
		axis.Tick.Label.XAlign, axis.Tick.Label.YAlign = x, y
	}
	p.X.Tick.Marker = ticks{base: 2}
	p.Y.Tick.Marker = ticks{base: 10}
	p.X.Label.Text = "intensity (useful FLOP / byte of the memory level)"
	p.Y.Label.Text = "useful GFLOP/s"
	p.X.Label.Padding, p.Y.Label.Padding = 5, 3
	p.Add(a)
	return p
}

// ticks marks the powers of two, or 1, 2 and 5 times the powers of ten, with plain numbers.
type ticks struct{ base int }

// Ticks gives the labelled ticks between two positive bounds.
func (t ticks) Ticks(low, high float64) []plot.Tick {
	steps := []float64{1}
	if t.base == 10 {
		steps = []float64{1, 2, 5}
	}
	base := float64(t.base)
	var out []plot.Tick
	for e := math.Floor(math.Log(low) / math.Log(base)); math.Pow(base, e) <= high; e++ {
		for _, s := range steps {
			v := s * math.Pow(base, e)
			if v >= low*0.999 && v <= high*1.001 {
				label := number(v)
				if v < 1 && t.base == 2 {
					label = "1/" + number(1/v)
				}
				out = append(out, plot.Tick{Value: v, Label: label})
			}
		}
	}
	// Labels of up to five digits fit so many times on an axis.
	const room = 13
	if every := (len(out) + room - 1) / room; every > 1 {
		for i := range out {
			if i%every != 0 {
				out[i].Label = ""
			}
		}
	}
	return out
}

// Plot draws the ceilings, the points and their labels: the method that gonum/plot calls.
func (a *panel) Plot(c draw.Canvas, p *plot.Plot) {
	toX, toY := p.Transforms(&c)
	at := func(x, y float64) vg.Point { return vg.Point{X: toX(x), Y: toY(y)} }
	for _, t := range p.X.Tick.Marker.Ticks(p.X.Min, p.X.Max) {
		c.StrokeLine2(draw.LineStyle{Color: grid, Width: 0.5}, toX(t.Value), c.Min.Y, toX(t.Value), c.Max.Y)
	}
	for _, t := range p.Y.Tick.Marker.Ticks(p.Y.Min, p.Y.Max) {
		c.StrokeLine2(draw.LineStyle{Color: grid, Width: 0.5}, c.Min.X, toY(t.Value), c.Max.X, toY(t.Value))
	}
	// First everything that labels must keep clear of, then the labels.
	taken := &layout{within: c.Rectangle}
	for i, ceiling := range a.isas {
		y := ceiling.Median / 1e9
		from := p.X.Min
		if len(a.levels) > 0 {
			from = max(from, ceiling.Median/a.levels[0].Median)
		}
		line := draw.LineStyle{Color: ink, Width: 1.4}
		if i > 0 {
			line = draw.LineStyle{Color: faint, Width: 1, Dashes: []vg.Length{5, 3}}
		}
		c.StrokeLines(line, []vg.Point{at(from, y), at(p.X.Max, y)})
		taken.line(at(from, y), at(p.X.Max, y))
	}
	type diagonal struct {
		from, to vg.Point
		label    string
	}
	var diagonals []diagonal
	peak := a.isas[0].Median / 1e9
	for _, l := range a.levels {
		bps := l.Median / 1e9
		x0, y0 := p.X.Min, p.X.Min*bps
		if y0 < p.Y.Min {
			x0, y0 = p.Y.Min/bps, p.Y.Min
		}
		d := diagonal{at(x0, y0), at(peak/bps, peak), fmt.Sprintf("%s %s GB/s", l.Level, number(bps))}
		c.StrokeLines(draw.LineStyle{Color: ink, Width: 1.2}, []vg.Point{d.from, d.to})
		taken.line(d.from, d.to)
		diagonals = append(diagonals, d)
	}
	for _, pt := range a.points {
		where := at(pt.Intensity, pt.FlopsPerS/1e9)
		taken.box(vg.Rectangle{Min: vg.Point{X: where.X - 4, Y: where.Y - 4}, Max: vg.Point{X: where.X + 4, Y: where.Y + 4}})
	}
	for i, ceiling := range a.isas {
		label := fmt.Sprintf("%s %s GFLOP/s", ceiling.ISA, number(ceiling.Median/1e9))
		taken.right(c, style(10, i == 0, ink), vg.Point{X: c.Max.X - 16, Y: toY(ceiling.Median / 1e9)}, label)
	}
	for _, d := range diagonals {
		taken.along(c, style(10, false, ink), d.from, d.to, d.label)
	}
	for i, pt := range a.points {
		where := at(pt.Intensity, pt.FlopsPerS/1e9)
		taken.near(c, style(9, true, a.color(pt)), where, fmt.Sprint(i+1), a.color(pt))
	}
	for _, pt := range a.points {
		c.DrawGlyph(a.glyph(pt), at(pt.Intensity, pt.FlopsPerS/1e9))
	}
}

// drawKey lists the numbered points, op by op.
func (a *panel) drawKey(c draw.Canvas) {
	y := c.Max.Y - keyLine
	columns := []vg.Length{0, 20, 34, 152, 202, 278, 316, 366}
	line := func(st text.Style, cells ...string) {
		for i, cell := range cells {
			if cell == "" {
				continue
			}
			s, x := st, c.Min.X+columns[i]
			if i == 0 || i == 4 || i == 5 { // numbers
				s.XAlign = text.XRight
				x += map[int]vg.Length{0: 16, 4: 62, 5: 26}[i]
			}
			c.FillText(s, vg.Point{X: x, Y: y}, cell)
		}
		y -= keyLine
	}
	if len(a.points) == 0 {
		line(style(10, false, faint), "", "", "No tuned points for this thread count.")
		return
	}
	line(style(9, false, faint), "", "", "problem", "isa", "useful", "roof", "bound by", "at level")
	previous := ""
	for i, pt := range a.points {
		if name := opName(pt.Problem); name != previous {
			st := style(10, true, a.color(pt))
			line(st, "", "", name)
			previous = name
		}
		c.DrawGlyph(a.glyph(pt), vg.Point{X: c.Min.X + 25, Y: y + 4})
		speed := number(pt.FlopsPerS/1e9) + " GFLOP/s"
		if pt.BytesBound() {
			speed = number(pt.BytesPerS/1e9) + " GB/s"
		}
		line(style(9, false, ink), fmt.Sprint(i+1), "", strings.ReplaceAll(shapeText(pt.Problem.Shape), "\n", " "),
			string(pt.Candidate.ISA), speed, fmt.Sprintf("%.0f%%", 100*pt.Fraction), pt.BoundBy, pt.Level)
	}
}
