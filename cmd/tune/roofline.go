package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2/maybe"
	"github.com/rooftune/rooftune/internal/machine"
	"github.com/rooftune/rooftune/internal/profile"
	"github.com/rooftune/rooftune/roofline"
	"github.com/rooftune/rooftune/tuner"
	"github.com/spf13/cobra"
)

// rooflineFlags are the flags of tune roofline: the files it also writes.
type rooflineFlags struct {
	svg, png, html, md string
	compare            bool
}

func newRoofline(out *output) *cobra.Command {
	var f rooflineFlags
	c := &cobra.Command{
		Use:   "roofline [PROFILE]",
		Short: "The ceilings and the profile's points under them, as a table, a report or a picture; or two profiles compared",
		Example: `  tune roofline
  tune roofline --svg roofline.svg --html roofline.html
  tune roofline --compare before.json after.json`,
		Args: func(cmd *cobra.Command, args []string) error {
			if f.compare {
				return cobra.ExactArgs(2)(cmd, args)
			}
			return cobra.MaximumNArgs(1)(cmd, args)
		},
		RunE: func(_ *cobra.Command, args []string) error {
			if f.compare {
				return f.comparison(out, args)
			}
			p, path, err := readProfile(args)
			if err != nil {
				return err
			}
			if err := f.write(p, path); err != nil {
				return err
			}
			if out.json {
				return out.document(rooflineDocument{path, f.svg, f.png, f.html, f.md, p.Measured.Ceilings, append([]roofline.Point{}, roofline.Points(p)...)})
			}
			return roofline.Table(out.w, p)
		},
	}
	fs := c.Flags()
	fs.StringVar(&f.html, "html", "", "also write the report into this file: one page for a browser, without a network")
	fs.StringVar(&f.svg, "svg", "", "also draw it into this file")
	fs.StringVar(&f.png, "png", "", "the same as a PNG")
	fs.StringVar(&f.md, "md", "", "also write its tables as Markdown into this file")
	fs.BoolVar(&f.compare, "compare", false, "compare two profiles: what got faster or slower")
	return c
}

// write writes the files that were asked for.
func (f *rooflineFlags) write(p *profile.Profile, path string) error {
	for _, file := range []struct {
		path string
		draw func(io.Writer, *profile.Profile) error
	}{{f.svg, roofline.SVG}, {f.png, roofline.PNG}, {f.md, roofline.Markdown}} {
		if file.path == "" {
			continue
		}
		if err := writeDrawing(file.path, p, file.draw); err != nil {
			return err
		}
	}
	if f.html == "" {
		return nil
	}
	return writeHTML(f.html, p, path)
}

func (f *rooflineFlags) comparison(out *output, args []string) error {
	if f.svg != "" || f.png != "" || f.html != "" || f.md != "" {
		return errors.New("--compare prints its table alone: without --html, --svg, --png and --md")
	}
	before, err := profile.Read(args[0])
	if err != nil {
		return err
	}
	after, err := profile.Read(args[1])
	if err != nil {
		return err
	}
	changes := roofline.Compare(before, after)
	same := before.Machine.Fingerprint == after.Machine.Fingerprint
	if out.json {
		return out.document(map[string]any{"before": args[0], "after": args[1], "same_machine": same, "changes": changes})
	}
	if !same {
		out.printf("note: the profiles are of different machines\n\n")
	}
	return roofline.CompareTable(out.w, changes)
}

type rooflineDocument struct {
	Profile  string            `json:"profile"`
	SVG      string            `json:"svg,omitempty"`
	PNG      string            `json:"png,omitempty"`
	HTML     string            `json:"html,omitempty"`
	Markdown string            `json:"md,omitempty"`
	Ceilings []machine.Ceiling `json:"ceilings"`
	Points   []roofline.Point  `json:"points"`
}

func writeDrawing(path string, p *profile.Profile, draw func(io.Writer, *profile.Profile) error) error {
	var b bytes.Buffer
	if err := draw(&b, p); err != nil {
		return err
	}
	return writeWhole(path, b.Bytes())
}

// writeHTML writes the report of a profile, with what the journal beside it knows.
func writeHTML(path string, p *profile.Profile, from string) error {
	evidence, err := tuner.Evidence(filepath.Dir(from), &p.Machine)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	if err := roofline.HTML(&b, p, evidence); err != nil {
		return err
	}
	return writeWhole(path, b.Bytes())
}

// writeWhole replaces a regular file in one step; a pipe or a device is written straight.
func writeWhole(path string, data []byte) error {
	var err error
	if info, e := os.Stat(path); e == nil && !info.Mode().IsRegular() {
		err = os.WriteFile(path, data, 0o644)
	} else {
		err = maybe.WriteFile(path, data, 0o644)
	}
	if pe := new(fs.PathError); errors.As(err, &pe) {
		err = pe.Err
	}
	if err != nil {
		return fmt.Errorf("%s: cannot be written: %w", path, err)
	}
	return nil
}
