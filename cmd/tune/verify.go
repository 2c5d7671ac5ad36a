package main

import (
	"fmt"

	"github.com/rooftune/rooftune/tuner"
	"github.com/spf13/cobra"
)

func newVerify(out *output) *cobra.Command {
	var op, isa string
	c := &cobra.Command{
		Use:   "verify",
		Short: "Every candidate of every op against the float64 oracle",
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

// printVerdicts prints a table per problem, configs by their values alone under a line that names them.
func printVerdicts(out *output, verdicts []tuner.Verdict) error {
	for start := 0; start < len(verdicts); {
		end := start
		var rows [][]string
		for ; end < len(verdicts) && verdicts[end].Problem == verdicts[start].Problem; end++ {
			v := verdicts[end]
			worst := "unknown"
			if v.MaxError != nil {
				worst = fmt.Sprintf("%.2g", *v.MaxError)
			}
			rows = append(rows, []string{string(v.ISA), v.Config.Values(), worst, fmt.Sprintf("%.2g", v.ErrorBound), out.verdict(v.OK(), v.Verdict)})
		}
		out.printf("%s\nconfig: %s\n", verdicts[start].Problem, verdicts[start].Config.Names())
		if err := out.table([]string{"isa", "config", ">error", ">bound", "verdict"}, rows); err != nil {
			return err
		}
		out.printf("\n")
		start = end
	}
	return nil
}
