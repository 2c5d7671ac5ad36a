package roofline

import (
	"cmp"
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/rooftune/rooftune/internal/profile"
)

// browser starts a headless Chromium, or skips the test where there is none.
func browser(t *testing.T) context.Context {
	t.Helper()
	var path string
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable"} {
		if p, err := exec.LookPath(name); err == nil {
			path = p
			break
		}
	}
	if path == "" {
		if os.Getenv("CI") != "" {
			t.Fatal("no browser: CI must install the package chromium")
		}
		t.Skip("no browser (looked for chromium, google-chrome): the page is not opened")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.Flag("host-resolver-rules", "MAP * ~NOTFOUND")) // no name leads anywhere
	allocated, cancel := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(cancel)
	ctx, cancel := chromedp.NewContext(allocated)
	t.Cleanup(cancel)
	ctx, cancel = context.WithTimeout(ctx, 2*time.Minute)
	t.Cleanup(cancel)
	do(t, ctx)
	return ctx
}

// watch records what the page asks for beside itself, and what the console is told.
type watch struct {
	mu       sync.Mutex
	requests []string
	problems []string
}

func (w *watch) start(ctx context.Context, page string) error {
	err := chromedp.Listen(ctx, func(event any) {
		w.mu.Lock()
		defer w.mu.Unlock()
		switch e := event.(type) {
		case *network.EventRequestWillBeSent:
			if u := e.Request.URL; strings.SplitN(u, "#", 2)[0] != page && !strings.HasPrefix(u, "data:") {
				w.requests = append(w.requests, u)
			}
		case *runtime.EventConsoleAPICalled:
			if e.Type != "log" && len(e.Args) > 0 {
				w.problems = append(w.problems, fmt.Sprintf("console %s: %s", e.Type, e.Args[0].Value))
			}
		case *runtime.EventExceptionThrown:
			w.problems = append(w.problems, fmt.Sprintf("%+v", e.ExceptionDetails))
		case *log.EventEntryAdded:
			if !strings.Contains(e.Entry.Text, "willReadFrequently") { // this test reads the canvas, the page does not
				w.problems = append(w.problems, e.Entry.Text)
			}
		}
	})
	if err != nil {
		return err
	}
	if _, err := chromedp.Call(ctx, network.Enable, network.EnableParams{}); err != nil {
		return err
	}
	_, err = chromedp.Call(ctx, log.Enable, cdp.Empty{})
	return err
}

func (w *watch) check(t *testing.T) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, u := range w.requests {
		t.Errorf("the page asked for %s", u)
	}
	for _, p := range w.problems {
		t.Errorf("the console says: %s", p)
	}
}

func do(t *testing.T, ctx context.Context, steps ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	if err := chromedp.Do(ctx, steps...); err != nil {
		t.Fatal(err)
	}
}

// get runs an action that gives something.
func get[T any](t *testing.T, ctx context.Context, a chromedp.Action[T]) T {
	t.Helper()
	x, err := chromedp.Run(ctx, a)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func eval[T any](t *testing.T, ctx context.Context, script string) T {
	t.Helper()
	return get(t, ctx, chromedp.Evaluate[T](script))
}

func colourScheme(t *testing.T, ctx context.Context, scheme string) {
	t.Helper()
	if _, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}}); err != nil {
		t.Fatal(err)
	}
}

// opened is a profile's page in the browser, at 1280 x 900.
func opened(t *testing.T, ctx context.Context, p *profile.Profile, e *Evidence) *watch {
	t.Helper()
	path := filepath.Join(t.TempDir(), "report.html")
	if err := os.WriteFile(path, []byte(page(t, p, e)), 0o644); err != nil {
		t.Fatal(err)
	}
	address := (&url.URL{Scheme: "file", Path: filepath.ToSlash(path)}).String()
	w := new(watch)
	if err := w.start(ctx, address); err != nil {
		t.Fatal(err)
	}
	do(t, ctx, chromedp.EmulateViewport(1280, 900), chromedp.Navigate(address), chromedp.WaitVisible(chromedp.CSS("#chart canvas")))
	return w
}

// drawn counts the canvas pixels of an element that are not transparent, and their colours.
const drawn = `(selector => {
	const c = document.querySelector(selector), d = c.getContext("2d").getImageData(0, 0, c.width, c.height).data;
	let n = 0; const colours = new Set();
	for (let i = 0; i < d.length; i += 4) if (d[i+3]) { n++; colours.add(d[i] << 16 | d[i+1] << 8 | d[i+2]); }
	return [n, colours.size];
})`

func TestBrowser(t *testing.T) {
	ctx := browser(t)
	p, e := realProfile(t)
	p.Machine.Brand = hostile
	d := dataOf(t, page(t, p, e))
	w := opened(t, ctx, p, e)

	if p := eval[[]int](t, ctx, drawn+`("#chart canvas")`); p[0] < 5000 || p[1] < 20 {
		t.Errorf("the chart has %d pixels of %d colours", p[0], p[1])
	}
	if h := get(t, ctx, chromedp.Text(chromedp.CSS("h1"))); h != "Roofline of "+hostile {
		t.Errorf("heading %q", h)
	}

	// Hover where a mark is drawn in the colour of the hash layers: it says what it is.
	hash := slices.IndexFunc(d.Points, func(p dataPoint) bool { return p.Hash })
	at := eval[[]float64](t, ctx, fmt.Sprintf(`(op => {
		document.querySelector("#chart").scrollIntoView({block: "end"});
		const c = document.querySelector("#chart canvas"), r = c.getBoundingClientRect(), d = c.getContext("2d").getImageData(0, 0, c.width, c.height).data;
		const hex = getComputedStyle(document.documentElement).getPropertyValue("--c" + op).trim(), want = parseInt(hex.slice(1), 16);
		const is = i => (d[i] << 16 | d[i+1] << 8 | d[i+2]) === want;
		for (let i = 4 * c.width; i < d.length - 4 * c.width; i += 4) {
			if ([-4, 0, 4].every(dx => [-1, 0, 1].every(dy => is(i + dx + dy * 4 * c.width)))) {
				return [r.x + (i / 4 %% c.width) * r.width / c.width, r.y + Math.floor(i / 4 / c.width) * r.height / c.height];
			}
		}
		return [0, 0];
	})(%d)`, d.Points[hash].Op))
	for i := range 100 { // a mouse that moves a little: the chart may still be scrolling
		do(t, ctx, chromedp.MouseEvent(input.DispatchMouseEventTypeMouseMoved, at[0]+float64(i%3-1), at[1]), chromedp.Sleep(20*time.Millisecond))
		if !eval[bool](t, ctx, `document.getElementById("tip").hidden`) {
			break
		}
	}
	tip := eval[string](t, ctx, `document.getElementById("tip").innerText`)
	for _, want := range []string{"config", "measured", "simulated", "roof", "bound by", "traffic", "hash-layer"} {
		if !strings.Contains(tip, want) {
			t.Errorf("the tip under the mouse has no %q: %q", want, tip)
		}
	}

	// Sort, by mouse and by keyboard; unknown comes last either way.
	order := func() []int {
		t.Helper()
		return eval[[]int](t, ctx, `[...document.querySelectorAll("#points tbody tr")].map(r => +r.dataset.i)`)
	}
	byTime := func(a, b int) int { return cmp.Compare(d.Points[a].Ns, d.Points[b].Ns) }
	do(t, ctx, chromedp.Click(chromedp.CSS(`th[data-key=ns] button`)))
	if o := order(); len(o) != len(d.Points) || !slices.IsSortedFunc(o, byTime) {
		t.Errorf("not sorted by time: %v", o)
	}
	do(t, ctx, chromedp.Focus(chromedp.CSS(`th[data-key=ns] button`)), chromedp.KeyEvent(kb.Enter))
	if o := order(); !slices.IsSortedFunc(o, func(a, b int) int { return byTime(b, a) }) {
		t.Errorf("not sorted by time, slowest first: %v", o)
	}
	if s := get(t, ctx, chromedp.AttributeValue(chromedp.CSS(`th[data-key=ns]`), "aria-sort")); s.Value != "descending" {
		t.Errorf("aria-sort %q", s.Value)
	}
	for range 2 {
		do(t, ctx, chromedp.Click(chromedp.CSS(`th[data-key=sim] button`)))
		if o := order(); d.Points[o[len(o)-1]].SimNs != nil {
			t.Errorf("by simulated time the unknown one is not last: %v", o)
		}
	}

	// The search leaves the rows that have all words.
	do(t, ctx, chromedp.SendKeys(chromedp.CSS("#search"), "hash avx2"))
	if n := eval[int](t, ctx, `document.querySelectorAll("#points tbody tr:not([hidden])").length`); n != 2 {
		t.Errorf("%d rows for \"hash avx2\"", n)
	}

	// By keyboard to a point and into it: its part of the page shows its evidence.
	do(t, ctx, chromedp.Focus(chromedp.CSS("#chart")), chromedp.KeyEvent(kb.ArrowRight), chromedp.KeyEvent(kb.ArrowUp), chromedp.KeyEvent(kb.Enter), chromedp.WaitVisible(chromedp.CSS("#sweep canvas")))
	detail := get(t, ctx, chromedp.Text(chromedp.CSS("#detail")))
	for _, want := range []string{"Traffic", "Where the time goes", "The sweep", "Tie set", "On a GPU, predicted", "6 measured candidates"} {
		if !strings.Contains(detail, want) {
			t.Errorf("no %q in the problem's part: %s", want, detail)
		}
	}
	if p := eval[[]int](t, ctx, drawn+`("#sweep canvas")`); p[0] < 2000 || p[1] < 20 {
		t.Errorf("the sweep has %d pixels of %d colours", p[0], p[1])
	}

	// Every point's part: what is unknown says so in words.
	for i := range d.Points {
		eval[chromedp.Void](t, ctx, fmt.Sprintf(`location.hash = "#p%d"`, i))
		do(t, ctx, chromedp.WaitReady(chromedp.CSS(fmt.Sprintf(`tr.selected[data-i="%d"]`, i))))
		detail := get(t, ctx, chromedp.Text(chromedp.CSS("#detail")))
		for _, wrong := range []string{"NaN", "undefined", "null", "Infinity"} {
			if strings.Contains(detail, wrong) {
				t.Errorf("%s in the part of point %d: %s", wrong, i, detail)
			}
		}
		if !strings.Contains(detail, d.Points[i].Problem) || d.Points[i].SimNs == nil && !strings.Contains(detail, "unknown") {
			t.Errorf("the part of point %d: %s", i, detail)
		}
	}

	// No width makes the page scroll sideways, be it that the tip of a mark far right is open.
	do(t, ctx, chromedp.Focus(chromedp.CSS("#chart")))
	for range 50 {
		do(t, ctx, chromedp.KeyEvent(kb.ArrowRight))
	}
	if eval[bool](t, ctx, `document.getElementById("tip").hidden`) {
		t.Error("no tip by keyboard")
	}
	for _, width := range []int64{400, 1280, 3840} {
		for _, scheme := range []string{"light", "dark"} {
			colourScheme(t, ctx, scheme)
			do(t, ctx, chromedp.EmulateViewport(width, 900), chromedp.Sleep(50*time.Millisecond))
			over, p := eval[int](t, ctx, `document.documentElement.scrollWidth - innerWidth`), eval[[]int](t, ctx, drawn+`("#chart canvas")`)
			if over > 0 || p[0] < 3000 {
				t.Errorf("%d wide, %s: %d pixels too wide, %d drawn", width, scheme, over, p[0])
			}
		}
	}
	eval[chromedp.Void](t, ctx, `for (const s of document.querySelectorAll("#filters select")) for (const o of s.options) { s.value = o.value; s.dispatchEvent(new Event("change")); }
		for (const c of document.querySelectorAll("#filters input")) c.click();`)
	if p := eval[[]int](t, ctx, drawn+`("#chart canvas")`); p[0] < 3000 {
		t.Errorf("after every filter: %d pixels", p[0])
	}
	w.check(t)
}

// A page without points is a page too.
func TestBrowserEmpty(t *testing.T) {
	ctx := browser(t)
	p := exampleProfile()
	p.Entries = nil
	w := opened(t, ctx, p, nil)
	if text := get(t, ctx, chromedp.Text(chromedp.CSS("body"))); !strings.Contains(text, "no tuned answers yet") {
		t.Error("the page does not say that nothing was tuned")
	}
	w.check(t)
}

// The page of 500 points works; how long it takes to load is logged, not judged.
func TestBrowserLarge(t *testing.T) {
	ctx := browser(t)
	p, e := large(t)
	w := opened(t, ctx, p, e)
	if n := eval[int](t, ctx, `document.querySelectorAll("#points tbody tr").length`); n != 500 {
		t.Errorf("%d rows", n)
	}
	t.Logf("loaded in %.0f ms", eval[float64](t, ctx, `performance.getEntriesByType("navigation")[0].loadEventEnd`))
	w.check(t)
}

// TestPictures writes the page at several widths, light, dark and without colours, for a person to look at, into the folder
// ROOFTUNE_TEST_PICTURES; of the profile ROOFTUNE_TEST_PICTURES_OF where that is given.
func TestPictures(t *testing.T) {
	dir := os.Getenv("ROOFTUNE_TEST_PICTURES")
	if dir == "" {
		t.Skip("ROOFTUNE_TEST_PICTURES names no folder")
	}
	ctx := browser(t)
	p, e := realProfile(t)
	if path := os.Getenv("ROOFTUNE_TEST_PICTURES_OF"); path != "" {
		var err error
		if p, err = profile.Read(path); err != nil {
			t.Fatal(err)
		}
		e = nil
	}
	opened(t, ctx, p, e)
	if path := os.Getenv("ROOFTUNE_TEST_PICTURES_PAGE"); path != "" {
		do(t, ctx, chromedp.Navigate("file://"+path))
	}
	for _, width := range []int64{400, 1280, 3840} {
		for _, scheme := range []string{"light", "dark", "grey"} {
			colourScheme(t, ctx, scheme)
			vision := emulation.SetEmulatedVisionDeficiencyParams{Type: "none"}
			if scheme == "grey" {
				vision.Type = "achromatopsia"
			}
			if _, err := chromedp.Call(ctx, emulation.SetEmulatedVisionDeficiency, vision); err != nil {
				t.Fatal(err)
			}
			do(t, ctx, chromedp.EmulateViewport(width, 1000), chromedp.Sleep(300*time.Millisecond))
			do(t, ctx, chromedp.Focus(chromedp.CSS("#chart")), chromedp.KeyEvent(kb.ArrowRight), chromedp.Sleep(300*time.Millisecond))
			picture := get(t, ctx, chromedp.CaptureScreenshot())
			if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%d-%s-top.png", width, scheme)), picture, 0o644); err != nil {
				t.Fatal(err)
			}
			eval[chromedp.Void](t, ctx, `location.hash = "#p1"`)
			height := map[int64]int64{400: 1000, 1280: 1400, 3840: 2000}[width]
			do(t, ctx, chromedp.EmulateViewport(width, height), chromedp.Sleep(300*time.Millisecond))
			for k := int64(0); k*height < eval[int64](t, ctx, `document.documentElement.scrollHeight`) && k < 10; k++ {
				eval[chromedp.Void](t, ctx, fmt.Sprintf(`scrollTo(0, %d)`, k*height))
				do(t, ctx, chromedp.Sleep(100*time.Millisecond))
				if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%d-%s-%d.png", width, scheme, k)), get(t, ctx, chromedp.CaptureScreenshot()), 0o644); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}
