package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/olekukonko/tablewriter"
	"github.com/olekukonko/tablewriter/pkg/twwarp"
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

// sentence prints a line of text, in as many lines of a terminal as it takes.
func (o *output) sentence(format string, a ...any) {
	const indent = "  "
	lines, _ := twwarp.WrapString(fmt.Sprintf(format, a...), columns-len(indent))
	o.printf("%s\n", strings.Join(lines, "\n"+indent))
}

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

// columns is the width that tables and sentences keep to where their words allow it.
const columns = 80

// table prints rows under a header, in 80 columns: long cells are broken after commas and blanks. Columns whose header starts with ">" are
// aligned to the right.
func (o *output) table(header []string, rows [][]string) error {
	names, align := make([]string, len(header)), make([]tw.Align, len(header))
	for i, h := range header {
		names[i], align[i] = h, tw.AlignLeft
		if right, ok := strings.CutPrefix(h, ">"); ok {
			names[i], align[i] = right, tw.AlignRight
		}
	}
	rows = fit(names, align, rows)
	var text bytes.Buffer
	t := tablewriter.NewTable(&text,
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
	if err := t.Render(); err != nil {
		return err
	}
	for line := range strings.Lines(text.String()) {
		o.printf("%s\n", strings.TrimRight(line, " \n"))
	}
	return nil
}

// fit breaks the cells of the widest left-aligned columns until the rows are at most 80 columns wide, or their words are.
func fit(names []string, align []tw.Align, rows [][]string) [][]string {
	widths := make([]int, len(names))
	measure := func(i int) {
		widths[i] = visible(names[i])
		for _, r := range rows {
			for line := range strings.SplitSeq(r[i], "\n") {
				widths[i] = max(widths[i], visible(line))
			}
		}
	}
	total := len(names) - 1 // blanks between columns
	for i := range names {
		measure(i)
		total += widths[i]
	}
	out := make([][]string, len(rows))
	for k, r := range rows {
		out[k] = slices.Clone(r)
	}
	rows = out
	done := make([]bool, len(names))
	const least = 12
	for total > columns {
		widest := -1
		for i := range names {
			if align[i] == tw.AlignLeft && !done[i] && widths[i] > least && (widest < 0 || widths[i] > widths[widest]) {
				widest = i
			}
		}
		if widest < 0 {
			break
		}
		done[widest] = true
		before := widths[widest]
		most := max(least, before-(total-columns))
		for _, r := range rows {
			r[widest] = broken(r[widest], most)
		}
		measure(widest)
		total += widths[widest] - before
	}
	return rows
}

// broken breaks the lines of a text after commas and blanks so that they are at most width long where their parts allow it.
func broken(text string, width int) string {
	var b strings.Builder
	length := 0
	for part := range parts(text) {
		if n := visible(strings.TrimRight(part, " \n")); length > 0 && length+n > width {
			b.WriteByte('\n')
			length = 0
		}
		b.WriteString(part)
		length += visible(part)
		if strings.HasSuffix(part, "\n") {
			length = 0
		}
	}
	return b.String()
}

// parts cuts a text after commas, blanks and line breaks.
func parts(text string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for text != "" {
			end := strings.IndexAny(text, ", \n") + 1
			if end == 0 {
				end = len(text)
			}
			for end < len(text) && text[end] == ' ' { // a blank stays at the end of its line
				end++
			}
			if !yield(text[:end]) {
				return
			}
			text = text[end:]
		}
	}
}

var colours = regexp.MustCompile("\x1b\\[[0-9;]*m")

// visible is how many columns a text takes.
func visible(s string) int { return utf8.RuneCountInString(colours.ReplaceAllString(s, "")) }

func quoted(s string) string { return strconv.Quote(s) }
