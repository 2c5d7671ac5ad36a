package sim

import (
	"slices"
	"unsafe"

	"github.com/rooftune/rooftune/kernels/tile"
)

// octets takes the signs, since they decide which rows are read, and leaves ones for products and sums.
func (r *Recorder) octets(p *tile.Octets) {
	n := p.N
	op := Op{Name: "octets", N: n, Elements: 8 * int64(n), Exps: 8 * int64(n), LoadBytes: 32 * int64(n), StoreBytes: 8 * int64(n)}
	r.touch(&op, "X", p.X, block{0, 0, 1, 8 * n, 8 * n}, Read)
	r.touch(&op, "P", p.P, block{0, 0, 1, n, n}, Write)
	if len(p.Norm) > 0 {
		op.StoreBytes += 4 * int64(n)
		r.touch(&op, "Norm", p.Norm, block{0, 0, 1, n, n}, Write)
	}
	for i := range n {
		code := int32(0)
		for _, x := range p.X[8*i:][:8] {
			code <<= 1
			if x >= 0 {
				code |= 1
			}
		}
		p.Code[i], p.P[i] = code, 1
		if len(p.Norm) > 0 {
			p.Norm[i] = 1
		}
	}
	r.done(op)
}

// spread gives the offsets, since they decide which rows are read, and leaves weights as they are.
func (r *Recorder) spread(p *tile.Spread) {
	for t := range p.T {
		for i, c := range p.Code[t*p.LD:][:p.N] {
			p.Offset[i/p.G*p.Stride+t*p.G+i%p.G] = p.First[i] + uint32(c)<<p.Shift
		}
	}
	n := p.T * p.N
	op := Op{Name: "spread", N: n, Elements: int64(n), LoadBytes: 12 * int64(n), StoreBytes: 8 * int64(n)}
	if len(p.Scales) > 0 {
		op.LoadBytes += 4 * int64(n)
	}
	r.done(op)
}

func (r *Recorder) quantize(p *tile.Quantize) {
	n := p.T * p.N
	r.ops = append(r.ops, Op{Name: "quantize", N: n, Elements: int64(n), LoadBytes: 4 * int64(n), StoreBytes: 2 * int64(n)})
}

// Bytes names an array of int8, as Buffer does for float32.
func (r *Recorder) Bytes(name string, data []int8, kind BufferKind) {
	if len(data) > 0 {
		r.add(recorded{Buffer: Buffer{name, kind, int64(len(data))}, start: uintptr(unsafe.Pointer(&data[0])), bytes: data})
	}
}

func (r *Recorder) gather(p *tile.Gather) {
	group := p.Group
	if group != 1 && group != 2 && group != 8 {
		group = 4
	}
	recordGather(r, p.Table, p.Rows, p.Weight, p.Out, p.LD, p.N, group, 4)
}

func (r *Recorder) gatherHalf(p *tile.GatherHalf) {
	recordGather(r, p.Table, p.Rows, p.Weight, p.Out, p.LD, p.N, p.Group, 2)
}

func (r *Recorder) gatherBytes(p *tile.GatherBytes) {
	recordGather(r, p.Table, p.Rows, p.Weight, p.Out, p.LD, p.N, p.Group, 1)
}

// recordGather records a gather of rows whose elements take so many bytes.
func recordGather[E float32 | uint16 | int8](r *Recorder, table []E, index []int32, weight, out []float32, ld, n, group int, size int64) {
	rows := len(index)
	op := Op{Name: "gather", N: n, K: rows, Group: group, Flops: 2 * int64(rows) * int64(n)}
	if rows > 0 {
		r.indices(&op, index)
		r.touch(&op, "Weight", weight, block{0, 0, 1, rows, rows}, Read)
	}
	for i := 0; i < rows; i += group {
		for _, row := range index[i:min(i+group, rows)] {
			touchElements(r, &op, "Table", table, block{int(row), 0, 1, n, ld}, Read)
			op.LoadBytes += size*int64(n) + 8
		}
		r.touch(&op, "Out", out, block{0, 0, 1, n, n}, Update)
		op.LoadBytes += 4 * int64(n)
		op.StoreBytes += 4 * int64(n)
	}
	r.done(op)
}

func (r *Recorder) slabFloats(p *tile.Slab) { recordSlab(r, p, p.Floats, tile.SlabFloats, 0) }
func (r *Recorder) slabHalves(p *tile.Slab) { recordSlab(r, p, p.Halves, tile.SlabHalves, 0) }

func (r *Recorder) slabBytes() (ks []tile.ByteKernel) {
	for _, k := range r.source.SlabBytes {
		ks = append(ks, tile.ByteKernel{Bits: k.Bits, Run: func(p *tile.Slab) { recordSlab(r, p, p.Bytes, tile.SlabBytes, k.Bits) }})
	}
	return ks
}

// recordSlab records a pass over a slab: every token's rows and sums, and the slab that is prefetched meanwhile.
func recordSlab[E float32 | uint16 | int8](r *Recorder, p *tile.Slab, rows []E, width, bits int) {
	var e E
	size := int64(unsafe.Sizeof(e))
	n := p.T * p.G
	op := Op{Name: "slab", M: p.T, N: width, K: p.G, Group: p.G, RowBytes: width * int(size), Bits: bits, Flops: 2 * int64(n) * int64(width)}
	if bits > 0 { // an integer product takes 4 bytes of each lane where a multiply-add takes one float, once for each 8 bits of a weight
		op.Flops = op.Flops * int64(bits) / 32
		touchElements(r, &op, "Quant", p.Quant, block{0, 0, 1, n / 2, n / 2}, Read)
		r.touch(&op, "Scale", p.Scale, block{0, 0, 1, p.T, p.T}, Read)
	} else {
		r.touch(&op, "Weight", p.Weight, block{0, 0, 1, n, n}, Read)
	}
	touchElements(r, &op, "Offset", p.Offset, block{0, 0, 1, n, n}, Read)
	mode := Update
	if len(p.Init) > 0 {
		mode = Write
	}
	touchPlaces(r, &op, rows, p.Offset[:min(n, len(p.Offset))], int64(width)*size)
	if len(p.Out) > 0 {
		if mode == Update {
			r.touch(&op, "Y", p.Y, block{0, 0, 1, p.T * width, p.T * width}, Read)
		}
		r.touch(&op, "Out", p.Out, block{0, 0, p.T, width, p.LDO}, Write)
	} else {
		r.touch(&op, "Y", p.Y, block{0, 0, 1, p.T * width, p.T * width}, mode)
	}
	touchElements(r, &op, "Next", p.Next, block{0, 0, 1, len(p.Next), len(p.Next)}, Fetch)
	op.LoadBytes += int64(n)*(int64(width)*size+8) + 4*int64(p.T*width)
	op.StoreBytes += 4 * int64(p.T*width)
	r.done(op)
}

// touchPlaces adds rows of so many bytes that begin at each of some places of a slab, in bytes.
func touchPlaces[E float32 | uint16 | int8](r *Recorder, op *Op, slab []E, places []uint32, rowBytes int64) {
	if len(places) == 0 {
		return
	}
	op.Places = slices.Clone(places)
	t := Touch{Rows: len(places), RowBytes: rowBytes, Mode: Read, Listed: true}
	if end, bytes := op.end(&t), int64(len(slab))*int64(unsafe.Sizeof(slab[0])); end > bytes {
		r.fail("%s: a row ends at byte %d of a slab of %d", op.Name, end, bytes)
		return
	}
	r.addNamed(op, "rows", t, uintptr(unsafe.Pointer(&slab[0])))
}

// Words names an array of 32-bit words, as Buffer does for float32.
func (r *Recorder) Words(name string, data []uint32, kind BufferKind) {
	if len(data) > 0 {
		r.add(recorded{Buffer: Buffer{name, kind, int64(len(data)) * 4}, start: uintptr(unsafe.Pointer(&data[0])), words: data})
	}
}
