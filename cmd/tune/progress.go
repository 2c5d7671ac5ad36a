package main

import (
	"fmt"
	"time"

	"github.com/schollz/progressbar/v3"
)

// progress is a bar on stderr with what is being measured and the time left.
// It draws only between measurements, when it is told of the next one, and
// has no goroutine that could disturb one. Without a terminal it does nothing.
type progress struct {
	bar *progressbar.ProgressBar
	out *output
}

func (o *output) newProgress() *progress { return &progress{out: o} }

// step shows that done of total parts are over and what comes next.
func (p *progress) step(done, total int, what string) {
	if p.out.progress == nil || total <= 0 {
		return
	}
	if p.bar == nil {
		p.bar = progressbar.NewOptions(total,
			progressbar.OptionSetWriter(p.out.progress),
			progressbar.OptionSetWidth(16),
			progressbar.OptionThrottle(100*time.Millisecond),
			progressbar.OptionSetPredictTime(true),
			progressbar.OptionShowDescriptionAtLineEnd(),
			progressbar.OptionClearOnFinish(),
		)
	}
	if p.bar.GetMax() != total {
		p.bar.ChangeMax(total)
	}
	const room = 40 // what is left of 80 columns
	if r := []rune(what); len(r) > room {
		what = string(r[:room-1]) + "…"
	}
	p.bar.Describe(what)
	_ = p.bar.Set(min(done, total))
}

// found prints a line above the bar.
func (p *progress) found(line string) {
	if p.out.progress == nil {
		return
	}
	if p.bar != nil {
		_ = p.bar.Clear()
	}
	fmt.Fprintln(p.out.progress, line)
}

// finish removes the bar.
func (p *progress) finish() {
	if p.bar != nil {
		_ = p.bar.Clear()
		p.bar = nil
	}
}
