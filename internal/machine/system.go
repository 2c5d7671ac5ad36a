package machine

import (
	"io/fs"
	"os"
	"strings"
)

// System says what a measurement should name of the operating system: its kernel, and where time and the CPU's frequency come from. Both
// are empty where the system has no files that say so.
func System() (kernel, clocks string) { return system(os.DirFS("/")) }

func system(root fs.FS) (kernel, clocks string) {
	kernel = strings.TrimSpace(readLine(root, "proc/sys/kernel/osrelease"))
	var parts []string
	for _, f := range []struct{ name, path string }{
		{"clocksource", "sys/devices/system/clocksource/clocksource0/current_clocksource"},
		{"governor", "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"},
		{"driver", "sys/devices/system/cpu/cpu0/cpufreq/scaling_driver"},
	} {
		if v := strings.TrimSpace(readLine(root, f.path)); v != "" {
			parts = append(parts, f.name+" "+v)
		}
	}
	if len(parts) == 1 {
		parts = append(parts, "frequency unknown")
	}
	const most = 200
	return clip(kernel, most), clip(strings.Join(parts, ", "), most)
}

func clip(s string, n int) string { return s[:min(n, len(s))] }
