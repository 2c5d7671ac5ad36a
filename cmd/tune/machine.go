package main

import (
	"context"
	"fmt"
	"strconv"

	"github.com/rooftune/rooftune/internal/machine"
	"github.com/rooftune/rooftune/kernels"
	"github.com/rooftune/rooftune/kernels/tile"
	"github.com/rooftune/rooftune/roofline"
	"github.com/rooftune/rooftune/tuner"
	"github.com/spf13/cobra"
)

func newMachine(out *output) *cobra.Command {
	return &cobra.Command{
		Use:   "machine",
		Short: "The CPU, its caches, instruction sets, fingerprint and measured ceilings",
		Example: `  tune machine
  tune machine --json`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			m, err := machine.Detect()
			if err != nil {
				return err
			}
			measured, err := measure(cmd.Context(), out, m, true)
			if err != nil {
				return err
			}
			if out.json {
				return out.document(machineDocument{m.Fingerprint, cpu{m, cpuName(m)}, kernels.ISAs(), m.Caches, measured.Ceilings, measured.Latency,
					measured.Plateaus, measured.StealPct})
			}
			return printMachine(out, m, measured)
		},
	}
}

// measure measures the ceilings with a bar.
func measure(ctx context.Context, out *output, m *machine.Machine, quick bool) (*machine.Measured, error) {
	bar := out.newProgress()
	defer bar.finish()
	measured, err := roofline.Measure(ctx, m, roofline.Options{Quick: quick, Progress: bar.step})
	if err != nil {
		return nil, err
	}
	return measured, tuner.MeasurePrimitives(measured, kernels.ISAs())
}

type machineDocument struct {
	Fingerprint string                 `json:"fingerprint"`
	CPU         cpu                    `json:"cpu"`
	ISAs        []tile.ISA             `json:"isas"` // that may run: what this CPU and build can execute, narrowed by ROOFTUNE_ISA
	Caches      []machine.Cache        `json:"caches"`
	Ceilings    []machine.Ceiling      `json:"ceilings"`
	Latency     []machine.LatencyPoint `json:"latency,omitempty"`
	Plateaus    []machine.Plateau      `json:"plateaus,omitempty"`
	StealPct    float64                `json:"steal_pct"`
}

// cpu is the machine without what stands beside it in the document.
type cpu struct {
	*machine.Machine
	Name string `json:"name"`
}

func cpuName(m *machine.Machine) string {
	name := m.Brand
	if name == "" {
		name = m.Vendor
	}
	return fmt.Sprintf("%s family %d model %d (%s/%s)", name, m.Family, m.Model, m.OS, m.Arch)
}

func printMachine(out *output, m *machine.Machine, measured *machine.Measured) error {
	out.printf("cpu          %s\n", cpuName(m))
	out.printf("fingerprint  %s\n", m.Fingerprint)
	out.printf("cpus         %s by topology, %d usable\n", unknownIf(m.Threads), m.Usable)
	hypervisor := m.Hypervisor
	if hypervisor == "" {
		hypervisor = "none seen"
	}
	out.printf("hypervisor   %s\n", hypervisor)
	out.printf("isas         %s\n", joinISAs(kernels.ISAs()))
	out.printf("\n")
	return roofline.Ceilings(out.w, m, measured)
}

func unknownIf(n int) string {
	if n == 0 {
		return "unknown"
	}
	return strconv.Itoa(n)
}
