package tuner

import (
	"bytes"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/rooftune/rooftune/kernels"
	"github.com/rooftune/rooftune/kernels/tile"
)

// Candidates are verified in a child process, so that one that crashes, meets an illegal instruction or never
// ends costs itself and nothing else. The child is this program again, run as a command that calls Serve; one child
// serves many candidates and another takes its place when it dies.
//
// The pipe carries gob values: a hello from the child, then a request and an answer in turn.

// workerVersion is that of the pipe's protocol: parent and child are the same program, unless someone replaced its file meanwhile.
const workerVersion = 2

const (
	startTimeout  = 20 * time.Second // for a child to say hello
	verifyTimeout = 30 * time.Second // for one candidate, at most
	leastTimeout  = 3 * time.Second  // where a quarter of the budget would be less
)

type hello struct{ Version int }

type request struct {
	Problem tile.Problem
	ISA     tile.ISA
	Config  tile.Config
	Seed    uint64
	Packed  bool // as packed sequences: kernels.VerifyPacked
}

type answer struct {
	MaxError, Bound float64
	Failed          string // why there is no result
}

// verifier holds a candidate against the oracle.
type verifier func(p tile.Problem, c tile.Candidate, seed uint64) (maxError, bound float64, err error)

// Serve is the child's side: it verifies candidates that are asked for on in, until in ends.
func Serve(in io.Reader, out io.Writer) error {
	return serve(in, out, kernels.Verify, kernels.VerifyPacked)
}

func serve(in io.Reader, out io.Writer, verify, verifyPacked verifier) error {
	enc := gob.NewEncoder(out)
	if err := enc.Encode(hello{workerVersion}); err != nil {
		return err
	}
	// Reading beside the work ends a child whose parent is gone, also while a candidate hangs.
	requests := make(chan request)
	ended := make(chan error, 1)
	go func() {
		dec := gob.NewDecoder(in)
		for {
			var r request
			if err := dec.Decode(&r); err != nil {
				ended <- err
				return
			}
			requests <- r
		}
	}()
	answers := make(chan answer)
	for {
		select {
		case err := <-ended:
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		case r := <-requests:
			go func() {
				var a answer
				var err error
				verify := verify
				if r.Packed {
					verify = verifyPacked
				}
				if a.MaxError, a.Bound, err = verify(r.Problem, tile.Candidate{ISA: r.ISA, Config: r.Config}, r.Seed); err != nil {
					a.Failed = err.Error()
				}
				answers <- a
			}()
		case a := <-answers:
			if err := enc.Encode(a); err != nil {
				return err
			}
		}
	}
}

// errWorker is wrapped by errors that are no candidate's: the child cannot be run at all.
var errWorker = errors.New("the verifying child process does not work")

// errTimeout is wrapped by the error of a candidate that did not answer in time.
var errTimeout = errors.New("timeout")

// worker is the parent's side.
type worker struct {
	argv  []string
	limit time.Duration // for one candidate

	child   *exec.Cmd // nil between children
	to      io.WriteCloser
	enc     *gob.Encoder
	answers chan reply
	said    *head
	deaths  int
}

type reply struct {
	answer
	err error
}

func newWorker(argv []string) *worker { return &worker{argv: argv, limit: verifyTimeout} }

// start runs a child and waits for its hello.
func (w *worker) start() error {
	fail := func(err error) error { return fmt.Errorf("%w: %s: %w", errWorker, strings.Join(w.argv, " "), err) }
	c := exec.Command(w.argv[0], w.argv[1:]...)
	c.Args[0] = os.Args[0]
	w.said = &head{}
	c.Stderr, c.WaitDelay = w.said, 2*time.Second
	to, err := c.StdinPipe()
	if err != nil {
		return fail(err)
	}
	from, err := c.StdoutPipe()
	if err != nil {
		return fail(err)
	}
	if err := c.Start(); err != nil {
		return fail(err)
	}
	w.child, w.to, w.enc, w.answers = c, to, gob.NewEncoder(to), make(chan reply)
	greeted := make(chan error, 1)
	go receive(from, greeted, w.answers)
	select {
	case err = <-greeted:
	case <-time.After(startTimeout):
		err = errTimeout
	}
	if err != nil {
		status := w.stop(0)
		return fail(fmt.Errorf("%w (%s)", err, status))
	}
	return nil
}

// receive reads a child's hello and answers until it is gone.
func receive(from io.Reader, greeted chan<- error, answers chan<- reply) {
	defer close(answers)
	dec := gob.NewDecoder(from)
	var h hello
	err := dec.Decode(&h)
	if err == nil && h.Version != workerVersion {
		err = fmt.Errorf("it speaks version %d, not %d: the program's file was replaced", h.Version, workerVersion)
	}
	greeted <- err
	for err == nil {
		var r reply
		err = dec.Decode(&r.answer)
		r.err = err
		answers <- r
	}
}

// stop ends the child, killed if it does not end by itself within grace, and says how it ended.
func (w *worker) stop(grace time.Duration) string {
	c := w.child
	if c == nil {
		return ""
	}
	w.child = nil
	_ = w.to.Close()
	go func(answers <-chan reply) { // whatever was still on its way
		for range answers {
		}
	}(w.answers)
	kill := time.AfterFunc(grace, func() { _ = c.Process.Kill() })
	defer kill.Stop()
	_ = c.Wait()
	return c.ProcessState.String()
}

// close ends the child.
func (w *worker) close() { w.stop(0) }

// verify has the child hold a candidate against the oracle. An error that wraps errWorker is not the candidate's.
func (w *worker) verify(p tile.Problem, c tile.Candidate, seed uint64) (maxError, bound float64, err error) {
	return w.ask(request{Problem: p, ISA: c.ISA, Config: c.Config, Seed: seed})
}

// ask is verify of a request.
func (w *worker) ask(r request) (maxError, bound float64, err error) {
	if w.child == nil {
		if err := w.start(); err != nil {
			return 0, 0, err
		}
	}
	if err := w.enc.Encode(r); err != nil {
		return 0, 0, w.died()
	}
	timer := time.NewTimer(w.limit)
	defer timer.Stop()
	select {
	case r, ok := <-w.answers:
		switch {
		case !ok || r.err != nil:
			return 0, 0, w.died()
		case r.Failed != "":
			return 0, 0, errors.New(r.Failed)
		}
		return r.MaxError, r.Bound, nil
	case <-timer.C:
		w.stop(0)
		w.deaths++
		return 0, 0, fmt.Errorf("%w: no answer in %v", errTimeout, w.limit)
	}
}

// died says how the child crashed: Go's first line on standard error, which names the signal or the panic, else its exit status.
func (w *worker) died() error {
	w.deaths++
	status := w.stop(2 * time.Second) // it closed its pipe and is about to end
	if line := w.said.cause(); line != "" {
		return fmt.Errorf("crashed: %s", line)
	}
	return fmt.Errorf("crashed: %s", status)
}

// head keeps the beginning of what is written.
type head struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

const headBytes = 8 << 10

func (h *head) Write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if room := headBytes - h.buf.Len(); room > 0 {
		h.buf.Write(p[:min(room, len(p))])
	}
	return len(p), nil
}

// cause is the line of a Go crash that says most.
func (h *head) cause() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	first := ""
	for line := range strings.Lines(h.buf.String()) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "[signal ") || strings.HasPrefix(line, "SIG") {
			return line
		}
		if first == "" {
			first = line
		}
	}
	return first
}

// Worker is the command line of this program's child: the executable and the arguments that make it call Serve.
func Worker(args ...string) ([]string, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errWorker, err)
	}
	return append([]string{exe}, args...), nil
}
