package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"

	"github.com/olekukonko/tablewriter"
	"github.com/olekukonko/tablewriter/tw"
	"golang.org/x/term"
)

// schemaVersion is the version of every JSON document, its first key. Profiles have a version of their own.
const schemaVersion = 1

// output is where a command's results and its progress go.
type output struct {
	w        *bufio.Writer
	progress io.Writer // nil unless stderr is a terminal
	colour   bool
	json     bool
}

func newOutput(stdout, stderr io.Writer) *output {
	o := &output{w: bufio.NewWriter(stdout)}
	if isTerminal(stderr) {
		o.progress = stderr
	}
	o.colour = isTerminal(stdout) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
	return o
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// document prints v, which must marshal to an object, behind the schema version.
func (o *output) document(v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	doc := fmt.Appendf(nil, `{"schema":%d`, schemaVersion)
	if rest := bytes.TrimPrefix(body, []byte("{")); len(rest) > 1 {
		doc = append(append(doc, ','), rest...)
	} else {
		doc = append(doc, '}')
	}
	return o.indented(doc)
}

// versioned prints a value whose first key is its own schema version.
func (o *output) versioned(v any) error {
	doc, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return o.indented(doc)
}

func (o *output) indented(doc []byte) error {
	var b bytes.Buffer
	if err := json.Indent(&b, doc, "", "  "); err != nil {
		return err
	}
	b.WriteByte('\n')
	_, err := o.w.Write(b.Bytes())
	return err
}

func (o *output) printf(format string, a ...any) { fmt.Fprintf(o.w, format, a...) }

// verdict colours a word: green where all is well, red where not.
func (o *output) verdict(ok bool, word string) string {
	switch {
	case !o.colour:
		return word
	case ok:
		return "\x1b[32m" + word + "\x1b[0m"
	}
	return "\x1b[31m" + word + "\x1b[0m"
}

// table prints rows under a header. Columns whose header starts with ">" are aligned to the right.
func (o *output) table(header []string, rows [][]string) error {
	names, align := make([]string, len(header)), make([]tw.Align, len(header))
	for i, h := range header {
		names[i], align[i] = h, tw.AlignLeft
		if h[0] == '>' {
			names[i], align[i] = h[1:], tw.AlignRight
		}
	}
	t := tablewriter.NewTable(o.w,
		tablewriter.WithHeaderAutoFormat(tw.Off),
		tablewriter.WithHeaderAlignmentConfig(tw.CellAlignment{PerColumn: align}),
		tablewriter.WithRowAlignmentConfig(tw.CellAlignment{PerColumn: align}),
		tablewriter.WithRendition(tw.Rendition{
			Borders:  tw.BorderNone,
			Settings: tw.Settings{Separators: tw.SeparatorsNone, Lines: tw.LinesNone},
		}),
		tablewriter.WithPadding(tw.Padding{Left: "", Right: " ", Overwrite: true}),
	)
	t.Header(names)
	for _, r := range rows {
		if err := t.Append(r); err != nil {
			return err
		}
	}
	return t.Render()
}

func quoted(s string) string { return strconv.Quote(s) }
