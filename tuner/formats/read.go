// Package formats reads and writes the files of other tuners: Kernel Tuner's cache files, and the T1 (tuning problem)
// and T4 (results) files of the autotuning community.
//
// Files are read with limits on their size and count of entries, checked, and refused by name if their version is newer. Kernel
// Tuner writes its cache by appending and may be killed on the way: a file without its end is closed as Kernel Tuner would.
package formats

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
)

// Limits on what is read.
const (
	MaxBytes   = 1 << 29 // of a file, unpacked
	MaxEntries = 1 << 21
	maxRepeats = 1 << 16 // of one entry
)

// readFile reads a file, unpacked if it is gzip.
func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := readAll(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return data, nil
}

func readAll(r io.Reader) ([]byte, error) {
	b := bufio.NewReader(r)
	var in io.Reader = b
	if magic, _ := b.Peek(2); bytes.Equal(magic, []byte{0x1f, 0x8b}) {
		z, err := gzip.NewReader(b)
		if err != nil {
			return nil, err
		}
		in = z
	}
	data, err := io.ReadAll(io.LimitReader(in, MaxBytes+1))
	if err != nil {
		return nil, err
	}
	if len(data) > MaxBytes {
		return nil, fmt.Errorf("more than %d bytes", MaxBytes)
	}
	return data, nil
}

// withoutNonNumbers replaces NaN, Infinity and -Infinity, which Python writes and JSON lacks, by null.
func withoutNonNumbers(data []byte) []byte {
	words := [][]byte{[]byte("-Infinity"), []byte("Infinity"), []byte("NaN")}
	var out []byte
	done := 0
	for i := 0; i < len(data); i++ {
		switch data[i] {
		case '"':
			for i++; i < len(data) && data[i] != '"'; i++ {
				if data[i] == '\\' {
					i++
				}
			}
		case 'N', 'I', '-':
			for _, w := range words {
				if bytes.HasPrefix(data[i:], w) {
					out = append(append(out, data[done:i]...), "null"...)
					i += len(w) - 1
					done = i + 1
					break
				}
			}
		}
	}
	if done == 0 {
		return data
	}
	return append(out, data[done:]...)
}

// member is a key of an object with its value as text, in the file's order.
type member struct {
	key   string
	value json.RawMessage
}

// members reads an object and keeps the order of its keys. A key that comes twice keeps its first place and
// takes its last value, as in Python.
func members(data []byte) ([]member, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	t, err := d.Token()
	if err != nil {
		return nil, err
	}
	if t != json.Delim('{') {
		return nil, errors.New("is no object")
	}
	var list []member
	at := map[string]int{}
	for d.More() {
		k, err := d.Token()
		if err != nil {
			return nil, err
		}
		m := member{key: k.(string)}
		if err := d.Decode(&m.value); err != nil {
			return nil, fmt.Errorf("%.80q: %w", m.key, err)
		}
		if i, ok := at[m.key]; ok {
			list[i] = m
			continue
		}
		if len(list) == MaxEntries {
			return nil, fmt.Errorf("more than %d keys", MaxEntries)
		}
		at[m.key] = len(list)
		list = append(list, m)
	}
	if _, err := d.Token(); err != nil {
		return nil, err
	}
	return list, nil
}

// known refuses a version that this package does not know: only the first number counts.
func known(what, version string) error {
	if version != "" && version != "1" && !bytes.HasPrefix([]byte(version), []byte("1.")) {
		return fmt.Errorf("%s of version %.20q: only version 1 is known", what, version)
	}
	return nil
}
