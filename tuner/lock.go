package tuner

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/gofrs/flock"
)

// ErrLocked is wrapped by the error of a run that another one excludes.
var ErrLocked = errors.New("another tune run is at work")

// holder is who has a lock: what its file says.
type holder struct {
	PID   int       `json:"pid"`
	Since time.Time `json:"since"`
	Dir   string    `json:"dir"`
}

// Held are the locks of a run, until Release.
type Held struct{ release []func() }

// Release lets others run. The system does it too when the process ends, however it does.
func (h *Held) Release() {
	for _, f := range h.release {
		f()
	}
	h.release = nil
}

// Lock keeps other runs out: those of the same folder, which would write the same journal, and all others of this host, which would disturb
// what this one times. The locks are on files of their own, which stay: those that are replaced by renaming cannot carry one.
func Lock(dir string) (*Held, error) {
	h, err := lockFolder(dir)
	if err != nil {
		return nil, err
	}
	all, err := lockFile(filepath.Join(os.TempDir(), "rooftune-tune.lock"), dir)
	switch {
	case errors.Is(err, ErrLocked):
		h.Release()
		return nil, err
	case err == nil:
		h.release = append(h.release, all)
	} // else the folder for temporary files cannot be written, and the other lock has to do
	return h, nil
}

func lockFolder(dir string) (*Held, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	one, err := lockFile(filepath.Join(dir, "tune.lock"), dir)
	if err != nil {
		return nil, err
	}
	return &Held{[]func(){one}}, nil
}

func lockFile(path, dir string) (unlock func(), err error) {
	// A lock that another user's run made has to be opened too.
	f := flock.New(path, flock.SetFlag(os.O_CREATE|os.O_RDWR), flock.SetPermissions(0o666))
	ok, err := f.TryLock()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if !ok {
		return nil, fmt.Errorf("%s: %w%s: wait for it to end", path, ErrLocked, heldBy(path))
	}
	me := holder{os.Getpid(), time.Now().UTC().Truncate(time.Second), dir}
	if raw, err := json.Marshal(me); err == nil {
		_ = os.WriteFile(path, append(raw, '\n'), 0o666) // who cannot write it holds it all the same
	}
	return func() {
		_ = os.Truncate(path, 0)
		f.Close()
	}, nil
}

// heldBy says who has a lock, as far as its file does.
func heldBy(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, 4<<10))
	if err != nil {
		return ""
	}
	var h holder
	if json.Unmarshal(raw, &h) != nil || h.PID <= 0 {
		return ""
	}
	return fmt.Sprintf(" (process %d since %s, folder %q)", h.PID, h.Since.Format(time.RFC3339), h.Dir)
}
