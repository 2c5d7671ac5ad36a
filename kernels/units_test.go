package kernels

import "testing"

// Heads are cut where threads would get unequal numbers of them, and into no more parts than that takes.
func TestEvenSplit(t *testing.T) {
	for _, c := range []struct{ heads, threads, most, want int }{
		{0, 2, 4, 1}, {1, 1, 4, 1}, {1, 2, 4, 2}, {1, 2, 1, 1}, {1, 3, 4, 3}, {1, 3, 2, 2}, {2, 3, 4, 3}, {3, 2, 4, 2}, {3, 4, 4, 4},
		{4, 2, 4, 1}, {7, 2, 4, 2}, {9, 2, 4, 1}, {16, 2, 4, 1}, {16, 6, 8, 3},
	} {
		if got := evenSplit(c.heads, c.threads, c.most); got != c.want {
			t.Errorf("%d heads on %d threads in at most %d parts: %d, want %d", c.heads, c.threads, c.most, got, c.want)
		}
	}
}
