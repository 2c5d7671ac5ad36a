package sim

import (
	"math"
	"math/bits"
	"slices"
	"sync"
)

// MaxLevels is the most memory levels that a device may have.
const MaxLevels = 8

// levelTraffic is what a level exchanges with the next nearer one.
type levelTraffic struct {
	read, written float64 // bytes
	tables        float64 // of those read, rows of tables
	fetched       float64 // likewise, in a row ahead of their use
}

// traffic is what one worker's share of a launch moves.
type traffic struct {
	levels    [MaxLevels]levelTraffic // per level of the device
	needed    neededBytes             // distinct bytes touched
	run       float64                 // bytes that lie side by side of what is read from beyond the private caches in a trip
	waits     [MaxLevels]waits        // per level of the device
	footprint float64                 // bytes that a call touches
}

// waits counts the lines that are waited for, by the level where they are: nothing reads or stores them ahead.
type waits struct {
	read   float64 // by a sweep of the state
	stored float64 // by one, plainly, which the store buffer waits for
	copied float64 // read by what is no sweep
}

// pageGrains is how many grains of a buffer are numbered at a time, so that a large table that is touched here and there
// takes little memory.
const pageGrains = 64

// grainShare is the largest share of a cache that a grain may be. A grain is a run of lines of a buffer that every touch takes as a whole: the
// stack holds it as one, which costs an eighth and less of what its lines do.
const grainShare = 1.0 / 32

// countTraffic replays the touches of a launch through the device's caches. A shared cache is split evenly among the
// workers, a private one is each worker's own.
//
// Warm programs are one of many calls, so a line that is touched for the first time was last touched a call ago:
// it is found in the first level that holds all that a call touches, and what a call leaves dirty is written back to all levels
// that don't. In a cold one it comes from the last level, and what the last trips leave dirty stays.
//
// The steady trip stands for those that were not recorded. A write-back that falls in it counts for it if the line was first touched
// there or was touched there again; lines of an earlier trip that drift out meanwhile belong to that one.
func countTraffic(d *Device, p *Program, l *Launch, c *compiledLaunch) {
	line := int64(d.Levels[0].LineBytes)
	r := replays.Get().(*replay)
	defer replays.Put(r)
	r.reset(p, l, line, c.capacities[:c.memory])
	r.steady = c.steady
	for i := range l.Nest { // the last trip of a recording has nothing ahead of it
		for j := range l.Nest[i].Ops {
			r.ahead = r.ahead || l.Nest[i].Ops[j].Ahead > 0
		}
	}
	for i := range l.Nest {
		r.trip(i, l.Nest[i].Ops)
	}
	r.lines = r.stack.lines
	r.sum(l, c)
	r.buffers = nil
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
			op := &l.Nest[i].Ops[j]
			for _, t := range op.Touches {
				together[t.Buffer] |= t.Offset | t.RowBytes
				switch {
				case t.Listed:
					for _, at := range op.Places {
						together[t.Buffer] |= int64(at)
					}
				case t.Rows > 1:
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
	steady   int  // the trip that is repeated, -1 if none
	ahead    bool // some operation prefetches
	events   []writeBack
	rowBytes int64  // of the longest table row
	spans    []span // of each trip and buffer, where a table is touched
	lines    []lruLine
}

// span is a range of grains, empty if it ends where it begins.
type span struct{ begin, end int64 }

// with is the range that holds a grain too.
func (s span) with(grain int64) span {
	if s.begin == s.end {
		return span{grain, grain + 1}
	}
	return span{min(s.begin, grain), max(s.end, grain+1)}
}

func (s span) overlaps(o span) bool { return max(s.begin, o.begin) < min(s.end, o.end) }

// replays keeps what simulations allocate for the next ones.
var replays = sync.Pool{New: func() any { return new(replay) }}

func (r *replay) reset(p *Program, l *Launch, line int64, capacities []int64) {
	*r = replay{
		stack: newLRUStack(capacities), line: line, memory: len(capacities), buffers: p.Buffers,
		grains: grains(l, len(p.Buffers), line, capacities), steady: -1,
		pages: r.pages, trips: r.trips[:0], history: r.history[:0], events: r.events[:0], lines: r.lines[:0], spans: r.spans[:0],
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
	table       bool  // touched as part of a row of a table
}

// tripTraffic counts lines in one recorded trip.
type tripTraffic struct {
	found  [MaxLevels]float64 // by the level where a line was found
	tables [MaxLevels]float64 // of these, lines of tables
	ahead  [MaxLevels]float64 // of these, fetched ones
	first  float64            // of fresh, fetched ones
	fresh  float64            // first touches but those of tables
	needed neededBytes        // the same in lines, by use
	rows   float64            // first touches of tables, but those that are fetched in a row
	seen   float64            // lines of rows of tables that were not read before, fetched or not
	stream float64            // lines written past the caches
	waits  [MaxLevels]waits   // by the level where lines were found, first touches in the last
	far    float64            // lines of inputs found beyond the private caches
	ends   float64            // of these without the next one
}

// add adds n times another trip's.
func (t *tripTraffic) add(o *tripTraffic, n float64) {
	for i := range t.found {
		t.found[i] += n * o.found[i]
		t.tables[i] += n * o.tables[i]
		t.ahead[i] += n * o.ahead[i]
		t.waits[i].read += n * o.waits[i].read
		t.waits[i].stored += n * o.waits[i].stored
		t.waits[i].copied += n * o.waits[i].copied
	}
	t.fresh += n * o.fresh
	t.first += n * o.first
	t.rows += n * o.rows
	t.seen += n * o.seen
	t.stream += n * o.stream
	t.far += n * o.far
	t.ends += n * o.ends
	t.needed.add(o.needed, n)
}

type writeBack struct {
	line  int32
	trip  int32
	level int8
}

func (r *replay) trip(n int, ops []Op) {
	var t tripTraffic
	r.spans = append(r.spans, make([]span, len(r.buffers))...)
	spans := r.spans[n*len(r.buffers):]
	evicted := func(id int32, level int) {
		r.events = append(r.events, writeBack{id, int32(n), int8(level)})
	}
	for i := range ops {
		op := &ops[i]
		for k := range op.Touches {
			touch := &op.Touches[k]
			table := r.buffers[touch.Buffer].Kind == Table && touch.Mode != Fetch
			if touch.Mode == Stream {
				lines := float64(touch.Bytes()) / float64(r.line)
				t.stream += lines
				if r.buffers[touch.Buffer].Kind == Output {
					t.needed.written += lines
				}
				continue
			}
			write := touch.Mode == Write || touch.Mode == Update
			shift := bits.TrailingZeros64(uint64(r.grains[touch.Buffer]))
			lines := float64(r.grains[touch.Buffer] / r.line)
			times := float64(1 + touch.Again)
			kind := r.buffers[touch.Buffer].Kind
			sweep := op.sweeps() && (kind == Output || kind == Input && !r.ahead)
			for row := range touch.Rows {
				start := op.start(touch, row)
				for at, last := start>>shift, (start+touch.RowBytes-1)>>shift; at <= last; at++ {
					if table {
						spans[touch.Buffer] = spans[touch.Buffer].with(at)
					}
					id := r.number(touch.Buffer, at)
					h := &r.history[id]
					found := r.stack.touch(id, write, evicted)
					if table && !h.table {
						t.seen += lines
						r.rowBytes = max(r.rowBytes, touch.RowBytes)
					}
					if found > 1 || found == unseen {
						at := found
						if found == unseen {
							at = r.memory
						}
						h.far = int32(n) + 1
						switch {
						case sweep && kind == Input:
							t.waits[at].read += lines
						case sweep:
							t.waits[at].stored += lines
						case kind == Input && !r.ahead && !table:
							t.waits[at].copied += lines
						}
					}
					switch {
					case found != unseen:
						t.found[found] += lines * times
						switch {
						case table:
							t.tables[found] += lines * times
						case touch.Mode == Fetch:
							t.ahead[found] += lines * times
						}
					case table:
						*h = lineHistory{first: int32(n), far: h.far}
						t.rows += lines
					default:
						*h = lineHistory{first: int32(n), far: h.far}
						t.fresh += lines
						if touch.Mode == Fetch {
							t.first += lines
						}
						switch r.buffers[touch.Buffer].Kind {
						case Input:
							t.needed.read += lines
						case Output:
							t.needed.written += lines
						case State:
							t.needed.updated += lines
						}
					}
					h.last, h.table = int32(n), h.table || table
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

// sum adds up what was counted: what the trips do once, and what each steady one does.
func (r *replay) sum(l *Launch, c *compiledLaunch) {
	for i, t := range r.trips {
		to, n := &c.once, l.Nest[i].Trips
		if i == r.steady {
			to, n = &c.each, 1
		}
		to.tripTraffic.add(&t, n)
	}
	steady := int32(r.steady)
	of := func(id, trip int32) *tally {
		h := r.history[id]
		switch {
		case steady < 0:
			return &c.once
		case h.first == steady: // new in each steady trip, wherever the write-back falls
			return &c.each
		case trip == steady && h.last >= steady && h.first < steady:
			return &c.each // the same lines in each
		}
		return &c.once
	}
	for _, e := range r.events {
		of(e.line, e.trip).written[e.level] += float64(r.stack.lines[e.line].weight)
	}
	for id := range r.stack.lines {
		if dirty := r.stack.lines[id].dirty; dirty != 0 {
			of(int32(id), -1).left[bits.TrailingZeros8(dirty)] += float64(r.stack.lines[id].weight)
		}
	}
	c.rowBytes = r.rowBytes
	c.walked = r.walks()
}

// walks says whether the steady trip touches tables where none before it does: then trips go through them part by part, and do not come back.
func (r *replay) walks() bool {
	if r.steady < 1 {
		return false
	}
	n := len(r.buffers)
	for i, s := range r.spans[:r.steady*n] {
		if s.overlaps(r.spans[r.steady*n+i%n]) {
			return false
		}
	}
	return true
}

// traffic is that of a launch with so many steady trips.
func (c *compiledLaunch) traffic(trips float64) (out traffic) {
	line := c.line
	t := c.each.times(trips, &c.once)
	repeated := c.steady >= 0 && trips != 1

	// How many lines a call touches, and how many first touches of tables are revisits of rows that the record is too short to see.
	rows := t.rows
	out.needed.add(t.needed, line)
	out.needed.read *= 1 / max(1, c.blocks)    // workers may read the same inputs
	distinctOf := func(rows float64) float64 { // as a share
		if rows == 0 || !repeated || c.walked {
			return 1
		}
		return min(1, -c.tableLines*math.Expm1(rows*math.Log1p(-1/max(2, c.tableLines)))/rows)
	}
	distinct := distinctOf(rows)
	footprint := t.fresh + rows*distinct
	if !repeated {
		out.needed.shared = t.seen * line
	} else if t.seen > 0 { // six standard deviations below the expected rows
		lines, seen := math.Ceil(float64(c.rowBytes)/line), t.seen*distinctOf(t.seen)
		out.needed.shared = max(0, seen-6*math.Sqrt(seen/lines)*lines) * line
	}
	out.footprint = footprint * line
	home := c.memory // the level that holds all that a call touches
	for !c.cold && home > 0 && float64(c.capacities[home-1]) >= footprint {
		home--
	}

	for level, lines := range t.found[:c.memory+1] {
		out.read(level, levelTraffic{read: lines * line, tables: t.tables[level] * line, fetched: t.ahead[level] * line})
		at := level
		if level == c.memory {
			at = max(home, 1)
		}
		out.waits[at].read += t.waits[level].read
		out.waits[at].stored += t.waits[level].stored
		out.waits[at].copied += t.waits[level].copied
	}
	out.levels[c.memory].written += t.stream * line
	out.read(home, levelTraffic{read: (t.fresh + rows*distinct) * line, tables: rows * distinct * line, fetched: t.first * line})
	// A row met again at random is found in a cache as often as the cache holds of the tables.
	if again := rows * (1 - distinct); again > 0 {
		for level := 1; level <= c.memory; level++ {
			missed := again * (1 - min(1, float64(c.capacities[level-1])/c.tableLines))
			out.levels[level].read += missed * line
			out.levels[level].tables += missed * line
		}
	}

	out.run = t.far * line / max(1, t.ends)

	left := 0.0
	for level := range c.memory {
		out.levels[level+1].written += t.written[level+1] * line
		switch {
		case level >= home:
		case c.cold: // only what the trips that were not recorded push out
			left += c.each.left[level] * max(0, trips-1)
			out.levels[level+1].written += left * line * max(0, 1-float64(c.capacities[level])/footprint)
		default:
			left += t.left[level]
			out.levels[level+1].written += left * line
		}
	}
	return out
}

// read counts bytes that come from a level and so pass all nearer ones.
func (t *traffic) read(level int, bytes levelTraffic) {
	for i := 1; i <= level; i++ {
		l := &t.levels[i]
		l.read += bytes.read
		l.tables += bytes.tables
		l.fetched += bytes.fetched
	}
}
