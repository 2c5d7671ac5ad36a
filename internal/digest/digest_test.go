package digest

import "testing"

func TestSum(t *testing.T) {
	// FIPS 180-2, appendix B.1 and the empty message.
	const abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
	const empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	for _, c := range []struct {
		want string
		data [][]byte
	}{
		{empty, nil},
		{empty, [][]byte{{}, nil}},
		{abc, [][]byte{[]byte("abc")}},
		{abc, [][]byte{[]byte("a"), nil, []byte("bc")}},
	} {
		if got := Sum(c.data...); got != c.want {
			t.Errorf("Sum(%q) = %s, want %s", c.data, got, c.want)
		}
	}
}
