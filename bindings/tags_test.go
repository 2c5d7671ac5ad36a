//go:build !noasm

package bindings

// tags are the build tags of this test that what it builds must have too.
const tags = ""
