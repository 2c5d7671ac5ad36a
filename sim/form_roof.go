package sim

// FormRoof is the fastest time that a CPU's measured ceilings allow one program: the largest of what its simulated traffic takes at each level and
// of its flops at the measured rate. Unlike Roof it says nothing of other programs, and it takes medians, not the most ever seen: a level's is the faster of
// reading and copying, the last one's also of reading whole rows side by side.
func FormRoof(d *Device, r *Result) Bound {
	times := map[string]float64{PartCompute: float64(r.Flops) / d.Rates[pathFMA] * 1e9}
	for i, l := range d.Levels {
		rate := max(l.ReadBps, l.CopyBps)
		if i == len(d.Levels)-1 {
			for _, g := range d.Gathers {
				rate = max(rate, g.Bps)
			}
		}
		times[l.Name] = float64(r.Bytes[l.Name]) / rate * 1e9
	}
	b := Bound{BoundBy: largest(times), Flops: r.Flops, Bytes: r.Bytes}
	b.RoofNs = times[b.BoundBy]
	return b
}
