package machine

import (
	"fmt"
	"maps"
	"testing/fstest"
)

// files makes a file system from paths and contents.
func files(contents map[string]string) fstest.MapFS {
	fsys := fstest.MapFS{}
	for name, text := range contents {
		fsys[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return fsys
}

// cacheIndex is one cache folder of a fake sysfs; empty values give no file.
func cacheIndex(cpu, index int, level, kind, size, line, ways, shared string) map[string]string {
	dir := fmt.Sprintf("%s/cpu%d/cache/index%d/", cpuDir, cpu, index)
	out := map[string]string{}
	for name, v := range map[string]string{
		"level": level, "type": kind, "size": size, "coherency_line_size": line,
		"ways_of_associativity": ways, "shared_cpu_list": shared,
	} {
		if v != "" {
			out[dir+name] = v + "\n"
		}
	}
	return out
}

func join(maps_ ...map[string]string) map[string]string {
	out := map[string]string{}
	for _, m := range maps_ {
		maps.Copy(out, m)
	}
	return out
}
