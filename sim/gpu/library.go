package gpu

import (
	"embed"
	"fmt"
	"path"
	"slices"
	"strings"
	"sync"
)

//go:embed programs/*.tile
var programFiles embed.FS

var library = sync.OnceValues(func() ([]*Template, error) {
	entries, err := programFiles.ReadDir("programs")
	if err != nil {
		return nil, err
	}
	var all []*Template
	for _, e := range entries {
		text, err := programFiles.ReadFile(path.Join("programs", e.Name()))
		if err != nil {
			return nil, err
		}
		t, err := ParseTemplate(string(text))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", e.Name(), err)
		}
		all = append(all, t)
	}
	slices.SortFunc(all, func(a, b *Template) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
})

// Programs lists the embedded programs by name.
func Programs() []string {
	all, err := library()
	if err != nil {
		return nil
	}
	var names []string
	for _, t := range all {
		names = append(names, t.Name)
	}
	return names
}

// FindProgram returns the embedded program of this name or alias; case does not matter.
func FindProgram(name string) (*Template, error) {
	all, err := library()
	if err != nil {
		return nil, err
	}
	for _, t := range all {
		if strings.EqualFold(t.Name, name) || slices.ContainsFunc(t.Aliases, func(a string) bool { return strings.EqualFold(a, name) }) {
			return t, nil
		}
	}
	return nil, fmt.Errorf("unknown program %q: known are %s", name, strings.Join(Programs(), ", "))
}

// ProgramText is the text of an embedded program.
func ProgramText(name string) (string, error) {
	text, err := programFiles.ReadFile("programs/" + name + ".tile")
	if err != nil {
		return "", fmt.Errorf("unknown program %q: known are %s", name, strings.Join(Programs(), ", "))
	}
	return string(text), nil
}
