package tuner

import (
	"bufio"
	"context"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/rooftune/rooftune/internal/profile"
	"github.com/rooftune/rooftune/kernels/tile"
)

const killDir = "ROOFTUNE_TEST_KILL_DIR"

// TestMain lets the test binary run itself as the run that is to be killed.
func TestMain(m *testing.M) {
	serveTest()
	if dir := os.Getenv(killDir); dir != "" {
		s := plant(rand.Uint64())
		o := options(dir)
		o.Problems = nil
		for n := range 40 {
			o.Problems = append(o.Problems, problem(64+n))
		}
		os.Stdout.WriteString("started\n")
		if _, err := run(context.Background(), s, s.clock, plantedMachine(), nil, o); err != nil {
			os.Stdout.WriteString(err.Error() + "\n")
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// Killed at any moment, the profile is the old or the new one and the journal goes on.
func TestKill(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Skip(err)
	}
	dir := t.TempDir()
	path := filepath.Join(dir, plantedMachine().Fingerprint+".json")
	entries, killed := 0, 0
	for range 10 {
		c := exec.Command(exe)
		c.Env = append(os.Environ(), killDir+"="+dir)
		out, err := c.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		lines.Scan()
		time.Sleep(time.Duration(rand.IntN(80)) * time.Millisecond)
		_ = c.Process.Kill()
		for lines.Scan() {
			t.Error(lines.Text())
		}
		if c.Wait() != nil {
			killed++
		}
		p, err := profile.Read(path)
		if os.IsNotExist(err) {
			continue
		}
		if err != nil {
			t.Fatal("torn: ", err)
		}
		if len(p.Entries) < entries {
			t.Errorf("%d answers, there were %d", len(p.Entries), entries)
		}
		entries = len(p.Entries)
		if _, err := readJournal(dir); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d of 10 killed, %d answers by then", killed, entries)
	s := plant(1)
	o := options(dir)
	o.Problems = []tile.Problem{problem(64), problem(90)}
	if r := tune(t, s, o); !r.Complete || len(r.Problems) != 2 {
		t.Errorf("%+v", r)
	}
}
