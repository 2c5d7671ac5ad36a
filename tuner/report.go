package tuner

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"time"

	"github.com/google/renameio/v2/maybe"

	"github.com/rooftune/rooftune/internal/profile"
	"github.com/rooftune/rooftune/kernels/tile"
)

// ReportSchema is the version of the JSON documents that this package's reports become.
const ReportSchema = 1

// Report says what a run did. Its JSON form is the document of `tune run --json`.
type Report struct {
	Schema      int       `json:"schema"`
	Profile     string    `json:"profile"` // path of the file written; in the document of a dry run, of the profile that it is about and left alone
	Fingerprint string    `json:"fingerprint"`
	Problems    []Result  `json:"problems"`
	Skipped     []Skipped `json:"skipped"`
	// Crossovers hold the run's hash layers against dense ones of their widths, on its fastest ISA.
	Crossovers []profile.Crossover `json:"crossovers,omitempty"`
	Errors     []Violation         `json:"errors"` // candidates that beat their roof twice: the measurement or the count is wrong
	Notes      []string            `json:"notes"`
	Cold       bool                `json:"cold"`          // tuned for arrays that no cache holds
	Complete   bool                `json:"complete"`      // false if interrupted: the next run goes on from the journal
	Resumed    int                 `json:"resumed"`       // measurements taken over from the journal
	Measured   int                 `json:"measured"`      // candidates measured in this run
	Blocks     int                 `json:"blocks"`        // timed
	Voided     int                 `json:"voided_blocks"` // thrown away: a canary drifted, or others had the CPUs
	AA         *AAReport           `json:"aa,omitempty"`  // a kernel compared with itself under this run's conditions
	ElapsedNs  int64               `json:"elapsed_ns"`
	BudgetNs   int64               `json:"budget_ns"`
}

// Sources of a result's config.
const (
	SourceMeasured = "measured" // this run's winner
	SourceKept     = "kept"     // the profile's answer, not beaten by a proven 2 %
	SourceResumed  = "resumed"  // decided by an interrupted run, from the journal
)

// Result is the answer for one problem and ISA.
type Result struct {
	Problem          tile.Problem  `json:"problem"`
	ISA              tile.ISA      `json:"isa"`
	Config           tile.Config   `json:"config"`
	Source           string        `json:"source"`
	MedianNs         float64       `json:"median_ns"`
	MinNs            float64       `json:"min_ns"`
	MaxNs            float64       `json:"max_ns"`
	Samples          int           `json:"samples"`
	RoofNs           float64       `json:"roof_ns"`
	BoundBy          string        `json:"bound_by"`
	SimulatedNs      float64       `json:"simulated_ns,omitempty"`
	DenseNs          float64       `json:"dense_ns,omitempty"` // hash layers: a dense layer of these widths on profile.DenseDriver; absent if unknown
	MaxError         float64       `json:"max_error"`
	ErrorBound       float64       `json:"error_bound"`
	TieSet           []tile.Config `json:"tie_set"`
	DetectableEffect float64       `json:"detectable_effect"`
	Candidates       int           `json:"candidates"` // measured
	Space            int           `json:"space"`      // configs that satisfy the constraints
	Pruned           int           `json:"pruned"`     // not run: their lower bound is above the incumbent's time
	Wrong            int           `json:"wrong"`      // outside their error bound, or failed
	Note             string        `json:"note,omitempty"`
	Change           *Change       `json:"change,omitempty"` // of an answer that the profile had before
}

// Change is what a run does, or would do if it were proven, to an answer that the profile had.
type Change struct {
	From tile.Config `json:"from"`
	To   tile.Config `json:"to"`
	Gain float64     `json:"gain"` // mean: how much more time the old one takes
	Done bool        `json:"done"` // the gain is proven to be above 2 %; else the old answer stays
}

func resultOf(e *profile.Entry, source string) Result {
	return Result{
		Problem: e.Problem, ISA: e.ISA, Config: e.Config, Source: source,
		MedianNs: e.MedianNs, MinNs: e.MinNs, MaxNs: e.MaxNs, Samples: e.Samples,
		RoofNs: e.RoofNs, BoundBy: e.BoundBy, SimulatedNs: e.SimulatedNs, DenseNs: e.DenseNs, MaxError: e.MaxError, ErrorBound: e.ErrorBound,
		TieSet: e.TieSet, DetectableEffect: e.DetectableEffect, Candidates: e.Candidates,
	}
}

// Skipped is a problem and ISA without an answer from this run, and why.
type Skipped struct {
	Problem tile.Problem `json:"problem"`
	ISA     tile.ISA     `json:"isa"`
	Reason  string       `json:"reason"`
}

// Violation is a candidate that was measured faster than its roof, also when measured again.
type Violation struct {
	Problem  tile.Problem `json:"problem"`
	ISA      tile.ISA     `json:"isa"`
	Config   tile.Config  `json:"config"`
	MedianNs float64      `json:"median_ns"`
	RoofNs   float64      `json:"roof_ns"`
	BoundBy  string       `json:"bound_by"`
}

// Error names the candidate, its time and its roof.
func (v Violation) Error() string {
	return fmt.Sprintf("%s, %s %s: measured %.4g µs, under its roof of %.4g µs (%s): the measurement or the count is wrong",
		v.Problem, v.ISA, v.Config, v.MedianNs/1e3, v.RoofNs/1e3, v.BoundBy)
}

// ReportFile is the name of a run's report, beside the profile.
const ReportFile = "report.json"

func (r *Report) write(dir string) error {
	raw, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return err
	}
	return maybe.WriteFile(filepath.Join(dir, ReportFile), append(raw, '\n'), 0o644)
}

// Event tells how far a run is. Events come between measurements, never during one.
type Event struct {
	Done, Total int // problems times ISAs
	Problem     tile.Problem
	ISA         tile.ISA
	What        string // "simulating", "measuring", ...
	Elapsed     time.Duration
	Left        time.Duration // until the budget ends
	Found       []Result      // the answers so far, not to be changed
}
