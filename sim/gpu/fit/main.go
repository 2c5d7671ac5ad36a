// Command fit fits the constants of the GPU model on published timings and reports its errors, also on GPUs and families left out:
//
//	go run ./sim/gpu/fit -rows ../shared/gpu/measured.csv -out sim/gpu/constants.json -report results/gpu-score.md
//
// It is deterministic: a pattern search from fixed starting values on a robust sum of |log(simulated/measured)|.
package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/rooftune/rooftune/sim/gpu"
)

func main() {
	rows := flag.String("rows", "../shared/gpu/measured.csv", "published timings")
	out := flag.String("out", "", "write the constants there")
	reportPath := flag.String("report", "", "write the scores there, as Markdown")
	quick := flag.Bool("quick", false, "fit once, leave nothing out")
	flag.Parse()
	if err := run(*rows, *out, *reportPath, *quick, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "fit:", err)
		os.Exit(1)
	}
}

func run(path, out, reportPath string, quick bool, w io.Writer) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	rows, err := gpu.ReadRows(file)
	if err != nil {
		return err
	}
	prepared, unsupported, _ := gpu.Prepare(rows)
	if len(prepared) == 0 {
		return fmt.Errorf("no row has a program and a device: %v", unsupported[:min(1, len(unsupported))])
	}
	c := fit(prepared, start())
	f := folds{in: scored(prepared, c), c: c}
	fmt.Fprintf(w, "in sample: %s\n", summarize(f.in))
	if !quick {
		f.logo = leaveOut(w, "GPU", prepared, func(p *gpu.Prepared) string { return p.Row.GPU })
		f.lofo = leaveOut(w, "family", prepared, func(p *gpu.Prepared) string { return p.Row.Family })
		c.Fit = fmt.Sprintf("constants fitted on %d published timings; those that are GPU-bound are off by %.0f %% in the mean, on GPUs left out by %.0f %%, on families left out by %.0f %%",
			len(prepared), summarize(f.in).MAPE, summarize(f.logo).MAPE, summarize(f.lofo).MAPE)
	}
	if reportPath != "" {
		var b bytes.Buffer
		if err := report(&b, &f); err != nil {
			return err
		}
		if err := os.WriteFile(reportPath, b.Bytes(), 0o644); err != nil {
			return err
		}
	}
	text, err := json.MarshalIndent(c, "", " ")
	if err != nil {
		return err
	}
	text = append(text, '\n')
	if out == "" {
		_, err = w.Write(text)
		return err
	}
	return os.WriteFile(out, text, 0o644)
}
