package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	fenced = regexp.MustCompile("(?ms)^```sh\n(.*?)^```$")
	// links are those of a page to other files.
	links = regexp.MustCompile(`\]\(([^)#:]+)\)`)
	// noisy is what a run says that could not measure.
	noisy = regexp.MustCompile(`not steady|no time left of the`)
	// bare is the command that tunes for a minute.
	bare = regexp.MustCompile(`(?m)^tune( *#.*)?$`)
)

// TestDocs runs the commands of the README's and every page's sh blocks, each page's in one shell and an empty folder, as the reader would.
func TestDocs(t *testing.T) {
	shell, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("no bash: the commands of the pages are not run")
	}
	root, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	pages, err := filepath.Glob(filepath.Join(root, "docs", "*.md"))
	if err != nil || len(pages) < 6 {
		t.Fatalf("%d pages, %v", len(pages), err)
	}
	for _, path := range append(pages, filepath.Join(root, "README.md")) {
		t.Run(filepath.Base(path), func(t *testing.T) {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			for _, link := range links.FindAllSubmatch(text, -1) {
				if _, err := os.Stat(filepath.Join(filepath.Dir(path), string(link[1]))); err != nil {
					t.Errorf("the link to %s leads nowhere", link[1])
				}
			}
			var script strings.Builder
			for _, block := range fenced.FindAllSubmatch(text, -1) {
				script.Write(block[1])
			}
			if script.Len() == 0 {
				t.Fatal("the page has no command")
			}
			// The program is the one that is tested, and a minute of tuning is a second of one problem.
			commands := strings.ReplaceAll(script.String(), "go run ./cmd/tune", "tune")
			commands = bare.ReplaceAllString(commands, "tune run --budget 1s --op hash-layer --shape n=2,d=64,h=64,tau=4 --threads 1")
			home := t.TempDir()
			c := exec.Command(shell, "-euo", "pipefail", "-c", commands)
			c.Dir = home
			// A folder for temporary files of its own: a run elsewhere on the host does not lock this one out.
			c.Env = append(os.Environ(), "HOME="+home, "XDG_CONFIG_HOME="+filepath.Join(home, "config"), "TMPDIR="+home)
			var out bytes.Buffer
			c.Stdout, c.Stderr = &out, &out
			if err := c.Run(); err != nil {
				if noisy.Match(out.Bytes()) {
					t.Skipf("this machine is too busy to be tuned now: %s", &out)
				}
				t.Errorf("%v in\n%s\nprinted\n%s", err, commands, &out)
			}
		})
	}
}
