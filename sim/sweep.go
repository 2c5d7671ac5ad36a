package sim

import "github.com/rooftune/rooftune/kernels/tile"

// Sweep is the traffic of a call that goes through all of a problem's data once, at the level that takes the longest for it.
type Sweep struct {
	Level string
	Bytes int64   // read and written, a state twice
	Ns    float64 // at the level's measured rates: read and written bytes in pairs as in a copy, the rest as in a read
}

// SweepOf gives the slowest level's traffic of calls repeated on the same data. Where these are more than the nearer caches hold, a
// call that goes through them in order finds none of them there: what was used last is what is used last again. So all
// of them move, where Roof's bound leaves out as much as a cache could keep.
func SweepOf(d *Device, p tile.Problem) (Sweep, error) {
	n, err := problemBytes(p)
	if err != nil {
		return Sweep{}, err
	}
	read, written := n.read+n.shared+n.updated, n.written+n.updated
	footprint := n.read + n.shared + n.written + n.updated
	var slowest Sweep
	for i, l := range d.Levels {
		if footprint <= float64(d.maxBytesBefore(i)) {
			break
		}
		if ns := l.ns(read, written); ns > slowest.Ns {
			slowest = Sweep{l.Name, round(read + written), ns}
		}
	}
	return slowest, nil
}
