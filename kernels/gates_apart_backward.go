package kernels

// The backward pass behind gates apart runs on what they gate: with the write gate w, values w v, with the erase gate e, keys e k that erase beside the keys k that write, and a beta of 1.
// Its gradients dv' and de' of those give
//
//	dw = dv' v;  dv = w dv';  de = de' k;  dk += e de'
//
// channel by channel, a gate of a whole head having the sum of its channels', one beta for all heads the sum of theirs too.

// makeApart makes n rows of gated values and of the keys that erase.
func (f *frontBackward) makeApart(row, n int) {
	a, s := &f.outer, f.outer.problem.Shape
	for r := row; r < row+n; r++ {
		for h := range s.Hkv {
			value, erase := rowOf(f.inner.value, r, s.Hkv, h, s.Dv), rowOf(f.inner.erase, r, s.Hkv, h, s.Dk)
			copy(value, rowOf(a.value, r, s.Hkv, h, s.Dv))
			applyGate(value, a.writeGate(r, h))
			copy(erase, rowOf(f.inner.key, r, a.keyHeads, a.keyHead(h), s.Dk))
			applyGate(erase, a.eraseGate(r, h))
		}
	}
}

// turnApart turns n rows of their gradients into those of the values, of the gates, and adds to those of the keys.
func (f *frontBackward) turnApart(row, n int) {
	a, s := &f.outer, f.outer.problem.Shape
	for r := row; r < row+n; r++ {
		if a.gradBeta != nil && a.eraseWidth == 1 {
			clear(a.gradBeta[r*a.betaHeads:][:a.betaHeads])
		}
		for h := range s.Hkv {
			gradValue, gradErase := rowOf(a.gradValue, r, s.Hkv, h, s.Dv), rowOf(f.inner.gradErase, r, s.Hkv, h, s.Dk)
			if a.gradWrite != nil {
				gateGradient(rowOf(a.gradWrite, r, s.Hkv, h, a.writeWidth), gradValue, rowOf(a.value, r, s.Hkv, h, s.Dv))
			}
			applyGate(gradValue, a.writeGate(r, h))
			key := rowOf(f.inner.key, r, a.keyHeads, a.keyHead(h), s.Dk)
			switch {
			case a.gradBeta == nil:
			case a.eraseWidth == 1:
				a.gradBeta[r*a.betaHeads+h%a.betaHeads] += float32(dot(gradErase, key))
			default:
				gateGradient(rowOf(a.gradBeta, r, s.Hkv, h, s.Dk), gradErase, key)
			}
			applyGate(gradErase, a.eraseGate(r, h))
			gradKey := rowOf(a.gradKey, r, a.keyHeads, a.keyHead(h), s.Dk)
			for i, x := range gradErase {
				gradKey[i] += x
			}
		}
	}
}

// rowOf is a head's part of a row.
func rowOf(v []float32, row, heads, head, width int) []float32 {
	return v[(row*heads+head)*width:][:width]
}

// writeGate is a state head's gate of values, one number or one for each channel, eraseGate likewise of keys.
func (a *attentionArgs) writeGate(row, h int) []float32 {
	return rowOf(a.write, row, a.problem.Shape.Hkv, h, a.writeWidth)
}

func (a *attentionArgs) eraseGate(row, h int) []float32 {
	if a.eraseWidth == 1 {
		return rowOf(a.beta, row, a.betaHeads, h%a.betaHeads, 1)
	}
	return rowOf(a.beta, row, a.problem.Shape.Hkv, h, a.eraseWidth)
}

// applyGate multiplies x by a gate.
func applyGate(x, gate []float32) {
	if len(gate) == 1 {
		for i := range x {
			x[i] *= gate[0]
		}
		return
	}
	multiply(x, gate)
}

// gateGradient sets the gradient of the gate of x to what that of the gated numbers gives it.
func gateGradient(gate, grad, x []float32) {
	if len(gate) == 1 {
		gate[0] = float32(dot(grad, x))
		return
	}
	copy(gate, grad)
	multiply(gate, x)
}

// multiply scales x by y, number by number.
func multiply(x, y []float32) {
	y = y[:len(x)]
	for len(x) >= 8 && len(y) >= 8 {
		x8, y8 := (*[8]float32)(x), (*[8]float32)(y)
		x8[0] *= y8[0]
		x8[1] *= y8[1]
		x8[2] *= y8[2]
		x8[3] *= y8[3]
		x8[4] *= y8[4]
		x8[5] *= y8[5]
		x8[6] *= y8[6]
		x8[7] *= y8[7]
		x, y = x[8:], y[8:]
	}
	for i := range x {
		x[i] *= y[i]
	}
}
