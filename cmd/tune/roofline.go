package main

import (
	"bytes"
	"errors"
	"fmt"
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

func newRoofline(out *output) *cobra.Command {
	var svg, html string
	c := &cobra.Command{
		Use:   "roofline [PROFILE]",
		Short: "The ceilings and the profile's points under them",
		Example: `  tune roofline
  tune roofline --svg roofline.svg --html roofline.html`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			p, path, err := readProfile(args)
			if err != nil {
				return err
			}
			if svg != "" {
				if err := writeSVG(svg, p); err != nil {
					return err
				}
			}
			if html != "" {
				if err := writeHTML(html, p, path); err != nil {
					return err
				}
			}
			if out.json {
				return out.document(rooflineDocument{path, svg, html, p.Measured.Ceilings, append([]roofline.Point{}, roofline.Points(p)...)})
			}
			return roofline.Table(out.w, p)
		},
	}
	c.Flags().StringVar(&svg, "svg", "", "also draw it into this file")
	c.Flags().StringVar(&html, "html", "", "also write the report into this file: one page for a browser, without a network")
	return c
}

type rooflineDocument struct {
	Profile  string            `json:"profile"`
	SVG      string            `json:"svg,omitempty"`
	HTML     string            `json:"html,omitempty"`
	Ceilings []machine.Ceiling `json:"ceilings"`
	Points   []roofline.Point  `json:"points"`
}

func writeSVG(path string, p *profile.Profile) error {
	var b bytes.Buffer
	if err := roofline.SVG(&b, p); err != nil {
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
