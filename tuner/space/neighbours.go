package space

import "iter"

// Neighbourhood says which configs are one step from another, in Kernel Tuner's words.
type Neighbourhood string

// The neighbourhoods.
const (
	Hamming          Neighbourhood = "Hamming"           // any other value of one parameter
	Adjacent         Neighbourhood = "adjacent"          // every parameter at the same or a next value that the space has
	StrictlyAdjacent Neighbourhood = "strictly-adjacent" // every parameter at the same or the very next value
)

// Neighbours yields the neighbours of a config by their numbers, in an order that depends on nothing else.
//
// Hamming: by parameter, then by value. StrictlyAdjacent: positions differ by at most one everywhere. Adjacent:
// as that, but each parameter alone steps over values that no config of the space has with the others as they are;
// so a config whose next values are forbidden still has neighbours.
func (s *Space) Neighbours(config int, kind Neighbourhood) iter.Seq[int] {
	switch kind {
	case Hamming:
		return s.hamming(config)
	case Adjacent:
		return s.adjacent(config)
	}
	return s.strictlyAdjacent(config)
}

func (s *Space) hamming(config int) iter.Seq[int] {
	return func(yield func(int) bool) {
		row := append([]uint16(nil), s.Row(config)...)
		for k, p := range s.params {
			own := row[k]
			for x := range p.Values {
				if row[k] = uint16(x); row[k] == own {
					continue
				}
				if i, ok := s.Find(row); ok && !yield(i) {
					return
				}
			}
			row[k] = own
		}
	}
}

func (s *Space) strictlyAdjacent(config int) iter.Seq[int] {
	return func(yield func(int) bool) {
		own := s.Row(config)
		for i := range s.Len() {
			if i != config && within(own, s.Row(i)) && !yield(i) {
				return
			}
		}
	}
}

// within reports whether positions differ by at most one everywhere.
func within(a, b []uint16) bool {
	for k := range a {
		if d := int(a[k]) - int(b[k]); d < -1 || d > 1 {
			return false
		}
	}
	return true
}

func (s *Space) adjacent(config int) iter.Seq[int] {
	return func(yield func(int) bool) {
		own := s.Row(config)
		for i := range s.Len() {
			if i == config {
				continue
			}
			if within(own, s.Row(i)) && !yield(i) {
				return
			}
		}
		row := append([]uint16(nil), own...)
		for k, p := range s.params {
			for _, step := range []int{-1, 1} {
				for x := int(own[k]) + step; x >= 0 && x < len(p.Values); x += step {
					row[k] = uint16(x)
					if i, ok := s.Find(row); ok {
						if x != int(own[k])+step && !yield(i) { // the very next is there already
							return
						}
						break
					}
				}
			}
			row[k] = own[k]
		}
	}
}
