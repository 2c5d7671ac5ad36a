package main

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/rooftune/rooftune/kernels"
	"github.com/rooftune/rooftune/kernels/tile"
	"github.com/rooftune/rooftune/tuner"
)

// restrict narrows the library's choice to an ISA, if one is named. It must come before the first choice: the switch
// is the environment's.
func restrict(isa string) error {
	isas, err := allowedISAs(isa)
	if err != nil {
		return err
	}
	return os.Setenv(kernels.EnvISA, strings.ReplaceAll(joinISAs(isas), " ", ""))
}

// choose takes the selected candidate of a problem, among one ISA if it is named, with the values that a --config replaces.
func choose(p tile.Problem, isa, config string) (kernels.Choice, error) {
	if err := restrict(isa); err != nil {
		return kernels.Choice{}, err
	}
	choice, err := kernels.Explain(p)
	if err != nil {
		return choice, err
	}
	return withConfig(choice, config)
}

// withConfig replaces values of a choice's config by those given on the command line.
func withConfig(choice kernels.Choice, config string) (kernels.Choice, error) {
	if config == "" {
		return choice, nil
	}
	values, err := parsePairs("--config", config)
	if err != nil {
		return choice, err
	}
	replaced := maps.Clone(choice.Candidate.Config)
	if form, given := values["form"]; given && form != replaced["form"] { // which has tunables of its own
		replaced = kernels.Complete(choice.Problem, choice.Candidate.ISA, tile.Config{"form": form})
	}
	for name, v := range values {
		if _, known := replaced[name]; !known {
			return choice, fmt.Errorf("--config %s: %s has no %q, it has %s", config, choice.Problem.Op, name,
				strings.Join(slices.Sorted(maps.Keys(replaced)), ", "))
		}
		replaced[name] = v
	}
	choice.Candidate.Config = replaced
	choice.Source, choice.Reason = tuner.SourceFlag, ""
	return choice, kernels.CheckConfig(choice.Problem, choice.Candidate)
}
