package main

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/rooftune/rooftune/internal/machine"
	"github.com/rooftune/rooftune/internal/profile"
	"github.com/rooftune/rooftune/kernels"
	"github.com/rooftune/rooftune/results"
	"github.com/rooftune/rooftune/tuner"
	"github.com/spf13/cobra"
)

func newProfile(out *output) *cobra.Command {
	c := &cobra.Command{
		Use:   "profile",
		Short: "List, show, validate, compare, merge, export or import profiles",
		Example: `  tune profile list
  tune profile validate ~/.config/rooftune/0123456789abcdef.json`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return noArguments(cmd, args)
			}
			return errors.New("tune profile: say list, show, validate, diff, merge, export or import")
		},
		RunE: func(*cobra.Command, []string) error { return nil },
	}
	c.AddCommand(newProfileList(out), newProfileShow(out), newProfileValidate(out), newProfileDiff(out), newProfileMerge(out), newProfileExport(out), newProfileImport(out))
	return c
}

// profileInfo is what is said of a profile file.
type profileInfo struct {
	Path        string    `json:"path"`
	Source      string    `json:"source"` // user, embedded or file
	Valid       bool      `json:"valid"`
	Problem     string    `json:"problem,omitempty"` // why it is not valid
	Fingerprint string    `json:"fingerprint,omitempty"`
	CPU         string    `json:"cpu,omitempty"`
	Created     time.Time `json:"created,omitzero"`
	Entries     int       `json:"entries"`
	Stale       int       `json:"stale"` // entries tuned with other kernel sources than these
	ThisMachine bool      `json:"this_machine"`
}

func describe(p *profile.Profile, path, source string, m *machine.Machine) profileInfo {
	i := profileInfo{Path: path, Source: source, Valid: true, Fingerprint: p.Machine.Fingerprint, CPU: cpuName(&p.Machine),
		Created: p.Created, Entries: len(p.Entries), ThisMachine: p.Machine.Fingerprint == m.Fingerprint}
	for _, e := range p.Entries {
		if e.SourceHash != kernels.SourceHash(e.Problem.Op, e.ISA) {
			i.Stale++
		}
	}
	return i
}

func newProfileList(out *output) *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Short:   "The user's and the embedded profiles",
		Example: "  tune profile list --json",
		Args:    noArguments,
		RunE: func(*cobra.Command, []string) error {
			m, err := machine.Detect()
			if err != nil {
				return err
			}
			infos, err := listProfiles(m)
			if err != nil {
				return err
			}
			if out.json {
				return out.document(map[string]any{"profiles": infos})
			}
			if len(infos) == 0 {
				out.printf("no profiles yet: tune run writes one\n")
				return nil
			}
			var rows [][]string
			for _, i := range infos {
				state := "other machine"
				switch {
				case !i.Valid:
					state = i.Problem
				case i.ThisMachine && i.Stale > 0:
					state = fmt.Sprintf("this machine, %d stale", i.Stale)
				case i.ThisMachine:
					state = "this machine"
				}
				rows = append(rows, []string{i.Source, filepath.Base(i.Path), strconv.Itoa(i.Entries), state})
			}
			return out.table([]string{"source", "file", ">answers", "state"}, rows)
		},
	}
}

// listProfiles reads every profile where the library looks for them.
func listProfiles(m *machine.Machine) ([]profileInfo, error) {
	infos := []profileInfo{}
	add := func(path, source string, p *profile.Profile, err error) {
		if err != nil {
			infos = append(infos, profileInfo{Path: path, Source: source, Problem: err.Error()})
			return
		}
		infos = append(infos, describe(p, path, source, m))
	}
	if own, err := kernels.UserProfilePath(m.Fingerprint); err == nil {
		paths, err := filepath.Glob(filepath.Join(filepath.Dir(own), "*.json"))
		if err != nil {
			return nil, err
		}
		for _, path := range paths {
			if filepath.Base(path) == tuner.ReportFile {
				continue
			}
			p, err := profile.Read(path)
			add(path, kernels.SourceUser, p, err)
		}
	}
	paths, err := fs.Glob(results.Profiles, "profiles/*.json")
	if err != nil {
		return nil, err
	}
	slices.Sort(paths)
	for _, path := range paths {
		data, err := results.Profiles.ReadFile(path)
		if err != nil {
			return nil, err
		}
		p, err := profile.Parse(data)
		add(path, kernels.SourceEmbedded, p, err)
	}
	return infos, nil
}

func newProfileShow(out *output) *cobra.Command {
	return &cobra.Command{
		Use:     "show [FILE]",
		Short:   "A profile's answers, by default those of this machine",
		Example: "  tune profile show",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			p, path, err := readProfile(args)
			if err != nil {
				return err
			}
			if out.json {
				return out.versioned(p)
			}
			out.printf("%s\n%s, made %s with %s\n\n", path, cpuName(&p.Machine), p.Created.Format("2006-01-02 15:04"), p.Go)
			var rows [][]string
			for _, e := range p.Entries {
				stale := ""
				if e.SourceHash != kernels.SourceHash(e.Problem.Op, e.ISA) {
					stale = "stale"
				}
				rows = append(rows, []string{e.Problem.String(), string(e.ISA), nanoseconds(e.MedianNs), percent(e.RoofNs / e.MedianNs), e.BoundBy, stale})
				rows = append(rows, []string{"  " + e.Config.String(), "", "", "", "", ""})
			}
			return out.table([]string{"problem", "isa", ">median", ">of roof", "bound by", ""}, rows)
		},
	}
}

// readProfile reads the named profile, or that of this machine if there is no name.
func readProfile(args []string) (*profile.Profile, string, error) {
	if len(args) == 1 {
		p, err := profile.Read(args[0])
		return p, args[0], err
	}
	m, err := machine.Detect()
	if err != nil {
		return nil, "", err
	}
	path, err := kernels.UserProfilePath(m.Fingerprint)
	if err != nil {
		return nil, "", err
	}
	p, err := profile.Read(path)
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("no profile of this machine at %s yet: tune run writes one", path)
	}
	return p, path, err
}

func newProfileValidate(out *output) *cobra.Command {
	return &cobra.Command{
		Use:     "validate FILE",
		Short:   "Check a profile's format, checksum and values",
		Example: "  tune profile validate ~/.config/rooftune/0123456789abcdef.json",
		Args:    cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			p, err := profile.Read(args[0])
			if err != nil {
				return err
			}
			m, err := machine.Detect()
			if err != nil {
				return err
			}
			info := describe(p, args[0], "file", m)
			if out.json {
				return out.document(info)
			}
			out.printf("%s: valid, %d answers, %d of them stale, fingerprint %s\n", info.Path, info.Entries, info.Stale, info.Fingerprint)
			return nil
		},
	}
}

func percent(fraction float64) string { return fmt.Sprintf("%.0f %%", 100*fraction) }
