//go:build librooftune && (amd64 || arm64)

package main

/*
#define ROOFTUNE_TYPES_ONLY
#include "rooftune.h"
*/
import "C"

import (
	"slices"
	"sync"
	"unsafe"

	"github.com/rooftune/rooftune/kernels"
	"github.com/rooftune/rooftune/kernels/hashfile"
	"github.com/rooftune/rooftune/kernels/tile"
)

// tableTypes and layouts are the names behind the C constants.
var (
	tableTypes = [...]string{C.ROOFTUNE_FLOAT32: tile.Float32, C.ROOFTUNE_BFLOAT16: tile.BFloat16, C.ROOFTUNE_FLOAT16: tile.Float16, C.ROOFTUNE_INT8: tile.Int8}
	layouts    = [...]string{C.ROOFTUNE_LAYOUT_BOTH: kernels.LayoutBoth, C.ROOFTUNE_LAYOUT_ROWS: kernels.LayoutRows, C.ROOFTUNE_LAYOUT_PANELS: kernels.LayoutPanels}
)

// held are the tables that C holds, by number. The number itself is the pointer that C gets: the struct it points to is never defined, and there
// is no memory behind it. A number is given once only, so tables that were freed are not found again, and asking for them reads nothing.
var held struct {
	sync.RWMutex
	last   uintptr
	tables map[uintptr]heldTables
}

// leastNumber keeps the numbers off the first page, whose addresses pointer checks refuse.
const leastNumber = 1 << 16

// numberOf takes the number out of the pointer. Pointers to a C type that is never defined are plain words to Go.
func numberOf(p *C.rooftune_hash_tables) uintptr { return *(*uintptr)(unsafe.Pointer(&p)) }

type heldTables struct {
	tables *kernels.HashTables
	file   *hashfile.Tables // of tables from a file
}

// hold hands tables to C.
func hold(t heldTables, to **C.rooftune_hash_tables) {
	held.Lock()
	defer held.Unlock()
	if held.tables == nil {
		held.tables, held.last = map[uintptr]heldTables{}, leastNumber
	}
	held.last++
	held.tables[held.last] = t
	*(*uintptr)(unsafe.Pointer(to)) = held.last
}

func preparedTables(p *C.rooftune_hash_tables) (*kernels.HashTables, error) {
	held.RLock()
	defer held.RUnlock()
	t, ok := held.tables[numberOf(p)]
	if !ok {
		return nil, invalid("prepared", "none of the prepared tables", "what rooftune_hash_tables_prepare gave, not freed")
	}
	return t.tables, nil
}

// tableOptions reads how tables are to be kept; dtype -1 is the type that they have.
func tableOptions(dtype, layout C.int32_t) (o kernels.HashTableOptions, err error) {
	if o.Layout, err = choose("layout", layouts[:], layout); err != nil || dtype == -1 {
		return o, err
	}
	o.DType, err = choose("dtype", tableTypes[:], dtype)
	return o, err
}

//export rooftune_hash_tables_prepare
func rooftune_hash_tables_prepare(tables *C.rooftune_tensor, dtype, layout C.int32_t, prepared **C.rooftune_hash_tables,
	message *C.char, size C.size_t) (status C.int32_t) {
	defer caught(&status, message, size)
	return report(prepare(prepared, func() (h heldTables, err error) {
		o, err := tableOptions(dtype, layout)
		if err != nil {
			return h, err
		}
		var t kernels.Tensor
		if err := view("tables", &t, tables); err != nil {
			return h, err
		}
		h.tables, err = kernels.PrepareHashTables(t, o)
		return h, err
	}), message, size)
}

//export rooftune_hash_tables_quantized
func rooftune_hash_tables_quantized(values *C.int8_t, scales *C.float, shape *C.int64_t, layout C.int32_t, prepared **C.rooftune_hash_tables,
	message *C.char, size C.size_t) (status C.int32_t) {
	defer caught(&status, message, size)
	return report(prepare(prepared, func() (h heldTables, err error) {
		o, err := tableOptions(-1, layout)
		if err != nil {
			return h, err
		}
		if values == nil || scales == nil || shape == nil {
			return h, invalid("tables", "NULL", "values, scales and a shape")
		}
		dims := slices.Clone(integers(shape, 3))
		n := 1
		for _, d := range dims {
			if d < 1 || n > maxBytes/d {
				return h, invalid("tables", "a shape that is empty or too large", "(K,2^tau,h)")
			}
			n *= d
		}
		h.tables, err = kernels.QuantizedHashTables(unsafe.Slice((*int8)(values), n), unsafe.Slice((*float32)(scales), dims[0]*dims[1]), dims, o)
		return h, err
	}), message, size)
}

//export rooftune_hash_tables_open
func rooftune_hash_tables_open(path, tensor *C.char, dtype, layout C.int32_t, prepared **C.rooftune_hash_tables,
	message *C.char, size C.size_t) (status C.int32_t) {
	defer caught(&status, message, size)
	return report(prepare(prepared, func() (h heldTables, err error) {
		o := hashfile.Options{}
		if o.Tables, err = tableOptions(dtype, layout); err != nil {
			return h, err
		}
		if path == nil {
			return h, invalid("path", "NULL", "a file")
		}
		if tensor != nil {
			o.Tensor = C.GoString(tensor)
		}
		if h.file, err = hashfile.Open(C.GoString(path), o); err == nil {
			h.tables = h.file.HashTables
		}
		return h, err
	}), message, size)
}

// prepare makes tables and hands them to C.
func prepare(to **C.rooftune_hash_tables, tables func() (heldTables, error)) error {
	if to == nil {
		return invalid("prepared", "NULL", "where the tables go")
	}
	h, err := tables()
	if err == nil {
		hold(h, to)
	}
	return err
}

//export rooftune_hash_tables_info
func rooftune_hash_tables_info(prepared *C.rooftune_hash_tables, shape *C.int64_t, dtype *C.int32_t, bytes *C.int64_t) {
	if prepared == nil {
		return
	}
	t, err := preparedTables(prepared)
	if err != nil {
		return
	}
	if shape != nil {
		copy(integers(shape, 3), t.Shape())
	}
	if dtype != nil {
		*dtype = C.int32_t(slices.Index(tableTypes[:], t.DType()))
	}
	if bytes != nil {
		*bytes = C.int64_t(t.MemoryBytes())
	}
}

//export rooftune_hash_tables_free
func rooftune_hash_tables_free(prepared *C.rooftune_hash_tables) {
	if prepared == nil {
		return
	}
	held.Lock()
	t := held.tables[numberOf(prepared)]
	delete(held.tables, numberOf(prepared))
	held.Unlock()
	if t.file != nil {
		_ = t.file.Close() // of a mapping: nothing to lose
	}
}
