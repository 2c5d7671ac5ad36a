package sim

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/rooftune/rooftune/kernels/tile"
)

// testTable offers some register tiles; what its kernels would compute does not matter.
func testTable() *tile.Primitives {
	tiles := []tile.ProductKernel{{MR: 8, NR: 32}, {MR: 6, NR: 16}, {MR: 4, NR: 4}}
	return &tile.Primitives{ISA: tile.AVX512, NN: tiles, NT: tiles, TN: tiles}
}

// one records a single call and returns its operation.
func one(t *testing.T, call func(r *Recorder, p *tile.Primitives)) Op {
	t.Helper()
	r := NewRecorder(testTable())
	call(r, r.Primitives())
	program, err := r.Program("one", nil, 1, 1)
	if err != nil {
		t.Fatal(err)
	}
	return program.Launches[0].Nest[0].Ops[0]
}

func TestRecordedTilesAreThoseOfTheTable(t *testing.T) {
	p := NewRecorder(testTable()).Primitives()
	if _, ok := tile.Find(p.NT, 6, 16); !ok || len(p.NN) != 3 || p.ISA != tile.AVX512 {
		t.Errorf("the recorder offers %v NN tiles of %s", len(p.NN), p.ISA)
	}
}

// Flops and register traffic against loops over every element of every tile, with ragged edges and triangles.
func TestRecordedProductsEqualElementCounts(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 200 {
		m, n, k := 1+rng.IntN(40), 1+rng.IntN(70), 1+rng.IntN(40)
		strict, lower, beta := rng.IntN(2), rng.IntN(2) == 0, float32(rng.IntN(2))
		a, b, c, row := make([]float32, 80*80), make([]float32, 80*80), make([]float32, 80*80), make([]float32, 80)
		for which := range 3 {
			kernel := rng.IntN(3)
			shape := testTable().NN[kernel]
			mr, nr := shape.MR, shape.NR
			op := one(t, func(r *Recorder, p *tile.Primitives) {
				r.Buffer("a", a, Input)
				r.Buffer("b", b, Input)
				r.Buffer("c", c, Output)
				r.Buffer("row", row, Scratch)
				args := &tile.Product{A: a, B: b, C: c, LDA: 80, LDB: 80, LDC: 80, M: m, N: n, K: k, Beta: beta}
				switch which {
				case 0:
					args.Lower, args.Row = lower, row
					p.NN[kernel].Run(args)
				case 1:
					args.Lower, args.Strict, args.Row = lower, strict, row
					p.NT[kernel].Run(args)
				case 2:
					args.Row = row
					p.TN[kernel].Run(args)
				}
			})
			var flops, loads, stores int64
			for j := 0; j < n; j += nr {
				for i := 0; i < m; i += mr {
					rows, cols := min(mr, m-i), min(nr, n-j)
					depth := k
					if which == 0 && lower {
						depth = min(k, i+rows)
					}
					left := false
					if which == 1 && lower && i+rows-1 < j+strict { // no column of the tile is reached by its last row
						depth = 0
						left = beta != 0
					}
					for range rows {
						for range cols {
							flops += 2 * int64(depth)
							if left {
								continue
							}
							stores += 4
							if beta != 0 {
								loads += 4
							}
						}
					}
					loads += 4 * int64(depth) * int64(rows+cols)
					loads += 4 * int64(rows) // of Row
				}
			}
			if op.Flops != flops || op.LoadBytes != loads || op.StoreBytes != stores {
				t.Fatalf("%s %dx%d m=%d n=%d k=%d lower=%v strict=%d: %d flops, %d and %d bytes; want %d, %d and %d", op.Name, mr, nr, m, n, k, lower, strict,
					op.Flops, op.LoadBytes, op.StoreBytes, flops, loads, stores)
			}
		}
	}
}

func TestRecordedHandCounts(t *testing.T) {
	a, b, c := make([]float32, 4096), make([]float32, 4096), make([]float32, 4096)
	named := func(r *Recorder) {
		r.Buffer("a", a, Input)
		r.Buffer("b", b, Input)
		r.Buffer("c", c, Output)
	}
	// 10 rows on a 8x32 tile with K=10: rows 0-7 read 8 columns of A, rows 8-9 all 10; 2*32*(8*8+2*10).
	op := one(t, func(r *Recorder, p *tile.Primitives) {
		named(r)
		p.NN[0].Run(&tile.Product{A: a, B: b, C: c, LDA: 16, LDB: 32, LDC: 32, M: 10, N: 32, K: 10, Lower: true})
	})
	if op.Flops != 2*32*(64+20) {
		t.Errorf("triangular NN: %d flops", op.Flops)
	}
	var read int64
	for _, touch := range op.Touches {
		if touch.Buffer == 0 {
			read += touch.Bytes()
		}
	}
	if read != 4*(8*8+2*10) {
		t.Errorf("triangular NN reads %d bytes of A, want those at and below the diagonal tiles", read)
	}
	// N(N-1) W flops: a multiply and a subtraction for each pair below the diagonal.
	op = one(t, func(r *Recorder, p *tile.Primitives) {
		named(r)
		p.Solve(&tile.Solve{L: a, X: c, LDL: 16, LDX: 48, N: 13, W: 48})
	})
	if op.Flops != 13*12*48 {
		t.Errorf("solve: %d flops, want %d", op.Flops, 13*12*48)
	}
	solved := op
	op = one(t, func(r *Recorder, p *tile.Primitives) {
		named(r)
		p.Substitute(&tile.Substitute{L: a, X: c, Y: c[1024:], Row: b, LDL: 16, LDX: 48, LDY: 48, N: 13, W: 48})
	})
	if op.Flops != solved.Flops || op.StoreBytes != solved.StoreBytes+4*13*48 {
		t.Errorf("substitute: %d flops, %d bytes stored, want those of a solve and another %d bytes", op.Flops, op.StoreBytes, 4*13*48)
	}
	// Five rows of 64, in groups of 2: two multiply-adds an element, three passes over the sum.
	op = one(t, func(r *Recorder, p *tile.Primitives) {
		named(r)
		p.Gather(&tile.Gather{Table: a, Rows: []int32{3, 0, 7, 7, 1}, Weight: b, Out: c, LD: 128, N: 64, Group: 2})
	})
	if op.Flops != 2*5*64 || op.StoreBytes != 3*256 || op.LoadBytes != 5*(256+8)+3*256 {
		t.Errorf("gather: %d flops, %d loaded, %d stored", op.Flops, op.LoadBytes, op.StoreBytes)
	}
	if want := (Touch{Buffer: 0, Offset: 3 * 512, Rows: 1, RowBytes: 256, Stride: 256, Mode: Read}); op.Touches[1] != want {
		t.Errorf("gather touches %+v first, want %+v", op.Touches[1], want)
	}
}

func TestRecorderKeepsDriversOnTheirWay(t *testing.T) {
	r := NewRecorder(testTable())
	p := r.Primitives()
	data := make([]float32, 256)
	r.Buffer("data", data, Scratch)
	p.Exp(&tile.Exp{Src: data, Dst: data[64:], Stride: 2, N: 8, Scale: 1})
	p.Decay(&tile.Decay{G: data, C: data[32:], D: data[128:], LDD: 8, N: 8})
	pack := &tile.Pack{Src: data, Dst: data[64:], LDS: 8, LDD: 8, M: 2, N: 4, NonFinite: true}
	p.Pack(pack)
	if data[71] != usualDecay || data[39] != 1 || data[72] != 0 || pack.NonFinite {
		t.Errorf("exp leaves %g, decay %g, beyond %g, pack says non-finite %v", data[71], data[39], data[72], pack.NonFinite)
	}
	if _, err := r.Program("way", nil, 1, 1); err != nil {
		t.Error(err)
	}
}

func TestRecorderErrors(t *testing.T) {
	data, other := make([]float32, 64), make([]float32, 64)
	for _, c := range []struct {
		name, want string
		call       func(r *Recorder, p *tile.Primitives)
	}{
		{"outside the slice", "element 71 but has 64", func(r *Recorder, p *tile.Primitives) {
			p.Pack(&tile.Pack{Src: data, Dst: other, LDS: 10, LDD: 8, M: 8, N: 1})
		}},
		{"table row outside", "Table", func(r *Recorder, p *tile.Primitives) {
			p.Gather(&tile.Gather{Table: data, Rows: []int32{4}, Weight: data, Out: other, LD: 16, N: 16})
		}},
		{"negative table row", "Table", func(r *Recorder, p *tile.Primitives) {
			p.Gather(&tile.Gather{Table: data, Rows: []int32{-1}, Weight: data, Out: other, LD: 16, N: 16})
		}},
		{"unnamed", "no named buffer", func(r *Recorder, p *tile.Primitives) {
			p.Pack(&tile.Pack{Src: data, Dst: make([]float32, 8), LDS: 8, LDD: 8, M: 1, N: 8})
		}},
		{"overlap", "overlap", func(r *Recorder, p *tile.Primitives) { r.Buffer("again", data[63:], Scratch) }},
		{"rows overlap", "apart", func(r *Recorder, p *tile.Primitives) {
			p.Pack(&tile.Pack{Src: data, Dst: other, LDS: 2, LDD: 8, M: 2, N: 4})
		}},
		{"too many trips", "3 trips", func(r *Recorder, p *tile.Primitives) { r.Trip(); r.Trip(); r.Trip() }},
	} {
		r := NewRecorder(testTable())
		r.Buffer("data", data, Input)
		r.Buffer("other", other, Output)
		c.call(r, r.Primitives())
		if _, err := r.Program("p", nil, 1.5, 1); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", c.name, err, c.want)
		}
	}
}
