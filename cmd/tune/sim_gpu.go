package main

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/google/renameio/v2/maybe"
	"github.com/rooftune/rooftune/sim/gpu"
)

// maxSimFile is the largest device or program file that is read.
const maxSimFile = 1 << 20

func readLimited(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, maxSimFile+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxSimFile {
		return nil, fmt.Errorf("%s: more than %d bytes", path, maxSimFile)
	}
	return data, nil
}

// gpuRequest is what the flags ask of the simulator of GPUs.
func (f *simFlags) gpuRequest() (gpu.Request, error) {
	r := gpu.Request{Direction: f.problem.dir, Values: gpu.Values{}}
	var err error
	if isFile(f.device, ".json") {
		data, err := readLimited(f.device)
		if err != nil {
			return r, err
		}
		if r.Device, err = gpu.ParseDevice(data); err != nil {
			return r, fmt.Errorf("%s: %w", f.device, err)
		}
	} else if r.Device, err = gpu.FindDevice(f.device); err != nil {
		return r, err
	}
	if isFile(f.program, ".tile") {
		data, err := readLimited(f.program)
		if err != nil {
			return r, err
		}
		if r.Template, err = gpu.ParseTemplate(string(data)); err != nil {
			return r, fmt.Errorf("%s: %w", f.program, err)
		}
	} else if r.Template, err = gpu.FindProgram(f.program); err != nil {
		return r, err
	}
	if r.DType, err = gpu.ParseDType(f.dtype); err != nil {
		return r, fmt.Errorf("--%w", err)
	}
	if r.Constants, err = gpu.Fitted(); err != nil {
		return r, err
	}
	required, optional, tunable := r.Template.Names()
	if f.problem.shape == "" {
		return r, fmt.Errorf("--shape is missing: program %s needs %s", r.Template.Name, strings.Join(required, ", "))
	}
	shape, err := parseValues("--shape", f.problem.shape)
	if err != nil {
		return r, err
	}
	for name, x := range shape {
		switch {
		case slices.Contains(required, name) || slices.Contains(optional, name):
			r.Values[name] = x
		case name == "hkv" && x == shape["hq"]: // as many as query heads: what a program without that name has
		default:
			return r, fmt.Errorf("--shape: program %s has no %q: it has %s", r.Template.Name, name, strings.Join(slices.Concat(required, optional), ", "))
		}
	}
	for _, name := range required {
		if _, ok := r.Values[name]; !ok {
			return r, fmt.Errorf("--shape: %s is missing: program %s needs %s", name, r.Template.Name, strings.Join(required, ", "))
		}
	}
	if f.config != "" {
		config, err := parseValues("--config", f.config)
		if err != nil {
			return r, err
		}
		for name, x := range config {
			if !slices.Contains(tunable, name) {
				return r, fmt.Errorf("--config: program %s has no %q: it has %s", r.Template.Name, name, strings.Join(tunable, ", "))
			}
			r.Values[name] = x
		}
	}
	return r, nil
}

// parseValues reads k=v,k=v with numbers that are not negative.
func parseValues(flag, text string) (map[string]float64, error) {
	v := map[string]float64{}
	for pair := range strings.SplitSeq(text, ",") {
		name, value, ok := strings.Cut(pair, "=")
		if !ok {
			return nil, fmt.Errorf("%s %q: want name=number pairs with commas between them", flag, pair)
		}
		name = strings.TrimSpace(name)
		x, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
		if err != nil || math.IsNaN(x) || x < 0 || x > 1<<52 {
			return nil, fmt.Errorf("%s: %s must be a number from 0 to 2^52, not %q", flag, name, value)
		}
		if _, ok := v[name]; ok {
			return nil, fmt.Errorf("%s: %s is given twice", flag, name)
		}
		v[name] = x
	}
	return v, nil
}

func (f *simFlags) simulateGPU(out *output) error {
	r, err := f.gpuRequest()
	if err != nil {
		return err
	}
	if f.sweep {
		results, tried, err := gpu.Sweep(r)
		if err != nil {
			return err
		}
		if err := f.writeTrace(results[0]); err != nil {
			return err
		}
		shown := results
		if f.top > 0 {
			shown = results[:min(f.top, len(results))]
		}
		if out.json {
			return out.document(map[string]any{"sim": results, "tried": tried, "triton_configs": gpu.TritonConfigs(shown)})
		}
		if err := printGPUResults(out, shown); err != nil {
			return err
		}
		out.printf("%d configs fit of %d\n\n%s", len(results), tried, gpu.TritonConfigs(shown))
		return nil
	}
	result, err := gpu.Simulate(r)
	if err != nil {
		return err
	}
	if err := f.writeTrace(result); err != nil {
		return err
	}
	if out.json {
		return out.document(result)
	}
	if err := printGPUResults(out, []*gpu.Result{result}); err != nil {
		return err
	}
	return printBreakdown(out, result)
}

func (f *simFlags) writeTrace(r *gpu.Result) error {
	if f.trace == "" {
		return nil
	}
	var trace bytes.Buffer
	if err := gpu.WriteTrace(&trace, r); err != nil {
		return err
	}
	return maybe.WriteFile(f.trace, trace.Bytes(), 0o644)
}

func printGPUResults(out *output, results []*gpu.Result) error {
	out.printf("%s on %s\nunder each level's traffic the least that any tiling moves\n", results[0].Program, results[0].Device)
	header := []string{"config", ">time"}
	levels := slices.Clone(gpu.Levels())
	slices.Reverse(levels)
	for _, l := range levels {
		header = append(header, ">"+l)
	}
	header = append(header, ">block", ">occ.", "bound by")
	var rows [][]string
	for _, r := range results {
		row := []string{r.ConfigString(), nanoseconds(r.TimeNs)}
		for _, l := range levels {
			row = append(row, amount(float64(r.Bytes[l]), "B")+"\n"+amount(float64(r.BytesLowerBound[l]), "B"))
		}
		rows = append(rows, append(row, amount(float64(r.SRAMPerBlock), "B"), fmt.Sprintf("%.0f %%", 100*r.Occupancy), r.BoundBy))
	}
	return out.table(header, rows)
}

func printBreakdown(out *output, r *gpu.Result) error {
	out.printf("\n")
	header := []string{"launch", ">blocks", ">waves", ">time", ">share", "bound by", "alone would take"}
	var rows [][]string
	for _, l := range r.Launches {
		var alone []string
		for _, name := range gpu.Parts() {
			if ns := l.Parts[name]; ns > 0.1*l.TimeNs {
				alone = append(alone, name+" "+nanoseconds(ns))
			}
		}
		rows = append(rows, []string{
			l.Name, strconv.FormatInt(l.Blocks*l.Repeat, 10), fmt.Sprintf("%.2f", l.Waves), nanoseconds(l.TimeNs), fmt.Sprintf("%.0f %%", 100*l.TimeNs/r.TimeNs), l.BoundBy,
			strings.Join(alone, ", "),
		})
	}
	if err := out.table(header, rows); err != nil {
		return err
	}
	out.printf("lower bound %s; %s\n", nanoseconds(r.LowerBoundNs), r.Fit)
	return nil
}

// scoreRows compares the simulator with a file of measured timings.
func (f *simFlags) scoreRows(out *output) error {
	file, err := os.Open(f.score)
	if err != nil {
		return err
	}
	defer file.Close()
	rows, err := gpu.ReadRows(file)
	if err != nil {
		return fmt.Errorf("%s: %w", f.score, err)
	}
	c, err := gpu.Fitted()
	if err != nil {
		return err
	}
	s, err := gpu.ScoreRows(rows, c)
	if err != nil {
		return err
	}
	if out.json {
		return out.document(s)
	}
	return printScore(out, s)
}

func printScore(out *output, s *gpu.Score) error {
	out.printf("%d rows, %d scored, %d without a program or device\n", s.Rows, s.Scored, len(s.Unsupported))
	for _, u := range s.Unsupported {
		out.printf("  %s: %s\n", u.ID, u.Reason)
	}
	for _, c := range s.Choices {
		out.printf("  %s\n", c)
	}
	out.printf("\n")
	line := func(name string, e gpu.Errors) []string {
		return []string{
			name, strconv.Itoa(e.Rows), fmt.Sprintf("%.1f", e.MAPE), fmt.Sprintf("%.1f", e.MacroMAPE), fmt.Sprintf("%.1f", e.Median), fmt.Sprintf("%.2f", e.Bias), fmt.Sprintf("%.3f", e.Spearman),
		}
	}
	table := [][]string{line("all", s.Errors), line("GPU-bound", s.GPUBound.Errors), line("host-bound", s.HostBound.Errors)}
	for _, name := range sortedNames(s.GPUBound.Family) {
		table = append(table, line("  family "+name, s.GPUBound.Family[name]))
	}
	for _, name := range sortedNames(s.GPUBound.GPU) {
		table = append(table, line("  GPU "+name, s.GPUBound.GPU[name]))
	}
	if err := out.table([]string{"rows", ">number", ">MAPE %", ">macro %", ">median %", ">sim/meas", ">Spearman"}, table); err != nil {
		return err
	}
	out.printf("\nworst GPU-bound rows\n")
	var worst [][]string
	for _, w := range s.Worst {
		worst = append(worst, []string{w.ID, w.Kernel, w.GPU, w.Program, fmt.Sprintf("%.3f", w.MeasuredMS), fmt.Sprintf("%.3f", w.SimulatedMS), fmt.Sprintf("%.2f", w.Ratio), w.BoundBy})
	}
	return out.table([]string{"row", "kernel", "GPU", "program", ">measured ms", ">simulated", ">ratio", "bound by"}, worst)
}

func sortedNames(m map[string]gpu.Errors) []string {
	names := make([]string, 0, len(m))
	for n := range m {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}
