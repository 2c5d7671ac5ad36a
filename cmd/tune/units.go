package main

import (
	"fmt"
	"math"
)

// nanoseconds gives a time with a unit that fits: "1.23 ms".
func nanoseconds(ns float64) string {
	for _, u := range []struct {
		scale float64
		name  string
	}{{1e9, "s"}, {1e6, "ms"}, {1e3, "µs"}} {
		if math.Abs(ns) >= u.scale {
			return fmt.Sprintf("%.3g %s", ns/u.scale, u.name)
		}
	}
	return fmt.Sprintf("%.3g ns", ns)
}

// amount gives a count with a decimal prefix: amount(1.5e9, "B") is "1.5 GB".
func amount(x float64, unit string) string {
	for _, p := range []struct {
		scale float64
		name  string
	}{{1e12, "T"}, {1e9, "G"}, {1e6, "M"}, {1e3, "k"}} {
		if math.Abs(x) >= p.scale {
			return fmt.Sprintf("%.3g %s%s", x/p.scale, p.name, unit)
		}
	}
	return fmt.Sprintf("%.3g %s", x, unit)
}
