package tuner

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/gofrs/flock"
)

// ErrLocked is wrapped by the error of a run whose folder another run is using.
var ErrLocked = errors.New("another tune run is using this folder")

// lock keeps other runs out of a folder until the returned function is called. The
// lock is on a file of its own, which stays: those that are replaced by renaming cannot carry one.
func lock(dir string) (unlock func(), err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	path := filepath.Join(dir, "tune.lock")
	l := flock.New(path)
	ok, err := l.TryLock()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if !ok {
		return nil, fmt.Errorf("%s: %w; wait for it, or give this one another folder", path, ErrLocked)
	}
	return func() { l.Close() }, nil
}
