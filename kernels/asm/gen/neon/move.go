package main

// A width is how many columns a tile has: whole vectors, or the first lanes of one.
type width struct{ vectors, lanes int }

func (w width) columns() int { return w.vectors * w.lanes }
func (w width) bytes() int   { return 4 * w.columns() }

// widths are the panels that columns are cut into: whole ones, half ones, single vectors, then single columns.
// A part of a vector is loaded by itself, which clears the other lanes; what they compute is never stored.
func widths(vectors int) []width {
	w := []width{{vectors, 4}}
	if vectors >= 4 {
		w = append(w, width{vectors / 2, 4})
	}
	if vectors > 1 {
		w = append(w, width{1, 4})
	}
	return append(w, width{1, 1})
}

// move is the name of the load or store of so many lanes.
func move(lanes int) string {
	return map[int]string{4: "FMOVQ", 2: "FMOVD", 1: "FMOVS"}[lanes]
}

// load fills registers from memory, in pairs where it can.
func (f *file) load(w width, v []V, base R, offset int) {
	for i := 0; i < len(v); i++ {
		if w.lanes == 4 && i+1 < len(v) && offset+16*i <= 1008 {
			f.ins("FLDPQ %d(%v), (%s, %s)", offset+16*i, base, v[i].F(), v[i+1].F())
			i++
			continue
		}
		f.ins("%s %d(%v), %s", move(w.lanes), offset+16*i, base, v[i].F())
	}
}

// store is the opposite of load.
func (f *file) store(w width, v []V, base R, offset int) {
	for i := 0; i < len(v); i++ {
		if w.lanes == 4 && i+1 < len(v) && offset+16*i <= 1008 {
			f.ins("FSTPQ (%s, %s), %d(%v)", v[i].F(), v[i+1].F(), offset+16*i, base)
			i++
			continue
		}
		f.ins("%s %s, %d(%v)", move(w.lanes), v[i].F(), offset+16*i, base)
	}
}

// loadNext fills a register with lanes and moves the pointer past them.
func (f *file) loadNext(lanes int, v V, base R) {
	f.ins("%s.P %d(%v), %s", move(lanes), 4*lanes, base, v.F())
}

func (f *file) storeNext(lanes int, v V, base R) {
	f.ins("%s.P %s, %d(%v)", move(lanes), v.F(), 4*lanes, base)
}

func (f *file) zero(v ...V) {
	for _, v := range v {
		f.ins("VMOVI $0, %s", v.B16())
	}
}

func (f *file) copy(d, s V) { f.ins("VMOV %s, %s", s.B16(), d.B16()) }

// fmla is d += n m.
func (f *file) fmla(d, n, m V) { f.ins("VFMLA %s, %s, %s", m.S4(), n.S4(), d.S4()) }

// get loads a field of the argument.
func (f *file) get(offset int, r R) { f.ins("MOVD %d(%v), %v", offset, p, r) }

// getBytes loads a count of floats as bytes.
func (f *file) getBytes(offset int, r R) {
	f.get(offset, r)
	f.ins("LSL $2, %v, %v", r, r)
}

// pointers makes a register for each of some rows, step bytes apart, from the first on.
func (f *file) pointers(r []R, step R) {
	for i := 1; i < len(r); i++ {
		f.ins("ADD %v, %v, %v", step, r[i-1], r[i])
	}
}

// span returns count registers from first on.
func span(first, count int) []V {
	v := make([]V, count)
	for i := range v {
		v[i] = V(first + i)
	}
	return v
}
