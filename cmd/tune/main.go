// Command tune finds, for the machine it runs on, the fastest way to run the
// kernels of package kernels, proves the answers correct and explains them
// with a roofline. See tune --help.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

// Exit codes.
const (
	exitFailed      = 1   // a verification failed, or a candidate beats its roof
	exitBadInput    = 2   // one line on stderr says what is wrong
	exitInterrupted = 130 // the journal is kept
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second interrupt ends the process at once
	os.Exit(execute(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// failure is the error of a run that worked and whose answer is no.
type failure struct{ reason string }

func (f failure) Error() string { return f.reason }

// execute runs one command line and returns the exit code.
func execute(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	out := newOutput(stdout, stderr)
	root := newRoot(out)
	root.SetArgs(args)
	root.SetOut(out.w)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if e := out.w.Flush(); e != nil && (err == nil || errors.As(err, new(failure))) {
		err = fmt.Errorf("standard output cannot be written: %w", e)
	}
	if err == nil {
		return 0
	}
	code := exitBadInput
	switch {
	case errors.As(err, new(failure)):
		code = exitFailed
	case errors.Is(err, context.Canceled):
		code = exitInterrupted
	}
	fmt.Fprintf(stderr, "tune: %s\n", strings.Join(strings.Fields(err.Error()), " "))
	return code
}
