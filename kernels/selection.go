package kernels

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/rooftune/rooftune/internal/machine"
	"github.com/rooftune/rooftune/internal/profile"
	"github.com/rooftune/rooftune/kernels/tile"
	"github.com/rooftune/rooftune/results"
)

// Where a choice came from.
const (
	SourceEnvironment = "environment" // the file that ROOFTUNE_PROFILE or Load names
	SourceUser        = "user"        // the user's profile of this machine
	SourceEmbedded    = "embedded"    // a profile that came with the library
	SourceModel       = "model"       // the simulator's best for the detected caches
	SourceDefault     = "default"     // the fixed default, where nothing else applies
)

// Choice is which candidate runs a problem, from where and why.
type Choice struct {
	Problem   tile.Problem   `json:"problem"`
	Candidate tile.Candidate `json:"candidate"`
	Source    string         `json:"source"`
	Path      string         `json:"path,omitempty"` // of the profile
	Reason    string         `json:"reason"`
	Nearest   *tile.Problem  `json:"nearest,omitempty"` // the tuned problem that stood in, where it is another
	// ExpectedLoss is how much slower than its own answer a neighbour's is in the mean; 0 without a Nearest, or where nothing is known.
	ExpectedLoss float64  `json:"expected_loss,omitempty"`
	Stale        bool     `json:"stale"`           // tuned with other kernel sources than these
	Notes        []string `json:"notes,omitempty"` // profiles that were refused, and why
}

// origin is one profile in the order that choices look.
type origin struct {
	source, path string
	profile      *profile.Profile
}

// selection is everything that choices depend on, read once and then fixed.
type selection struct {
	machine *machine.Machine
	isas    []tile.ISA
	origins []origin
	notes   []string

	mu       sync.Mutex
	resolved atomic.Pointer[map[tile.Problem]*resolved]
}

// maxResolved bounds the choices that are kept: a server that sees every prompt length starts over rather than grow.
const maxResolved = 4096

var (
	current  atomic.Pointer[selection]
	loading  sync.Mutex
	debugOut = os.Stderr

	embedded fs.FS = results.Profiles
)

// Load reads the profile at path, which must be of this machine's fingerprint or CPU model, and makes every later
// call choose from it first; an empty path means the usual places (ROOFTUNE_PROFILE, the user's profile, the
// embedded ones). On error the choice is left as it was. Without Load, the first call of an op loads from the usual places.
func Load(path string) error {
	loading.Lock()
	defer loading.Unlock()
	s, err := newSelection(path)
	if err != nil {
		return err
	}
	current.Store(s)
	return nil
}

func selected() (*selection, error) {
	if s := current.Load(); s != nil {
		return s, nil
	}
	loading.Lock()
	defer loading.Unlock()
	if s := current.Load(); s != nil {
		return s, nil
	}
	s, err := newSelection("")
	if s == nil {
		return nil, err
	}
	// A profile that was refused costs speed, not the call: the notes say so.
	current.Store(s)
	return s, nil
}

// newSelection gathers the profiles. With an explicit path its refusal is an error; in the usual places a refusal
// is a note.
func newSelection(path string) (*selection, error) {
	m, err := machine.Detect()
	if err != nil {
		return nil, fmt.Errorf("kernels: detecting the machine: %w", err)
	}
	s := &selection{machine: m, isas: ISAs()}
	empty := map[tile.Problem]*resolved{}
	s.resolved.Store(&empty)
	if path != "" {
		if err := s.add(SourceEnvironment, path, profile.ReadForUse); err != nil {
			return nil, err
		}
	} else {
		env := os.Getenv(EnvProfile)
		if env == "off" {
			s.note("profiles are off (%s=off)", EnvProfile)
			return s, nil
		}
		if env != "" {
			if err := s.add(SourceEnvironment, env, profile.ReadForUse); err != nil {
				s.note("%s", err)
			}
		}
	}
	s.addUser()
	s.addEmbedded()
	return s, nil
}

func (s *selection) note(format string, a ...any) {
	s.notes = append(s.notes, fmt.Sprintf(format, a...))
	debug(format, a...)
}

func debug(format string, a ...any) {
	if os.Getenv(EnvDebug) == "1" {
		fmt.Fprintf(debugOut, "rooftune: "+format+"\n", a...)
	}
}

func (s *selection) addUser() {
	path, err := UserProfilePath(s.machine.Fingerprint)
	if err != nil {
		return // no config directory: no user profile
	}
	if err := s.add(SourceUser, path, profile.ReadForUse); err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.note("%s", err)
	}
}

// addEmbedded adds the embedded profile of this fingerprint, then those of the same CPU model.
func (s *selection) addEmbedded() {
	read := func(path string) (*profile.Profile, error) {
		data, err := fs.ReadFile(embedded, path)
		if err != nil {
			return nil, err
		}
		return profile.ParseForUse(data)
	}
	own := "profiles/" + s.machine.Fingerprint + ".json"
	if err := s.add(SourceEmbedded, own, read); err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.note("%s", err)
	}
	paths, _ := fs.Glob(embedded, "profiles/*.json")
	for _, path := range paths {
		if path != own {
			// Most embedded profiles are of other models: refusing them is no news.
			_ = s.add(SourceEmbedded, path, read)
		}
	}
}

// add reads a profile and refuses it if it is of another CPU model.
func (s *selection) add(source, path string, read func(string) (*profile.Profile, error)) error {
	p, err := read(path)
	if err != nil {
		return fmt.Errorf("kernels: profile %s refused: %w", path, err)
	}
	a, b := p.Machine, s.machine
	if a.Arch != b.Arch || a.Vendor != b.Vendor || a.Family != b.Family || a.Model != b.Model {
		return fmt.Errorf("kernels: profile %s refused: it is of another CPU model (%s %s family %d model %d), this is %s %s family %d model %d",
			path, a.Arch, a.Vendor, a.Family, a.Model, b.Arch, b.Vendor, b.Family, b.Model)
	}
	s.origins = append(s.origins, origin{source, path, p})
	return nil
}

// UserProfilePath is where a machine's own profile is kept: rooftune/<fingerprint>.json in the user's
// configuration directory.
func UserProfilePath(fingerprint string) (string, error) {
	dir, err := os.UserConfigDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, "rooftune", fingerprint+".json"), nil
}

// Measured is what the first of the profiles in use that is of this very machine, by its fingerprint, says was measured of it; nil if there is none. It is
// not to be changed.
func Measured() *machine.Measured {
	s, err := selected()
	if err != nil {
		return nil
	}
	for _, o := range s.origins {
		if o.profile.Machine.Fingerprint == s.machine.Fingerprint {
			return &o.profile.Measured
		}
	}
	return nil
}

// Explain says which candidate runs a problem, from where and why. Threads 0 means all that this
// process may use.
func Explain(p tile.Problem) (Choice, error) {
	r, err := resolve(p)
	if err != nil {
		return Choice{}, err
	}
	return r.choice, nil
}

// resolve gives the choice for a problem, made once and then looked up without allocating.
func resolve(p tile.Problem) (*resolved, error) {
	s, err := selected()
	if err != nil {
		return nil, err
	}
	if p.Threads == 0 {
		p.Threads = s.machine.Usable
	}
	if r, ok := (*s.resolved.Load())[p]; ok {
		return r, nil
	}
	if err := CheckProblem(p); err != nil {
		return nil, err
	}
	choice := s.choose(p)
	debug("%s: %s from %s: %s", p, choice.Candidate, choice.Source, choice.Reason)
	r := &resolved{choice: choice}
	s.mu.Lock()
	defer s.mu.Unlock()
	old := *s.resolved.Load()
	if r, ok := old[p]; ok {
		return r, nil
	}
	next := make(map[tile.Problem]*resolved, len(old)+1)
	if len(old) < maxResolved {
		for k, v := range old {
			next[k] = v
		}
	}
	next[p] = r
	s.resolved.Store(&next)
	return r, nil
}

// choose looks for a fresh answer in every profile, then for a stale one, then asks the simulator.
func (s *selection) choose(p tile.Problem) Choice {
	c := Choice{Problem: p, Notes: s.notes}
	type answer struct {
		origin
		entry    *profile.Entry
		config   tile.Config
		distance float64
	}
	// Portable Go never wins where an instruction set runs, however near its tuned problem is.
	isas := s.isas
	if len(isas) > 1 && isas[0] == tile.Generic {
		isas = isas[1:]
	}
	var stale *answer
	for _, o := range s.origins {
		e, distance, old := o.profile.Lookup(p, isas, SourceHash)
		if e == nil {
			continue
		}
		found := &answer{o, e, carriedOver(p, e), distance}
		if CheckConfig(p, tile.Candidate{ISA: e.ISA, Config: found.config}) != nil {
			continue
		}
		if old {
			if stale == nil {
				stale = found
			}
			continue
		}
		return c.from(found.source, found.path, found.entry, found.config, found.distance, false)
	}
	if stale != nil {
		return c.from(stale.source, stale.path, stale.entry, stale.config, stale.distance, true)
	}
	return s.model(c)
}

// carriedOver is the config of a profile's answer as a problem takes it whose own answer is not known.
func carriedOver(p tile.Problem, e *profile.Entry) tile.Config {
	if p.Op == tile.HashLayer {
		return carrySlabs(p, e)
	}
	c := e.Config
	if c["copy"] > 0 && besideEachOther(p.Shape) { // rows that need no copies
		c = maps.Clone(c)
		c["copy"] = 0
	}
	if prim, ok := primitives(e.ISA); ok && c["cols"] > 0 {
		if block := carryBlock(p, e, blocks(p, prim)); block[1] != c["cols"] {
			c = maps.Clone(c)
			c["block"], c["cols"] = block[0], block[1]
		}
	}
	return c
}

// carryBlock is the block of an answer, of tokens by columns, or another that suits a problem's columns or threads better.
func carryBlock(p tile.Problem, e *profile.Entry, of [][2]int) [2]int {
	s, block := p.Shape, [2]int{e.Config["block"], e.Config["cols"]}
	swept := func(cols int) int { // a panel that is not whole takes as long as a whole one, and some more
		if s.Dv%cols == 0 {
			return s.Dv
		}
		return roundUp(s.Dv, cols) + cols/4
	}
	if s.Dv != e.Problem.Shape.Dv {
		for _, b := range of {
			if swept(b[1]) < swept(block[1]) {
				block = b
			}
		}
	}
	// Heads of which threads would not get equal numbers are cut in panels of columns: an answer for many heads may have too few of them.
	cut := func(cols int) int { return evenSplit(s.B*s.Hkv, p.Threads, (s.Dv+cols-1)/cols) }
	if first := of[0]; first[1] < block[1] && cut(first[1]) > cut(block[1]) {
		block = first
	}
	return block
}

func (c Choice) from(source, path string, e *profile.Entry, config tile.Config, distance float64, stale bool) Choice {
	c.Source, c.Path, c.Stale = source, path, stale
	c.Candidate = tile.Candidate{ISA: e.ISA, Config: config}
	why := []string{"tuned for this problem"}
	if distance != 0 {
		nearest := e.Problem
		c.Nearest = &nearest
		expect := "farther than any that was measured"
		if loss, ok := profile.ExpectedLoss(distance); ok {
			c.ExpectedLoss = loss
			expect = fmt.Sprintf("expect %.0f %% slower than its own answer", 100*loss)
		}
		why[0] = fmt.Sprintf("tuned for the nearest problem, %s (distance %.2f: %s)", e.Problem, distance, expect)
	}
	if !maps.Equal(config, e.Config) {
		why = append(why, "fitted to this problem")
	}
	if stale {
		why = append(why, "stale: tuned with other kernel sources, no fresh answer is known")
	}
	c.Reason = strings.Join(why, "; ")
	return c
}

// model takes the simulator's best candidate, over the ISAs that may run, for the caches that the CPU reports.
func (s *selection) model(c Choice) Choice {
	best, ns, err := simulatedBest(c.Problem, s.machine, s.isas)
	if err != nil {
		isa := s.isas[len(s.isas)-1]
		c.Source, c.Candidate = SourceDefault, tile.Candidate{ISA: isa, Config: Default(c.Problem, isa)}
		c.Reason = fmt.Sprintf("no profile answers and the simulator cannot (%s)", err)
		return c
	}
	c.Source, c.Candidate = SourceModel, best
	c.Reason = fmt.Sprintf("no profile answers; the simulator's best for the reported caches, %.3g ms", ns/1e6)
	return c
}
