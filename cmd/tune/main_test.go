package main

import (
	"archive/zip"
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/rooftune/rooftune/internal/machine"
	"github.com/rooftune/rooftune/internal/npz"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// TestMain makes this binary run as "tune" too, in scripts and for exec.Command.
func TestMain(m *testing.M) { testscript.Main(m, map[string]func(){"tune": main}) }

func TestScripts(t *testing.T) {
	schemas, err := filepath.Abs("schema")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(e *testscript.Env) error {
			m, err := machine.Detect()
			if err != nil {
				return err
			}
			config := filepath.Join(e.WorkDir, "config")
			e.Setenv("HOME", e.WorkDir)
			e.Setenv("XDG_CONFIG_HOME", config)
			e.Setenv("AppData", config)
			e.Setenv("FINGERPRINT", m.Fingerprint)
			e.Setenv("SCHEMAS", schemas)
			return nil
		},
		Condition: func(name string) (bool, error) {
			switch name {
			case "devfull":
				_, err := os.Stat("/dev/full")
				return err == nil, nil
			}
			return false, fmt.Errorf("unknown condition %s", name)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"npz":      writeNPZ,
			"schema":   validate,
			"oneline":  oneLine,
			"append":   appendGarbage,
			"measured": measured,
		},
	})
}

// oneLine checks that the last command's stderr is exactly one line that begins with "tune: ".
func oneLine(ts *testscript.TestScript, neg bool, args []string) {
	text := ts.ReadFile("stderr")
	if !strings.HasPrefix(text, "tune: ") || strings.Count(text, "\n") != 1 || !strings.HasSuffix(text, "\n") {
		ts.Fatalf("stderr is not one line: %.300q", text)
	}
}

// appendGarbage damages a file.
func appendGarbage(ts *testscript.TestScript, neg bool, args []string) {
	path := ts.MkAbs(args[0])
	data, err := os.ReadFile(path)
	ts.Check(err)
	ts.Check(os.WriteFile(path, append(data[:len(data)/2], "garbage"...), 0o644))
}

// measured runs tune and validates its document: measured SCHEMA ARGS... On a machine that is too noisy to
// measure, tune refuses instead, in one line, which is as right.
func measured(ts *testscript.TestScript, neg bool, args []string) {
	err := ts.Exec("tune", args[1:]...)
	if ts.ReadFile("stdout") == "" && err != nil {
		oneLine(ts, neg, nil)
		return
	}
	validate(ts, neg, args[:1])
}

// validate checks the last command's stdout against a schema: schema NAME.
func validate(ts *testscript.TestScript, neg bool, args []string) {
	text := ts.ReadFile("stdout")
	if !strings.HasPrefix(text, "{\n  \"schema\": 1") {
		ts.Fatalf("schema is not the first key: %.60q", text)
	}
	ts.Check(checkDocument(filepath.Join(ts.Getenv("SCHEMAS"), args[0]+".schema.json"), text))
}

func checkDocument(schema, text string) error {
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
	if err != nil {
		return err
	}
	s, err := jsonschema.NewCompiler().Compile(schema)
	if err != nil {
		return err
	}
	return s.Validate(doc)
}

func validateDocument(t *testing.T, name string, doc []byte) {
	t.Helper()
	if err := checkDocument(filepath.Join("schema", name+".schema.json"), string(doc)); err != nil {
		t.Fatal(err)
	}
}

// writeNPZ writes arrays of a ramp: npz FILE name:2,3[:float64|:fortran] ...
func writeNPZ(ts *testscript.TestScript, neg bool, args []string) {
	var arrays []npz.Array
	fortran := false
	for _, arg := range args[1:] {
		parts := strings.Split(arg, ":")
		var shape []int
		n := 1
		for d := range strings.SplitSeq(parts[1], ",") {
			v, err := strconv.Atoi(d)
			ts.Check(err)
			shape, n = append(shape, v), n*v
		}
		data := make([]float32, n)
		for i := range data {
			data[i] = 0.01*float32(i%17) - 0.08
		}
		a := npz.Array{Name: parts[0], Shape: shape, Data: data}
		if len(parts) > 2 && parts[2] == "float64" {
			a.Data = make([]float64, n)
		}
		fortran = fortran || len(parts) > 2 && parts[2] == "fortran"
		arrays = append(arrays, a)
	}
	path := ts.MkAbs(args[0])
	ts.Check(npz.Write(path, arrays))
	if fortran {
		ts.Check(markFortran(path))
	}
}

// markFortran rewrites an archive with every array marked as stored column by column.
func markFortran(path string) error {
	in, err := zip.OpenReader(path)
	if err != nil {
		return err
	}
	defer in.Close()
	var b bytes.Buffer
	out := zip.NewWriter(&b)
	for _, m := range in.File {
		r, err := m.Open()
		if err != nil {
			return err
		}
		data, err := io.ReadAll(r)
		if err != nil {
			return err
		}
		w, err := out.Create(m.Name)
		if err != nil {
			return err
		}
		head := bytes.IndexByte(data, '\n')
		swapped := bytes.Replace(data[:head], []byte("False"), []byte("True"), 1)
		data = append(append(swapped, ' '), data[head:]...) // the header keeps its length
		if _, err := w.Write(data); err != nil {
			return err
		}
	}
	if err := out.Close(); err != nil {
		return err
	}
	return os.WriteFile(path, b.Bytes(), 0o644)
}
