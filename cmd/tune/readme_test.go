package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestReadmeProgram runs the README's program as a user would and compares what it prints with what the README says.
func TestReadmeProgram(t *testing.T) {
	root, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	readme, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	code := regexp.MustCompile("(?s)```go\n(.*?)```").FindSubmatch(readme)
	if code == nil {
		t.Fatal("the README has no Go program")
	}
	want := regexp.MustCompile(`// Output: (.*)`).FindSubmatch(code[1])
	if want == nil {
		t.Fatal("the README's program does not say what it prints")
	}
	// Inside this module, so that nothing is fetched: go run with a file elsewhere resolves imports from the working directory.
	path := filepath.Join(t.TempDir(), "main.go")
	if err := os.WriteFile(path, code[1], 0o644); err != nil {
		t.Fatal(err)
	}
	c := exec.Command("go", "run", path)
	c.Dir = root
	c.Stderr = os.Stderr
	got, err := c.Output()
	if err != nil {
		t.Fatal(err)
	}
	if strings.TrimSpace(string(got)) != string(want[1]) {
		t.Errorf("printed %q, the README says %q", got, want[1])
	}
}
