package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/rooftune/rooftune/kernels/tile"
	"github.com/rooftune/rooftune/tuner"
	"github.com/spf13/cobra"
)

func newVerify(out *output) *cobra.Command {
	var op, isa string
	c := &cobra.Command{
		Use:   "verify",
		Short: "Candidates of every op and option against the float64 oracle",
		Long: `Every candidate of each op, rule, decay and direction against the float64
oracle. Options, head groupings, types and packed sequences are verified by
the default and the candidates that differ from it in one tunable.`,
		Example: `  tune verify
  tune verify --op hash-layer --isa avx2 --json`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			isas, err := allowedISAs(isa)
			if err != nil {
				return err
			}
			if err := checkOp(op); err != nil {
				return err
			}
			child, err := worker()
			if err != nil {
				return err
			}
			bar := out.newProgress()
			verdicts, err := tuner.VerifyAll(cmd.Context(), tuner.VerifyOptions{Op: op, ISAs: isas, Worker: child, Progress: bar.step})
			bar.finish()
			if err != nil {
				return err
			}
			wrong := 0
			for _, v := range verdicts {
				if !v.OK() {
					wrong++
				}
			}
			if out.json {
				err = out.document(map[string]any{"verify": verdicts})
			} else {
				err = printVerdicts(out, verdicts)
				out.printf("%d candidates, %d wrong\n", len(verdicts), wrong)
			}
			if err == nil && wrong > 0 {
				err = failure{fmt.Sprintf("%d of %d candidates are outside their error bound", wrong, len(verdicts))}
			}
			return err
		},
	}
	c.Flags().StringVar(&op, "op", "", "this op only")
	c.Flags().StringVar(&isa, "isa", "", "this instruction set only")
	return c
}

// printVerdicts prints a line for each problem and ISA, with the largest error of its candidates, and all candidates that are not right.
func printVerdicts(out *output, verdicts []tuner.Verdict) error {
	var rows [][]string
	for start := 0; start < len(verdicts); {
		first := verdicts[start]
		end, wrong, worst := start, 0, 0.0
		for ; end < len(verdicts) && verdicts[end].Problem == first.Problem && verdicts[end].Packed == first.Packed && verdicts[end].ISA == first.ISA; end++ {
			if !verdicts[end].OK() {
				wrong++
			}
			if e := verdicts[end].MaxError; e != nil {
				worst = max(worst, *e)
			}
		}
		verdict := "ok"
		if wrong > 0 {
			verdict = fmt.Sprintf("%d wrong", wrong)
		}
		rows = append(rows, []string{verifiedName(first), string(first.ISA), strconv.Itoa(end - start), fmt.Sprintf("%.1e", worst), fmt.Sprintf("%.1e", first.ErrorBound),
			out.verdict(wrong == 0, verdict)})
		if start = end; start == len(verdicts) || verdicts[start].Op != first.Op {
			out.printf("%s\n", first.Op)
			if err := out.table([]string{"problem, heads q:kv", "isa", ">candidates", ">error", ">bound", "verdict"}, rows); err != nil {
				return err
			}
			out.printf("\n")
			rows = nil
		}
	}
	for _, v := range verdicts {
		if v.OK() {
			continue
		}
		out.printf("%s\n  %s %s: %s", v.Problem, v.ISA, v.Config, v.Verdict)
		if v.MaxError != nil {
			out.printf(", error %.2g above %.2g", *v.MaxError, v.ErrorBound)
		}
		out.printf("\n")
	}
	return nil
}

// verifiedName says in few words what is verified, without op, widths and threads.
func verifiedName(v tuner.Verdict) string {
	p := v.Problem
	words := []string{p.Rule}
	add := func(has bool, word string) {
		if has {
			words = append(words, word)
		}
	}
	add(p.Decay != tile.DecayNone && p.Decay != "", p.Decay)
	add(p.Weighting != "", p.Weighting)
	add(p.Op == tile.CausalConv, fmt.Sprintf("l=%d", p.Shape.L))
	add(p.Dir == tile.Backward, tile.Backward)
	add(p.DType != tile.Float32, p.DType)
	add(p.StateDType != "", "states too")
	add(p.Precision != "", p.Precision+" products")
	add(p.Full, "full")
	add(p.FeatureMap != tile.MapNone, p.FeatureMap)
	add(p.Normalize, "normalize")
	add(p.Front != tile.FrontNone, p.Front)
	add(p.Gates != "", "gates "+p.Gates)
	add(p.Shape.Hq > 0, fmt.Sprintf("%d:%d", p.Shape.Hq, p.Shape.Hkv))
	add(v.Packed, "packed")
	return strings.TrimSpace(strings.Join(words, " "))
}
