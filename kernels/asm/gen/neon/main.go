// Program neon writes the arm64 assembly of the table of primitives and of the probes' loops, with their Go
// declarations. Go's assembler lacks most floating-point vector instructions; those are words made by the encoders in encode.go, each with what it is beside it.
// Run in kernels/asm/gen:
//
//	go run ./neon
package main

import (
	"flag"
	"log"
)

func main() {
	log.SetFlags(0)
	dir := flag.String("dir", "..", "folder of package asm to write into")
	probes := flag.String("probe", "../probe", "folder of package probe to write into")
	flag.Parse()

	products := newFile("asm")
	for _, t := range []registerTile{{6, 16}, {8, 12}, {8, 8}, {4, 16}} {
		products.product(formNN, t)
		products.product(formTN, t)
	}
	for _, t := range []registerTile{{6, 4}, {4, 4}, {3, 8}} {
		products.dots(t)
	}
	products.solve(registerTile{6, 16})
	products.substitute(registerTile{6, 16})
	for _, form := range []form{formNN, formTN} {
		products.pairProduct(form, registerTile{6, 16}, true)
		products.pairProduct(form, registerTile{4, 16}, false)
	}
	products.write(*dir, "product")

	recurrences := newFile("asm")
	for _, t := range []registerTile{{4, 8}, {6, 8}, {2, 16}} {
		recurrences.recur(t)
	}
	recurrences.write(*dir, "recur")

	vectors := newFile("asm")
	vectors.pack()
	vectors.decay()
	vectors.exp()
	vectors.fold()
	vectors.elementwise()
	vectors.blend()
	vectors.widen()
	vectors.narrow()
	vectors.gather()
	vectors.slabs()
	vectors.octets()
	vectors.spreads()
	vectors.conv()
	vectors.turns()
	vectors.pairPack()
	vectors.rowDots()
	vectors.trail()
	vectors.write(*dir, "vector")

	loops := newFile("probe")
	loops.multiplyAdds("fmaNEON", "vector multiply-adds", loops.fmla)
	loops.multiplyAdds("dotBF16NEON", "BFMMLA", func(sum, x, y V) { loops.word(bfmmla(sum, x, y)) })
	loops.read()
	loops.copies()
	loops.readRows()
	loops.readPlaces()
	loops.write(*probes, "loops")
}
