// Package arch has one purpose: its test keeps the rooms of the house apart.
package arch

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/rooftune/rooftune/"

// rooms lists the packages from the ground up. A package may import those of the rows
// before its own, never one of its own row or of a later one.
var rooms = [][]string{
	{"internal/digest", "internal/npz", "internal/arch", "kernels/tile", "kernels/asm/guard", "sim/cache", "tuner/space", "tuner/stats"},
	{"internal/machine"},
	{"kernels/generic"},
	{"kernels/asm/probe"},
	{"kernels/asm"},
	{"sim", "sim/gpu"},
	{"sim/gpu/fit"},
	{"results"},
	{"internal/profile"},
	{"kernels"},
	{"roofline", "kernels/hashfile"},
	{"tuner/formats", "tuner/search"},
	{"tuner/replay"},
	{"tuner"},
	{"cmd/tune", "bindings", "bindings/c"},
}

// notInLibrary are the command line's own dependencies: a program that imports kernels must not get them.
var notInLibrary = []string{"github.com/spf13/", "github.com/schollz/", "github.com/olekukonko/", "gonum.org/v1/plot", "codeberg.org/sbinet/npyio"}

func floor(pkg string) int {
	return slices.IndexFunc(rooms, func(row []string) bool { return slices.Contains(row, pkg) })
}

// command runs a program at the top of the module and returns its lines.
func command(t *testing.T, name string, args ...string) []string {
	t.Helper()
	c := exec.Command(name, args...)
	c.Dir = filepath.Join("..", "..")
	c.Env = append(os.Environ(), "GOWORK=off")
	c.Stderr = os.Stderr
	out, err := c.Output()
	if err != nil {
		t.Fatalf("%s %s: %v", name, strings.Join(args, " "), err)
	}
	return strings.Split(strings.TrimSpace(string(out)), "\n")
}

func TestImportDirections(t *testing.T) {
	for _, tags := range []string{"", "noasm"} {
		for _, line := range command(t, "go", "list", "-deps", "-tags="+tags, "-f", `{{.ImportPath}} {{join .Deps " "}}`, "./...") {
			fields := strings.Fields(line)
			pkg, ours := strings.CutPrefix(fields[0], module)
			if !ours {
				continue
			}
			mine := floor(pkg)
			if mine < 0 {
				t.Errorf("package %s has no room: give it a row in rooms", pkg)
				continue
			}
			for _, path := range fields[1:] {
				dep, ours := strings.CutPrefix(path, module)
				if ours && floor(dep) >= mine {
					t.Errorf("%s imports %s, which lives above it or beside it", pkg, dep)
				}
				for _, p := range notInLibrary {
					if pkg == "kernels" && strings.HasPrefix(path, p) {
						t.Errorf("the library drags in %s, which only the command line may need", path)
					}
				}
			}
		}
	}
}

// TestTopLevel keeps the top of the repository to what the README's map shows.
func TestTopLevel(t *testing.T) {
	if _, err := os.Stat(filepath.Join("..", "..", ".git")); err != nil {
		t.Skip("not a git checkout")
	}
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("no git")
	}
	allowed := []string{".ci", ".gitignore", "LICENSE", "README.md", "bindings", "cmd", "docs", "go.mod", "go.sum", "internal", "kernels", "results", "roofline", "sim", "tuner"}
	for _, file := range command(t, "git", "-c", "safe.directory=*", "ls-files") {
		top, _, _ := strings.Cut(file, "/")
		if !slices.Contains(allowed, top) {
			t.Errorf("%s does not belong at the top level", top)
		}
	}
}
