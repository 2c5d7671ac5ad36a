package sim

import (
	"testing"
	"unsafe"

	"github.com/rooftune/rooftune/kernels/tile"
)

// Each operation keeps its own touches, however few.
func TestHashTouchesAreKept(t *testing.T) {
	table, weight, out := make([]uint16, 64*16), make([]float32, 4), make([]float32, 16)
	r := NewRecorder(testTable())
	r.Halves("table", table, Table)
	r.Buffer("weight", weight, Scratch)
	r.Buffer("out", out, Output)
	p := r.Primitives()
	for i := range int32(8) {
		rows := []int32{8 * i, 8*i + 3, 8*i + 5, 8*i + 7}
		r.Indices("rows", rows, Scratch)
		p.GatherHalf(&tile.GatherHalf{Table: table, Rows: rows, Weight: weight, Out: out, LD: 16, N: 16, Group: 4})
	}
	program, err := r.Program("gathers", nil, 1, 1)
	if err != nil {
		t.Fatal(err)
	}
	touched := map[int64]bool{}
	for _, op := range program.Launches[0].Nest[0].Ops {
		for _, touch := range op.Touches {
			if touch.Buffer == 0 {
				touched[touch.Offset] = true
			}
		}
	}
	if len(touched) != 8*4 {
		t.Errorf("%d rows touched, want 32", len(touched))
	}
}

// Two recorded trips over a table of 48 MiB say what recording all of them says, where each trip has rows of its own, as panels of slabs do.
func TestSteadyTripsThroughTables(t *testing.T) {
	const columns, each, trips = 256, 4096, 12
	table, weight, out := make([]float32, trips*each*columns), make([]float32, each), make([]float32, columns)
	walk := func(n int) *Result {
		r := NewRecorder(testTable())
		r.Buffer("table", table, Table)
		r.Buffer("weight", weight, Scratch)
		r.Buffer("out", out, Output)
		p := r.Primitives()
		rows := make([]int32, each)
		r.Indices("rows", rows, Scratch)
		for trip := range n {
			for i := range rows {
				rows[i] = int32(trip*each + i)
			}
			p.Gather(&tile.Gather{Table: table, Rows: rows, Weight: weight, Out: out, LD: columns, N: columns, Group: 8})
			r.Trip()
		}
		program, err := r.Program("rows", nil, trips, 1)
		if err != nil {
			t.Fatal(err)
		}
		result, err := Simulate(testCPU(t, 1), program)
		if err != nil {
			t.Fatal(err)
		}
		return result
	}
	want, got := walk(trips), walk(2)
	for level, bytes := range want.Bytes {
		if diff := got.Bytes[level] - bytes; max(diff, -diff) > bytes/100 {
			t.Errorf("%s moves %d bytes, recorded in full %d", level, got.Bytes[level], bytes)
		}
	}
}

// Rows of tables that the second level holds are read from it at the rate of such rows, all else of its traffic at that of streams.
func TestTablesFromSecondLevel(t *testing.T) {
	const columns, rows, calls = 16, 4096, 50 // a table of 256 KiB
	table, weight, out := make([]float32, rows*columns), make([]float32, rows), make([]float32, columns)
	r := NewRecorder(testTable())
	r.Buffer("table", table, Table)
	r.Buffer("weight", weight, Scratch)
	r.Buffer("out", out, Output)
	p := r.Primitives()
	index := make([]int32, rows)
	r.Indices("rows", index, Scratch)
	for i := range index {
		index[i] = int32(i)
	}
	for range calls {
		p.Gather(&tile.Gather{Table: table, Rows: index, Weight: weight, Out: out, LD: columns, N: columns, Group: 8})
		r.Trip()
	}
	program, err := r.Program("rows", nil, calls, 1)
	if err != nil {
		t.Fatal(err)
	}
	d := testCPU(t, 1)
	time := func() (l2, roof float64) {
		result, err := Simulate(d, program)
		if err != nil {
			t.Fatal(err)
		}
		if result.tables[1] != calls*4*rows*columns {
			t.Fatalf("%g bytes of tables from the second level, want %d", result.tables[1], calls*4*rows*columns)
		}
		return result.Parts["L2"], FormRoof(d, program, result).RoofNs
	}
	level := &d.Levels[1]
	level.PeakBps = level.ReadBps
	before, _ := time()
	level.Gathers = []GatherRate{{64, level.ReadBps / 4}, {128, level.ReadBps / 2}}
	after, roof := time()
	bytes := float64(calls * 4 * rows * columns)
	if want := before + 3*bytes/level.ReadBps*1e9; after < 0.999*want || after > 1.001*want {
		t.Errorf("the second level takes %g ns, want %g: a quarter of the rate for %g bytes", after, want, bytes)
	}
	if least := 4 * bytes / level.ReadBps * 1e9; roof < least || roof > after*1.001 {
		t.Errorf("roof of the form %g ns, want from %g to %g", roof, least, after)
	}
}

// What is fetched in a row ahead comes from memory once and is found nearer when its rows are read; only rows that are read count as needed.
func TestSlabsFetchedAhead(t *testing.T) {
	const slabs, tables, rows, tokens = 4, 2, 256, 64
	table, y := make([]float32, slabs*tables*rows*tile.SlabFloats), make([]float32, tokens*tile.SlabFloats)
	weight, offset := make([]float32, tokens*tables), make([]uint32, tokens*tables)
	for i := range offset { // each token another row, so that a quarter of each table is read
		offset[i] = uint32((i%tables*rows + i/tables) * tile.SlabFloats * 4)
	}
	walk := func(ahead bool) *Result {
		r := NewRecorder(testTable())
		r.Buffer("table", table, Table)
		r.Buffer("sums", y, Scratch)
		r.Buffer("weight", weight, Scratch)
		r.Words("offset", offset, Scratch)
		p := r.Primitives()
		for i := range slabs {
			slab := tile.Slab{Floats: table[i*len(table)/slabs:], Offset: offset, Weight: weight, Y: y, T: tokens, G: tables}
			if next := (i + 1) * len(table) / slabs; ahead && next < len(table) {
				slab.Next = unsafe.Slice((*byte)(unsafe.Pointer(&table[next])), 4*len(table)/slabs)
			}
			p.SlabFloats(&slab)
		}
		r.Trip()
		program, err := r.Program("slabs", nil, 1, 1)
		if err != nil {
			t.Fatal(err)
		}
		program.Cold = true
		result, err := Simulate(testCPU(t, 1), program)
		if err != nil {
			t.Fatal(err)
		}
		return result
	}
	plain, fetched := walk(false), walk(true)
	rowBytes := int64(tokens * tables * tile.SlabFloats * 4)
	if more := fetched.Bytes["DRAM"] - plain.Bytes["DRAM"]; more != (slabs-1)*(int64(4*len(table)/slabs)-rowBytes) {
		t.Errorf("fetching moves %d bytes more from memory, want three slabs without the rows that are read", more)
	}
	if fetched.tables[3] != float64(rowBytes) || plain.tables[3] != float64(slabs*rowBytes) {
		t.Errorf("rows found in memory: %g bytes fetched ahead, %g plainly, want %d and %d", fetched.tables[3], plain.tables[3], rowBytes, slabs*rowBytes)
	}
	if fetched.BytesLowerBound["DRAM"] != plain.BytesLowerBound["DRAM"] {
		t.Errorf("needed from memory: %d bytes with slabs fetched ahead, %d without", fetched.BytesLowerBound["DRAM"], plain.BytesLowerBound["DRAM"])
	}
}
