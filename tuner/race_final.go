package tuner

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/rooftune/rooftune/kernels/tile"
	"github.com/rooftune/rooftune/tuner/stats"
)

// finals runs round two and the final, and returns who is in the final, with
// their blocks; none if there were too few good blocks.
func (r *race) finals(ctx context.Context) ([]*contender, error) {
	quiet := r.clock.Quiet(r.problem.Threads)
	defer quiet()
	field := r.shortlist()
	if old := r.recallField(field); old != nil {
		field = old
	} else {
		if err := r.semifinal(ctx, &field); err != nil {
			return nil, err
		}
		if n := r.affordable(0.9*float64(r.left(r.until)), goodBlocks, finalists); len(field) > n {
			field = keep(field, n, r.incumbent)
		}
		if err := r.enrol(field); err != nil {
			return nil, err
		}
	}
	if err := r.prepareAll(&field); err != nil {
		return nil, err
	}
	good := len(field[0].blocks)
	for n := 0; good < maxBlocks; n++ {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		end := r.until
		if good < minBlocks {
			end = r.last
		}
		if r.left(end) < blockTime(field) {
			break
		}
		ok, err := r.block(field, n)
		if err != nil {
			return nil, err
		}
		if !ok {
			continue
		}
		if good++; good >= goodBlocks && detectable(field) < wellKnown {
			break
		}
	}
	if good < minBlocks {
		return nil, nil
	}
	return field, nil
}

// shortlist lists the right contenders that are near the best of round one, best first, and the incumbent.
func (r *race) shortlist() []*contender {
	var field []*contender
	for _, x := range r.all {
		if x.verdict == verdictOK {
			field = append(field, x)
		}
	}
	slices.SortStableFunc(field, func(a, b *contender) int { return cmp.Compare(a.cost, b.cost) })
	if len(field) == 0 {
		return nil
	}
	best := field[min(1, len(field)-1)].cost // the lowest of many is often one whose incumbent was disturbed
	return slices.DeleteFunc(field, func(x *contender) bool { return x != r.incumbent && x.cost > nearBest*best })
}

// keep cuts a sorted field to n, of which the incumbent is one.
func keep(field []*contender, n int, incumbent *contender) []*contender {
	n = min(n, len(field))
	kept := slices.Clone(field[:n])
	if !slices.Contains(kept, incumbent) {
		if n > 1 {
			kept = kept[:n-1]
		} else {
			kept = nil // with time for one the incumbent stays: nothing beat it beyond doubt
		}
		kept = append(kept, incumbent)
	}
	return kept
}

// affordable is how many contenders can have so many blocks (and two more for
// preparation) in so many nanoseconds: at least one, at most limit.
func (r *race) affordable(ns float64, blocks, limit int) int {
	one := r.incumbent.call.wall * float64(r.incumbent.call.runs)
	return max(1, min(limit, int(ns/(float64(blocks+2)*one))))
}

// semifinal cuts a long field by a few blocks, if there is time for them.
func (r *race) semifinal(ctx context.Context, field *[]*contender) error {
	n := r.affordable(0.4*float64(r.left(r.until)), semiBlocks, semifinal)
	if len(*field) <= finalists || n <= finalists {
		return nil
	}
	semi := keep(*field, n, r.incumbent)
	if err := r.enrol(semi); err != nil {
		return err
	}
	if err := r.prepareAll(&semi); err != nil {
		return err
	}
	good := 0
	for n := 0; good < semiBlocks && n < 2*semiBlocks && r.left(r.until) > blockTime(semi); n++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		ok, err := r.block(semi, n)
		if err != nil {
			return err
		}
		if ok {
			good++
		}
	}
	if good > 0 {
		at := map[*contender]float64{}
		for _, x := range semi {
			at[x] = stats.Median(x.blocks)
		}
		slices.SortStableFunc(semi, func(a, b *contender) int { return cmp.Compare(at[a], at[b]) })
	}
	*field = semi
	return nil
}

// enrol journals who takes part in the blocks to come, and forgets blocks before it. Who is out is closed.
func (r *race) enrol(field []*contender) error {
	l := &line{Kind: kindFinalists, Problem: &r.problem, ISA: r.isa, SourceHash: r.hash}
	for _, x := range r.all {
		x.blocks = nil
		if !slices.Contains(field, x) && x != r.incumbent {
			x.close()
		}
	}
	for _, x := range field {
		l.Configs = append(l.Configs, x.config)
	}
	return r.journal.append(l)
}

// recallField restores the finalists of the journal with their blocks; nil if it
// has none, or if they do not fit what is known now.
func (r *race) recallField(shortlist []*contender) []*contender {
	old := r.past.finalists
	r.past.finalists = nil // a second final, after a disqualification, starts from the shortlist
	if old == nil || len(old.Configs) > finalists {
		return nil
	}
	var field []*contender
	for _, c := range old.Configs {
		i := slices.IndexFunc(shortlist, func(x *contender) bool { return x.config.String() == c.String() })
		if i < 0 {
			return nil
		}
		field = append(field, shortlist[i])
	}
	if !slices.Contains(field, r.incumbent) {
		return nil
	}
	for _, b := range r.past.blocks {
		if !slices.EqualFunc(b.Configs, old.Configs, func(x, y tile.Config) bool { return x.String() == y.String() }) {
			continue
		}
		for i, x := range field {
			x.blocks = append(x.blocks, b.BlockNs[i])
		}
		r.resumed++
	}
	return field
}

// prepareAll opens the calls of a field; who fails now is out.
func (r *race) prepareAll(field *[]*contender) error {
	for _, x := range slices.Clone(*field) {
		if err := r.prepare(x); err != nil {
			x.verdict = verdictFailed
			r.result.Wrong++
			*field = slices.DeleteFunc(*field, func(y *contender) bool { return y == x })
			if err := r.note(x, err.Error()); err != nil {
				return err
			}
		}
	}
	if len(*field) == 0 {
		return fmt.Errorf("%s, %s: no candidate could be run again", r.problem, r.isa)
	}
	return nil
}

// blockTime is how long a block of a field takes.
func blockTime(field []*contender) time.Duration {
	var calls []batched
	for _, x := range field {
		calls = append(calls, x.call)
	}
	_, takes := plan(calls)
	return takes
}

// block times batches of each contender and journals it if it is good.
func (r *race) block(field []*contender, k int) (bool, error) {
	calls := make([]batched, len(field))
	l := &line{Kind: kindBlock, Problem: &r.problem, ISA: r.isa, SourceHash: r.hash}
	for i, x := range field {
		calls[i] = x.call
		l.Configs = append(l.Configs, x.config)
	}
	ns, good, err := r.meter.block(calls, rotation(len(field), k))
	if err != nil {
		return false, fmt.Errorf("%s, %s: %w", r.problem, r.isa, err)
	}
	if !good {
		return false, nil
	}
	for i, x := range field {
		x.blocks = append(x.blocks, ns[i])
	}
	l.BlockNs = ns
	return true, r.journal.append(l)
}

// unsteady says why there is no answer.
func (r *race) unsteady() string {
	blocks, voided := r.meter.blocks-r.began.blocks, r.meter.voided-r.began.voided
	text := fmt.Sprintf("the machine was not steady: %d of %d blocks void", voided, blocks)
	if timed := r.meter.timed - r.began.timed; timed > 0 {
		text += fmt.Sprintf("; other processes and the hypervisor took %.0f %% of their time", 100*float64(r.meter.taken-r.began.taken)/float64(timed))
	}
	return text
}
