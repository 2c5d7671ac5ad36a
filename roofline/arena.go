package roofline

import "unsafe"

// float32s shows the whole of an arena as numbers.
func (a *arena) float32s() []float32 {
	return unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(a.data))), len(a.data)/4)
}

// uint32s shows the whole of an arena as indices.
func (a *arena) uint32s() []uint32 {
	return unsafe.Slice((*uint32)(unsafe.Pointer(unsafe.SliceData(a.data))), len(a.data)/4)
}

// fill gives every element a finite value that is not zero, and with it every page real memory: a
// page that was only read would be the system's one page of zeros.
func fill(p []float32) {
	for i := range p {
		p[i] = 1
	}
}
