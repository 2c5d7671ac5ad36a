package main

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/rooftune/rooftune/internal/machine"
	"github.com/rooftune/rooftune/kernels"
	"github.com/rooftune/rooftune/kernels/tile"
	"github.com/rooftune/rooftune/sim"
	"github.com/rooftune/rooftune/sim/gpu"
	"github.com/rooftune/rooftune/tuner"
	"github.com/spf13/cobra"
)

// simFlags are the flags of tune sim.
type simFlags struct {
	device, program, dtype, isa, config string
	problem                             problemFlags
	sweep, replay                       bool
	trace, score                        string
	top                                 int
}

// cpuDevice is the name of this machine as a device.
const cpuDevice = "cpu"

// Flags of tune sim that only one kind of device takes.
var (
	cpuOnly = []string{"rule", "decay", "weighting", "isa", "threads", "replay"}
	gpuOnly = []string{"dtype", "trace", "top"}
)

func newSim(out *output) *cobra.Command {
	var f simFlags
	c := &cobra.Command{
		Use:   "sim --device D --program P --shape S",
		Short: "Traffic, time and bound of a tiling on a GPU or on this CPU",
		Long: `sim predicts what a tiling does on a device. On a GPU the program is one of the published tilings or a file in the same format
(sim/gpu/programs/README.md); on "cpu", this machine, it is an op, recorded from the very driver that runs. A GPU may be a JSON file of
your own (sim/gpu/device.schema.json). --score compares the simulator with published timings in the columns of gpu/measured.csv.`,
		Example: `  tune sim --device h100-sxm --program lightning-attention-2 --shape b=1,t=8192,hq=16,dk=128 --sweep
  tune sim --device b200 --program flash-attention-2 --dir both --shape b=4,t=8192,hq=16,dk=128,causal=1 --trace attention.json
  tune sim --device my-gpu.json --program my-kernel.tile --shape b=1,t=4096,hq=8,dk=64
  tune sim --device cpu --program delta-rule --rule gated_delta --shape b=1,t=4096,hq=8,hkv=8,dk=128,dv=128
  tune sim --device cpu --program linear-attention --shape b=1,t=4096,hq=8,hkv=8,dk=128,dv=128 --replay
  tune sim --score gpu/measured.csv`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := f.check(cmd); err != nil {
				return err
			}
			switch {
			case f.score != "":
				return f.scoreRows(out)
			case f.onCPU():
				return f.simulateCPU(cmd, out)
			}
			return f.simulateGPU(out)
		},
	}
	fs := c.Flags()
	fs.StringVar(&f.device, "device", "", cpuDevice+" (this machine), a published CPU ("+strings.Join(sim.CPUs(), ", ")+"), a GPU's name or a GPU's JSON file; GPUs: "+strings.Join(gpu.Devices(), ", "))
	fs.StringVar(&f.program, "program", "", "on a GPU a file or one of "+strings.Join(gpu.Programs(), ", ")+"; an op on "+cpuDevice)
	fs.StringVar(&f.problem.shape, "shape", "", "as in b=1,t=8192,hq=16,hkv=16,dk=128,dv=128; the names are the program's")
	fs.StringVar(&f.problem.dir, "dir", gpu.Forward, "fwd, bwd, or on a GPU both")
	fs.StringVar(&f.dtype, "dtype", "bfloat16", "of the arrays, on a GPU")
	fs.StringVar(&f.config, "config", "", "values that replace those of the default config, k=v,...")
	fs.BoolVar(&f.sweep, "sweep", false, "every config, fastest first; for a GPU with a list of Triton configs to paste")
	fs.IntVar(&f.top, "top", 10, "configs in the list of Triton configs, and rows of a printed sweep on a GPU; 0 for all")
	fs.StringVar(&f.trace, "trace", "", "write a timeline that Perfetto and Chrome open, on a GPU")
	fs.StringVar(&f.score, "score", "", "a CSV of measured timings to compare with")
	fs.StringVar(&f.problem.rule, "rule", "", "of an op on "+cpuDevice)
	fs.StringVar(&f.problem.decay, "decay", "", "of an op on "+cpuDevice+": none, fixed or head")
	fs.StringVar(&f.problem.weighting, "weighting", "", "of hash-layer on "+cpuDevice)
	fs.StringVar(&f.isa, "isa", "", "instruction set on "+cpuDevice)
	fs.BoolVar(&f.replay, "replay", false, "beside the closed form's bytes those of the addresses sent through a model of the caches, on "+cpuDevice)
	fs.IntVar(&f.problem.threads, "threads", 0, "workers on "+cpuDevice+", 0 for all that this process may use")
	return c
}

// onCPU says whether the device is this machine or a published CPU.
func (f *simFlags) onCPU() bool { return f.device == cpuDevice || sim.IsCPU(f.device) }

// check refuses flags that do not go together.
func (f *simFlags) check(cmd *cobra.Command) error {
	changed := func(name string) bool { return cmd.Flags().Changed(name) }
	if f.score != "" {
		for _, name := range slices.Concat([]string{"program", "shape", "config", "sweep", "device", "dir"}, cpuOnly, gpuOnly) {
			if changed(name) && name != "top" {
				return fmt.Errorf("--%s does not go with --score", name)
			}
		}
		return nil
	}
	switch {
	case f.device == "":
		return fmt.Errorf("--device is missing: %s, a file, or a GPU such as %s", cpuDevice, strings.Join(gpu.Devices(), ", "))
	case f.program == "":
		return fmt.Errorf("--program is missing")
	case f.sweep && f.replay:
		return fmt.Errorf("--sweep and --replay exclude each other")
	case f.sweep && f.config != "" && f.onCPU():
		return fmt.Errorf("--sweep and --config exclude each other")
	}
	only := cpuOnly
	if f.onCPU() {
		only = gpuOnly
	}
	for _, name := range only {
		if changed(name) {
			return fmt.Errorf("--%s does not apply to device %s", name, f.device)
		}
	}
	return nil
}

func (f *simFlags) simulateCPU(cmd *cobra.Command, out *output) error {
	d, programs, err := f.cpuPrograms()
	if err != nil {
		return err
	}
	if f.replay {
		return f.replayCPU(out, d, programs[0])
	}
	var results []*sim.Result
	for _, p := range programs {
		if err := cmd.Context().Err(); err != nil {
			return err
		}
		r, err := sim.Simulate(d, p)
		if err != nil {
			return err
		}
		results = append(results, r)
	}
	slices.SortStableFunc(results, func(a, b *sim.Result) int { return cmp.Compare(a.TimeNs, b.TimeNs) })
	if out.json {
		if f.sweep {
			return out.document(map[string]any{"sim": results})
		}
		return out.document(results[0])
	}
	return printSimulations(out, d, results)
}

// replayCPU prints the closed form's bytes beside those of a replay with the device's own ways and with as many as the model takes.
func (f *simFlags) replayCPU(out *output, d *sim.Device, p *sim.Program) error {
	const many = 256
	full, err := sim.Replay(d, p, many)
	if err != nil {
		return err
	}
	own, err := sim.Replay(d, p, 0)
	if err != nil {
		return err
	}
	if out.json {
		return out.document(map[string]any{"device": d.Name, "program": p.Name, "config": p.Config, "replay": own, "replay_256_ways": full})
	}
	out.printf("%s on %s, the recorded trips\n%s\n", p.Name, d.Name, p.Config)
	var rows [][]string
	for i := len(own) - 1; i >= 0; i-- {
		row := []string{own[i].Level, amount(float64(own[i].Bytes), "B")}
		for _, r := range []sim.LevelReplay{full[i], own[i]} {
			row = append(row, strconv.Itoa(r.Ways), amount(float64(r.ReplayedBytes), "B"), fmt.Sprintf("%.2f", float64(r.Bytes)/float64(max(1, r.ReplayedBytes))))
		}
		rows = append(rows, row)
	}
	return out.table([]string{"level", ">closed form", ">ways", ">replayed", ">ratio", ">ways", ">replayed", ">ratio"}, rows)
}

// cpuPrograms records an op of this machine with the chosen config, or with each of its space.
func (f *simFlags) cpuPrograms() (*sim.Device, []*sim.Program, error) {
	m, err := machine.Detect()
	if err != nil {
		return nil, nil, err
	}
	var published *sim.CPUFile
	if f.device != cpuDevice {
		if published, err = sim.ReadCPU(f.device); err != nil {
			return nil, nil, err
		}
		if f.isa == "" {
			f.isa = string(published.ISA)
		}
		if f.isa != string(published.ISA) {
			return nil, nil, fmt.Errorf("--isa %s: the rates of %s are those of %s", f.isa, published.Name, published.ISA)
		}
		if !slices.Contains(kernels.ISAs(), published.ISA) {
			return nil, nil, fmt.Errorf("%s runs %s programs, which can only be recorded where %s runs", published.Name, published.ISA, published.ISA)
		}
		m.Usable = max(m.Usable, published.Cores)
	}
	f.problem.op = f.program
	p, err := f.problem.problem(m)
	if err != nil {
		return nil, nil, err
	}
	choice, err := choose(p, f.isa, f.config)
	if err != nil {
		return nil, nil, err
	}
	candidates := []tile.Candidate{choice.Candidate}
	if f.sweep {
		configs, err := tuner.Space(p, choice.Candidate.ISA)
		if err != nil {
			return nil, nil, err
		}
		candidates = nil
		for _, c := range configs {
			candidates = append(candidates, tile.Candidate{ISA: choice.Candidate.ISA, Config: c})
		}
	}
	var d *sim.Device
	if published != nil {
		d, err = published.Device(p.Threads)
	} else {
		d, err = sim.CPU(m, kernels.Measured(), choice.Candidate.ISA, p.Threads)
	}
	if err != nil {
		return nil, nil, err
	}
	var programs []*sim.Program
	record := kernels.Record
	if f.replay {
		record = kernels.RecordAddresses
	}
	for _, c := range candidates {
		program, err := record(p, c)
		if err != nil {
			return nil, nil, err
		}
		programs = append(programs, program)
	}
	return d, programs, nil
}

func printSimulations(out *output, d *sim.Device, results []*sim.Result) error {
	out.printf("%s on %s\n", results[0].Program, d.Name)
	header := []string{"config"}
	for i := len(d.Levels) - 1; i >= 0; i-- {
		header = append(header, ">"+d.Levels[i].Name)
	}
	header = append(header, ">time", "bound by")
	var rows [][]string
	for _, r := range results {
		row := []string{r.Config.String()}
		for i := len(d.Levels) - 1; i >= 0; i-- {
			row = append(row, amount(float64(r.Bytes[d.Levels[i].Name]), "B"))
		}
		rows = append(rows, append(row, nanoseconds(r.TimeNs), r.BoundBy))
	}
	return out.table(header, rows)
}

// isFile tells a path from the name of something embedded.
func isFile(name, ext string) bool {
	return strings.HasSuffix(name, ext) || strings.ContainsRune(name, filepath.Separator) || strings.ContainsRune(name, '/')
}
