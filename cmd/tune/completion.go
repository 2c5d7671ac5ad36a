package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/rooftune/rooftune/kernels"
	"github.com/rooftune/rooftune/kernels/tile"
	"github.com/rooftune/rooftune/sim/gpu"
	"github.com/rooftune/rooftune/tuner"
	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// shells are those that completion knows, with what writes their scripts.
var shells = map[string]func(root *cobra.Command, w io.Writer) error{
	"bash":       func(root *cobra.Command, w io.Writer) error { return root.GenBashCompletionV2(w, true) },
	"fish":       func(root *cobra.Command, w io.Writer) error { return root.GenFishCompletion(w, true) },
	"powershell": func(root *cobra.Command, w io.Writer) error { return root.GenPowerShellCompletionWithDesc(w) },
	"zsh":        func(root *cobra.Command, w io.Writer) error { return root.GenZshCompletion(w) },
}

func newCompletion(out *output) *cobra.Command {
	return &cobra.Command{
		Use:   "completion bash|fish|powershell|zsh",
		Short: "A script that completes tune's commands and flags in a shell",
		Example: `  source <(tune completion bash)
  tune completion zsh > "${fpath[1]}/_tune"
  tune completion fish > ~/.config/fish/completions/tune.fish`,
		ValidArgs: []string{"bash", "fish", "powershell", "zsh"},
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 || shells[args[0]] == nil {
				return fmt.Errorf("%s: name a shell: bash, fish, powershell or zsh", cmd.CommandPath())
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			var script strings.Builder
			if err := shells[args[0]](cmd.Root(), &script); err != nil {
				return err
			}
			if out.json {
				return out.document(map[string]any{"shell": args[0], "script": script.String()})
			}
			out.printf("%s", script.String())
			return nil
		},
	}
}

func newMan(out *output) *cobra.Command {
	return &cobra.Command{
		Use:     "man DIR",
		Short:   "Write the manual pages, one a command, into a folder",
		Example: "  tune man ~/.local/share/man/man1 && man tune-run",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := os.MkdirAll(args[0], 0o755); err != nil {
				return err
			}
			// The date of the pages is fixed, so that the same program writes the same pages.
			date := time.Unix(0, 0).UTC()
			root := cmd.Root()
			root.DisableAutoGenTag = true
			if err := doc.GenManTree(root, &doc.GenManHeader{Section: "1", Source: "rooftune", Manual: "rooftune", Date: &date}, args[0]); err != nil {
				return err
			}
			files, err := filepath.Glob(filepath.Join(args[0], "tune*.1"))
			if err != nil {
				return err
			}
			if out.json {
				return out.document(map[string]any{"pages": files})
			}
			out.printf("%d manual pages in %s\n", len(files), args[0])
			return nil
		},
	}
}

// completeFlags gives the flags of a command and those below it the values that they take.
func completeFlags(cmd *cobra.Command) error {
	isas := make([]string, 0, 4)
	for _, isa := range kernels.ISAs() {
		isas = append(isas, string(isa))
	}
	values := map[string][]string{
		"op":        {tile.LinearAttention, tile.DeltaRule, tile.HashLayer},
		"rule":      {tile.RuleLinear, tile.RuleGated, tile.RuleDelta, tile.RuleGatedDelta},
		"decay":     {tile.DecayNone, tile.DecayFixed, tile.DecayHead, tile.DecayKey},
		"dir":       {tile.Forward, tile.Backward},
		"dtype":     {tile.Float32, tile.BFloat16, tile.Float16},
		"weighting": {tile.WeightingPaper, tile.WeightingReleased},
		"isa":       isas,
		"device":    append([]string{cpuDevice}, gpu.Devices()...),
		"program":   append(gpu.Programs(), tile.LinearAttention, tile.DeltaRule, tile.HashLayer),
		"strategy":  tuner.Strategies(),
		"placement": placements(),
	}
	for name, of := range values {
		if cmd.LocalFlags().Lookup(name) == nil {
			continue
		}
		if err := cmd.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(of, cobra.ShellCompDirectiveNoFileComp)); err != nil {
			return err
		}
	}
	for _, c := range cmd.Commands() {
		if err := completeFlags(c); err != nil {
			return err
		}
	}
	return nil
}
