package machine

import "testing"

func TestParseSteal(t *testing.T) {
	steal, total, ok := parseSteal("cpu  2137 0 1894 302647 122 0 20 81 7 0\ncpu0 1 2 3\n")
	if !ok || steal != 81 || total != 2137+1894+302647+122+20+81 {
		t.Errorf("got %d of %d, %v", steal, total, ok)
	}
	for _, in := range []string{"", "cpu 1 2 3", "cpu0 1 2 3 4 5 6 7 8", "cpu a b c d e f g h", "cpu -1 0 0 0 0 0 0 0"} {
		if _, _, ok := parseSteal(in); ok {
			t.Errorf("parseSteal(%q) is ok", in)
		}
	}
}

func TestArmIdentity(t *testing.T) {
	const text = "processor\t: 0\nCPU implementer\t: 0x41\nCPU architecture: 8\nCPU variant\t: 0x3\nCPU part\t: 0xd0c\nCPU revision\t: 1\n\n" +
		"processor\t: 1\nCPU implementer\t: 0x42\nCPU variant\t: 0x1\nCPU part\t: 0x1\nCPU revision\t: 9\n"
	implementer, variant, part, revision, ok := armIdentity(text)
	if !ok || implementer != 0x41 || variant != 3 || part != 0xd0c || revision != 1 {
		t.Errorf("got %#x %d %#x %d %v", implementer, variant, part, revision, ok)
	}
	for _, in := range []string{"", "vendor_id : AuthenticAMD", "CPU implementer : huge"} {
		if _, _, _, _, ok := armIdentity(in); ok {
			t.Errorf("armIdentity(%q) is ok", in)
		}
	}
}

func FuzzProc(f *testing.F) {
	f.Add("cpu  2137 0 1894 302647 122 0 20 81 7 0\n")
	f.Add("MemAvailable: 1 kB\n")
	f.Fuzz(func(t *testing.T, s string) {
		if steal, total, ok := parseSteal(s); ok && steal > total {
			t.Errorf("steal %d above total %d", steal, total)
		}
		if n := parseMemAvailable(s); n < 0 {
			t.Errorf("memory %d", n)
		}
		armIdentity(s)
	})
}
