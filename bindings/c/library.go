//go:build librooftune && (amd64 || arm64)

// Command c is librooftune, the C interface of package kernels: rooftune.h beside it documents it.
//
//	go build -tags librooftune -buildmode=c-shared -o librooftune.so ./bindings/c
//
// It needs cgo and a C compiler, which is why a build tag keeps it out of the default build.
package main

/*
#define ROOFTUNE_TYPES_ONLY
#include "rooftune.h"
*/
import "C"

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"unsafe"

	"github.com/rooftune/rooftune/kernels"
	"github.com/rooftune/rooftune/kernels/tile"
)

func main() {}

func itoa(i int64) string { return strconv.FormatInt(i, 10) }

// report turns an error into a status and a message.
func report(err error, message *C.char, size C.size_t) C.int32_t {
	if err == nil {
		return C.ROOFTUNE_OK
	}
	write(err.Error(), message, size)
	if _, ok := errors.AsType[*kernels.ArgumentError](err); ok {
		return C.ROOFTUNE_INVALID_ARGUMENT
	}
	return C.ROOFTUNE_FAILED
}

// caught keeps a panic, which would be a defect of the library, from ending the caller's process.
func caught(status *C.int32_t, message *C.char, size C.size_t) {
	if p := recover(); p != nil {
		write(fmt.Sprint("internal error: ", p), message, size)
		*status = C.ROOFTUNE_FAILED
	}
}

// write copies text to a buffer of size bytes, cut if it must be, and ends it by a zero byte.
func write(text string, to *C.char, size C.size_t) {
	if to == nil || size == 0 {
		return
	}
	buffer := unsafe.Slice((*byte)(unsafe.Pointer(to)), size)
	n := copy(buffer[:size-1], text)
	buffer[n] = 0
}

//export rooftune_abi
func rooftune_abi() C.int32_t { return C.ROOFTUNE_ABI }

//export rooftune_load
func rooftune_load(path, message *C.char, size C.size_t) (status C.int32_t) {
	defer caught(&status, message, size)
	name := ""
	if path != nil {
		name = C.GoString(path)
	}
	return report(kernels.Load(name), message, size)
}

//export rooftune_explain
func rooftune_explain(problem, text *C.char, size C.size_t, needed *C.size_t) (status C.int32_t) {
	defer caught(&status, text, size)
	answer, err := explain(problem)
	if err != nil {
		answer = err.Error()
	}
	if needed != nil {
		*needed = C.size_t(len(answer)) + 1
	}
	write(answer, text, size)
	return report(err, nil, 0)
}

func explain(problem *C.char) (string, error) {
	if problem == nil {
		return "", invalid("problem", "NULL", "JSON")
	}
	var p tile.Problem
	if err := json.Unmarshal([]byte(C.GoString(problem)), &p); err != nil {
		return "", invalid("problem", err.Error(), "a problem in JSON")
	}
	choice, err := kernels.Explain(p)
	if err != nil {
		return "", err
	}
	data, err := json.Marshal(choice)
	return string(data), err
}

//export rooftune_close
func rooftune_close() { kernels.Close() }
