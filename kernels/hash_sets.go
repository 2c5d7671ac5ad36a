package kernels

import "fmt"

// ForwardSets computes several layers of one input, as queries, keys and values: each set of tables (with its bias) to its output, from one
// hash of the input. All sets have K tables of 2^Tau rows; their widths may differ. The inputs' own Input is in.Input of the first set and must be absent, or
// the same, in the others. Codes and Weights are those of outs[0].
func (o *HashLayer) ForwardSets(outs []HashOutputs, ins []HashInputs) error {
	if len(outs) == 0 || len(outs) != len(ins) {
		return refuse("outs", "as many as sets of tables, at least one", "%d for %d", len(outs), len(ins))
	}
	all := make([]hashArgs, len(ins))
	for i := range ins {
		in := ins[i]
		switch {
		case !in.Input.present():
			in.Input = ins[0].Input
		case len(in.Input.Data) > 0 && len(ins[0].Input.Data) > 0 && &in.Input.Data[0] != &ins[0].Input.Data[0]:
			return refuse(fmt.Sprintf("set %d: input", i), "absent, or that of the first set", "another")
		}
		args, err := o.check(&outs[i], &in)
		if err != nil {
			return fmt.Errorf("set %d: %w", i, err)
		}
		for _, before := range all[:i] {
			if overlaps(before.output, args.output) {
				return refuse(fmt.Sprintf("set %d: output", i), "apart from the other sets'", "overlapping memory")
			}
		}
		all[i] = args
	}
	first := &all[0]
	s := first.problem.Shape
	k := (s.D-1)/s.Tau + 1
	if first.codes == nil {
		first.codes = make([]int32, s.N*k)
	}
	if first.weights == nil {
		first.weights = make([]float32, s.N*k)
	}
	shared := &hashed{code: first.codes, weight: first.weights}
	for i, args := range all {
		if i > 0 {
			args.given = shared
		}
		if err := o.runHash(args); err != nil {
			return err
		}
	}
	return nil
}
