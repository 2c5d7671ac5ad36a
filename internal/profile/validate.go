package profile

import (
	"errors"
	"fmt"
	"math"

	"github.com/rooftune/rooftune/internal/machine"
	"github.com/rooftune/rooftune/kernels/tile"
)

// Bounds on what a profile may hold. They are far above anything real, and low
// enough that no product of two of them overflows.
const (
	maxParams  = 64
	maxValue   = 1 << 24 // of a config's value
	maxExtent  = 1 << 31 // of a shape's extent
	maxThreads = 1 << 16
	maxNs      = 1e15 // eleven days
)

// Validate checks what a JSON schema cannot say: that times are finite, positive
// and in order, that names and sizes are within bounds, that there is one answer a
// problem and ISA. Names of ops, ISAs and parameters that this program does not
// know are allowed: another version may know them, and nothing is run by them.
func (p *Profile) Validate() error {
	if p.Machine.Fingerprint == "" {
		return errors.New("machine.fingerprint is empty")
	}
	if err := checkMeasured(&p.Measured); err != nil {
		return fmt.Errorf("measured: %w", err)
	}
	if err := p.Provenance.validate(); err != nil {
		return fmt.Errorf("provenance: %w", err)
	}
	seen := make(map[key]int, len(p.Entries))
	for i := range p.Entries {
		e := &p.Entries[i]
		if err := e.validate(); err != nil {
			return fmt.Errorf("entries[%d] (%s, %s): %w", i, e.Problem, e.ISA, err)
		}
		k := keyOf(e)
		if j, ok := seen[k]; ok {
			return fmt.Errorf("entries[%d] (%s, %s): answered already by entries[%d]", i, e.Problem, e.ISA, j)
		}
		seen[k] = i
	}
	crossovers := make(map[key]int, len(p.Crossovers))
	for i := range p.Crossovers {
		c := &p.Crossovers[i]
		if err := c.validate(); err != nil {
			return fmt.Errorf("crossovers[%d] (%s, %s): %w", i, c.Problem, c.ISA, err)
		}
		k := key{c.Problem, c.ISA, false}
		if j, ok := crossovers[k]; ok {
			return fmt.Errorf("crossovers[%d] (%s, %s): there is one already, crossovers[%d]", i, c.Problem, c.ISA, j)
		}
		crossovers[k] = i
	}
	return nil
}

func (e *Entry) validate() error {
	if err := checkProblem(e.Problem); err != nil {
		return err
	}
	if !isName(string(e.ISA)) {
		return fmt.Errorf("isa %q is not a name", e.ISA)
	}
	if err := checkConfig(e.Config); err != nil {
		return fmt.Errorf("config: %w", err)
	}
	for i, c := range e.TieSet {
		if err := checkConfig(c); err != nil {
			return fmt.Errorf("tie_set[%d]: %w", i, err)
		}
	}
	if e.SourceHash == "" {
		return errors.New("source_hash is empty")
	}
	for _, t := range []struct {
		name string
		ns   float64
	}{{"min_ns", e.MinNs}, {"median_ns", e.MedianNs}, {"max_ns", e.MaxNs}, {"roof_ns", e.RoofNs}} {
		if !(t.ns > 0 && t.ns <= maxNs) {
			return fmt.Errorf("%s is %g, must be positive and at most %g", t.name, t.ns, float64(maxNs))
		}
	}
	if !(e.SimulatedNs >= 0 && e.SimulatedNs <= maxNs) {
		return fmt.Errorf("simulated_ns is %g, must be positive or absent", e.SimulatedNs)
	}
	if !(e.DenseNs >= 0 && e.DenseNs <= maxNs) {
		return fmt.Errorf("dense_ns is %g, must be positive or absent", e.DenseNs)
	}
	if e.MinNs > e.MedianNs || e.MedianNs > e.MaxNs {
		return fmt.Errorf("min_ns %g, median_ns %g, max_ns %g are not in order", e.MinNs, e.MedianNs, e.MaxNs)
	}
	if e.Samples < 1 {
		return fmt.Errorf("samples is %d, must be at least 1", e.Samples)
	}
	if e.Candidates < 1 {
		return fmt.Errorf("candidates is %d, must be at least 1", e.Candidates)
	}
	if !isFraction(e.MaxError) || !isFraction(e.ErrorBound) || e.MaxError > e.ErrorBound {
		return fmt.Errorf("max_error %g must be within error_bound %g", e.MaxError, e.ErrorBound)
	}
	if !isFraction(e.DetectableEffect) {
		return fmt.Errorf("detectable_effect is %g, must be finite and not negative", e.DetectableEffect)
	}
	return nil
}

func checkProblem(p tile.Problem) error {
	if !isName(p.Op) {
		return fmt.Errorf("op %q is not a name", p.Op)
	}
	for _, s := range []string{p.Rule, p.DType, p.Dir, p.Decay, p.Weighting, p.FeatureMap, p.Front, p.Gates, p.StateDType, p.Precision} {
		if s != "" && !isName(s) {
			return fmt.Errorf("%q is not a name", s)
		}
	}
	s := p.Shape
	some := false
	for _, n := range []int{s.B, s.T, s.Hq, s.Hkv, s.Dk, s.Dv, s.N, s.D, s.H, s.Tau, s.C, s.L, s.K} {
		if n < 0 || n > maxExtent {
			return fmt.Errorf("shape %s: extent %d must be in 0..%d", s, n, maxExtent)
		}
		some = some || n > 0
	}
	if !some {
		return errors.New("shape is empty")
	}
	if p.Threads < 1 || p.Threads > maxThreads {
		return fmt.Errorf("threads is %d, must be in 1..%d", p.Threads, maxThreads)
	}
	return nil
}

func checkConfig(c tile.Config) error {
	if len(c) > maxParams {
		return fmt.Errorf("%d values, at most %d are allowed", len(c), maxParams)
	}
	for name, v := range c {
		if !isName(name) {
			return fmt.Errorf("%q is not a name", name)
		}
		if v < -maxValue || v > maxValue {
			return fmt.Errorf("%s is %d, must be within %d", name, v, maxValue)
		}
	}
	return nil
}

func checkMeasured(m *machine.Measured) error {
	for i, c := range m.Ceilings {
		if !(c.Min > 0 && c.Min <= c.Median && c.Median <= c.Max && !math.IsInf(c.Max, 0)) {
			return fmt.Errorf("ceilings[%d] (%s %s %s): min %g, median %g, max %g must be positive and in order",
				i, c.Kind, c.ISA, c.Level, c.Min, c.Median, c.Max)
		}
		if c.Threads < 1 || c.Threads > maxThreads {
			return fmt.Errorf("ceilings[%d]: threads is %d, must be in 1..%d", i, c.Threads, maxThreads)
		}
	}
	for i, l := range m.Latency {
		if l.Bytes < 1 || !(l.NsPerLoad > 0 && l.NsPerLoad <= maxNs) {
			return fmt.Errorf("latency[%d]: %d bytes, %g ns a load", i, l.Bytes, l.NsPerLoad)
		}
	}
	for i, p := range m.Primitives {
		if !isName(string(p.ISA)) || !isName(p.Op) || !(p.Ns > 0 && p.Ns <= maxNs) {
			return fmt.Errorf("primitives[%d]: %s %q takes %g ns", i, p.ISA, p.Op, p.Ns)
		}
	}
	for i, l := range m.Plateaus {
		if l.Bytes < 1 || !(l.NsPerLoad > 0 && l.NsPerLoad <= maxNs) {
			return fmt.Errorf("plateaus[%d]: %d bytes, %g ns a load", i, l.Bytes, l.NsPerLoad)
		}
	}
	return nil
}

// isName reports whether s can be the name of an op, an ISA or a parameter.
func isName(s string) bool {
	if s == "" || len(s) > 64 {
		return false
	}
	for _, r := range s {
		if (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' && r != '_' && r != '.' {
			return false
		}
	}
	return true
}

func isFraction(x float64) bool { return x >= 0 && !math.IsInf(x, 0) }
