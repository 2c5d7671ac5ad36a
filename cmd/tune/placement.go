package main

import (
	"fmt"
	"slices"

	"github.com/rooftune/rooftune/kernels"
	"github.com/spf13/pflag"
)

// placementFlag is --placement: where the workers of calls of several threads run.
type placementFlag string

const placeAnywhere = "anywhere"

// placements lists what it takes.
func placements() []string {
	return []string{placeAnywhere, string(kernels.PlacePinned), string(kernels.PlaceNodes)}
}

func (p *placementFlag) add(fs *pflag.FlagSet) {
	fs.StringVar((*string)(p), "placement", placeAnywhere,
		"workers: anywhere, pinned (each on a CPU of its own) or nodes (in turns on the NUMA nodes); Linux")
}

// place puts the workers of all calls from now on where the flag says.
func (p placementFlag) place() error {
	if !slices.Contains(placements(), string(p)) {
		return fmt.Errorf("--placement %s: must be %s", p, list(placements()))
	}
	if p == placeAnywhere {
		return nil
	}
	if err := kernels.SetPlacement(kernels.Placement(p)); err != nil {
		return fmt.Errorf("--placement %s: %w", p, err)
	}
	return nil
}
