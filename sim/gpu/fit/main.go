// Command fit fits the constants of the GPU model on published timings and reports its errors, also on GPUs and families left out:
//
//	go run ./sim/gpu/fit -rows ../shared/gpu/measured.csv -out sim/gpu/constants.json
//
// It is deterministic: a pattern search from fixed starting values on a robust sum of |log(simulated/measured)|.
package main

import (
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
	quick := flag.Bool("quick", false, "fit once, leave nothing out")
	flag.Parse()
	if err := run(*rows, *out, *quick, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "fit:", err)
		os.Exit(1)
	}
}

func run(path, out string, quick bool, w io.Writer) error {
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
	in := errorsOf(prepared, c)
	fmt.Fprintf(w, "in sample: %s\n", in)
	if !quick {
		logo := leaveOut(w, "GPU", prepared, c, func(p *gpu.Prepared) string { return p.Row.GPU })
		lofo := leaveOut(w, "family", prepared, c, func(p *gpu.Prepared) string { return p.Row.Family })
		c.Fit = fmt.Sprintf("constants fitted on %d published timings; GPU-bound rows are off by %.0f %% in the mean, on GPUs left out %.0f %%, on families left out %.0f %%",
			len(prepared), in.MAPE, logo.MAPE, lofo.MAPE)
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
