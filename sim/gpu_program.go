package sim

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/rooftune/rooftune/kernels/tile"
)

// Tunables of GPU programs, by the names that configs use.
const (
	keyChunk  = "chunk"  // tokens of a chunk
	keyBK     = "bk"     // key columns of a tile
	keyBV     = "bv"     // value columns of a tile
	keyWarps  = "warps"  // of a block
	keyStages = "stages" // of loads in flight
)

// gpuFamily is a published kernel's tiling.
type gpuFamily struct {
	defaults tile.Config
	sweep    []tile.Param
	forward  func(*gpuBuilder)
	backward func(*gpuBuilder)
}

var gpuFamilies = map[string]gpuFamily{
	"lightning-attention-2": {
		defaults: tile.Config{keyChunk: 64, keyBV: 32, keyWarps: 4, keyStages: 2},
		sweep: []tile.Param{
			{Name: keyChunk, Values: []int{16, 32, 64, 128}}, {Name: keyBV, Values: []int{16, 32, 64, 128}},
			{Name: keyWarps, Values: []int{4, 8}}, {Name: keyStages, Values: []int{1, 2, 3}},
		},
		forward: lightningForward, backward: lightningBackward,
	},
	"delta-rule": {
		defaults: tile.Config{keyChunk: 64, keyBK: 64, keyBV: 64, keyWarps: 4, keyStages: 2},
		sweep: []tile.Param{
			{Name: keyChunk, Values: []int{16, 32, 64}}, {Name: keyBK, Values: []int{32, 64, 128}}, {Name: keyBV, Values: []int{32, 64, 128}},
			{Name: keyWarps, Values: []int{2, 4, 8}}, {Name: keyStages, Values: []int{2, 3, 4}},
		},
		forward: deltaForward, backward: deltaBackward,
	},
}

// GPUPrograms lists the names that GPUProgram knows.
func GPUPrograms() []string { return slices.Sorted(maps.Keys(gpuFamilies)) }

// GPUSweep lists the block-size configs worth trying for a program, nil for an unknown one. Some do not fit on some devices
// or shapes.
func GPUSweep(name string) []tile.Config {
	f, ok := gpuFamilies[name]
	if !ok {
		return nil
	}
	configs := []tile.Config{{}}
	for _, p := range f.sweep {
		var next []tile.Config
		for _, c := range configs {
			for _, v := range p.Values {
				with := maps.Clone(c)
				with[p.Name] = v
				next = append(next, with)
			}
		}
		configs = next
	}
	return configs
}

// GPUProgram writes the program of a published kernel for a shape (B, T, Hq = Hkv, Dk, Dv), dtype ("float32", "bfloat16", "float16" or fp32, bf16, fp16; of
// inputs, outputs and products' operands, which accumulate in float32; float32 products run as TF32) and direction ("fwd", "bwd"). cfg may leave out
// keys, which then take the published default. It runs cold: the harnesses that published timings
// come from flush L2.
//
//   - "lightning-attention-2": one launch, a block for each head and bv value columns, chunk after chunk with the state in registers. Backward: a launch over all
//     chunks for what stays within them, and one with a block for each head that goes forward and back
//     over the chunks (OpenNLPLab/lightning-attention).
//   - "delta-rule": chunk products K Kᵀ, triangular inverse, W and U, states chunk after chunk, outputs; five launches, as
//     flash-linear-attention's chunk_delta_rule. Backward recomputes W, U and the states.
func GPUProgram(name string, s tile.Shape, dtype, dir string, cfg tile.Config) (*Program, error) {
	f, ok := gpuFamilies[name]
	if !ok {
		return nil, fmt.Errorf("unknown program %q: known are %s", name, strings.Join(GPUPrograms(), ", "))
	}
	b := &gpuBuilder{shape: s, dtype: canonicalDType(dtype), config: maps.Clone(f.defaults)}
	b.size = int64(elementBytes(dtype))
	if b.size == 0 {
		return nil, fmt.Errorf("program %s: dtype %q: want float32, bfloat16 or float16", name, dtype)
	}
	for _, dim := range []struct {
		name string
		n    int
	}{{"b", s.B}, {"t", s.T}, {"hq", s.Hq}, {"hkv", s.Hkv}, {"dk", s.Dk}, {"dv", s.Dv}} {
		if dim.n < 1 || dim.n > 1<<30 {
			return nil, fmt.Errorf("program %s: %s must be 1 to 2^30, not %d", name, dim.name, dim.n)
		}
	}
	if float64(s.B)*float64(s.T)*float64(s.Hq)*float64(max(s.Dk, s.Dv)) > 1<<52 {
		return nil, fmt.Errorf("program %s: shape %s is too large", name, s)
	}
	if s.Hq != s.Hkv {
		return nil, fmt.Errorf("program %s: the published kernel has as many query heads as key heads, not %d and %d", name, s.Hq, s.Hkv)
	}
	for key, v := range cfg {
		if _, ok := f.defaults[key]; !ok {
			return nil, fmt.Errorf("program %s: unknown config %q: known are %s", name, key, strings.Join(slices.Sorted(maps.Keys(f.defaults)), ", "))
		}
		low, high := 1, 8
		switch key {
		case keyChunk, keyBK, keyBV:
			low, high = 16, 1024
		case keyWarps:
			high = 32
		}
		if v < low || v > high {
			return nil, fmt.Errorf("program %s: %s must be %d to %d, not %d", name, key, low, high, v)
		}
		b.config[key] = v
	}
	b.derive()
	b.program = &Program{Name: name, Kind: KindGPU, Config: b.config, Cold: true}
	switch dir {
	case "fwd":
		f.forward(b)
	case "bwd":
		f.backward(b)
	default:
		return nil, fmt.Errorf("program %s: direction %q: want fwd or bwd", name, dir)
	}
	return b.program, nil
}

// gpuBuilder writes launches.
type gpuBuilder struct {
	program           *Program
	shape             tile.Shape
	config            tile.Config
	dtype             string
	size              int64 // bytes of an element
	heads             int64 // B*H
	chunks            int64
	c, dk, dv, bk, bv int
	nk, nv            int
	warps, stages     int
}

func (b *gpuBuilder) derive() {
	s := b.shape
	b.heads = int64(s.B) * int64(s.Hq)
	b.c, b.dk, b.dv = b.config[keyChunk], s.Dk, s.Dv
	b.chunks = (int64(s.T) + int64(b.c) - 1) / int64(b.c)
	b.bk, b.bv = b.dk, min(b.config[keyBV], powerOfTwo(b.dv))
	if bk, ok := b.config[keyBK]; ok {
		b.bk = min(bk, powerOfTwo(b.dk))
	}
	b.nk, b.nv = (b.dk+b.bk-1)/b.bk, (b.dv+b.bv-1)/b.bv
	b.warps, b.stages = b.config[keyWarps], b.config[keyStages]
}

// powerOfTwo rounds a width up as Triton's tiles do, to 16 at least.
func powerOfTwo(n int) int {
	p := 16
	for p < n {
		p *= 2
	}
	return p
}

// array adds a buffer of values elements for each token and head.
func (b *gpuBuilder) array(name string, kind BufferKind, values int64) int {
	return b.sized(name, kind, int64(b.shape.B)*int64(b.shape.T)*int64(b.shape.Hq)*values*b.size)
}

func (b *gpuBuilder) sized(name string, kind BufferKind, bytes int64) int {
	b.program.Buffers = append(b.program.Buffers, Buffer{name, kind, bytes})
	return len(b.program.Buffers) - 1
}

// tileOf touches a tile of rows x cols elements.
func (b *gpuBuilder) tileOf(buffer, rows, cols int, mode Mode, sharers int) Touch {
	n := int64(cols) * b.size
	return Touch{Buffer: buffer, Rows: rows, RowBytes: n, Stride: n, Mode: mode, Sharers: sharers}
}

// wide touches a tile of float32 whatever the dtype.
func wide(buffer, rows, cols int, mode Mode) Touch {
	return Touch{Buffer: buffer, Rows: rows, RowBytes: int64(cols) * 4, Stride: int64(cols) * 4, Mode: mode}
}

// product is a step of matrix instructions on an M x N x K tile. Its operands come from SRAM, or A from registers: warps
// split the rows, so that each group of rows reads B once.
func (b *gpuBuilder) product(name string, m, n, k int, chained, fromRegisters bool, touches ...Touch) Op {
	groups := max(1, min(b.warps, m/matrixM)) // warps along the rows; the others split the columns
	reads := int64(groups) * int64(n) * int64(k)
	if !fromRegisters {
		reads += int64(max(1, b.warps/groups)) * int64(m) * int64(k)
	}
	op := Op{Name: name, M: m, N: n, K: k, Flops: 2 * int64(m) * int64(n) * int64(k), LoadBytes: reads * b.size, Touches: touches}
	if chained {
		op.Chain = 1
	}
	return op
}

// element is a step of element-wise work.
func element(name string, elements int, touches ...Touch) Op {
	return Op{Name: name, Elements: int64(elements), Touches: touches}
}

// operand is a tile that goes from registers to SRAM to be an operand.
func (b *gpuBuilder) operand(name string, rows, cols int) Op {
	n := int64(rows) * int64(cols)
	return Op{Name: name, Elements: n, StoreBytes: n * b.size}
}

// launch adds a launch. tiles is the elements of the tiles that its longest loop loads in a trip, fixed those of tiles kept
// in SRAM, accumulators the float32 values that a block holds in registers. Accumulators beyond a thread's registers are
// spilled and reloaded each trip of the loop, through SRAM's bytes.
func (b *gpuBuilder) launch(name string, blocks int64, tiles, fixed, accumulators int, nest ...Loop) {
	threads := b.warps * warpLanes
	const addresses = 48 // registers of pointers and operands in flight
	registers := (accumulators+threads-1)/threads + addresses
	if registers > maxThreadRegs {
		spilled := int64(registers-maxThreadRegs) * int64(threads) * 4
		registers = maxThreadRegs
		longest := 0
		for i := range nest {
			if nest[i].Trips > nest[longest].Trips {
				longest = i
			}
		}
		nest[longest].Ops = append(nest[longest].Ops, Op{Name: "spill", LoadBytes: spilled, StoreBytes: spilled})
	}
	b.program.Launches = append(b.program.Launches, Launch{
		Name: name, Blocks: blocks, Nest: nest, DType: b.dtype, Warps: b.warps, Stages: b.stages,
		SRAMBytes: (int64(b.stages)*int64(tiles) + int64(fixed)) * b.size, Registers: registers,
	})
}
