package machine

import (
	"reflect"
	"testing"
	"testing/fstest"
)

func TestNodes(t *testing.T) {
	list := func(s string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(s + "\n")} }
	const dir = "sys/devices/system/node/"
	for name, tt := range map[string]struct {
		files fstest.MapFS
		cpus  []int
		want  [][]int
	}{
		"two nodes":        {fstest.MapFS{dir + "node0/cpulist": list("0-3"), dir + "node1/cpulist": list("4-7")}, []int{0, 2, 4, 6, 1, 7}, [][]int{{0, 2, 1}, {4, 6, 7}}},
		"a node not ours":  {fstest.MapFS{dir + "node0/cpulist": list("0-3"), dir + "node1/cpulist": list("4-7")}, []int{5, 4}, [][]int{{5, 4}}},
		"memory alone":     {fstest.MapFS{dir + "node0/cpulist": list("0-1"), dir + "node1/cpulist": list("")}, []int{0, 1}, [][]int{{0, 1}}},
		"in number order":  {fstest.MapFS{dir + "node10/cpulist": list("1"), dir + "node2/cpulist": list("0")}, []int{0, 1}, [][]int{{0}, {1}}},
		"not listed":       {fstest.MapFS{}, []int{1, 0}, [][]int{{1, 0}}},
		"some not listed":  {fstest.MapFS{dir + "node0/cpulist": list("0")}, []int{1, 0}, [][]int{{1, 0}}},
		"damaged":          {fstest.MapFS{dir + "node0/cpulist": list("0-x")}, []int{0}, [][]int{{0}}},
		"nothing to place": {fstest.MapFS{dir + "node0/cpulist": list("0-3")}, nil, nil},
	} {
		if got := nodes(tt.files, tt.cpus); !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: %v, want %v", name, got, tt.want)
		}
	}
}
