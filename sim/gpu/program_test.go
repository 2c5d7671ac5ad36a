package gpu

import (
	"errors"
	"maps"
	"math"
	"os"
	"slices"
	"strings"
	"testing"
)

func TestExpressions(t *testing.T) {
	slots := map[string]int{"a": 0, "b": 1}
	values := []float64{7, 2}
	for text, want := range map[string]float64{
		"a+b*3": 13, "(a+b)*3": 27, "a/b": 3.5, "a%b": 1, "-a": -7, "ceil(a,b)": 4, "floor(a,b)": 3, "min(a,b,1)": 1, "max(a,b,9)": 9,
		"pow2(a)": 8, "pow2(8)": 8, "exp2(b)": 4, "log2(8)": 3, "sqrt(b*8)": 4, "a>b": 1, "a<=b": 0, "a>=7 && b==2": 1, "a<b || b!=2": 0, "!(a>b)": 0,
		"cond(a>b, 5, 6)": 5, "cond(a<b, 5, cond(b==2, 8, 9))": 8, "1.5e1": 15,
	} {
		c, err := compile(text, slots)
		if err != nil {
			t.Error(err)
			continue
		}
		if got := c.eval(values); got != want {
			t.Errorf("%s = %g, want %g", text, got, want)
		}
	}
	for _, bad := range []string{"", "a+", "c", "f(a)", "min(a)", "ceil(a)", "cond(a,b)", "a[0]", `"x"`, "a&b", "a.b", "func(){}()", strings.Repeat("a+(", 40) + "a" + strings.Repeat(")", 40)} {
		if _, err := compile(bad, slots); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}

func bind(t testing.TB, name, device string, dtype DType, dir string, v Values) (*Program, *Device) {
	t.Helper()
	tpl, err := FindProgram(name)
	if err != nil {
		t.Fatal(err)
	}
	d, err := FindDevice(device)
	if err != nil {
		t.Fatal(err)
	}
	args, err := tpl.Arguments(v)
	if err != nil {
		t.Fatal(err)
	}
	p := new(Program)
	if err := tpl.BindFitting(p, d, dtype, dir, args); err != nil {
		t.Fatalf("%s on %s: %v", name, device, err)
	}
	return p, d
}

// The published tiling counted by hand: 512 blocks, 64 trips, tiles of 64 x 128 (q, k) and 64 x 32 (v, o), bf16.
func TestLightningByHand(t *testing.T) {
	p, d := bind(t, "lightning-attention-2", "A100-80GB-SXM", BF16, Forward, Values{"b": 4, "t": 4096, "hq": 32, "dk": 128})
	var e Estimate
	if err := NewMachine(d, testConstants(t)).Time(p, Host{}, &e); err != nil {
		t.Fatal(err)
	}
	const blocks, trips = 4 * 32 * 4, 64
	if want := float64(blocks * trips * 2 * (64*64*128 + 64*32*64 + 2*64*32*128)); e.Flops != want {
		t.Errorf("%g flops, want %g", e.Flops, want)
	}
	// q and k are read by the four blocks of a head at once, and answered together two by two; v and o are each block's own.
	if want := float64(blocks * trips * 2 * (2*64*128/2 + 2*64*32)); e.L2 != want {
		t.Errorf("L2 moves %g bytes, want %g", e.L2, want)
	}
	if want := float64(4 * 32 * 4096 * 2 * 4 * 128); e.Compulsory != want || e.Memory < want || e.Memory > e.L2 {
		t.Errorf("HBM moves %g bytes, at least %g, want a bound of %g", e.Memory, e.Compulsory, want)
	}
	// Float32 tiles of q, k and v and the state's operand: 81920 + 16384 bytes, so one block fits on a unit.
	if want := float64(64*(2*128+32)*4 + 128*32*4); e.SRAMPerBlock != want || e.Launches[0].Resident != 2 && e.Launches[0].Resident != 1 {
		t.Errorf("%g bytes of SRAM, %g blocks on a unit, want %g bytes", e.SRAMPerBlock, e.Launches[0].Resident, want)
	}
}

// A matrix product whose counts are plain: 4 x 8 tiles of 128 x 128, 16 steps of 64, each of A and B read once by memory.
func TestGEMMByHand(t *testing.T) {
	p, d := bind(t, "gemm", "A100-80GB-SXM", FP16, Forward, Values{"m": 512, "n": 1024, "k": 1024, "bm": 128, "bn": 128, "bk": 64, "split": 1})
	var e Estimate
	if err := NewMachine(d, testConstants(t)).Time(p, Host{}, &e); err != nil {
		t.Fatal(err)
	}
	if want := 2.0 * 512 * 1024 * 1024; e.Flops != want {
		t.Errorf("%g flops, want %g", e.Flops, want)
	}
	if want := 2.0 * (512*1024 + 1024*1024 + 512*1024); e.Compulsory != want || e.Memory < want {
		t.Errorf("memory %g, compulsory %g, want %g", e.Memory, e.Compulsory, want)
	}
	if want := 32*16*2*(128*64+64*128)/2.0 + 2*512*1024; e.L2 != want {
		t.Errorf("L2 %g, want %g", e.L2, want)
	}
	if e.Launches[0].Waves != 1 || p.Launches[0].Blocks != 32 {
		t.Errorf("%g waves of %g blocks", e.Launches[0].Waves, p.Launches[0].Blocks)
	}
}

func testConstants(t testing.TB) *Constants {
	t.Helper()
	c, err := Fitted()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// testShape gives every dimension that a program needs a modest value.
func testShape(tpl *Template, d *Device) Values {
	v := Values{}
	required, _, _ := tpl.Names()
	for _, n := range required {
		v[n] = map[string]float64{"b": 2, "t": 2048, "hq": 16, "hk": 8, "dk": 128, "dv": 128, "m": 1024, "n": 4096, "k": 1000, "d": 512, "h": 640, "p": 8}[n]
	}
	return v
}

// Every program runs on every device in every direction, with sane figures.
func TestProgramsOnDevices(t *testing.T) {
	c := testConstants(t)
	var e Estimate
	p := new(Program)
	for _, device := range Devices() {
		d, err := FindDevice(device)
		if err != nil {
			t.Fatal(err)
		}
		m := NewMachine(d, c)
		for _, name := range Programs() {
			tpl, err := FindProgram(name)
			if err != nil {
				t.Fatal(err)
			}
			for _, dir := range tpl.Directions() {
				v := testShape(tpl, d)
				if _, ok := v["p"]; ok && (d.LinkGBps == 0 || d.NodeDevices < 2) {
					continue // a card without links has no transfers
				}
				if _, ok := v["p"]; ok {
					v["p"] = float64(d.NodeDevices)
				}
				args, err := tpl.Arguments(v)
				if err != nil {
					t.Fatal(err)
				}
				if err := tpl.BindFitting(p, d, BF16, dir, args); err != nil {
					t.Errorf("%s %s on %s: %v", name, dir, device, err)
					continue
				}
				if err := m.Time(p, Host{}, &e); err != nil {
					t.Errorf("%s %s on %s: %v", name, dir, device, err)
					continue
				}
				if !(e.TimeNs > 0) || math.IsInf(e.TimeNs, 0) || !(e.Occupancy <= 1) || e.SRAMPerBlock > d.SRAMPerBlockKiB*1024 {
					t.Errorf("%s %s on %s: %+v", name, dir, device, e)
				}
				if e.LowerBoundNs > e.TimeNs*1.0001 {
					t.Errorf("%s %s on %s: %g ns is faster than the bound %g", name, dir, device, e.TimeNs, e.LowerBoundNs)
				}
			}
		}
	}
}

// Twice the tokens of linear attention take about twice as long; of softmax attention about four times.
func TestGrowth(t *testing.T) {
	ns := func(name string, tokens float64) float64 {
		p, d := bind(t, name, "A100-80GB-SXM", BF16, Forward, Values{"b": 4, "t": tokens, "hq": 32, "dk": 128})
		var e Estimate
		if err := NewMachine(d, testConstants(t)).Time(p, Host{}, &e); err != nil {
			t.Fatal(err)
		}
		return e.TimeNs
	}
	if r := ns("lightning-attention-2", 32768) / ns("lightning-attention-2", 16384); r < 1.95 || r > 2.05 {
		t.Errorf("lightning grows %g times", r)
	}
	if r := ns("flash-attention-2", 32768) / ns("flash-attention-2", 16384); r < 3.9 || r > 4.1 {
		t.Errorf("attention grows %g times", r)
	}
}

func TestTemplateRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"":                                               "empty",
		"dim n":                                          "begins with its name",
		"program x":                                      "has no launch",
		"program x\nprogram y":                           "once",
		"program x\nfoo":                                 "unknown statement",
		"program x\ndim n\ndim n":                        "twice",
		"program x\ndim 1n":                              "no name",
		"program x\nlet y":                               "want let",
		"program x\nlet y = z":                           "unknown name",
		"program x\nconfig c = 1 of 2":                   "not understood",
		"program x\nbuffer b big 1":                      "kind",
		"program x\nlaunch l":                            "grid is missing",
		"program x\nlaunch l grid=1 a=1":                 "unknown key",
		"program x\nlaunch l grid=1 path=x":              "path",
		"program x\nlaunch l grid=1 dtype=x":             "dtype",
		"program x\nlaunch l grid=1\nexp 1":              "outside a loop",
		"program x\nlaunch l grid=1\nend":                "no loop to end",
		"program x\nlaunch l grid=1\nloop 1":             "not ended",
		"program x\nlaunch l grid=1\nloop 1\nload b 1":   "needs a buffer",
		"program x\nlaunch l grid=1\nloop 1\nmma 1 1":    "takes 3 values",
		"program x\nlaunch l grid=1\nloop 1\nexp 1 x=1":  "not understood",
		"program x\nload b 1":                            "outside a launch",
		"program x\nlaunch l grid=(1":                    "not closed",
		"program x\nlaunch l grid=1)":                    "not opened",
		"program x\nbound L9 1":                          "want a level",
		"program x\npass up":                             "pass fwd",
		"program x\nrequire 1":                           "require EXPR",
		"program x\ntransfer t bytes=1":                  "are needed",
		"program x\ntransfer t bytes=1 steps=1 beside=y": "no launch",
	} {
		if _, err := ParseTemplate(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want one with %q", text, err, want)
		}
	}
}

func TestBindRefuses(t *testing.T) {
	tpl, err := ParseTemplate("program x\ndim n\nconfig c = 4 in 2 4\nrequire n%2==0 \"n must be even\"\nbuffer b input n\nlaunch l grid=n/c\nloop n-4\nload b c\nend")
	if err != nil {
		t.Fatal(err)
	}
	d, err := FindDevice("H100-SXM")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		v    Values
		dir  string
		want string
	}{
		{Values{}, Forward, "n is missing"},
		{Values{"n": 3}, Forward, "even"},
		{Values{"n": -2}, Forward, "negative"},
		{Values{"n": 2}, Forward, "trips"},
		{Values{"n": 8, "c": 0}, Forward, "positive"},
		{Values{"n": 8}, Backward, "no pass bwd"},
		{Values{"n": 8}, "up", "direction"},
		{Values{"n": 1e300}, Forward, "n is"},
		{Values{"n": 0}, Forward, "trips"},
	} {
		args, err := tpl.Arguments(c.v)
		if err == nil {
			err = tpl.Bind(new(Program), d, BF16, c.dir, args)
		}
		if c.v["n"] == 0 && c.want == "trips" && err != nil {
			continue // nothing is launched
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v %s: error %v, want one with %q", c.v, c.dir, err, c.want)
		}
	}
	for _, v := range []Values{{"m": 1}, {"n": math.NaN()}, {"n": math.Inf(1)}} {
		if _, err := tpl.Arguments(v); err == nil {
			t.Errorf("%v was accepted", v)
		}
	}
}

// A launch that asks for too much is refused, and the sweep leaves it out.
func TestDoesNotFit(t *testing.T) {
	tpl, err := FindProgram("flash-attention-3")
	if err != nil {
		t.Fatal(err)
	}
	d, err := FindDevice("RTX3090")
	if err != nil {
		t.Fatal(err)
	}
	r := Request{Device: d, Template: tpl, DType: BF16, Direction: Forward, Values: Values{"b": 1, "t": 1024, "hq": 8, "dk": 256, "bm": 128, "bn": 128, "stages": 2}, Constants: testConstants(t)}
	if _, err := Simulate(r); !errors.Is(err, ErrDoesNotFit) {
		t.Errorf("error %v, want one that says it does not fit", err)
	}
	r.Values = Values{"b": 1, "t": 1024, "hq": 8, "dk": 128}
	results, tried, err := Sweep(r)
	if err != nil {
		t.Fatal(err)
	}
	if len(results) == 0 || len(results) >= tried {
		t.Errorf("%d of %d configs fit", len(results), tried)
	}
	if !slices.IsSortedFunc(results, func(a, b *Result) int {
		switch {
		case a.TimeNs < b.TimeNs:
			return -1
		case a.TimeNs > b.TimeNs:
			return 1
		}
		return 0
	}) {
		t.Error("a sweep is not in the order of time")
	}
	for _, x := range results {
		for _, level := range Levels() {
			if x.Bytes[level] < x.BytesLowerBound[level] {
				t.Fatalf("%s moves %d bytes at %s, below its bound %d", x.ConfigString(), x.Bytes[level], level, x.BytesLowerBound[level])
			}
		}
	}
	if text := TritonConfigs(results); strings.Count(text, "triton.Config(") == 0 || !strings.HasPrefix(text, "configs = [") {
		t.Errorf("Triton configs: %.200s", text)
	}
}

// The lower bounds over all tilings hold for every tile size of a sweep.
func TestBoundsOverTilings(t *testing.T) {
	c := testConstants(t)
	for name, v := range map[string]Values{
		"gemm": {"m": 8192, "n": 8192, "k": 8192}, "sgemm": {"m": 4096, "n": 4096, "k": 4096}, "flash-attention-2": {"b": 1, "t": 16384, "hq": 8, "dk": 128},
	} {
		tpl, err := FindProgram(name)
		if err != nil {
			t.Fatal(err)
		}
		d, err := FindDevice("A100-80GB-SXM")
		if err != nil {
			t.Fatal(err)
		}
		dtype := BF16
		if name == "sgemm" {
			dtype = FP32
		}
		args, err := tpl.Arguments(v)
		if err != nil {
			t.Fatal(err)
		}
		p := new(Program)
		if err := tpl.BindFitting(p, d, dtype, Forward, args); err != nil {
			t.Fatal(err)
		}
		var e Estimate
		if err := NewMachine(d, c).Time(p, Host{}, &e); err != nil {
			t.Fatal(err)
		}
		if p.bounds[levelL2] <= e.Compulsory || p.bounds[levelL2] > e.L2 {
			t.Errorf("%s: L2 bound %g, moved %g, compulsory %g", name, p.bounds[levelL2], e.L2, e.Compulsory)
		}
		if p.bounds[levelHBM] > e.Memory {
			t.Errorf("%s: HBM bound %g, moved %g", name, p.bounds[levelHBM], e.Memory)
		}
	}
}

// A config costs no allocation once the memory has grown.
func TestNoAllocation(t *testing.T) {
	tpl, err := FindProgram("flash-attention-2")
	if err != nil {
		t.Fatal(err)
	}
	d, err := FindDevice("H100-SXM")
	if err != nil {
		t.Fatal(err)
	}
	args, err := tpl.Arguments(Values{"b": 1, "t": 4096, "hq": 16, "dk": 128})
	if err != nil {
		t.Fatal(err)
	}
	m := NewMachine(d, testConstants(t))
	p := new(Program)
	var e Estimate
	n := 0
	if allocs := testing.AllocsPerRun(200, func() {
		args[tpl.names["bm"]] = float64(64 * (1 + n%2))
		n++
		if err := tpl.Bind(p, d, BF16, Both, args); err != nil {
			t.Fatal(err)
		}
		if err := m.Time(p, Host{}, &e); err != nil {
			t.Fatal(err)
		}
	}); allocs != 0 {
		t.Errorf("%g allocations a config", allocs)
	}
}

func FuzzParseTemplate(f *testing.F) {
	for _, name := range Programs() {
		text, err := ProgramText(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add("program x\nlaunch l grid=1/0\nloop 1\nexp 0/0\nend")
	f.Fuzz(func(t *testing.T, text string) {
		tpl, err := ParseTemplate(text)
		if err != nil {
			return
		}
		d, err := FindDevice("H100-SXM")
		if err != nil {
			t.Fatal(err)
		}
		args, err := tpl.Arguments(testShape(tpl, d))
		if err != nil {
			t.Fatal(err)
		}
		p := new(Program)
		for _, dir := range tpl.Directions() {
			if tpl.Bind(p, d, BF16, dir, args) == nil {
				var e Estimate
				if err := NewMachine(d, testConstants(t)).Time(p, Host{}, &e); err == nil && math.IsNaN(e.TimeNs) {
					t.Errorf("the time is no number: %q", text)
				}
			}
		}
	})
}

func BenchmarkConfigs(b *testing.B) {
	for _, name := range []string{"flash-attention-2", "gemm", "lightning-attention-2", "chunk-delta-rule"} {
		b.Run(name, func(b *testing.B) {
			tpl, err := FindProgram(name)
			if err != nil {
				b.Fatal(err)
			}
			d, err := FindDevice("H100-SXM")
			if err != nil {
				b.Fatal(err)
			}
			args, err := tpl.Arguments(testShape(tpl, d))
			if err != nil {
				b.Fatal(err)
			}
			m := NewMachine(d, testConstants(b))
			p := new(Program)
			var e Estimate
			b.ReportAllocs()
			for b.Loop() {
				if err := tpl.Bind(p, d, BF16, Forward, args); err != nil {
					b.Fatal(err)
				}
				if err := m.Time(p, Host{}, &e); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "configs/s")
		})
	}
}

// The documented format is the one that is read: every program in README.md parses.
func TestDocumentedPrograms(t *testing.T) {
	text, err := os.ReadFile("programs/README.md")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for i, block := range strings.Split(string(text), "```") {
		if i%2 == 1 && strings.HasPrefix(strings.TrimSpace(block), "program ") {
			n++
			if _, err := ParseTemplate(strings.TrimSpace(block)); err != nil {
				t.Errorf("README.md: %v", err)
			}
		}
	}
	if n == 0 {
		t.Error("README.md shows no program")
	}
	for _, word := range slices.Concat(slices.Sorted(maps.Keys(functions)), slices.Sorted(maps.Keys(opWords)), deviceNames, pipelineNames, pathNames) {
		if !strings.Contains(string(text), "`"+word) {
			t.Errorf("README.md does not tell of %q", word)
		}
	}
}
