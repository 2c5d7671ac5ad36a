package tuner

import (
	"errors"
	"fmt"
	"math"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rooftune/rooftune/kernels"
	"github.com/rooftune/rooftune/kernels/tile"
)

// workerKind makes this test binary a child: the library's, or one whose candidates do as their configs say.
const workerKind = "ROOFTUNE_TEST_WORKER"

// child is the command line of this test binary as a child of a kind.
func child(t *testing.T, kind string) []string {
	t.Helper()
	t.Setenv(workerKind, kind)
	argv, err := Worker()
	if err != nil {
		t.Skip(err)
	}
	return argv
}

// What a planted candidate's "does" asks for.
const (
	doesWell = iota
	doesWrong
	doesFail
	doesPanic
	doesSignal
	doesExit
	doesHang
	doesWrite // what is no answer, into the pipe
	doesNaN
)

func serveTest() {
	kind := os.Getenv(workerKind)
	if kind == "" || os.Getenv(killDir) != "" {
		return
	}
	verify, verifyPacked := verifier(kernels.Verify), verifier(kernels.VerifyPacked)
	if kind == "planted" {
		verify, verifyPacked = plantedVerify, plantedPacked
	}
	if kind == "mute" {
		os.Exit(3)
	}
	if err := serve(os.Stdin, os.Stdout, verify, verifyPacked); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func plantedVerify(_ tile.Problem, c tile.Candidate, _ uint64) (float64, float64, error) {
	switch c.Config["does"] {
	case doesWrong:
		return 1, 1e-5, nil
	case doesFail:
		return 0, 0, errors.New("planted failure")
	case doesPanic:
		var nothing []int
		_ = nothing[c.Config["does"]]
	case doesSignal:
		self, _ := os.FindProcess(os.Getpid())
		_ = self.Signal(syscall.SIGILL)
		time.Sleep(time.Minute)
	case doesExit:
		os.Exit(7)
	case doesHang:
		select {}
	case doesWrite:
		fmt.Println("I am no answer, and I am long enough to be taken for one by mistake")
		time.Sleep(time.Minute)
	case doesNaN:
		return math.NaN(), 1e-5, nil
	}
	return 1e-7, 1e-5, nil
}

func plantedPacked(tile.Problem, tile.Candidate, uint64) (float64, float64, error) {
	return 2e-7, 3e-5, nil
}

// Whatever a candidate does in the child, the next one is verified as if nothing had been.
func TestWorker(t *testing.T) {
	w := newWorker(child(t, "planted"))
	defer w.close()
	well := func() {
		t.Helper()
		if e, bound, err := w.verify(problem(64), tile.Candidate{ISA: tile.AVX2, Config: tile.Config{"does": doesWell}}, 1); e != 1e-7 || bound != 1e-5 || err != nil {
			t.Errorf("error %g, bound %g, %v", e, bound, err)
		}
	}
	for _, x := range []struct {
		does   int
		says   string
		deaths int
	}{
		{doesFail, "planted failure", 0}, {doesPanic, "index out of range", 1}, {doesExit, "exit status 7", 1},
		{doesHang, "timeout", 1}, {doesWrite, "", 1}, {doesSignal, "crashed", 1},
	} {
		well()
		before := w.deaths
		if x.does == doesHang || x.does == doesWrite {
			w.limit = 300 * time.Millisecond
		}
		_, _, err := w.verify(problem(64), tile.Candidate{ISA: tile.AVX2, Config: tile.Config{"does": x.does}}, 1)
		if err == nil || !strings.Contains(err.Error(), x.says) || errors.Is(err, errWorker) || w.deaths != before+x.deaths {
			t.Errorf("%d: %v after %d deaths", x.does, err, w.deaths-before)
		}
		w.limit = verifyTimeout
		if x.does != doesWrite && (x.does == doesHang) != errors.Is(err, errTimeout) {
			t.Errorf("%d: %v", x.does, err)
		}
		well()
	}
	if e, _, err := w.verify(problem(64), tile.Candidate{Config: tile.Config{"does": doesNaN}}, 1); err != nil || !math.IsNaN(e) {
		t.Errorf("NaN came as %g, %v", e, err)
	}
	if e, bound, err := w.ask(request{Problem: problem(64), ISA: tile.AVX2, Packed: true}); e != 2e-7 || bound != 3e-5 || err != nil {
		t.Errorf("packed: error %g, bound %g, %v", e, bound, err)
	}
}

// A child that cannot be run is no candidate's fault.
func TestWorkerBroken(t *testing.T) {
	for _, argv := range [][]string{child(t, "mute"), {"/nonexistent/tune"}} {
		w := newWorker(argv)
		if _, _, err := w.verify(problem(64), tile.Candidate{}, 1); !errors.Is(err, errWorker) {
			t.Errorf("%v: %v", argv, err)
		}
		w.close()
	}
	s := plant(1)
	s.verify = newWorker([]string{"/nonexistent/tune"}).verify
	if _, err := run(t.Context(), s, s.clock, plantedMachine(), nil, options(t.TempDir())); !errors.Is(err, errWorker) {
		t.Errorf("error %v", err)
	}
}

// A kernel that crashes is one failed row in the journal, and the others are tuned.
func TestCrashIsOneRow(t *testing.T) {
	w := newWorker(child(t, "planted"))
	w.limit = time.Second
	defer w.close()
	s := plant(1)
	s.names, s.values = []string{"does"}, map[string][]int{"does": {doesWell, doesWrong, doesPanic, doesSignal, doesExit, doesHang}}
	s.standard = tile.Config{"does": doesPanic} // even the default
	s.ns = func(_ tile.Problem, c tile.Candidate) float64 {
		if c.Config["does"] == doesWell {
			return 100e3
		}
		return 50e3
	}
	s.verify = w.verify
	o := options(t.TempDir())
	o.Budget = time.Minute
	x := only(t, tune(t, s, o))
	if x.Config["does"] != doesWell || x.Wrong != 5 {
		t.Errorf("%+v", x)
	}
	h, err := readJournal(o.Dir)
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]int{}
	for _, l := range h.lines {
		if l.Kind == kindMeasure && l.Verdict != verdictOK {
			rows[l.Verdict]++
			if l.Verdict == verdictFailed && l.Reason == "" {
				t.Error("failed without a reason")
			}
		}
	}
	if rows[verdictFailed] != 3 || rows[verdictTimeout] != 1 || rows[verdictWrong] != 1 {
		t.Errorf("rows %v", rows)
	}
	for name, n := range s.ran {
		if n > 0 && name != "does=0" {
			t.Errorf("%s was run %d times", name, n)
		}
	}
}
