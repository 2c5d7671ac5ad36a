package machine

import (
	"runtime"
	"slices"
	"strings"

	"github.com/klauspost/cpuid/v2"

	"github.com/rooftune/rooftune/kernels/tile"
)

// features is version 1 of the fixed list of features that a fingerprint
// speaks of: those that decide which kernels a CPU can run or how fast. A change of this list is a
// change of the fingerprint's version, because it would orphan every profile.
var features = []cpuid.FeatureID{
	// x86
	cpuid.SSE42, cpuid.AVX, cpuid.AVX2, cpuid.FMA3, cpuid.F16C, cpuid.BMI2,
	cpuid.AVX512F, cpuid.AVX512CD, cpuid.AVX512BW, cpuid.AVX512DQ, cpuid.AVX512VL,
	cpuid.AVX512IFMA, cpuid.AVX512VBMI, cpuid.AVX512VBMI2, cpuid.AVX512VNNI,
	cpuid.AVX512BITALG, cpuid.AVX512VPOPCNTDQ, cpuid.AVX512BF16, cpuid.AVX512FP16,
	cpuid.AVXVNNI, cpuid.AVXVNNIINT8, cpuid.AVXIFMA, cpuid.AVXNECONVERT,
	cpuid.AMXTILE, cpuid.AMXINT8, cpuid.AMXBF16, cpuid.AMXFP16, cpuid.GFNI,
	// arm64
	cpuid.ASIMD, cpuid.ASIMDHP, cpuid.ASIMDDP, cpuid.BF16, cpuid.I8MM, cpuid.SVE, cpuid.SVE2, cpuid.SME,
}

// Detect says what this machine is. What cannot be found out stays absent,
// "unknown", or zero where the field's comment says that zero is unknown; a file of the
// system that is missing or broken is no error. The error is nil on every system supported today.
func Detect() (*Machine, error) {
	m := fromCPUID()
	describeOS(m)
	finish(m)
	return m, nil
}

// fromCPUID fills what the CPU itself answers.
func fromCPUID() *Machine {
	c := &cpuid.CPU
	m := &Machine{
		Vendor:   clean(c.VendorString),
		Brand:    clean(c.BrandName),
		Arch:     runtime.GOARCH,
		OS:       runtime.GOOS,
		Family:   c.Family,
		Model:    c.Model,
		Stepping: c.Stepping,
		Features: []string{},
		Cores:    c.PhysicalCores,
		Threads:  c.LogicalCores,
		Usable:   runtime.NumCPU(),
	}
	for _, f := range features {
		if c.Has(f) {
			m.Features = append(m.Features, f.String())
		}
	}
	slices.Sort(m.Features)
	if runtime.GOARCH == "amd64" && c.Has(cpuid.HYPERVISOR) {
		m.Hypervisor = clean(c.HypervisorVendorString)
		if m.Hypervisor == "" {
			m.Hypervisor = "unknown"
		}
	}
	for i, size := range []int{c.Cache.L1D, c.Cache.L2, c.Cache.L3} {
		if size > 0 { // -1 and 0 are unknown
			m.Caches = append(m.Caches, Cache{Level: i + 1, Bytes: size, LineBytes: c.CacheLine})
		}
	}
	return m
}

// finish derives what follows from the detected facts.
func finish(m *Machine) {
	if m.Vendor == "" {
		m.Vendor = "unknown"
	}
	m.Usable = max(m.Usable, 1)
	m.ISAs = isas(m.Arch, m.Features)
	m.Fingerprint = fingerprint(m)
}

// isas lists what a CPU of this architecture with these features can execute, slowest first.
func isas(arch string, features []string) []tile.ISA {
	has := func(ids ...cpuid.FeatureID) bool {
		for _, id := range ids {
			if !slices.Contains(features, id.String()) {
				return false
			}
		}
		return true
	}
	list := []tile.ISA{tile.Generic}
	if arch == "arm64" { // Advanced SIMD is part of what Go asks of arm64, whether or not the system says so
		return append(list, tile.NEON)
	}
	if arch != "amd64" || !has(cpuid.AVX2, cpuid.FMA3, cpuid.F16C) {
		return list
	}
	list = append(list, tile.AVX2)
	if has(cpuid.AVX512F, cpuid.AVX512BW, cpuid.AVX512DQ, cpuid.AVX512VL) {
		list = append(list, tile.AVX512)
	}
	return list
}

// Has reports whether this machine can execute an ISA.
func (m *Machine) Has(isa tile.ISA) bool { return slices.Contains(m.ISAs, isa) }

// Cache returns the data or unified cache of a level, and whether it was reported.
func (m *Machine) Cache(level int) (Cache, bool) {
	for _, c := range m.Caches {
		if c.Level == level {
			return c, true
		}
	}
	return Cache{}, false
}

// clean cuts the padding that CPUs and hypervisors put into their names and drops what cannot be printed.
func clean(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == 0xfffd {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, ""))
	return strings.Join(strings.Fields(s), " ")
}
