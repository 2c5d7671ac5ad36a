package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"time"
)

// TestVerify runs every candidate of one op on portable Go through the command.
func TestVerify(t *testing.T) {
	c := exec.Command("tune", "verify", "--json", "--op", "hash-layer", "--isa", "generic")
	c.Stderr = os.Stderr
	out, err := c.Output()
	if err != nil {
		t.Fatal(err)
	}
	validateDocument(t, "verify", out)
	var doc struct {
		Verify []struct{ Verdict string }
	}
	if err := json.Unmarshal(out, &doc); err != nil {
		t.Fatal(err)
	}
	if len(doc.Verify) == 0 {
		t.Fatal("nothing was verified")
	}
}

// TestInterrupted interrupts a run: exit code 130, one line, and a journal that is kept.
func TestInterrupted(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("a process cannot send an interrupt to another on Windows")
	}
	dir := t.TempDir()
	journal := filepath.Join(dir, "journal.jsonl")
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, "tune", "run", "--budget", "2m", "--isa", "generic", "--threads", "1", "--out", dir)
	var stderr bytes.Buffer
	c.Stderr = &stderr
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	for { // until the measurement of candidates has begun
		if info, err := os.Stat(journal); err == nil && info.Size() > 0 {
			break
		}
		if ctx.Err() != nil {
			t.Fatal("no journal was begun")
		}
		time.Sleep(20 * time.Millisecond)
	}
	if err := c.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	err := c.Wait()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != exitInterrupted {
		t.Errorf("ended with %v, want exit code %d: %s", err, exitInterrupted, &stderr)
	}
	if bytes.Count(stderr.Bytes(), []byte("\n")) != 1 {
		t.Errorf("stderr %q is not one line", &stderr)
	}
	if info, err := os.Stat(journal); err != nil || info.Size() == 0 {
		t.Errorf("the journal is gone: %v", err)
	}
}
