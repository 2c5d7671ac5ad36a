package main

import (
	"math/bits"
	"unsafe"

	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	"github.com/rooftune/rooftune/kernels/asm/gen/emit"
	"github.com/rooftune/rooftune/kernels/tile"
)

var noChunk tile.DeltaChunk

// Offsets of the argument fields, from the Go types themselves.
var (
	atQ, atK, atV, atO        = int(unsafe.Offsetof(noChunk.Q)), int(unsafe.Offsetof(noChunk.K)), int(unsafe.Offsetof(noChunk.V)), int(unsafe.Offsetof(noChunk.O))
	atGradQ, atGradK, atGradV = int(unsafe.Offsetof(noChunk.GradQ)), int(unsafe.Offsetof(noChunk.GradK)), int(unsafe.Offsetof(noChunk.GradV))
	atG, atBeta               = int(unsafe.Offsetof(noChunk.G)), int(unsafe.Offsetof(noChunk.Beta))
	atS, atAfter, atR         = int(unsafe.Offsetof(noChunk.S)), int(unsafe.Offsetof(noChunk.After)), int(unsafe.Offsetof(noChunk.R))
	atZ, atM                  = int(unsafe.Offsetof(noChunk.Z)), int(unsafe.Offsetof(noChunk.M))
	atKeys, atQT, atKT        = int(unsafe.Offsetof(noChunk.Keys)), int(unsafe.Offsetof(noChunk.QT)), int(unsafe.Offsetof(noChunk.KT))
	atRows, atQRows, atYRows  = int(unsafe.Offsetof(noChunk.Rows)), int(unsafe.Offsetof(noChunk.QRows)), int(unsafe.Offsetof(noChunk.YRows))
	atOT, atX, atXT           = int(unsafe.Offsetof(noChunk.OT)), int(unsafe.Offsetof(noChunk.X)), int(unsafe.Offsetof(noChunk.XT))
	atGradQT, atGradKT        = int(unsafe.Offsetof(noChunk.GradQT)), int(unsafe.Offsetof(noChunk.GradKT))
	atTerms, atGradBeta       = int(unsafe.Offsetof(noChunk.Terms)), int(unsafe.Offsetof(noChunk.GradBeta))
	atRoom                    = int(unsafe.Offsetof(noChunk.Room))
	atLDQ, atLDK              = int(unsafe.Offsetof(noChunk.LDQ)), int(unsafe.Offsetof(noChunk.LDK))
	atLDV, atLDO              = int(unsafe.Offsetof(noChunk.LDV)), int(unsafe.Offsetof(noChunk.LDO))
	atLDGradQ, atLDGradK      = int(unsafe.Offsetof(noChunk.LDGradQ)), int(unsafe.Offsetof(noChunk.LDGradK))
	atLDGradV                 = int(unsafe.Offsetof(noChunk.LDGradV))
	atDk, atDv, atHeads       = int(unsafe.Offsetof(noChunk.Dk)), int(unsafe.Offsetof(noChunk.Dv)), int(unsafe.Offsetof(noChunk.Heads))
	atScale, atStream         = int(unsafe.Offsetof(noChunk.Scale)), int(unsafe.Offsetof(noChunk.Stream))
	atAhead, atWalk           = int(unsafe.Offsetof(noChunk.Ahead)), int(unsafe.Offsetof(noChunk.Walk))
)

const (
	tokens   = tile.ChunkTokens
	rowBytes = 4 * tokens // of a turned channel
)

// Squares of tokens by tokens in the room, by what they hold. Vectors of tokens follow them.
const (
	squareD        place = iota // decays from token to token
	squareA                     // the solved triangle, or P, or what the decay's terms have of N
	squareDP                    // DP or N
	squareT                     // its transpose
	laneC                       // c
	laneMinusC                  // -c
	laneScaleC                  // Scale c
	laneD                       // d[last,j]
	laneBD                      // Beta d[last,j]
	laneMinusBeta               // -Beta
	laneScaledBeta              // Scale Beta
	laneScale                   // Scale
	laneMinusBC                 // -Beta c
	noLane         place = 0
)

// A place is one in the room.
type place int

// at is where a place begins, in bytes.
func (g *generator) at(p place) int {
	squares := min(p, laneC)
	return (int(squares)*tokens + int(p-squares)) * rowBytes
}

// A generator writes the four functions. A turned channel is so many vectors; a register tile is so many channels, or rows and two
// vectors of a state.
type generator struct {
	*emit.File
	arg           reg.GPVirtual
	vectors       int
	heights, wide []int
	ones, leading operand.Mem
}

// channelBytes makes a number of channels one of bytes.
func (g *generator) channelBytes(r reg.GPVirtual) {
	g.SHLQ(operand.U8(bits.TrailingZeros(rowBytes)), r)
}

func (g *generator) field(offset int) operand.Mem { return operand.Mem{Base: g.arg, Disp: offset} }

func (g *generator) vectorBytes() int { return 4 * g.Lanes }

// room is a register that points to a place of the room.
func (g *generator) room(at place) reg.GPVirtual {
	p := g.Quad(g.field(atRoom))
	if offset := g.at(at); offset > 0 {
		g.ADDQ(operand.I32(int32(offset)), p)
	}
	return p
}

// function starts one of the four.
func (g *generator) function(name, doc string) {
	g.arg = g.TileFunction(name, "DeltaChunk", doc)
}

// forward writes the step of the forward sweep.
func (g *generator) forward() {
	g.function("chunkForward", "is tile.DeltaChunk's Forward.")
	g.startWalk()
	g.decays()
	g.turnIn(turning{src: atK, ld: atLDK, dst: atKT, width: atDk})
	g.triangle(strip{a: atKT, across: true, b: atKT, depth: atDk}, triangleOf{}, triangleTo{atRoom, squareD, atM, 0})
	g.inverse(false)
	g.rows(rowProduct{a: atKT, b: atS, ldb: atDv, depth: atDk}, func(t rowTile) {
		t.scale(t.room(laneMinusC))
		t.add(t.at(atV, atLDV))
		t.store(t.at(atX, atDv))
	})
	g.rows(rowProduct{square: squareA, shape: lower, b: atX, ldb: atDv}, func(t rowTile) {
		t.store(t.at(atX, atDv))
		t.storeTimes(atRows, laneBD)
	})
	g.turnIn(turning{src: atX, ld: atDv, dst: atZ, width: atDv})
	g.update(atS, atAfter, atKT, 0, 2)
	g.Done()
}

// begin writes the reverse sweep's first step.
func (g *generator) begin() {
	g.function("chunkBegin", "is tile.DeltaChunk's Begin.")
	g.startWalk()
	g.decays()
	g.turnIn(turning{src: atK, ld: atLDK, dst: atKT, width: atDk})
	g.channels(atDk, []strip{{a: atR, lda: atDv, b: atZ, depth: atDv, after: laneBD}}, func(t channelTile) { t.store(t.at(atGradKT)) })
	g.rows(rowProduct{a: atKT, b: atR, ldb: atDv, depth: atDk}, func(t rowTile) {
		t.scale(t.room(laneD))
		t.store(t.at(atX, atDv))
	})
	g.clear(atTerms)
	g.Done()
}

// clear clears a vector of tokens.
func (g *generator) clear(sums int) {
	p := g.Quad(g.field(sums))
	g.Zero(g.Vec[0])
	for w := range g.vectors {
		g.VMOVUPS(g.Vec[0], operand.Mem{Base: p, Disp: w * g.vectorBytes()})
	}
}

// query writes what a query head adds.
func (g *generator) query() {
	g.function("chunkQuery", "is tile.DeltaChunk's Query.")
	g.turnIn(turning{src: atQ, ld: atLDQ, dst: atQT, width: atDk})
	g.turnIn(turning{src: atO, ld: atLDO, dst: atOT, width: atDv, rows: atQRows, lane: laneScaleC})
	g.triangle(strip{a: atQT, across: true, b: atKT, depth: atDk}, triangleOf{diagonal: true, factors: laneScale}, triangleTo{atRoom, squareD, atRoom, squareA})
	g.rows(rowProduct{square: squareA, shape: upper, b: atO, ldb: atLDO}, func(t rowTile) {
		t.add(t.at(atX, atDv))
		t.store(t.at(atX, atDv))
	})
	g.triangle(strip{a: atOT, across: true, b: atZ, depth: atDv}, triangleOf{diagonal: true, factors: laneScaledBeta}, triangleTo{atRoom, squareD, atRoom, squareDP})
	g.turnSquare(squareDP)
	g.channels(atDk, []strip{{a: atS, lda: atDv, b: atOT, depth: atDv, after: laneScaleC}, {a: atKT, square: squareT, shape: upper, dot: atQT}}, func(t channelTile) {
		t.store(t.at(atGradQT))
	})
	g.channels(atDk, []strip{{a: atQT, square: squareDP, shape: lower}}, func(t channelTile) {
		t.add(t.at(atGradKT))
		t.store(t.at(atGradKT))
	})
	g.turnOut(turning{src: atGradQT, dst: atGradQ, ld: atLDGradQ, width: atDk})
	g.Done()
}

// end writes what is left once all query heads have added theirs.
func (g *generator) end() {
	g.function("chunkEnd", "is tile.DeltaChunk's End.")
	g.inverse(true)
	g.rows(rowProduct{square: squareA, shape: upper, b: atX, ldb: atDv}, func(t rowTile) {
		t.store(t.at(atX, atDv))
		t.scale(t.Quad(t.field(atBeta)))
		t.storeTimes(atYRows, laneMinusC)
		t.storeGradient(atGradV, atLDGradV)
	})
	g.turnIn(turning{src: atX, ld: atDv, dst: atXT, width: atDv})
	g.clear(atGradBeta)
	g.triangle(strip{a: atXT, across: true, b: atZ, depth: atDv}, triangleOf{factors: laneMinusBeta, rows: atBeta, diagonalTo: atGradBeta},
		triangleTo{atM, 0, atRoom, squareA}, triangleTo{atRoom, squareD, atRoom, squareDP})
	g.betaTerms()
	g.turnSquare(squareA)
	g.addSquare(squareT, atTerms)
	g.turnSquare(squareDP)
	g.symmetric()
	g.channels(atDk, []strip{{a: atS, lda: atDv, b: atXT, depth: atDv, after: laneMinusBC, dot: atKT}, {a: atKT, square: squareT}}, func(t channelTile) {
		t.add(t.at(atGradKT))
		t.store(t.at(atGradKT))
	})
	g.turnOut(turning{src: atGradKT, dst: atGradK, ld: atLDGradK, width: atDk})
	g.update(atR, atR, atKeys, atHeads, 4)
	g.SFENCE() // for what Query stored past the caches too
	g.Done()
}
