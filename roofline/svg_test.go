package roofline

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/rooftune/rooftune/internal/machine"
	"github.com/rooftune/rooftune/internal/profile"
)

// svgTexts parses an SVG strictly and returns the texts that it shows.
func svgTexts(t *testing.T, svg []byte) []string {
	t.Helper()
	var texts []string
	d := xml.NewDecoder(bytes.NewReader(svg))
	inText := false
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return texts
		}
		if err != nil {
			t.Fatal(err)
		}
		switch x := token.(type) {
		case xml.StartElement:
			inText = x.Name.Local == "text"
			if n := x.Name.Local; n == "b" || n == "script" {
				t.Errorf("markup of a name became an element <%s>", n)
			}
		case xml.CharData:
			if inText {
				texts = append(texts, string(x))
			}
		case xml.EndElement:
			inText = false
		}
	}
}

func TestSVG(t *testing.T) {
	p := exampleProfile()
	var b bytes.Buffer
	if err := SVG(&b, p); err != nil {
		t.Fatal(err)
	}
	all := "\n" + strings.Join(svgTexts(t, b.Bytes()), "\n") + "\n"
	want := []string{
		`Roofline of Example <b>"9000"</b> & Sons`, "1 thread", "2 threads",
		"intensity (useful FLOP / byte of the memory level)", "useful GFLOP/s",
		"avx512 118 GFLOP/s", "avx2 226 GFLOP/s", "generic 13.8 GFLOP/s",
		"L1 225 GB/s", "L2 112 GB/s", "L3 62 GB/s", "DRAM 22.5 GB/s", "L1 450 GB/s",
		"delta-rule/gated_delta, decay head, float32 fwd", "T4096 H16/32 d128", "n1024 d1024 h1024 t8",
	}
	for i := range 9 {
		want = append(want, fmt.Sprint(i+1))
	}
	for _, text := range want {
		if !strings.Contains(all, "\n"+text+"\n") {
			t.Errorf("no text %q in the drawing", text)
		}
	}
}

func TestSVGWithoutPoints(t *testing.T) {
	p := exampleProfile()
	p.Entries = nil
	var b bytes.Buffer
	if err := SVG(&b, p); err != nil {
		t.Fatal(err)
	}
	if all := strings.Join(svgTexts(t, b.Bytes()), "\n"); !strings.Contains(all, "No tuned points") {
		t.Error("the drawing does not say that nothing was tuned")
	}
}

func TestSVGWithoutCeilings(t *testing.T) {
	var b bytes.Buffer
	if err := SVG(&b, &profile.Profile{}); err == nil {
		t.Error("drew a roofline without ceilings")
	}
	// A level without arithmetic makes no panel, arithmetic without levels does.
	p := &profile.Profile{Measured: machine.Measured{Ceilings: []machine.Ceiling{
		{Kind: machine.KindRead, ISA: "avx2", Level: "L1", Threads: 1, Median: 1e11},
		{Kind: machine.KindFlops, ISA: "avx2", Threads: 2, Median: 1e11},
	}}}
	if err := SVG(&b, p); err != nil {
		t.Error(err)
	}
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, errors.New("disk full") }

func TestWriteErrors(t *testing.T) {
	p := exampleProfile()
	if err := SVG(failing{}, p); err == nil {
		t.Error("SVG hides a write error")
	}
	if err := Table(failing{}, p); err == nil {
		t.Error("Table hides a write error")
	}
}

// Each level's diagonal is the fastest of reading, copying and updating.
func TestBandwidths(t *testing.T) {
	m := &machine.Measured{Ceilings: []machine.Ceiling{
		{Kind: machine.KindRead, ISA: "avx2", Level: "L2", Threads: 1, Median: 2e11},
		{Kind: machine.KindUpdate, ISA: "avx2", Level: "L2", Threads: 1, Median: 3e11},
		{Kind: machine.KindCopy, ISA: "avx2", Level: "L2", Threads: 1, Median: 1e11},
		{Kind: machine.KindGather, ISA: "avx2", Level: "L2", Threads: 1, RowBytes: 64, Median: 9e11},
		{Kind: machine.KindCopy, ISA: "avx2", Level: "DRAM", Threads: 2, Median: 1e10},
		{Kind: machine.KindRead, ISA: "avx512", Level: "L2", Threads: 1, Median: 4e11},
		{Kind: machine.KindFlops, ISA: "avx2", Threads: 1, Median: 1e11},
	}}
	var got []float64
	for _, c := range bandwidths(m) {
		got = append(got, c.Median)
	}
	if want := []float64{3e11, 1e10, 4e11}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}
