package profile

import (
	"bytes"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// On a full disk the error is reported and the old profile stays.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=32k"); err != nil {
		t.Skip("needs the right to mount a small file system: ", err)
	}
	t.Cleanup(func() { syscall.Unmount(dir, 0) })
	t.Setenv("TMPDIR", dir)
	path := filepath.Join(dir, "p.json")
	if err := sample().Write(path); err != nil {
		t.Fatal(err)
	}
	old, _ := os.ReadFile(path)
	if err := os.WriteFile(filepath.Join(dir, "ballast"), make([]byte, 64<<10), 0o644); err == nil {
		t.Fatal("the disk is not full")
	}
	p := sample()
	for i := range 40 {
		p.Entries = append(p.Entries, entry(attention(2000+i, 8, 128), "avx2", 1e6))
	}
	if err := p.Write(path); err == nil {
		t.Fatal("written on a full disk")
	}
	if now, _ := os.ReadFile(path); !bytes.Equal(old, now) {
		t.Fatal("the old profile is gone")
	}
}
