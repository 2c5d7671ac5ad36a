package roofline

import (
	"fmt"
	"slices"
	"strings"

	"github.com/rooftune/rooftune/internal/machine"
	"github.com/rooftune/rooftune/internal/profile"
	"github.com/rooftune/rooftune/kernels/tile"
)

// positive writes a count, or that it is not known.
func positive(n int) string {
	if n <= 0 {
		return unknown
	}
	return fmt.Sprint(n)
}

func orUnknown(s string) string {
	if s == "" {
		return unknown
	}
	return s
}

func machineFacts(m *machine.Machine, measured *machine.Measured) []fact {
	var isas []string
	for _, isa := range m.ISAs {
		isas = append(isas, string(isa))
	}
	guest := "none seen"
	if m.Hypervisor != "" {
		guest = m.Hypervisor
	}
	steal := unknown
	if measured.StealPct >= 0 {
		steal = number(measured.StealPct) + " % of CPU time"
	}
	return []fact{
		{"CPU", orUnknown(m.Brand)},
		{"model", fmt.Sprintf("%s family %d model %d stepping %d", orUnknown(m.Vendor), m.Family, m.Model, m.Stepping)},
		{"system", orUnknown(m.OS) + "/" + orUnknown(m.Arch)},
		{"cores", positive(m.Cores) + ", logical " + positive(m.Threads) + ", usable " + positive(m.Usable)},
		{"hypervisor", guest},
		{"instruction sets", orUnknown(strings.Join(isas, ", "))},
		{"features", orUnknown(strings.Join(m.Features, " "))},
		{"fingerprint", orUnknown(m.Fingerprint)},
		{"steal while measuring ceilings", steal},
	}
}

// origin says where the numbers come from.
func (r *report) origin(p *profile.Profile, evidence *Evidence, stale int) {
	made := unknown
	if !p.Created.IsZero() {
		made = p.Created.UTC().Format("2006-01-02 15:04 UTC")
	}
	r.Origin = []fact{
		{"profile made", made},
		{"with", orUnknown(p.Go)},
		{"checksum", orUnknown(p.Checksum)},
		{"answers", fmt.Sprintf("%d, of which %d were tuned with other kernel sources than this program's", len(p.Entries), stale)},
	}
	if evidence == nil {
		r.Origin = append(r.Origin, fact{"journal", "none beside the profile: the other candidates' times are unknown"})
		return
	}
	began := unknown
	if !evidence.Created.IsZero() {
		began = evidence.Created.UTC().Format("2006-01-02 15:04 UTC")
	}
	r.Origin = append(r.Origin, fact{"journal", fmt.Sprintf("%d measured candidates, begun %s, strategy %s, seed %d", len(evidence.Trials), began, orUnknown(evidence.Strategy), evidence.Seed)})
}

func ceilingBlocks(measured *machine.Measured) []ceilingBlock {
	var threads []int
	for _, c := range measured.Ceilings {
		if !slices.Contains(threads, c.Threads) {
			threads = append(threads, c.Threads)
		}
	}
	slices.Sort(threads)
	var blocks []ceilingBlock
	for _, n := range threads {
		b := ceilingBlock{Threads: threadsText(n)}
		var isas []tile.ISA
		var rows []Spec
		for _, c := range measured.Ceilings {
			if c.Threads != n {
				continue
			}
			if !slices.Contains(isas, c.ISA) {
				isas = append(isas, c.ISA)
				b.ISAs = append(b.ISAs, string(c.ISA))
			}
			if s := (Spec{Kind: c.Kind, Level: c.Level, RowBytes: c.RowBytes}); !slices.Contains(rows, s) {
				rows = append(rows, s)
			}
		}
		slices.SortStableFunc(rows, func(a, b Spec) int { return rowOrder(a) - rowOrder(b) })
		for _, s := range rows {
			unit := ", GB/s"
			if s.Level == "" && s.RowBytes == 0 {
				unit = "" // its name says it
			}
			cells := []string{rowName(s) + unit}
			for _, isa := range isas {
				cell := unknown
				if c, ok := measured.Find(s.Kind, isa, s.Level, n, s.RowBytes); ok {
					cell = fmt.Sprintf("%s (%s to %s)", number(c.Median/1e9), number(c.Min/1e9), number(c.Max/1e9))
				}
				cells = append(cells, cell)
			}
			b.Rows = append(b.Rows, cells)
		}
		blocks = append(blocks, b)
	}
	return blocks
}

// levelRows gives name, reported size, measured size and latency of each memory level.
func levelRows(m *machine.Machine, measured *machine.Measured) [][]string {
	var rows [][]string
	for i, level := range levels {
		reported, size, latency := unknown, unknown, unknown
		if c, ok := m.Cache(i + 1); ok && c.Bytes > 0 {
			reported = bytesText(float64(c.Bytes))
		}
		for _, p := range measured.Plateaus {
			if p.Level == level {
				if p.Bytes > 0 {
					size = bytesText(float64(p.Bytes))
				}
				if p.NsPerLoad > 0 {
					latency = timeText(p.NsPerLoad)
				}
			}
		}
		if level == levelDRAM {
			reported, size = "no limit counted", "no limit counted"
		}
		rows = append(rows, []string{level, reported, size, latency})
	}
	return rows
}
