package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/rooftune/rooftune/tuner/replay"
	"github.com/rooftune/rooftune/tuner/search"
	"github.com/spf13/cobra"
)

// replayFlags are the flags of tune replay.
type replayFlags struct {
	caches       []string
	strategy     string
	evals, seeds int
	racing       bool
	trials       int
}

func newReplay(out *output) *cobra.Command {
	var f replayFlags
	c := &cobra.Command{
		Use:   "replay --cache FILE",
		Short: "Score search strategies and racing on recorded spaces",
		Long: `replay searches spaces that somebody has measured in full: Kernel Tuner cache files or T4 files, gzip or not. Only the first visit of
a config counts as an evaluation. The score is the mean over evaluations of (random - best) / (random - optimum), where random is the expected best of random
search: 0 is random search, 1 the optimum at once. Several files give each one's result and the mean.
With --racing, races over the whole space instead: every config is measured once, then fewer and fewer more often, with the recorded repeats drawn as
noise; the regret is by how much the winner is slower than the best config, the cost the share of all recorded measurements.`,
		Example: `  tune replay --cache convolution.A100.json.gz
  tune replay --strategy genetic --evals 200 --seeds 100 --cache a.json.gz --cache b.json.gz
  tune replay --racing --trials 200 --cache convolution.A100.json.gz`,
		RunE: func(cmd *cobra.Command, args []string) error {
			for _, name := range map[bool][]string{true: {"strategy", "evals", "seeds"}, false: {"trials"}}[f.racing] {
				if cmd.Flags().Changed(name) {
					return fmt.Errorf("--%s does not apply %s --racing", name, map[bool]string{true: "with", false: "without"}[f.racing])
				}
			}
			f.caches = append(f.caches, args...) // a shell's pattern behind --cache
			return f.run(cmd.Context(), out)
		},
	}
	fs := c.Flags()
	fs.StringArrayVar(&f.caches, "cache", nil, "recorded results, may be repeated")
	fs.StringVar(&f.strategy, "strategy", search.Default, strings.Join(search.Names(), ", "))
	fs.IntVar(&f.evals, "evals", 200, "evaluations of one search")
	fs.IntVar(&f.seeds, "seeds", 100, "searches, each with its own seed")
	fs.BoolVar(&f.racing, "racing", false, "race all configs instead of searching")
	fs.IntVar(&f.trials, "trials", 200, "races, each with its own seed")
	return c
}

// Limits on what one command may be asked for.
const (
	maxReplayEvals = 1 << 16
	maxReplaySeeds = 1 << 20
)

func (f *replayFlags) run(ctx context.Context, out *output) error {
	switch {
	case len(f.caches) == 0:
		return errors.New("--cache is missing: a Kernel Tuner cache file or a T4 file")
	case !slices.Contains(search.Names(), f.strategy):
		return fmt.Errorf("--strategy %s: must be one of %s", f.strategy, strings.Join(search.Names(), ", "))
	case f.evals < 1 || f.evals > maxReplayEvals:
		return fmt.Errorf("--evals %d: must be 1 to %d", f.evals, maxReplayEvals)
	case f.seeds < 1 || f.seeds > maxReplaySeeds:
		return fmt.Errorf("--seeds %d: must be 1 to %d", f.seeds, maxReplaySeeds)
	case f.trials < 1 || f.trials > maxReplaySeeds:
		return fmt.Errorf("--trials %d: must be 1 to %d", f.trials, maxReplaySeeds)
	case f.racing:
		return f.race(ctx, out)
	}
	results, err := eachCache(f.caches, out, func(r *replay.Recorded) (*replay.Result, error) { return r.Run(ctx, f.strategy, f.evals, f.seeds) })
	switch {
	case err != nil:
		return err
	case out.json && len(results) == 1:
		return out.document(results[0])
	case out.json:
		return out.document(replay.Over(results))
	}
	return f.print(out, results)
}

// eachCache opens recorded spaces in turn, under one progress bar, and gives what act found in each.
func eachCache[R any](caches []string, out *output, act func(*replay.Recorded) (R, error)) ([]R, error) {
	var found []R
	bar := out.newProgress()
	defer bar.finish()
	for i, path := range caches {
		bar.step(i, len(caches), path)
		r, err := replay.Open(path)
		if err != nil {
			return nil, err
		}
		x, err := act(r)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		found = append(found, x)
	}
	return found, nil
}

// race runs the races and prints a row for each space, and their mean.
func (f *replayFlags) race(ctx context.Context, out *output) error {
	races, err := eachCache(f.caches, out, func(r *replay.Recorded) (*replay.Race, error) { return r.Race(ctx, f.trials) })
	switch {
	case err != nil:
		return err
	case out.json && len(races) == 1:
		return out.document(races[0])
	case out.json:
		return out.document(replay.OverRaces(races))
	}
	if len(races) > 1 {
		races = append(races, &replay.OverRaces(races).Race)
	}
	var rows [][]string
	for _, r := range races {
		rows = append(rows, []string{
			r.Space, fmt.Sprintf("%.2f %%", 100*r.RegretMean), fmt.Sprintf("%.2f %%", 100*r.RegretWorst), fmt.Sprintf("%.1f %%", 100*r.CostFraction),
			fmt.Sprintf("%.1f", r.TieSetMean), fmt.Sprintf("%.0f %%", 100*r.FoundOptimum),
		})
	}
	out.printf("%d races\n", f.trials)
	return out.table([]string{"space", ">mean regret", ">worst", ">of the full cost", ">tie set", ">found the best"}, rows)
}

// print shows a row for each space, and their mean.
func (f *replayFlags) print(out *output, results []*replay.Result) error {
	out.printf("%s, %d evaluations, %d seeds\n", f.strategy, f.evals, f.seeds)
	row := func(r *replay.Result) []string {
		return []string{
			r.Space, fmt.Sprintf("%.3f", r.Score), fmt.Sprintf("%.3f to %.3f", r.ScoreCI[0], r.ScoreCI[1]),
			fmt.Sprintf("%.1f %%", 100*r.FractionMean), fmt.Sprintf("%.1f %%", 100*r.FractionWorst), fmt.Sprintf("%.0f %%", 100*r.FoundOptimum),
		}
	}
	var rows [][]string
	for _, r := range results {
		rows = append(rows, row(r))
	}
	if len(results) > 1 {
		rows = append(rows, row(&replay.Over(results).Result))
	}
	return out.table([]string{"space", ">score", ">95 % interval", ">of optimum", ">worst seed", ">found it"}, rows)
}
