package tuner

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"time"

	"github.com/rooftune/rooftune/internal/digest"
	"github.com/rooftune/rooftune/internal/profile"
	"github.com/rooftune/rooftune/kernels/tile"
)

// The journal is what a run has measured, one JSON document a line, each with its checksum:
//
//	{"sum":"<sha256 of the bytes of line>","line":{"kind":"measure",...}}
//
// The first line is a header. A line is written whole as soon as its
// measurement ends, so a run that is killed loses the one in flight and no other;
// it reaches the disk itself at least every syncEvery and after each answer,
// which is what a power failure can cost.
const (
	journalFile    = "journal.jsonl"
	journalVersion = 1
	maxJournal     = 256 << 20
	maxLine        = 1 << 20
	syncEvery      = 2 * time.Second
)

// Kinds of journal line.
const (
	kindHeader    = "header"
	kindMeasure   = "measure"   // a candidate of the first round
	kindFinalists = "finalists" // who went on to the paired blocks
	kindBlock     = "block"     // one batch of each finalist
	kindAnswer    = "answer"    // the winner of a problem and ISA
	kindComplete  = "complete"  // the run ended: the next one measures afresh
)

// Verdicts of a candidate.
const (
	verdictOK      = "ok"
	verdictSlow    = "slow"     // more than slowLimit times the incumbent's time: measured once
	verdictWrong   = "wrong"    // outside its error bound: never timed
	verdictFailed  = "failed"   // an error instead of a result
	verdictTooFast = "too fast" // under its roof, twice
	verdictTimeout = "timeout"  // no answer in time
	verdictDrifted = "drifted"  // every block was void
)

// line is one line of the journal. Which fields are set depends on the kind.
type line struct {
	Kind string `json:"kind"`

	Version     int       `json:"version,omitempty"`
	Fingerprint string    `json:"fingerprint,omitempty"`
	Go          string    `json:"go,omitempty"`
	Created     time.Time `json:"created,omitzero"`
	Seed        uint64    `json:"seed,omitempty"`
	Strategy    string    `json:"strategy,omitempty"`
	Cold        bool      `json:"cold,omitempty"`

	Problem     *tile.Problem  `json:"problem,omitempty"`
	ISA         tile.ISA       `json:"isa,omitempty"`
	SourceHash  string         `json:"source_hash,omitempty"`
	Config      tile.Config    `json:"config,omitempty"`
	Against     tile.Config    `json:"against,omitempty"` // the incumbent beside it
	Ns          float64        `json:"ns,omitempty"`
	AgainstNs   float64        `json:"against_ns,omitempty"`
	RoofNs      float64        `json:"roof_ns,omitempty"`
	BoundBy     string         `json:"bound_by,omitempty"`
	SimulatedNs float64        `json:"simulated_ns,omitempty"`
	VerifyNs    float64        `json:"verify_ns,omitempty"` // what its verification took
	MaxError    *float64       `json:"max_error,omitempty"` // absent if not finite
	ErrorBound  *float64       `json:"error_bound,omitempty"`
	Verdict     string         `json:"verdict,omitempty"`
	Reason      string         `json:"reason,omitempty"`
	Configs     []tile.Config  `json:"configs,omitempty"`
	BlockNs     []float64      `json:"block_ns,omitempty"`
	Entry       *profile.Entry `json:"entry,omitempty"`
}

type sealed struct {
	Sum  string          `json:"sum"`
	Line json.RawMessage `json:"line"`
}

// seal gives a line's bytes in the journal, with the newline.
func seal(l *line) ([]byte, error) {
	raw, err := json.Marshal(l)
	if err != nil {
		return nil, err
	}
	out, err := json.Marshal(sealed{digest.Sum(raw), raw})
	return append(out, '\n'), err
}

func open(data []byte) (*line, error) {
	if len(data) > maxLine {
		return nil, fmt.Errorf("longer than %d bytes", maxLine)
	}
	var s sealed
	if err := json.Unmarshal(data, &s); err != nil {
		return nil, err
	}
	if digest.Sum(s.Line) != s.Sum {
		return nil, errors.New("checksum does not match")
	}
	l := new(line)
	if err := json.Unmarshal(s.Line, l); err != nil {
		return nil, err
	}
	return l, l.check()
}

// check refuses what this program would not have written; a right checksum proves
// that a line is whole, not who wrote it.
func (l *line) check() error {
	for _, x := range append([]float64{l.Ns, l.AgainstNs, l.RoofNs, l.SimulatedNs, l.VerifyNs}, l.BlockNs...) {
		if !(x >= 0) || math.IsInf(x, 0) {
			return fmt.Errorf("a time of %g", x)
		}
	}
	switch l.Kind {
	case kindMeasure:
		if l.Problem == nil {
			return errors.New("measure without a problem")
		}
		if l.Verdict == verdictOK && (l.Ns == 0 || l.AgainstNs == 0) {
			return errors.New("measure without times")
		}
	case kindFinalists, kindBlock:
		if l.Problem == nil || len(l.Configs) == 0 {
			return fmt.Errorf("%s without problem or configs", l.Kind)
		}
		if l.Kind == kindBlock {
			if len(l.BlockNs) != len(l.Configs) {
				return errors.New("block with another number of times than of configs")
			}
			for _, x := range l.BlockNs {
				if x == 0 {
					return errors.New("block with a time of 0")
				}
			}
		}
	case kindAnswer:
		if l.Entry == nil {
			return errors.New("answer without an entry")
		}
		p := profile.Profile{Entries: []profile.Entry{*l.Entry}}
		p.Machine.Fingerprint = "-"
		return p.Validate()
	}
	return nil
}

// history is what a journal says.
type history struct {
	header   *line
	lines    []*line // after the header, in order
	good     int     // bytes up to the last whole line
	complete bool
	notes    []string
}

// errNewerJournal is wrapped by the error for a journal of a newer version.
var errNewerJournal = errors.New("newer version")

// parseJournal reads what can be read: a torn last line and
// damaged lines are left out, with a note. Only a newer version is an error.
func parseJournal(data []byte) (*history, error) {
	h := new(history)
	for number := 1; len(data) > 0; number++ {
		end := bytes.IndexByte(data, '\n')
		if end < 0 {
			h.notes = append(h.notes, fmt.Sprintf("journal line %d is torn: cut off", number))
			break
		}
		l, err := open(data[:end])
		data = data[end+1:]
		h.good += end + 1
		switch {
		case err != nil:
			h.notes = append(h.notes, fmt.Sprintf("journal line %d is ignored: %v", number, err))
		case l.Kind == kindHeader:
			if l.Version > journalVersion {
				return nil, fmt.Errorf("journal version %d, this program reads up to version %d: %w", l.Version, journalVersion, errNewerJournal)
			}
			if h.header == nil && len(h.lines) == 0 {
				h.header = l
			}
		case l.Kind == kindComplete:
			h.complete = true
		default:
			h.lines = append(h.lines, l)
		}
	}
	return h, nil
}

// readJournal reads the journal in a folder; nil if there is none.
func readJournal(dir string) (*history, error) {
	path := filepath.Join(dir, journalFile)
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxJournal+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxJournal {
		return nil, fmt.Errorf("journal %s: larger than %d bytes", path, maxJournal)
	}
	h, err := parseJournal(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return h, nil
}

// journal appends to a journal file.
type journal struct {
	w      io.Writer
	sync   func() error
	synced time.Time
	err    error // the first; nothing is appended after it
}

// openJournal goes on with a journal that an interrupted run of the same machine left, or
// starts a new one; the old file is then kept as journal.previous.jsonl. The history is nil for a new one.
func openJournal(dir string, header line) (*journal, *history, func() error, error) {
	path := filepath.Join(dir, journalFile)
	old, err := readJournal(dir)
	if err != nil {
		return nil, nil, nil, err
	}
	var notes []string
	resume := false
	switch {
	case old == nil || old.complete:
	case old.header == nil:
		notes = append(old.notes, "the journal has no readable header: started a new one")
	case old.header.Fingerprint != header.Fingerprint:
		notes = append(notes, "the journal is of another machine: started a new one")
	case old.header.Cold != header.Cold:
		notes = append(notes, "the journal is of other caches (cold or warm): started a new one")
	case old.header.Version != journalVersion:
		notes = append(notes, fmt.Sprintf("the journal has version %d: started a new one", old.header.Version))
	default:
		resume = true
	}
	if !resume {
		if old != nil {
			if err := os.Rename(path, filepath.Join(dir, "journal.previous.jsonl")); err != nil {
				return nil, nil, nil, err
			}
		}
		old = &history{notes: notes}
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, nil, nil, err
	}
	j := &journal{w: f, sync: f.Sync}
	if resume {
		err = f.Truncate(int64(old.good))
		if err == nil {
			_, err = f.Seek(0, io.SeekEnd)
		}
	} else {
		err = j.append(&header)
	}
	if err != nil {
		f.Close()
		return nil, nil, nil, fmt.Errorf("journal %s: %w", path, err)
	}
	return j, old, f.Close, nil
}

// append writes a line whole, in one write. Once it has failed it fails always: a journal
// with a hole would be resumed wrongly.
func (j *journal) append(l *line) error {
	if j.err != nil {
		return j.err
	}
	raw, err := seal(l)
	if err == nil {
		_, err = j.w.Write(raw)
	}
	if err == nil && (l.Kind == kindAnswer || l.Kind == kindComplete || time.Since(j.synced) > syncEvery) {
		err = j.sync()
		j.synced = time.Now()
	}
	if err != nil {
		j.err = fmt.Errorf("journal: %w", err)
	}
	return j.err
}

// unit is a problem on an ISA: what one race decides.
type unit struct {
	problem tile.Problem
	isa     tile.ISA
}

// past is what earlier runs measured of one unit with today's sources.
type past struct {
	measures  map[string]*line // by config
	finalists *line            // the last
	blocks    []*line
	answer    *profile.Entry
}

// of selects a unit's lines, leaving out those of other kernel sources.
func (h *history) of(u unit, sourceHash string) *past {
	p := &past{measures: map[string]*line{}}
	for _, l := range h.lines {
		if l.Kind == kindAnswer {
			if l.Entry.Problem == u.problem && l.Entry.ISA == u.isa && l.Entry.SourceHash == sourceHash {
				p.answer = l.Entry
			}
			continue
		}
		if l.Problem == nil || *l.Problem != u.problem || l.ISA != u.isa || l.SourceHash != sourceHash {
			continue
		}
		switch l.Kind {
		case kindMeasure:
			p.measures[l.Config.String()] = l
		case kindFinalists:
			p.finalists, p.blocks = l, nil
		case kindBlock:
			p.blocks = append(p.blocks, l)
		}
	}
	return p
}

// finite returns a pointer to x, or nil where JSON has no word for it.
func finite(x float64) *float64 {
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return nil
	}
	return &x
}
