package main

// bNext is the row of B after that in bRow. In TN, A's is beside its own.
const (
	bNext R = 21
	aNext R = 2
)

// matrixSum sums a register tile of pairs up by BFMMLA, two pairs of each row and column at a time. Sums are matrices of 2 x 2 on the way: of two rows, those of the
// first two of four columns lie in the upper row's register and those of the others in the lower one's.
func (f *file) matrixSum(t block) {
	rest, again, end := f.newLabel("rest"), f.newLabel("steps"), f.newLabel("sums")
	f.ins("SUBS $2, %v, %v", depth, depth)
	f.ins("BLT %s", rest)
	f.label(again)
	f.matrixStep(t, 2)
	f.ins("SUBS $2, %v, %v", depth, depth)
	f.ins("BGE %s", again)
	f.label(rest)
	f.ins("ADDS $2, %v, %v", depth, depth)
	f.ins("BEQ %s", end)
	f.matrixStep(t, 1)
	f.label(end)
	for i := 0; i < t.rows; i += 2 {
		for j, upper := range t.acc[i] {
			lower := t.acc[i+1][j]
			f.ins("VZIP1 %s, %s, %s", lower.D2(), upper.D2(), t.b[0].D2())
			f.ins("VZIP2 %s, %s, %s", lower.D2(), upper.D2(), lower.D2())
			f.copy(upper, t.b[0])
		}
	}
}

// matrixStep adds two pairs of k to the sums, or the last one with nothing in the other's place. Rows of B, and of A in TN, are those of a pair: zipped, the two of
// a column lie side by side.
func (f *file) matrixStep(t block, pairs int) {
	x, y, z := t.b[0], t.b[1], t.b[2]
	if t.form == formNN {
		for i, v := range t.a {
			f.loadNext(pairs, v, t.aRows[2*i])
			if pairs == 2 {
				f.ins("VLD1.P 8(%v), %s", t.aRows[2*i+1], v.lane("D", 1))
			} else {
				f.ins("VLD1.P 4(%v), %s", t.aRows[2*i+1], v.lane("S", 2))
			}
		}
	} else {
		f.nextRow(aRow, aStep, aNext, pairs)
		for i := 0; i < t.rows; i += 4 {
			n := min(4, t.rows-i)
			f.zipped(n, 4*i, aRow, aNext, x, y, pairs)
			f.ins("VZIP1 %s, %s, %s", y.S4(), x.S4(), t.a[i/2].S4())
			if n == 4 {
				f.ins("VZIP2 %s, %s, %s", y.S4(), x.S4(), t.a[i/2+1].S4())
			}
		}
		f.ins("ADD %v<<1, %v, %v", aStep, aRow, aRow)
	}
	f.nextRow(bRow, bStep, bNext, pairs)
	for j := range t.width.vectors {
		f.zipped(4, 16*j, bRow, bNext, x, y, pairs)
		f.ins("VZIP1 %s, %s, %s", y.S4(), x.S4(), z.S4())
		f.ins("VZIP2 %s, %s, %s", y.S4(), x.S4(), y.S4())
		for i, v := range t.a {
			f.word(bfmmla(t.acc[2*i][j], v, z))
			f.word(bfmmla(t.acc[2*i+1][j], v, y))
		}
	}
	f.ins("ADD %v<<1, %v, %v", bStep, bRow, bRow)
}

// nextRow points next at the row after that at row, if there is a second pair.
func (f *file) nextRow(row, step, next R, pairs int) {
	if pairs == 2 {
		f.ins("ADD %v, %v, %v", step, row, next)
	}
}

// zipped loads up to four pairs of a row and of the one after it: zeros without a second pair.
func (f *file) zipped(n, offset int, row, next R, x, y V, pairs int) {
	f.ins("%s %d(%v), %s", move(n), offset, row, x.F())
	if pairs == 2 {
		f.ins("%s %d(%v), %s", move(n), offset, next, y.F())
	} else {
		f.zero(y)
	}
}
