// Program recur writes the assembly of the recurrences of linear attention and of the delta rules, with
// their Go declarations, for one instruction set. Run in kernels/asm/gen:
//
//	go run ./recur -isa avx512
package main

import (
	"flag"
	"log"

	"github.com/rooftune/rooftune/kernels/asm/gen/emit"
	"github.com/rooftune/rooftune/kernels/tile"
)

func main() {
	log.SetFlags(0)
	isa := flag.String("isa", "", "instruction set: avx2 or avx512")
	dir := flag.String("dir", "..", "folder to write into")
	flag.Parse()

	f := emit.New("recur", "asm", *isa)
	blocks := []block{{3, 2, []int{2, 1, 1}}, {4, 2, []int{2, 1, 1}}}
	if f.Name == tile.AVX512 {
		blocks = []block{{4, 2, []int{4, 3, 2, 1, 1, 1, 1}}, {3, 4, []int{2, 1, 1}}, {6, 2, []int{3, 2, 1}}}
	}
	g := &generator{File: f}
	if !f.Wide() {
		g.masks = f.MaskTable()
	}
	g.one = g.constantOne()
	for _, b := range blocks {
		g.recur(b)
	}
	f.Write(*dir, "recur")

	f = emit.New("recur", "asm", *isa)
	g = &generator{File: f, delta: true}
	blocks = []block{{3, 2, []int{2}}}
	if f.Wide() {
		blocks = []block{{2, 4, nil}, {4, 2, []int{3, 2, 2}}, {3, 3, []int{2}}}
	} else {
		g.masks = f.MaskTable()
	}
	g.one = g.constantOne()
	for _, b := range blocks {
		g.deltaRecur(b)
	}
	g.couple(blocks)
	if f.Wide() {
		for _, vectors := range []int{4, 3, 5, 2} {
			g.steps(vectors)
		}
	}
	f.Write(*dir, "delta")
}
