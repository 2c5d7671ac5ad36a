package roofline

import (
	"image/color"
	"math"

	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// layout remembers what a plot already shows, so that labels find free places.
type layout struct {
	within vg.Rectangle
	boxes  []vg.Rectangle
}

func (l *layout) box(r vg.Rectangle) { l.boxes = append(l.boxes, r) }

// line takes the ground under a line, as small boxes along it.
func (l *layout) line(from, to vg.Point) {
	d := vg.Point{X: to.X - from.X, Y: to.Y - from.Y}
	steps := int(math.Hypot(float64(d.X), float64(d.Y))/4) + 1
	for i := range steps + 1 {
		f := vg.Length(i) / vg.Length(steps)
		at := vg.Point{X: from.X + f*d.X, Y: from.Y + f*d.Y}
		l.box(vg.Rectangle{Min: vg.Point{X: at.X - 1, Y: at.Y - 1}, Max: vg.Point{X: at.X + 1, Y: at.Y + 1}})
	}
}

// overlap is how much of a rectangle is taken or outside of the plot.
func (l *layout) overlap(r vg.Rectangle) float64 {
	if r.Min.X < l.within.Min.X || r.Max.X > l.within.Max.X || r.Min.Y < l.within.Min.Y || r.Max.Y > l.within.Max.Y {
		return math.Inf(1)
	}
	sum := 0.0
	for _, b := range l.boxes {
		w := min(r.Max.X, b.Max.X) - max(r.Min.X, b.Min.X)
		h := min(r.Max.Y, b.Max.Y) - max(r.Min.Y, b.Min.Y)
		if w > 0 && h > 0 {
			sum += float64(w * h)
		}
	}
	return sum
}

func textBox(st text.Style, at vg.Point, label string) vg.Rectangle {
	return vg.Rectangle{Min: vg.Point{X: at.X - 1, Y: at.Y - 1}, Max: vg.Point{X: at.X + st.Width(label) + 1, Y: at.Y + st.Height(label) + 1}}
}

// right writes a label that ends at a point: above the line there, or, where that is taken, further left or below it.
func (l *layout) right(c draw.Canvas, st text.Style, at vg.Point, label string) {
	width, height := st.Width(label), st.Height(label)
	best, least := vg.Point{}, math.Inf(1)
	for step := range 24 {
		for _, up := range []vg.Length{3, -height - 4} {
			p := vg.Point{X: at.X - width - vg.Length(step)*width/8, Y: at.Y + up}
			wide := textBox(st, p, label)
			wide.Min.X -= 4
			wide.Max.X += width / 8 // room for a wider font
			if o := l.overlap(wide) + float64(step)/100; o < least {
				best, least = p, o
			}
		}
	}
	c.FillText(st, best, label)
	l.box(textBox(st, best, label))
}

// along writes a label on a rising line, above it or else below, as near to its lower end as the ground is free and not past its upper one.
func (l *layout) along(c draw.Canvas, st text.Style, from, to vg.Point, label string) {
	d := vg.Point{X: to.X - from.X, Y: to.Y - from.Y}
	st.Rotation = math.Atan2(float64(d.Y), float64(d.X))
	sin, cos := vg.Length(math.Sin(st.Rotation)), vg.Length(math.Cos(st.Rotation))
	flat := st
	flat.Rotation = 0
	width, height := 1.25*flat.Width(label), flat.Height(label) // room for a wider font
	boxes := func(at vg.Point) (out []vg.Rectangle) {           // the turned text as small boxes
		for w := vg.Length(0); w <= width; w += 3 {
			for h := vg.Length(1); h < height; h += 3 {
				p := vg.Point{X: at.X + w*cos - h*sin, Y: at.Y + w*sin + h*cos}
				out = append(out, vg.Rectangle{Min: vg.Point{X: p.X - 2, Y: p.Y - 1}, Max: vg.Point{X: p.X + 2, Y: p.Y + 3}})
			}
		}
		return out
	}
	var best vg.Point
	least := math.Inf(1)
	length := vg.Length(math.Hypot(float64(d.X), float64(d.Y)))
	for share := vg.Length(0.04); share < 0.9; share += 0.03 {
		for below, side := range []vg.Length{4, -height - 4} {
			at := vg.Point{X: from.X + share*d.X - side*sin, Y: from.Y + share*d.Y + side*cos}
			cost := float64(share) + float64(below) + 10*float64(max(0, share*length+width-length))
			for _, b := range boxes(at) {
				cost += l.overlap(b)
			}
			if cost < least {
				best, least = at, cost
			}
		}
	}
	if math.IsInf(least, 1) { // a line too short for its label
		best = from
	}
	c.FillText(st, best, label)
	for _, b := range boxes(best) {
		l.box(b)
	}
}

// near writes a short label beside a point, further away with a thin line to it where the ground is taken.
func (l *layout) near(c draw.Canvas, st text.Style, point vg.Point, label string, ink color.Color) {
	width, height := st.Width(label), st.Height(label)
	best, least, far := vg.Point{}, math.Inf(1), false
	for ring, radius := range []vg.Length{8, 14, 21, 29, 38, 48} {
		for turn := range 16 {
			angle := math.Pi/4 + 2*math.Pi*float64(turn)/16
			p := vg.Point{
				X: point.X + radius*vg.Length(math.Cos(angle)) - width/2,
				Y: point.Y + radius*vg.Length(math.Sin(angle)) - height/2,
			}
			cost := l.overlap(textBox(st, p, label)) + float64(ring)/100
			for f := vg.Length(0.3); ring > 0 && f < 0.9; f += 0.1 { // what the line to it would cross
				x, y := point.X+f*(p.X+width/2-point.X), point.Y+f*(p.Y+height/2-point.Y)
				cost += l.overlap(vg.Rectangle{Min: vg.Point{X: x - 1, Y: y - 1}, Max: vg.Point{X: x + 1, Y: y + 1}})
			}
			if cost < least {
				best, least, far = p, cost, ring > 0
			}
		}
		if least < float64(ring+1)/100 {
			break
		}
	}
	if far {
		middle := vg.Point{X: best.X + width/2, Y: best.Y + height/2}
		d := vg.Point{X: point.X - middle.X, Y: point.Y - middle.Y}
		n := vg.Length(math.Hypot(float64(d.X), float64(d.Y)))
		from := vg.Point{X: middle.X + d.X/n*height*0.7, Y: middle.Y + d.Y/n*height*0.7}
		c.StrokeLines(draw.LineStyle{Color: ink, Width: 0.5}, []vg.Point{from, point})
		l.line(from, point)
	}
	c.FillText(st, best, label)
	l.box(textBox(st, best, label))
}
