package gpu

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
)

// How a kernel's launches are issued: each from eager Triton, by one eager call of an extension, by a compiled program, or from a recorded graph.
const (
	hostTriton  = "triton"
	hostCall    = "call"
	hostLibrary = "library"
	hostGraph   = "graph"
)

// kernelChoice is a program for a kernel's name, or for words in a row's names.
type kernelChoice struct {
	Kernel  string   `json:"kernel,omitempty"`
	Source  string   `json:"source,omitempty"` // a part of the row's source: the same name was another kernel elsewhere
	Any     []string `json:"any,omitempty"`    // one of these is enough
	All     []string `json:"all,omitempty"`    // all of these are needed
	Program string   `json:"program"`
	Set     Values   `json:"set,omitempty"`
	Rows    string   `json:"rows,omitempty"` // how a row's shape becomes the program's
	Host    string   `json:"host"`
	Weak    bool     `json:"weak,omitempty"` // words that many kinds of kernel have: the algorithm or the family may say more
}

type kernelTable struct {
	Schema  int            `json:"schema"`
	Kernels []kernelChoice `json:"kernels"`
	Words   []kernelChoice `json:"words"` // for names that are not known, the first that fits
}

//go:embed kernels.json
var kernelsText []byte

var kernels = sync.OnceValues(func() (*kernelTable, error) {
	t := new(kernelTable)
	if err := json.Unmarshal(kernelsText, t); err != nil {
		return nil, fmt.Errorf("kernels.json: %w", err)
	}
	return t, nil
})

// resolveKernel finds the program for a kernel's name. For an unknown name it is what words of the name stand for; where there are none or they say
// little, what those of the algorithm, of the family or of all three together stand for, whichever comes first in the table, which goes from
// the particular to the general. The note says what was chosen when the name was not known.
func resolveKernel(kernel, algorithm, family, source string) (*kernelChoice, string, error) {
	t, err := kernels()
	if err != nil {
		return nil, "", err
	}
	for i := range t.Kernels {
		if strings.EqualFold(t.Kernels[i].Kernel, kernel) && strings.Contains(source, t.Kernels[i].Source) {
			return &t.Kernels[i], "", nil
		}
	}
	first := func(texts ...string) *kernelChoice {
		for i := range t.Words {
			for _, text := range texts {
				if t.Words[i].fits(strings.ToLower(text)) {
					return &t.Words[i]
				}
			}
		}
		return nil
	}
	w := first(kernel)
	if w == nil || w.Weak {
		w = first(kernel, algorithm, family, kernel+" | "+algorithm+" | "+family)
	}
	if w == nil {
		return nil, "", fmt.Errorf("no program for kernel %q, algorithm %q, family %q", kernel, algorithm, family)
	}
	return w, fmt.Sprintf("kernel %q (%s, %s) is not known: taken for program %s", kernel, algorithm, family, w.Program), nil
}

func (c *kernelChoice) fits(text string) bool {
	for _, w := range c.All {
		if !strings.Contains(text, w) {
			return false
		}
	}
	for _, w := range c.Any {
		if strings.Contains(text, w) {
			return true
		}
	}
	return len(c.All) > 0
}
