package roofline

import (
	"fmt"
	"math"
)

// bytesText gives "32 KiB", "1.5 MiB", "256 B".
func bytesText(b float64) string {
	for _, u := range []struct {
		size float64
		name string
	}{{1 << 30, "GiB"}, {1 << 20, "MiB"}, {1 << 10, "KiB"}} {
		if b >= u.size {
			return number(b/u.size) + " " + u.name
		}
	}
	return number(b) + " B"
}

// number gives three significant digits, without an exponent.
func number(v float64) string {
	switch a := math.Abs(v); {
	case a >= 100 || v == math.Trunc(v) && a >= 1:
		return fmt.Sprintf("%.0f", v)
	case a >= 10:
		return fmt.Sprintf("%.1f", v)
	default:
		return fmt.Sprintf("%.3g", v)
	}
}

// timeText gives nanoseconds in the unit that suits them: "1.23 ms".
func timeText(ns float64) string {
	switch {
	case ns >= 1e9:
		return number(ns/1e9) + " s"
	case ns >= 1e6:
		return number(ns/1e6) + " ms"
	case ns >= 1e3:
		return number(ns/1e3) + " µs"
	}
	return number(ns) + " ns"
}
