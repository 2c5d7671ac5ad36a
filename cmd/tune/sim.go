package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/rooftune/rooftune/internal/machine"
	"github.com/rooftune/rooftune/internal/profile"
	"github.com/rooftune/rooftune/kernels"
	"github.com/rooftune/rooftune/kernels/tile"
	"github.com/rooftune/rooftune/sim"
	"github.com/rooftune/rooftune/tuner"
	"github.com/spf13/cobra"
)

// simFlags are the flags of tune sim.
type simFlags struct {
	device, program, dtype, isa, config string
	problem                             problemFlags
	sweep                               bool
}

// cpuDevice is the name of this machine as a device.
const cpuDevice = "cpu"

func newSim(out *output) *cobra.Command {
	var f simFlags
	c := &cobra.Command{
		Use:   "sim --device D --program P --shape S",
		Short: "Traffic, time and bound of a tiling on a GPU or on this CPU",
		Long: `sim predicts what a tiling does on a device. On a GPU the program is one of the published tilings; on "cpu", this machine, it
is an op, recorded from the very driver that runs.`,
		Example: `  tune sim --device h100-sxm --program lightning-attention-2 --shape b=1,t=8192,hq=16,hkv=16,dk=128,dv=128 --sweep
  tune sim --device cpu --program delta-rule --rule gated_delta --shape b=1,t=4096,hq=8,hkv=8,dk=128,dv=128`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			d, results, err := f.simulate(cmd)
			if err != nil {
				return err
			}
			if out.json {
				if f.sweep {
					return out.document(map[string]any{"sim": results})
				}
				return out.document(results[0])
			}
			return printSimulations(out, d, results)
		},
	}
	fs := c.Flags()
	fs.StringVar(&f.device, "device", "", cpuDevice+", "+strings.Join(sim.GPUs(), ", "))
	fs.StringVar(&f.program, "program", "", strings.Join(sim.GPUPrograms(), ", ")+" on a GPU; an op on "+cpuDevice)
	fs.StringVar(&f.problem.shape, "shape", "", "as in b=1,t=8192,hq=16,hkv=16,dk=128,dv=128")
	fs.StringVar(&f.dtype, "dtype", "bfloat16", "of the arrays, on a GPU")
	fs.StringVar(&f.config, "config", "", "values that replace those of the default config, k=v,...")
	fs.BoolVar(&f.sweep, "sweep", false, "every config, fastest first")
	fs.StringVar(&f.problem.rule, "rule", "", "of an op on "+cpuDevice)
	fs.StringVar(&f.problem.decay, "decay", "", "of an op on "+cpuDevice+": none, fixed or head")
	fs.StringVar(&f.problem.weighting, "weighting", "", "of hash-layer on "+cpuDevice)
	fs.StringVar(&f.isa, "isa", "", "instruction set on "+cpuDevice)
	fs.IntVar(&f.problem.threads, "threads", 0, "workers on "+cpuDevice+", 0 for all that this process may use")
	return c
}

func (f *simFlags) simulate(cmd *cobra.Command) (*sim.Device, []*sim.Result, error) {
	switch {
	case f.device == "":
		return nil, nil, fmt.Errorf("--device is missing: %s, %s", cpuDevice, strings.Join(sim.GPUs(), ", "))
	case f.program == "":
		return nil, nil, fmt.Errorf("--program is missing")
	case f.sweep && f.config != "":
		return nil, nil, fmt.Errorf("--sweep and --config exclude each other")
	}
	var only []string
	if f.device == cpuDevice {
		only = []string{"dtype"}
	} else {
		only = []string{"rule", "decay", "weighting", "isa", "threads"}
	}
	for _, name := range only {
		if cmd.Flags().Changed(name) {
			return nil, nil, fmt.Errorf("--%s does not apply to device %s", name, f.device)
		}
	}
	var d *sim.Device
	var programs []*sim.Program
	var err error
	if f.device == cpuDevice {
		d, programs, err = f.cpuPrograms()
	} else {
		d, programs, err = f.gpuPrograms()
	}
	if err != nil {
		return nil, nil, err
	}
	var results []*sim.Result
	var unfit error
	for _, p := range programs {
		if err := cmd.Context().Err(); err != nil {
			return nil, nil, err
		}
		r, err := sim.Simulate(d, p)
		if err != nil {
			unfit = err
			continue // of a sweep: this config does not fit the device
		}
		results = append(results, r)
	}
	if len(results) == 0 {
		return nil, nil, unfit
	}
	slices.SortStableFunc(results, func(a, b *sim.Result) int { return cmp.Compare(a.TimeNs, b.TimeNs) })
	return d, results, nil
}

// gpuPrograms builds a published tiling with the given config, or with each of its sweep.
func (f *simFlags) gpuPrograms() (*sim.Device, []*sim.Program, error) {
	d, err := sim.GPU(f.device)
	if err != nil {
		return nil, nil, err
	}
	if f.problem.shape == "" {
		return nil, nil, fmt.Errorf("--shape is missing: such as %s", shapeExample(""))
	}
	shape, err := parseShape(f.program, f.problem.shape)
	if err != nil {
		return nil, nil, err
	}
	var configs []tile.Config
	switch {
	case f.sweep:
		configs = sim.GPUSweep(f.program)
	case f.config != "":
		values, err := parsePairs("--config", f.config)
		if err != nil {
			return nil, nil, err
		}
		configs = []tile.Config{values}
	default:
		configs = []tile.Config{nil}
	}
	var programs []*sim.Program
	var refused error
	for _, c := range configs {
		p, err := sim.GPUProgram(f.program, shape, f.dtype, "fwd", c)
		if err != nil {
			refused = err
			continue // of a sweep: this config does not fit the shape
		}
		programs = append(programs, p)
	}
	if len(programs) == 0 {
		return nil, nil, refused
	}
	return d, programs, nil
}

// cpuPrograms records an op of this machine with the chosen config, or with each of its space.
func (f *simFlags) cpuPrograms() (*sim.Device, []*sim.Program, error) {
	m, err := machine.Detect()
	if err != nil {
		return nil, nil, err
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
	var measured *machine.Measured
	if path, err := kernels.UserProfilePath(m.Fingerprint); err == nil {
		if own, err := profile.Read(path); err == nil {
			measured = &own.Measured
		}
	}
	d, err := sim.CPU(m, measured, choice.Candidate.ISA, p.Threads)
	if err != nil {
		return nil, nil, err
	}
	var programs []*sim.Program
	for _, c := range candidates {
		program, err := kernels.Record(p, c)
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
