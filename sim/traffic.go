package sim

import (
	"math"
	"math/bits"
	"slices"
	"sync"
)

// levelTraffic is what a level exchanges with the next nearer one.
type levelTraffic struct{ read, written float64 } // bytes

// traffic is what one worker's share of a launch moves.
type traffic struct {
	levels    []levelTraffic // per level of the device
	tableRead float64        // bytes of the last level's reads that are table rows
	needed    neededBytes    // distinct bytes touched
	run       float64        // bytes that lie side by side of what is read from beyond the private caches in a trip
	waits     []waits        // per level of the device
	footprint float64        // bytes that a call touches
}

// waits counts what a sweep of the state waits for, by the level where it is: nothing of it is read or stored ahead of the sweep.
type waits struct {
	lines float64 // read
	rows  float64 // rows of plainly stored blocks, whose lines the store buffer waits for
}

// pageGrains is how many grains of a buffer are numbered at a time, so that a large table that is touched here and there
// takes little memory.
const pageGrains = 64

// grainShare is the largest share of a cache that a grain may be. A grain is a run of lines of a buffer that every touch takes as a whole: the
// stack holds it as one, which costs an eighth and less of what its lines do.
const grainShare = 1.0 / 32

// cpuTraffic replays the touches of a launch through the device's caches. A shared cache is split evenly among the
// workers, a private one is each worker's own.
//
// Warm programs are one of many calls, so a line that is touched for the first time was last touched a call ago:
// it is found in the first level that holds all that a call touches, and what a call leaves dirty is written back to all levels
// that don't. In a cold one it comes from the last level, and what the last trips leave dirty stays.
//
// The last recorded trip stands for the rest of the trips. A write-back that falls in it counts for it if the line was first touched
// there or was touched there again; lines of an earlier trip that drift out meanwhile belong to that one.
func cpuTraffic(d *Device, p *Program, l *Launch) traffic {
	memory := len(d.Levels) - 1
	line := int64(d.Levels[0].LineBytes)
	capacities := make([]int64, memory)
	for i, level := range d.Levels[:memory] {
		capacities[i] = level.Bytes / line
		if !level.PerUnit {
			capacities[i] /= l.Blocks
		}
	}
	r := replays.Get().(*replay)
	defer replays.Put(r)
	r.reset(p, l, line, capacities)
	for i := range l.Nest {
		if l.Nest[i].Trips != 1 {
			r.steady = i
		}
	}
	for i := range l.Nest {
		r.trip(i, l.Nest[i].Ops)
	}
	r.lines = r.stack.lines
	r.buffers = nil
	return r.total(l, p.Buffers, capacities, p.Cold)
}

// grains gives the bytes of each buffer's grains: the largest power of two that divides all that its touches begin with, take and step by.
func grains(l *Launch, buffers int, line int64, capacities []int64) []int64 {
	most := line
	for most*2 <= int64(grainShare*float64(slices.Min(capacities)*line)) {
		most *= 2
	}
	together := make([]int64, buffers)
	for i := range l.Nest {
		for j := range l.Nest[i].Ops {
			for _, t := range l.Nest[i].Ops[j].Touches {
				together[t.Buffer] |= t.Offset | t.RowBytes
				if t.Rows > 1 {
					together[t.Buffer] |= t.Stride
				}
			}
		}
	}
	for i, x := range together {
		together[i] = max(line, min(most, x&-x))
		if x == 0 {
			together[i] = most
		}
	}
	return together
}

type replay struct {
	stack    *lruStack
	pages    [][]int32 // per buffer, number of each page's first grain plus 1
	grains   []int64   // per buffer, bytes
	line     int64
	memory   int
	buffers  []Buffer
	history  []lineHistory // per grain
	trips    []tripTraffic
	steady   int // the trip that is repeated, -1 if none
	events   []writeBack
	rowBytes int64 // of the longest table row
	lines    []lruLine
}

// replays keeps what simulations allocate for the next ones.
var replays = sync.Pool{New: func() any { return new(replay) }}

func (r *replay) reset(p *Program, l *Launch, line int64, capacities []int64) {
	*r = replay{
		stack: newLRUStack(capacities), line: line, memory: len(capacities), buffers: p.Buffers,
		grains: grains(l, len(p.Buffers), line, capacities), steady: -1,
		pages: r.pages, trips: r.trips[:0], history: r.history[:0], events: r.events[:0], lines: r.lines[:0],
	}
	r.stack.lines = r.lines
	for len(r.pages) < len(p.Buffers) {
		r.pages = append(r.pages, nil)
	}
	for i, b := range p.Buffers {
		n := int((b.Bytes+2*r.grains[i]-1)/r.grains[i]/pageGrains + 1)
		r.pages[i] = slices.Grow(r.pages[i][:0], n)[:n]
		clear(r.pages[i])
	}
}

type lineHistory struct {
	first, last int32 // trips of the first and the last touch
	far         int32 // the last trip that found it beyond the private caches, plus 1
	table       bool
}

// tripTraffic counts lines in one recorded trip.
type tripTraffic struct {
	found  []float64   // by the level where a line was found
	tables float64     // lines of tables found in the last level
	fresh  float64     // first touches but those of tables
	needed neededBytes // the same in lines, by use
	rows   float64     // first touches of tables
	stream float64     // lines written past the caches
	waits  []waits     // by the level where lines were found, first touches in the last
	far    float64     // lines of inputs found beyond the private caches
	ends   float64     // of these without the next one
}

type writeBack struct {
	line  int32
	trip  int32
	level int8
}

func (r *replay) trip(n int, ops []Op) {
	t := tripTraffic{found: make([]float64, r.memory+1), waits: make([]waits, r.memory+1)}
	ahead := false
	for i := range ops {
		ahead = ahead || ops[i].Ahead > 0
	}
	evicted := func(id int32, level int) {
		r.events = append(r.events, writeBack{id, int32(n), int8(level)})
	}
	for i := range ops {
		for _, touch := range ops[i].Touches {
			table := r.buffers[touch.Buffer].Kind == Table
			if touch.Mode == Stream {
				lines := float64(touch.Bytes()) / float64(r.line)
				t.stream += lines
				if r.buffers[touch.Buffer].Kind == Output {
					t.needed.written += lines
				}
				continue
			}
			write := touch.Mode != Read
			shift := bits.TrailingZeros64(uint64(r.grains[touch.Buffer]))
			lines := float64(r.grains[touch.Buffer] / r.line)
			times := float64(1 + touch.Again)
			kind := r.buffers[touch.Buffer].Kind
			sweep := (ops[i].Name == "recur" || ops[i].Name == "delta") && (kind == Output || kind == Input && !ahead)
			for row := range int64(touch.Rows) {
				deepest := 0 // where the row's lines were
				start := touch.Offset + row*touch.Stride
				for at, last := start>>shift, (start+touch.RowBytes-1)>>shift; at <= last; at++ {
					id := r.number(touch.Buffer, at)
					h := &r.history[id]
					found := r.stack.touch(id, write, evicted)
					if found > 1 || found == unseen {
						at := found
						if found == unseen {
							at = r.memory
						}
						deepest = max(deepest, at)
						h.far = int32(n) + 1
						if sweep && kind == Input {
							t.waits[at].lines += lines
						}
					}
					switch {
					case found != unseen:
						t.found[found] += lines * times
						if found == r.memory && table {
							t.tables += lines * times
						}
					case table:
						r.rowBytes = max(r.rowBytes, touch.RowBytes)
						*h = lineHistory{first: int32(n), far: h.far, table: true}
						t.rows += lines
					default:
						*h = lineHistory{first: int32(n), far: h.far}
						t.fresh += lines
						switch r.buffers[touch.Buffer].Kind {
						case Input:
							t.needed.read += lines
						case Output:
							t.needed.written += lines
						case State:
							t.needed.updated += lines
						}
					}
					h.last = int32(n)
				}
				if sweep && kind == Output && deepest > 1 {
					t.waits[deepest].rows++
				}
			}
		}
	}
	for b := range r.buffers {
		if r.buffers[b].Kind != Input {
			continue
		}
		for _, page := range r.pages[b] {
			if page == 0 {
				continue
			}
			grains := r.history[page-1 : page-1+pageGrains]
			for g := range grains {
				if grains[g].far == int32(n)+1 {
					lines := float64(r.grains[b] / r.line)
					t.far += lines
					if g+1 < pageGrains && grains[g+1].far != int32(n)+1 {
						t.ends++
					}
				}
			}
		}
	}
	r.trips = append(r.trips, t)
}

// number gives a buffer's grain its number on the stack.
func (r *replay) number(buffer int, grain int64) int32 {
	page := &r.pages[buffer][grain/pageGrains]
	if *page == 0 {
		*page = r.stack.add(pageGrains, int32(r.grains[buffer]/r.line)) + 1
		r.history = slices.Grow(r.history, pageGrains)[:len(r.history)+pageGrains]
		clear(r.history[len(r.history)-pageGrains:])
	}
	return *page - 1 + int32(grain%pageGrains)
}

func (r *replay) total(l *Launch, buffers []Buffer, capacities []int64, cold bool) traffic {
	out := traffic{levels: make([]levelTraffic, r.memory+1)}
	line := float64(r.line)
	read := func(level int, lines float64) {
		for i := 1; i <= level; i++ {
			out.levels[i].read += lines * line
		}
	}

	// How many lines a call touches, and how many first touches of tables are revisits of rows that the record is too short to see.
	var fresh, rows, tableLines float64
	for i, t := range r.trips {
		fresh += t.fresh * l.Nest[i].Trips
		rows += t.rows * l.Nest[i].Trips
		out.needed.add(t.needed, l.Nest[i].Trips*line)
	}
	out.needed.read *= 1 / max(1, float64(l.Blocks)) // workers may read the same inputs
	distinct := 1.0                                  // share of rows
	if rows > 0 && r.steady >= 0 {
		for _, b := range buffers {
			if b.Kind == Table {
				tableLines += float64(b.Bytes) / line
			}
		}
		distinct = -tableLines * math.Expm1(rows*math.Log1p(-1/max(2, tableLines))) / rows
		distinct = min(1, distinct)
	}
	footprint := fresh + rows*distinct
	if r.steady < 0 {
		out.needed.shared = rows * line
	} else if rows > 0 { // six standard deviations below the expected rows
		lines := math.Ceil(float64(r.rowBytes) / line)
		out.needed.shared = max(0, rows*distinct-6*math.Sqrt(rows*distinct/lines)*lines) * line
	}
	out.footprint = footprint * line
	home := r.memory // the level that holds all that a call touches
	for !cold && home > 0 && float64(capacities[home-1]) >= footprint {
		home--
	}

	out.waits = make([]waits, r.memory+1)
	var far, ends float64
	for i, t := range r.trips {
		n := l.Nest[i].Trips
		far, ends = far+n*t.far, ends+n*t.ends
		for level, w := range t.waits {
			if level == r.memory {
				level = max(home, 1)
			}
			out.waits[level].lines += n * w.lines
			out.waits[level].rows += n * w.rows
		}
		for level, lines := range t.found {
			read(level, n*lines)
		}
		out.tableRead += n * t.tables * line
		out.levels[r.memory].written += n * t.stream * line
		read(home, n*(t.fresh+t.rows*distinct))
		if home == r.memory {
			out.tableRead += n * t.rows * distinct * line
		}
		// A row met again at random is found in a cache as often as the cache holds of the tables.
		if again := n * t.rows * (1 - distinct); again > 0 {
			for level := 1; level <= r.memory; level++ {
				missed := again * (1 - min(1, float64(capacities[level-1])/tableLines))
				out.levels[level].read += missed * line
				if level == r.memory {
					out.tableRead += missed * line
				}
			}
		}
	}

	out.run = far * line / max(1, ends)

	weight := func(h lineHistory, trip int32) float64 {
		if r.steady < 0 {
			return 1
		}
		steady := int32(r.steady)
		switch {
		case h.first == steady: // new in each steady trip, wherever the write-back falls
			return l.Nest[steady].Trips
		case trip == steady && h.last >= steady && h.first < steady:
			return l.Nest[steady].Trips // the same lines in each
		}
		return 1
	}
	for _, e := range r.events {
		out.levels[e.level].written += weight(r.history[e.line], e.trip) * float64(r.stack.lines[e.line].weight) * line
	}
	for id := range r.stack.lines {
		dirty := r.stack.lines[id].dirty
		for level := 0; level < home && dirty != 0; level++ {
			if dirty>>level&1 == 0 {
				continue
			}
			dirty |= 1 << (level + 1)
			n := weight(r.history[id], -1)
			if cold {
				// Only what the trips that were not recorded push out.
				n = max(0, n-1) * max(0, 1-float64(capacities[level])/footprint)
			}
			out.levels[level+1].written += n * float64(r.stack.lines[id].weight) * line
		}
	}
	return out
}
