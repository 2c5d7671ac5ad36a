package roofline

import (
	"bytes"
	"embed"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"html/template"
	"io"
	"strings"
	"sync"

	"github.com/rooftune/rooftune/internal/digest"
	"github.com/rooftune/rooftune/internal/profile"
)

//go:embed page/report.html page/report.css page/report.js page/uplot/uPlot.iife.min.js page/uplot/uPlot.min.css page/uplot/LICENSE
var pageFiles embed.FS

// assets are the parts of the page that are the same for every profile.
type assets struct {
	page         *template.Template
	Style        template.CSS
	Chart, Logic template.JS // the chart library with its licence, and the page's own code
	// Policy is the page's content security policy: those two scripts and the page's own styles, and nothing from anywhere else.
	Policy string
}

var pageAssets = sync.OnceValues(func() (*assets, error) {
	texts := map[string]string{}
	for _, name := range []string{"report.html", "report.css", "report.js", "uplot/uPlot.iife.min.js", "uplot/uPlot.min.css", "uplot/LICENSE"} {
		data, err := pageFiles.ReadFile("page/" + name)
		if err != nil {
			return nil, err
		}
		texts[name] = strings.ReplaceAll(string(data), "\r\n", "\n")
	}
	page, err := template.New("report").Parse(texts["report.html"])
	if err != nil {
		return nil, err
	}
	chart := "\n/*\n" + texts["uplot/LICENSE"] + "*/\n" + texts["uplot/uPlot.iife.min.js"]
	logic := "\n" + texts["report.js"]
	var scripts string
	for _, script := range []string{chart, logic} {
		sum, err := hex.DecodeString(digest.Sum([]byte(script)))
		if err != nil {
			return nil, err
		}
		scripts += " 'sha256-" + base64.StdEncoding.EncodeToString(sum) + "'"
	}
	return &assets{
		page: page, Style: template.CSS(texts["uplot/uPlot.min.css"] + "\n" + texts["report.css"]),
		Chart: template.JS(chart), Logic: template.JS(logic),
		Policy: "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; script-src" + scripts,
	}, nil
})

// HTML writes a profile's report as one file that asks for nothing else: the roofline as a chart, every point in a table, and of
// each point its traffic, where its time goes, the candidates it was chosen from, and what the same op would do on GPUs. evidence may be nil.
func HTML(w io.Writer, p *profile.Profile, evidence *Evidence) error {
	a, err := pageAssets()
	if err != nil {
		return fmt.Errorf("roofline: report: %w", err)
	}
	r := newReport(p, evidence)
	var b bytes.Buffer
	if err := a.page.Execute(&b, struct {
		*assets
		*report
	}{a, r}); err != nil {
		return fmt.Errorf("roofline: report: %w", err)
	}
	if _, err := w.Write(b.Bytes()); err != nil {
		return fmt.Errorf("roofline: write report: %w", err)
	}
	return nil
}
