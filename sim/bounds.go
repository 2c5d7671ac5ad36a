package sim

// neededBytes counts what a program or problem must read and write of data that is wanted outside, each byte once.
type neededBytes struct {
	read    float64 // inputs
	written float64 // outputs
	updated float64 // state: read and written, in place if need be
	shared  float64 // tables, read by all workers
}

func (n *neededBytes) add(o neededBytes, times float64) {
	n.read += times * o.read
	n.written += times * o.written
	n.updated += times * o.updated
	n.shared = max(n.shared, o.shared)
}

// beyond is the least that a level must exchange with the nearer ones, for a call that is repeated on the same
// data: all bytes, less what the nearer levels may keep from call to call when each holds the
// most it can. A byte of state that is not kept is moved twice, so the bound lets the caches keep state first. In steady repetition the caches hold the
// same at the start as at the end of a call, so a kept byte saves one move of an input or an output, not of both. A cold
// call finds no inputs, but may leave all its outputs in the caches.
func (n neededBytes) beyond(d *Device, level int, cold bool) float64 {
	kept := float64(d.maxBytesBefore(level))
	if cold {
		return n.read + n.shared + n.updated + max(0, n.written+n.updated-kept)
	}
	state := max(0, n.updated-kept)
	return 2*state + max(0, n.read+n.shared+n.written-max(0, kept-n.updated))
}

// LowerBound is a time that no run of this program on this device can beat: the largest of the executed flops at the
// highest rate ever seen, and for each level the bytes it must move (inputs, outputs and state once, less what
// nearer levels may keep between calls) at the highest bandwidth ever seen. Scratch counts nothing, inputs once for all workers.
// It is Result.LowerBoundNs; callers that simulate anyway take that.
func LowerBound(d *Device, p *Program) (float64, error) {
	r, err := Simulate(d, p)
	if err != nil {
		return 0, err
	}
	return r.LowerBoundNs, nil
}
