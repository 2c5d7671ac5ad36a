package kernels

import (
	"fmt"
	"slices"
	"sync"

	"github.com/rooftune/rooftune/kernels/tile"
)

// driver is what a prepared op gives to a call.
type driver interface {
	parallel
	release()
}

// attentionDriver is a form of the attention ops.
type attentionDriver interface {
	driver
	set(attentionArgs)
	args() attentionArgs
}

// newAttentionDriver makes the form that a config asks for.
func newAttentionDriver(p tile.Problem, prim *tile.Primitives, cfg tile.Config) attentionDriver {
	switch {
	case p.Dir == tile.Backward && p.Op == tile.DeltaRule && behindFront(p):
		return newFrontBackward(p, prim, cfg)
	case p.Dir == tile.Backward && p.Op == tile.DeltaRule:
		return newDeltaBackward(p, prim, cfg)
	case p.Dir == tile.Backward && p.Full:
		return newFullBackward(p, prim, cfg)
	case p.Dir == tile.Backward:
		return newBackward(p, prim, cfg)
	case p.Full:
		return newFull(p, prim, cfg)
	case p.Precision == tile.BFloat16:
		return newPairAttention(p, prim, cfg)
	}
	if n := segmentCount(p, cfg); n > 1 {
		return newSegmented(p, prim, cfg, n)
	}
	if hasForms(p) && cfg["form"] == formRecurrence {
		return newRecurrence(p, prim, cfg)
	}
	return newAttention(p, prim, cfg)
}

// newHalfDriver adds the conversion of 16-bit arrays to a form that cannot do it.
func newHalfDriver(p tile.Problem, prim *tile.Primitives, cfg tile.Config) attentionDriver {
	if p.DType == tile.Float32 && p.StateDType == "" || hasForms(p) && cfg["form"] == formRecurrence {
		return newAttentionDriver(p, prim, cfg)
	}
	p.DType, p.StateDType = tile.Float32, ""
	return &widened{walker: newAttentionDriver(p, prim, cfg).(walker), converter: converter{prim: prim}}
}

// finisher is a driver with something to do after all parts.
type finisher interface{ finish() }

// foregoer is a driver with something to do, by all workers, before its parts: one thing after the other.
type foregoer interface{ before() []parallel }

// follower is a driver with something to do, by all workers, after its parts.
type follower interface{ after() parallel }

// Call is a problem prepared for one candidate, with the scratch of all its
// workers: running it allocates nothing. A Call is for one goroutine at a time.
type Call struct {
	Problem   tile.Problem
	Candidate tile.Candidate

	driver    driver
	attention attentionDriver // driver, where the op is one of the attention ops
	hash      hashDriver      // driver, where the op is hash-layer
	conv      *conv           // driver, where the op is causal-conv
	shared    shared
}

// newCall prepares a candidate for a problem, over the given table in place of the ISA's own if it is not nil.
func newCall(p tile.Problem, c tile.Candidate, prim *tile.Primitives) (*Call, error) {
	if err := CheckConfig(p, c); err != nil {
		return nil, err
	}
	if prim == nil {
		prim, _ = primitives(c.ISA)
	}
	x := &Call{Problem: p, Candidate: c}
	switch p.Op {
	case tile.HashLayer:
		x.hash = newHashDriver(p, prim, c.Config)
		x.driver = x.hash
	case tile.CausalConv:
		x.conv = &conv{}
		x.conv.withConfig(prim, c.Config)
		x.driver = x.conv
	default:
		x.attention = newHalfDriver(p, prim, c.Config)
		x.driver = x.attention
	}
	return x, nil
}

func (x *Call) run() {
	if f, ok := x.driver.(foregoer); ok {
		for _, p := range f.before() {
			run(p, &x.shared)
		}
	}
	run(x.driver, &x.shared)
	if f, ok := x.driver.(follower); ok {
		run(f.after(), &x.shared)
	}
	if f, ok := x.driver.(finisher); ok {
		f.finish()
	}
}

// resolved is a problem's choice with prepared calls that wait for their next use.
type resolved struct {
	choice Choice
	idle   sync.Pool
}

func (r *resolved) take() *Call {
	if x, ok := r.idle.Get().(*Call); ok {
		return x
	}
	x, err := newCall(r.choice.Problem, r.choice.Candidate, nil)
	if err != nil {
		panic(fmt.Sprintf("kernels: a checked choice cannot run: %v", err))
	}
	return x
}

func (r *resolved) give(x *Call) {
	x.driver.release()
	r.idle.Put(x)
}

// resolveGiven is resolve for a caller that may have chosen already. A given candidate must be one that may run here.
func resolveGiven(p tile.Problem, given *tile.Candidate) (*resolved, error) {
	if given == nil {
		return resolve(p)
	}
	if p.Threads == 0 {
		s, err := selected()
		if err != nil {
			return nil, err
		}
		p.Threads = s.machine.Usable
	}
	if !slices.Contains(ISAs(), given.ISA) {
		return nil, refuse("Candidate", "of an ISA that may run here", "ISA %q", given.ISA)
	}
	if err := CheckConfig(p, *given); err != nil {
		return nil, err
	}
	return &resolved{choice: Choice{Problem: p, Candidate: *given}}, nil
}

// forwardAttention is the way of both attention ops: arguments, choice, call.
func forwardAttention(o attentionOp, out *Outputs, in *Inputs) error {
	args, err := o.check(out, in)
	if err != nil {
		return err
	}
	return runAttention(args, o.candidate)
}

// runAttention runs checked arguments with the given candidate or the selected one.
func runAttention(args attentionArgs, candidate *tile.Candidate) error {
	problem := args.problem
	if args.offsets != nil {
		problem = alikePacked(problem)
	}
	r, err := resolveGiven(problem, candidate)
	if err != nil {
		return err
	}
	args.problem.Threads = r.choice.Problem.Threads
	c := r.take()
	defer r.give(c)
	c.attention.set(args)
	c.run()
	return nil
}
