package main

import (
	"path/filepath"
	"time"

	"github.com/rooftune/rooftune/internal/profile"
	"github.com/rooftune/rooftune/kernels"
	"github.com/spf13/cobra"
)

// mergedProfile is one machine's profile after a merge.
type mergedProfile struct {
	Path        string    `json:"path"`
	Fingerprint string    `json:"fingerprint"`
	CPU         string    `json:"cpu"`
	Created     time.Time `json:"created"`
	Entries     int       `json:"entries"`
}

func newProfileMerge(out *output) *cobra.Command {
	var dir string
	c := &cobra.Command{
		Use:   "merge --out DIR FILE...",
		Short: "Gather profiles of one or several machines, one file a machine",
		Long: `merge writes DIR/<fingerprint>.json for every machine that the files are of, as the library and results/profiles keep them. Of two answers of
one machine to the same question the one made with this program's kernel sources is kept, then the later profile's. What DIR holds already
takes part.`,
		Example: "  tune profile merge --out results/profiles host1.json host2.json",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if err := writable(dir); err != nil {
				return err
			}
			there, err := filepath.Glob(filepath.Join(dir, "*.json"))
			if err != nil {
				return err
			}
			var profiles []*profile.Profile
			machines := map[string]bool{}
			for _, path := range args {
				p, err := profile.Read(path)
				if err != nil {
					return err
				}
				profiles = append(profiles, p)
				machines[p.Machine.Fingerprint] = true
			}
			for _, path := range there {
				if name := filepath.Base(path); !machines[name[:len(name)-len(".json")]] {
					continue
				}
				p, err := profile.Read(path)
				if err != nil {
					return err // it would be overwritten
				}
				profiles = append(profiles, p)
			}
			merged, err := profile.Merge(profiles, kernels.SourceHash)
			if err != nil {
				return err
			}
			infos := []mergedProfile{}
			for _, p := range merged {
				path := filepath.Join(dir, p.Machine.Fingerprint+".json")
				if err := p.Write(path); err != nil {
					return err
				}
				infos = append(infos, mergedProfile{path, p.Machine.Fingerprint, cpuName(&p.Machine), p.Created, len(p.Entries)})
			}
			if out.json {
				return out.document(map[string]any{"profiles": infos})
			}
			for _, i := range infos {
				out.printf("%s: %d answers of %s\n", i.Path, i.Entries, i.CPU)
			}
			return nil
		},
	}
	c.Flags().StringVar(&dir, "out", "", "folder to write to")
	_ = c.MarkFlagRequired("out")
	return c
}
