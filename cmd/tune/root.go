package main

import (
	"errors"
	"strings"

	"github.com/spf13/cobra"
)

func newRoot(out *output) *cobra.Command {
	root := newRun(out)
	root.Use = "tune"
	root.Long = `tune finds, for the machine it runs on, the fastest way to run the kernels of linear-time sequence models, proves the
answers correct and explains them with a roofline. Alone it is "tune run".`
	root.Example = `  tune
  tune --budget 60s
  tune bench --op delta-rule --rule gated_delta --shape b=1,t=4096,hq=8,hkv=8,dk=128,dv=128
  tune apply --op linear-attention --q-heads 8 --kv-heads 8 in.npz out.npz`
	root.SilenceErrors, root.SilenceUsage = true, true
	// Help in the 80 columns of a terminal.
	cobra.AddTemplateFunc("fold", func(text string) string { return broken(strings.Join(strings.Fields(text), " "), columns) })
	root.SetUsageTemplate(strings.ReplaceAll(root.UsageTemplate(), ".FlagUsages", ".FlagUsagesWrapped 80"))
	root.SetHelpTemplate(`{{with (or .Long .Short)}}{{range paragraphs .}}{{. | fold}}
{{end}}
{{end}}{{if or .Runnable .HasSubCommands}}{{.UsageString}}{{end}}`)
	cobra.AddTemplateFunc("paragraphs", func(text string) []string { return strings.Split(strings.TrimSpace(text), "\n\n") })
	root.CompletionOptions.DisableDefaultCmd = true
	root.PersistentFlags().BoolVar(&out.json, "json", false, "print one JSON document (cmd/tune/schema has its schema)")
	root.AddCommand(newRun(out), newMachine(out), newBench(out), newVerify(out), newApply(out),
		newRoofline(out), newSim(out), newCheck(out), newReplay(out), newProfile(out), newCompletion(out), newMan(out), newWorker())
	if err := completeFlags(root); err != nil {
		panic(err) // a flag that this program itself registered twice
	}
	return root
}

// noArguments refuses positional arguments with a hint, since a mistyped command lands here too.
func noArguments(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return errors.New(cmd.CommandPath() + ": unexpected argument " + quoted(args[0]) + ", see " + cmd.CommandPath() + " --help")
	}
	return nil
}
