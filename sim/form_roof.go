package sim

// FormRoof is the fastest time that a CPU's measured ceilings allow one program: the largest of what its simulated traffic takes at each level and
// of its flops at the measured rate. Unlike Roof it says nothing of other programs, and it takes medians, not the most ever seen: a level's is the faster of
// reading and copying, and for rows of tables that of reading such rows side by side, where this was measured; of the last level the
// fastest of all, and it is spared what the last cache holds now and then of more than can be counted on.
func FormRoof(d *Device, p *Program, r *Result) Bound {
	times := map[string]float64{PartCompute: float64(r.Flops) / d.Rates[pathFMA] * 1e9}
	row, _ := p.tableRowBytes()
	for i, l := range d.Levels {
		bytes, rate, rows := float64(r.Bytes[l.Name]), max(l.ReadBps, l.CopyBps), 0.0 // rows: seconds for those of tables
		if i == len(d.Levels)-1 {
			bytes *= 1 - d.held(r.footprint)
			for _, g := range l.Gathers {
				rate = max(rate, g.Bps)
			}
		} else if len(l.Gathers) > 0 {
			bytes -= r.tables[i]
			rows = r.tables[i] / l.gatherBps(row)
		}
		times[l.Name] = (bytes/rate + rows) * 1e9
	}
	b := Bound{BoundBy: largest(times), Flops: r.Flops, Bytes: r.Bytes}
	b.RoofNs = times[b.BoundBy]
	return b
}
