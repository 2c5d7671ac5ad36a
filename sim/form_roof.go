package sim

// FormRoof is the fastest time that a CPU's measured ceilings allow one program: the largest of what its simulated traffic takes at each level and
// of its flops at the measured rate. Unlike Roof it says nothing of other programs, and it takes medians, not the most ever seen: a level's is the faster of
// reading and copying, and where the program reads rows of tables that of reading such rows side by side, if this was measured there; of the last level the
// fastest of all, and it is spared what the last cache holds now and then of more than can be counted on.
func FormRoof(d *Device, p *Program, r *Result) Bound {
	times := map[string]float64{PartCompute: float64(r.Flops) / d.Rates[pathFMA] * 1e9}
	row, tables := p.tableRowBytes()
	for i, l := range d.Levels {
		bytes, rate := float64(r.Bytes[l.Name]), max(l.ReadBps, l.CopyBps)
		switch last := len(d.Levels) - 1; {
		case i == last:
			bytes *= 1 - d.held(r.footprint)
			for _, g := range l.Gathers {
				rate = max(rate, g.Bps)
			}
		case tables && len(l.Gathers) > 0:
			rate = l.gatherBps(row)
		}
		times[l.Name] = bytes / rate * 1e9
	}
	b := Bound{BoundBy: largest(times), Flops: r.Flops, Bytes: r.Bytes}
	b.RoofNs = times[b.BoundBy]
	return b
}
