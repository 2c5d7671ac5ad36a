package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/google/renameio/v2/maybe"
	"github.com/rooftune/rooftune/internal/machine"
	"github.com/rooftune/rooftune/kernels/tile"
	"github.com/rooftune/rooftune/tuner"
	"github.com/rooftune/rooftune/tuner/formats"
	"github.com/spf13/cobra"
)

// The formats of tune profile export.
const (
	formatT4    = "t4"
	formatCache = "kernel-tuner"
)

func newProfileExport(out *output) *cobra.Command {
	var f problemFlags
	var format, dir, isa, from, to string
	c := &cobra.Command{
		Use:   "export --format t4|kernel-tuner --to FILE",
		Short: "What the last run measured, for other tuners",
		Long: `export writes every candidate of one problem and instruction set that the journal of the last run holds: as a T4 file, whose "correctness" is
the largest relative error against the oracle and whose "invalidity" says why a candidate failed, or as a cache that Kernel Tuner's simulation
mode loads. The flags of a problem say which one, if there are several. With --from it converts such a file into the other format.`,
		Example: `  tune profile export --format t4 --op delta-rule --shape b=1,t=512,hq=8,hkv=8,dk=128,dv=128 --isa avx2 --to delta.t4.json
  tune profile export --from cache.json --format t4 --to results.json`,
		Args: noArguments,
		RunE: func(*cobra.Command, []string) error {
			if format != formatT4 && format != formatCache {
				return fmt.Errorf("--format %q: must be %s or %s", format, formatT4, formatCache)
			}
			if from != "" {
				cache, err := formats.ReadResults(from)
				if err != nil {
					return err
				}
				return writeRecording(out, to, format, cache, cache.T4())
			}
			m, err := machine.Detect()
			if err != nil {
				return err
			}
			if dir == "" {
				if dir, err = tuner.DefaultDir(); err != nil {
					return err
				}
			}
			take := func(p tile.Problem, i tile.ISA) bool {
				return (isa == "" || string(i) == isa) && (f.op == "" || p.Op == f.op) && (f.rule == "" || p.Rule == f.rule) &&
					(f.decay == "" || p.Decay == f.decay) && (f.threads == 0 || p.Threads == f.threads) && p.Dir == f.dir &&
					(f.shape == "" || p.Shape.String() == f.shape)
			}
			recordings, err := tuner.Recordings(dir, m, take)
			if err != nil {
				return err
			}
			switch {
			case len(recordings) == 0:
				return errors.New("the journal has measured nothing that these flags take")
			case len(recordings) > 1:
				var names []string
				for _, r := range recordings[:min(3, len(recordings))] {
					names = append(names, fmt.Sprintf("--op %s --shape %s --isa %s", r.Problem.Op, r.Problem.Shape, r.ISA))
				}
				return fmt.Errorf("%d problems and instruction sets: say which one, such as %s", len(recordings), strings.Join(names, ", or "))
			}
			return writeRecording(out, to, format, recordings[0].Cache, recordings[0].T4)
		},
	}
	f.add(c.Flags())
	c.Flags().StringVar(&isa, "isa", "", "this instruction set")
	c.Flags().StringVar(&format, "format", formatT4, formatT4+" or "+formatCache)
	c.Flags().StringVar(&dir, "out", "", "folder of the run's journal (default rooftune in the user's configuration folder)")
	c.Flags().StringVar(&from, "from", "", "convert this file instead")
	c.Flags().StringVar(&to, "to", "", "file to write")
	_ = c.MarkFlagRequired("to")
	return c
}

// exported is the document of tune profile export --json.
type exported struct {
	Path    string `json:"path"`
	Format  string `json:"format"`
	Kernel  string `json:"kernel"`
	Configs int    `json:"configs"`
	Failed  int    `json:"failed"`
}

func writeRecording(out *output, to, format string, cache *formats.Cache, t4 *formats.T4) error {
	write := cache.Write
	if format == formatT4 {
		write = t4.Write
	}
	if err := writeFile(to, write); err != nil {
		return err
	}
	e := exported{Path: to, Format: format, Kernel: cache.KernelName, Configs: len(cache.Entries)}
	for i := range cache.Entries {
		if !cache.Entries[i].OK() {
			e.Failed++
		}
	}
	if out.json {
		return out.document(e)
	}
	out.printf("%s: %d configs, %d of them failed\n", to, e.Configs, e.Failed)
	return nil
}

// writeFile replaces a file when its content is whole.
func writeFile(path string, write func(io.Writer) error) error {
	var b strings.Builder
	if err := write(&b); err != nil {
		return err
	}
	return maybe.WriteFile(path, []byte(b.String()), os.FileMode(0o644))
}

func newProfileImport(out *output) *cobra.Command {
	var f problemFlags
	var isa, dir string
	c := &cobra.Command{
		Use:   "import --op O --shape S --isa I FILE",
		Short: "The fastest right config of a T4 file or a Kernel Tuner cache",
		Long: `import takes the fastest config of a recording that this program can run, verifies it here in a child process and puts it into this machine's
profile with the recorded times. Unless the recording names today's kernel sources the answer counts as stale: the library
takes it where there is no fresh one, and the next tune run measures.`,
		Example: "  tune profile import --op delta-rule --shape b=1,t=512,hq=8,hkv=8,dk=128,dv=128 --isa avx2 delta.t4.json",
		Args:    cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			m, err := machine.Detect()
			if err != nil {
				return err
			}
			p, err := f.problem(m)
			if err != nil {
				return err
			}
			isas, err := allowedISAs(isa)
			if err != nil {
				return err
			}
			if isa == "" {
				return errors.New("--isa is missing: the instruction set that was recorded")
			}
			if dir == "" {
				if dir, err = tuner.DefaultDir(); err != nil {
					return err
				}
			}
			cache, err := formats.ReadResults(args[0])
			if err != nil {
				return err
			}
			child, err := worker()
			if err != nil {
				return err
			}
			e, path, err := tuner.Import(dir, m, cache, p, isas[0], child)
			if err != nil {
				return err
			}
			if out.json {
				return out.document(map[string]any{"profile": path, "problem": e.Problem, "isa": e.ISA, "config": e.Config, "median_ns": e.MedianNs, "max_error": e.MaxError})
			}
			out.printf("%s: %s, %s: %s, %s\n", path, e.Problem, e.ISA, e.Config, nanoseconds(e.MedianNs))
			return nil
		},
	}
	f.add(c.Flags())
	c.Flags().StringVar(&isa, "isa", "", "instruction set of the recording")
	c.Flags().StringVar(&dir, "out", "", "folder of the profile (default rooftune in the user's configuration folder)")
	return c
}
