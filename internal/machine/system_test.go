package machine

import (
	"testing"
	"testing/fstest"
)

func TestSystem(t *testing.T) {
	if kernel, clocks := system(fstest.MapFS{}); kernel != "" || clocks != "" {
		t.Errorf("%q, %q", kernel, clocks)
	}
	root := fstest.MapFS{
		"proc/sys/kernel/osrelease":                                       {Data: []byte("6.1.0\n")},
		"sys/devices/system/clocksource/clocksource0/current_clocksource": {Data: []byte("tsc\n")},
	}
	if kernel, clocks := system(root); kernel != "6.1.0" || clocks != "clocksource tsc, frequency unknown" {
		t.Errorf("%q, %q", kernel, clocks)
	}
	root["sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"] = &fstest.MapFile{Data: []byte("performance\n")}
	if _, clocks := system(root); clocks != "clocksource tsc, governor performance" {
		t.Error(clocks)
	}
}
