package gpu

import (
	"fmt"
	"strings"
)

// DType is the type of a product's operands or of an array's elements.
type DType uint8

// Types.
const (
	NoDType DType = iota
	FP64
	FP32
	TF32
	BF16
	FP16
	FP8
	INT8
	FP4
	dtypeCount
)

var dtypeNames = [dtypeCount]string{"", "fp64", "fp32", "tf32", "bf16", "fp16", "fp8", "int8", "fp4"}

func (t DType) String() string { return dtypeNames[t] }

// Bytes is the size of an element.
func (t DType) Bytes() float64 {
	switch t {
	case FP64:
		return 8
	case FP32, TF32:
		return 4
	case FP8, INT8:
		return 1
	case FP4:
		return 0.5
	}
	return 2
}

// dtypeAliases are other names, as papers and libraries write them.
var dtypeAliases = map[string]DType{
	"float64": FP64, "double": FP64, "float32": FP32, "float": FP32, "single": FP32, "tensorfloat32": TF32,
	"bfloat16": BF16, "float16": FP16, "half": FP16, "float8": FP8, "e4m3": FP8, "e5m2": FP8, "fp8_e4m3": FP8, "fp8_e5m2": FP8, "float8_e4m3": FP8, "float8_e4m3fn": FP8, "float8_e5m2": FP8, "mxfp8": FP8,
	"int8": INT8, "i8": INT8, "uint8": INT8, "nvfp4": FP4, "mxfp4": FP4, "float4": FP4, "fp4_e2m1": FP4,
}

// ParseDType reads a type's name.
func ParseDType(name string) (DType, error) {
	lower := strings.ToLower(strings.TrimSpace(name))
	for t := FP64; t < dtypeCount; t++ {
		if dtypeNames[t] == lower {
			return t, nil
		}
	}
	if t, ok := dtypeAliases[lower]; ok {
		return t, nil
	}
	return NoDType, fmt.Errorf("dtype %q: want one of %s", name, strings.Join(dtypeNames[1:], ", "))
}

// Path is the kind of matrix instruction that a launch's products use.
type Path uint8

// Paths.
const (
	PathBest   Path = iota // the device's fastest
	PathMMA                // one warp's registers to registers: mma.sync, MFMA
	PathWGMMA              // four warps, operands in SRAM: WGMMA, or the device's own if it has none
	PathVector             // fused multiply-adds on the vector lanes
)

var pathNames = []string{"best", "mma", "wgmma", "vector"}

func parsePath(s string) (Path, error) {
	for i, n := range pathNames {
		if n == s {
			return Path(i), nil
		}
	}
	return 0, fmt.Errorf("path %q: want one of %s", s, strings.Join(pathNames, ", "))
}

// Pipeline says how a launch overlaps its loads, products and element-wise work.
type Pipeline uint8

// Pipelines.
const (
	PipelineAsync       Pipeline = iota // loads ahead by the hardware; element-wise work between products
	PipelineSync                        // no loads ahead: a block's steps follow each other
	PipelineSpecialized                 // warps with roles of their own, products and exponentials of two tiles in turn
)

var pipelineNames = []string{"async", "sync", "specialized"}

func parsePipeline(s string) (Pipeline, error) {
	for i, n := range pipelineNames {
		if n == s {
			return Pipeline(i), nil
		}
	}
	return 0, fmt.Errorf("pipeline %q: want one of %s", s, strings.Join(pipelineNames, ", "))
}
