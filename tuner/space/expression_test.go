package space

import (
	"strings"
	"testing"
)

// The values are what Python 3 gives.
func TestExpressions(t *testing.T) {
	vars := map[string]Value{"a": IntValue(7), "b": IntValue(-2), "s": TextValue("tile"), "f": FloatValue(0.5), "t": BoolValue(true)}
	for source, want := range map[string]string{
		"1 + 2*3":                        "7",
		"-2**2":                          "-4",
		"2**-1":                          "0.5",
		"2**3**2":                        "512",
		"a // b":                         "-4",
		"a % b":                          "-1",
		"-7 // 2":                        "-4",
		"-7 % 3":                         "2",
		"7 / 2":                          "3.5",
		"6 / 2":                          "3.0",
		"6.0 // 4":                       "1.0",
		"a % (a / 7)":                    "0.0",
		"32 <= a * 8 <= 1024":            "True",
		"1 < a < 5":                      "False",
		"3 > 2 == 2":                     "True",
		"a == 7 and b":                   "-2",
		"a == 6 or s":                    "tile",
		"not a == 6":                     "True",
		"not (a == 7 and b == -2)":       "False",
		"a in [1, 7]":                    "True",
		"a not in (1, 7)":                "False",
		"s in ['tile', \"row\"]":         "True",
		"'il' in s":                      "True",
		"t + 1":                          "2",
		"True == 1":                      "True",
		"1 if a > 8 else 2":              "2",
		"len([i for i in range(1, 11)])": "10",
		"sum([2**i for i in range(6)])":  "63",
		"max([x*x for x in [3,-4]])":     "16",
		"max(a)":                         "7",
		"min(a, b, f)":                   "-2",
		"abs(b)":                         "2",
		"int(-3.7)":                      "-3",
		"round(2.5)":                     "2",
		"1e3":                            "1000.0",
		"1e-5":                           "1e-05",
		"1_000":                          "1000",
		"s + 's'":                        "tiles",
		"False or 0":                     "0",
		"a == 7 or 1/0":                  "True",
		"sum([i for i in 3])":            "!",
		"1/0":                            "!",
		"a % 0":                          "!",
		"a < s":                          "!",
		"unknown":                        "!",
		"2**60":                          "!",
		"2**2**99":                       "!",
		"range(10**9)":                   "!",
		"[1]*3":                          "!",
		"__import__('os')":               "!",
		"a.real":                         "!",
		"open(s)":                        "!",
		"lambda: 1":                      "!",
		"(1":                             "!",
		"1 1":                            "!",
		"":                               "!",
		"'a\\n'":                         "!",
		"a[0]":                           "!",
	} {
		got := "!"
		if e, err := ParseExpression(source); err == nil {
			if v, err := e.Evaluate(vars); err == nil {
				got = v.String()
			}
		}
		if got != want {
			t.Errorf("%s = %s, want %s", source, got, want)
		}
	}
}

func TestLists(t *testing.T) {
	for source, want := range map[string]string{
		"[1] + [2 * i for i in range(1, 4)]":                   "1,2,4,6",
		"[1, 2] + list(range(32, 96+1, 32))":                   "1,2,32,64,96",
		"[i for i in range(10) if i % 2 == 1 if i > 4]":        "5,7,9",
		"range(5, 0, -2)":                                      "5,3,1",
		"[len([j for j in range(i)]) + i for i in range(1,3)]": "2,4",
		"['a', \"b\",]":                                        "a,b",
		"(1, 2.0, True)":                                       "1,2.0,True",
		"[sum([i*j for j in [1, 2]]) for i in [1, 10]]":        "3,30",
	} {
		e, err := ParseExpression(source)
		if err != nil {
			t.Errorf("%s: %v", source, err)
			continue
		}
		list, err := e.List(nil)
		if err != nil || Key(list) != want {
			t.Errorf("%s = %s, %v, want %s", source, Key(list), err, want)
		}
	}
}

func TestDeepNesting(t *testing.T) {
	for _, s := range []string{"(", "[", "-", "not ", "1**", "1 if 1 else "} {
		if _, err := ParseExpression(strings.Repeat(s, 5000) + "1"); err == nil {
			t.Errorf("%q repeated 5000 times was accepted", s)
		}
	}
}

func FuzzExpression(f *testing.F) {
	for _, s := range []string{
		"use_shmem == 0 or (((block_size_x*tile_size_x+(filter_width-1)))*((block_size_y*tile_size_y+(filter_height-1)))) < 12*1024",
		"32 <= a * b <= 1024", "KWG % ((MDIMC * NDIMC)/MDIMA) == 0", "[2**i for i in range(0, 6)]", "[1, 2] + list(range(32, 1024+1, 32))",
		"not (a in ['x', 'y'] and 1.5e3 // b)", "[i for i in range(9) if i if 2]", "max(a) if a else -a**2",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, source string) {
		e, err := ParseExpression(source)
		if err != nil {
			return
		}
		vars := map[string]Value{}
		for i, n := range e.Names() {
			vars[n] = []Value{IntValue(3), FloatValue(-0.5), TextValue("x"), BoolValue(true)}[i%4]
		}
		o, err := e.evaluate(vars)
		p, err2 := e.evaluate(vars)
		if (err == nil) != (err2 == nil) || err == nil && compare("==", o, p).truth() != true {
			t.Errorf("%q gives %v, then %v", source, o, p)
		}
	})
}
