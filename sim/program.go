package sim

import (
	"slices"

	"github.com/rooftune/rooftune/kernels/tile"
)

// Program is a kernel as the simulator sees it: launches one after the other.
type Program struct {
	Name     string      `json:"name"`
	Kind     string      `json:"kind"` // of the device it is written for: KindCPU
	Config   tile.Config `json:"config"`
	Buffers  []Buffer    `json:"buffers"`
	Launches []Launch    `json:"launches"`
	// Cold says that the program runs once and finds nothing in the caches. Otherwise it is one of
	// many calls on the same arrays, as when measured.
	Cold bool `json:"cold,omitempty"`
}

// BufferKind says what an array is to a program.
type BufferKind string

// Kinds of buffer. State, Scratch and Table keep their size when a program's trips are more than were
// recorded; inputs and outputs grow with them.
const (
	Input   BufferKind = "input"   // read from outside
	Output  BufferKind = "output"  // wanted outside
	State   BufferKind = "state"   // read and written, wanted outside
	Scratch BufferKind = "scratch" // of no use outside
	Table   BufferKind = "table"   // an input whose rows are read at random by every trip
)

// Buffer is a named array.
type Buffer struct {
	Name  string     `json:"name"`
	Kind  BufferKind `json:"kind"`
	Bytes int64      `json:"bytes"`
}

// Launch is a grid of blocks that all walk the same nest of loops. On a CPU the
// blocks are workers, each on data of its own, and the nest is the share of the busiest.
type Launch struct {
	Name   string `json:"name"`
	Blocks int64  `json:"blocks"`
	Nest   []Loop `json:"nest"`
}

// Loop repeats its operations, then its inner loops. Trips may be a fraction when the last
// trip is ragged.
type Loop struct {
	Trips float64 `json:"trips"`
	Ops   []Op    `json:"ops,omitempty"`
	Inner []Loop  `json:"inner,omitempty"`
	// Steady marks the loop that stands for the trips that were not recorded: their number may be any. Without a mark it is the last whose trips are not 1.
	Steady bool `json:"steady,omitempty"`
}

// Op is one step on tiles: a call of a primitive.
type Op struct {
	Name       string  `json:"name"`         // "nn", "nt", "tn", "solve", "blend", "pack", "decay", "delta", "couple", "conv", "dots", "exp", "fold", "gather", "map", "narrow", "pair nn", "pair pack", "pair tn", "pair turn", "recur", "slab", "steps", "trail", "turn", "widen"
	MR         int     `json:"mr,omitempty"` // register tile (CPU)
	NR         int     `json:"nr,omitempty"`
	M          int     `json:"m,omitempty"` // rows, columns and depth; a gather has N columns and K rows
	N          int     `json:"n,omitempty"`
	K          int     `json:"k,omitempty"`
	Lower      bool    `json:"lower,omitempty"`
	Strict     int     `json:"strict,omitempty"`
	Group      int     `json:"group,omitempty"`      // rows side by side of a gather, heads of a recurrence
	Singles    int     `json:"singles,omitempty"`    // tokens of a recurrence that go one at a time
	Decays     int     `json:"decays,omitempty"`     // blocks of a recurrence before which the state decays
	Accumulate bool    `json:"accumulate,omitempty"` // the product is added to what is there
	Flops      int64   `json:"flops,omitempty"`      // executed: two for each multiply-add of a real row and column, with the waste beside a diagonal
	RowBytes   int     `json:"row_bytes,omitempty"`  // of a slab's rows of N columns
	Bits       int     `json:"bits,omitempty"`       // of a slab's integer weights
	Elements   int64   `json:"elements,omitempty"`
	Exps       int64   `json:"exps,omitempty"`
	Ahead      int     `json:"ahead,omitempty"`      // lines prefetched for later steps
	LoadBytes  int64   `json:"load_bytes,omitempty"` // between registers and the first level
	StoreBytes int64   `json:"store_bytes,omitempty"`
	Touches    []Touch `json:"touches,omitempty"`
	// Places are where the rows of its listed touches begin, as many as these have rows.
	Places []uint32 `json:"places,omitempty"`
}

// Mode says what a touch does with a block.
type Mode string

// Modes of a touch. A written line is read first, as caches do.
const (
	Read   Mode = "read"
	Write  Mode = "write"
	Update Mode = "update" // read, then written
	Stream Mode = "stream" // written past the caches, each line once
	Fetch  Mode = "fetch"  // read in a row ahead of its use, while the operation works
)

// Touch is one pass over a block of an array: Rows runs of RowBytes, Stride bytes apart.
type Touch struct {
	Buffer   int   `json:"buffer"` // index in Program.Buffers
	Offset   int64 `json:"offset"` // bytes from the buffer's start
	Rows     int   `json:"rows"`
	RowBytes int64 `json:"row_bytes"`
	Stride   int64 `json:"stride"`
	Mode     Mode  `json:"mode"`
	// Again is how many more passes this one stands for, each of which finds the block where this one did.
	Again int `json:"again,omitempty"`
	// Listed says that the rows begin at the places that the operation lists, in bytes from Offset, and not Stride apart.
	Listed bool `json:"listed,omitempty"`
}

// start is where a touch's row begins, in its buffer.
func (op *Op) start(t *Touch, row int) int64 {
	if t.Listed {
		return t.Offset + int64(op.Places[row])
	}
	return t.Offset + int64(row)*t.Stride
}

// end is where the last of a touch's bytes ends, in its buffer.
func (op *Op) end(t *Touch) int64 {
	if t.Listed {
		return t.Offset + int64(slices.Max(op.Places)) + t.RowBytes
	}
	return op.start(t, t.Rows-1) + t.RowBytes
}

// Bytes is what one pass moves.
func (t Touch) Bytes() int64 { return int64(t.Rows) * t.RowBytes }

// Flops counts the executed flops of all blocks.
func (p *Program) Flops() int64 {
	var sum float64
	for i := range p.Launches {
		l := &p.Launches[i]
		sum += float64(l.Blocks) * loopFlops(l.Nest)
	}
	return int64(sum + 0.5)
}

func loopFlops(loops []Loop) float64 {
	var sum float64
	for i := range loops {
		l := &loops[i]
		var once float64
		for j := range l.Ops {
			once += float64(l.Ops[j].Flops)
		}
		sum += l.Trips * (once + loopFlops(l.Inner))
	}
	return sum
}

// sweeps says whether an operation is a recurrence, which sweeps a state block by block.
func (op *Op) sweeps() bool { return op.Name == "recur" || op.Name == "delta" || op.Name == "steps" }

// streams says whether it writes past the caches.
func (op *Op) streams() bool {
	return slices.ContainsFunc(op.Touches, func(t Touch) bool { return t.Mode == Stream })
}
