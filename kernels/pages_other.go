//go:build !linux

package kernels

// adviseHuge does nothing where pages cannot be chosen.
func adviseHuge([]float32) {}
