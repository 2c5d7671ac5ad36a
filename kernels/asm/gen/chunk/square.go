package main

import (
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// decays sets the square of the chunk's decays, and the vectors of factors.
func (g *generator) decays() {
	factors, square, c, one := g.Quad(g.field(atG)), g.room(squareD), g.room(laneC), g.GP64()
	g.LEAQ(g.ones, one)
	row, ones, value := g.Vec[:g.vectors], g.Vec[g.vectors], g.Vec[g.vectors+1]
	product := g.Vec[g.vectors+2].AsX()
	g.VMOVUPS(operand.Mem{Base: one}, ones)
	g.VMOVSS(operand.Mem{Base: one}, product)
	for _, r := range row {
		g.Zero(r)
	}
	for i := range tokens {
		factor := operand.Mem{Base: factors, Disp: 4 * i}
		g.VMULSS(factor, product, product)
		g.VMOVSS(product, operand.Mem{Base: c, Disp: 4 * i})
		g.VBROADCASTSS(factor, value)
		for w, r := range row {
			lane := i - w*g.Lanes
			if lane >= 0 { // else there are only zeros so far
				g.VMULPS(value, r, r)
			}
			if lane >= 0 && lane < g.Lanes {
				g.setLane(lane, ones, r)
			}
			g.VMOVUPS(r, operand.Mem{Base: square, Disp: i*rowBytes + w*g.vectorBytes()})
		}
	}
	beta, scale, zero := g.Quad(g.field(atBeta)), g.Vec[g.vectors+3], g.Vec[g.vectors+4]
	lane, b, t := value, g.Vec[g.vectors+5], g.Vec[g.vectors+6]
	g.VBROADCASTSS(g.field(atScale), scale)
	g.Zero(zero)
	for w, d := range row {
		at := func(vector place) operand.Mem {
			return operand.Mem{Base: c, Disp: g.at(vector) - g.at(laneC) + w*g.vectorBytes()}
		}
		g.VMOVUPS(at(laneC), lane)
		g.VSUBPS(lane, zero, t)
		g.VMOVUPS(t, at(laneMinusC))
		g.VMULPS(scale, lane, t)
		g.VMOVUPS(t, at(laneScaleC))
		g.VMOVUPS(d, at(laneD))
		g.VMOVUPS(operand.Mem{Base: beta, Disp: w * g.vectorBytes()}, b)
		g.VMULPS(b, d, t)
		g.VMOVUPS(t, at(laneBD))
		g.VSUBPS(b, zero, t)
		g.VMOVUPS(t, at(laneMinusBeta))
		g.VMULPS(b, scale, t)
		g.VMOVUPS(t, at(laneScaledBeta))
		g.VMOVUPS(scale, at(laneScale))
		g.VMULPS(b, lane, t)
		g.VSUBPS(t, zero, t)
		g.VMOVUPS(t, at(laneMinusBC))
	}
}

// inverse sets the square A to what solves the triangle M with betas: row s is what value s adds to the tokens, or, reversed, what gradient s does. A row
// is final once all before it in that order are subtracted; then it is subtracted from those that follow.
func (g *generator) inverse(reversed bool) {
	m, square, beta, one := g.Quad(g.field(atM)), g.room(squareA), g.room(laneMinusBeta), g.GP64()
	block := g.Lanes // rows in registers
	acc := func(s int) reg.VecPhysical { return g.Vec[s%block] }
	value, solved := g.Vec[block], g.Vec[block+1]
	g.LEAQ(g.ones, one)
	coefficient := func(s, r int) operand.Mem { // of row r in row s
		if reversed {
			s, r = r, s
		}
		return operand.Mem{Base: m, Disp: r*rowBytes + 4*s}
	}
	order := make([]int, tokens)
	for i := range order {
		order[i] = i
		if !reversed {
			order[i] = tokens - 1 - i
		}
	}
	subtract := func(s, r int, row reg.VecPhysical) {
		if g.Wide() {
			g.VFMADD231PS_BCST(coefficient(s, r), row, acc(s))
			return
		}
		g.VBROADCASTSS(coefficient(s, r), value)
		g.VFMADD231PS(row, value, acc(s))
	}
	for w := range g.vectors {
		at := func(s int) operand.Mem { return operand.Mem{Base: square, Disp: s*rowBytes + w*g.vectorBytes()} }
		empty := func(s int) bool { // lanes of tokens that row s does not reach
			if reversed {
				return s < w*g.Lanes
			}
			return s >= (w+1)*g.Lanes
		}
		for first := 0; first < tokens; first += block {
			rows := order[first : first+block]
			for _, s := range rows {
				g.Zero(acc(s))
			}
			for _, r := range order[:first] {
				if empty(r) {
					continue
				}
				g.VMOVUPS(at(r), solved)
				for _, s := range rows {
					subtract(s, r, solved)
				}
			}
			for i, s := range rows {
				if !empty(s) {
					if g.Wide() {
						g.VMULPS_BCST(operand.Mem{Base: beta, Disp: 4 * s}, acc(s), acc(s))
					} else {
						g.VBROADCASTSS(operand.Mem{Base: beta, Disp: 4 * s}, value)
						g.VMULPS(value, acc(s), acc(s))
					}
					if lane := s - w*g.Lanes; lane >= 0 && lane < g.Lanes {
						g.setLane(lane, operand.Mem{Base: one}, acc(s))
					}
					for _, later := range rows[i+1:] {
						subtract(later, s, acc(s))
					}
				}
				g.VMOVUPS(acc(s), at(s))
			}
		}
	}
}

// symmetric adds the square DP to its transpose.
func (g *generator) symmetric() {
	p := g.room(squareDP)
	for i := range tokens {
		for w := range g.vectors {
			r := g.Vec[i%4]
			at := operand.Mem{Base: p, Disp: i*rowBytes + w*g.vectorBytes()}
			sum := at
			sum.Disp += g.at(squareT) - g.at(squareDP)
			g.VMOVUPS(at, r)
			g.VADDPS(sum, r, r)
			g.VMOVUPS(r, sum)
		}
	}
}
