package machine

import (
	"fmt"
	"strings"

	"github.com/rooftune/rooftune/internal/digest"
)

// fingerprintText is what a fingerprint hashes: facts that do not change
// between runs, one a line, under a version. Never the brand string (a
// hypervisor's fancy), nor anything that affinity, quota or load can change.
func fingerprintText(m *Machine) string {
	var b strings.Builder
	b.WriteString("rooftune-fingerprint-1\n")
	fmt.Fprintf(&b, "arch %s\nvendor %s\nfamily %d\nmodel %d\nstepping %d\n", m.Arch, m.Vendor, m.Family, m.Model, m.Stepping)
	fmt.Fprintf(&b, "features %s\n", strings.Join(m.Features, " "))
	for _, c := range m.Caches {
		// not SharedBy, which sysfs counts over the CPUs that are online now
		fmt.Fprintf(&b, "cache L%d %d line %d ways %d\n", c.Level, c.Bytes, c.LineBytes, c.Ways)
	}
	fmt.Fprintf(&b, "cores %d\n", m.Cores)
	hypervisor := m.Hypervisor
	if hypervisor == "" {
		hypervisor = "none"
	}
	fmt.Fprintf(&b, "hypervisor %s\n", hypervisor)
	return b.String()
}

// fingerprint is the first 16 hexadecimal digits of the text's SHA-256.
func fingerprint(m *Machine) string {
	return digest.Sum([]byte(fingerprintText(m)))[:16]
}
