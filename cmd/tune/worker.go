package main

import (
	"os"

	"github.com/rooftune/rooftune/tuner"
	"github.com/spf13/cobra"
)

// newWorker is the child process that verifies candidates. Its standard input and output are the parent's pipe.
func newWorker() *cobra.Command {
	return &cobra.Command{
		Use:    "worker",
		Hidden: true,
		Args:   noArguments,
		RunE:   func(*cobra.Command, []string) error { return tuner.Serve(os.Stdin, os.Stdout) },
	}
}

// worker is the command line of such a child.
func worker() ([]string, error) { return tuner.Worker("worker") }
