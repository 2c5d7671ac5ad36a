package gpu

import (
	"bytes"
	"encoding/json"
	"math"
	"os"
	"strings"
	"testing"
)

func TestErrors(t *testing.T) {
	rows := []Scored{
		{Row: &Row{Family: "a"}, MeasuredNs: 100, SimulatedNs: 110},
		{Row: &Row{Family: "a"}, MeasuredNs: 200, SimulatedNs: 140},
		{Row: &Row{Family: "b"}, MeasuredNs: 300, SimulatedNs: 450},
	}
	e := ErrorsOf(rows)
	if e.Rows != 3 || math.Abs(e.MAPE-30) > 1e-9 || math.Abs(e.MacroMAPE-35) > 1e-9 || math.Abs(e.Median-30) > 1e-9 || e.Spearman != 1 {
		t.Errorf("%+v", e)
	}
	if e := ErrorsOf(nil); e.MAPE != 0 || e.Rows != 0 {
		t.Errorf("%+v", e)
	}
}

const header = "id,family,kernel,algorithm,gpu,dtype,B,H,T,d_k,d_v,other_params,block_sizes_if_known,measured_ms,measured_TFLOPs,measured_GB_or_GBps,direction,tier,source,note\n"

func score(t *testing.T, rows string) *Score {
	t.Helper()
	r, err := ReadRows(strings.NewReader(header + rows))
	if err != nil {
		t.Fatal(err)
	}
	s, err := ScoreRows(r, testConstants(t))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Rows are never dropped in silence, and what was chosen for an unknown name is told.
func TestScoreResolves(t *testing.T) {
	s := score(t, `known,flash_attention,flash_attn2,softmax attention,H100-SXM,fp16,1,16,16384,128,128,causal=0,,5.943,,,fwd,A,,
algorithm,new_family,secret_kernel_7,chunked gated delta rule,B200,bf16,1,32,8192,128,128,,,1.0,,,fwd,A,,
family,fla_kda,secret_kernel_8,something,H200,bf16,1,32,8192,128,128,,,1.0,,,both,A,,
gpu,gemm_tensor,cublas_gemm,GEMM,NVIDIA H100 80GB HBM3 v2,bf16,,,,,,M=4096;K=4096;N=4096,,0.2,,,fwd,A,,
fp8,gemm_fp8,deepgemm,GEMM,H800,fp8,,,,,,M=4096;K=7168;N=2112,,0.1,,,fwd,A,,
decode,decode,flash_decode,attention decode,A100,bf16,16,32,1,128,128,kv_len=8192;h_kv=8,,0.5,,,fwd,A,,
gather,gather,tbe,embedding lookup,MI300X,fp16,4096,1,1,128,128,rows=1000000;pooling=20,,0.1,,,fwd,A,,
ssd,ssd,mamba_chunk_scan,SSD,RTX4090,bf16,2,32,8192,128,64,,,1.0,,,fwd,A,,
nccl,collective,nccl_all_reduce,ring,H100,bf16,,,,,,bytes=1073741824;gpus=8,,5.2,,,fwd,A,,
nokernel,quantum,teleport,entangling,H100-SXM,fp16,1,1,1,1,1,,,1,,,fwd,A,,
nogpu,flash_attention,flash_attn2,softmax attention,Abacus,fp16,1,16,16384,128,128,causal=0,,5.943,,,fwd,A,,
notime,flash_attention,flash_attn2,softmax attention,H100-SXM,fp16,1,16,16384,128,128,causal=0,,,,,fwd,A,,
tierx,flash_attention,flash_attn2,softmax attention,H100-SXM,fp16,1,16,16384,128,128,causal=0,,5,,,fwd,X,,
nodtype,flash_attention,flash_attn2,softmax attention,H100-SXM,fp17,1,16,16384,128,128,causal=0,,5,,,fwd,A,,
noshape,flash_attention,flash_attn2,softmax attention,H100-SXM,fp16,,,,,,causal=0,,5,,,fwd,A,,
`)
	if s.Rows != 15 || s.Scored != 9 || len(s.Unsupported) != 6 {
		t.Fatalf("%d rows, %d scored, unsupported %+v", s.Rows, s.Scored, s.Unsupported)
	}
	for i, want := range []struct{ id, reason string }{{"nokernel", "no program"}, {"nogpu", "unknown GPU"}, {"notime", "no measured"}, {"tierx", "tier X"}, {"nodtype", "fp17"}, {"noshape", "missing"}} {
		if u := s.Unsupported[i]; u.ID != want.id || !strings.Contains(u.Reason, want.reason) {
			t.Errorf("unsupported %+v, want %+v", u, want)
		}
	}
	programs := map[string]string{}
	for _, r := range s.All {
		programs[r.Row.ID] = r.Program + " " + r.Device
	}
	for id, want := range map[string]string{
		"known": "flash-attention-2 H100-SXM", "algorithm": "chunk-delta-rule B200", "family": "kda H200", "gpu": "gemm H100-SXM", "fp8": "gemm H800-SXM",
		"decode": "flash-attention-2 A100-40GB-SXM", "gather": "gather MI300X", "ssd": "mamba2 RTX4090", "nccl": "all-reduce H100-SXM",
	} {
		if programs[id] != want {
			t.Errorf("row %s ran %q, want %q", id, programs[id], want)
		}
	}
	all := strings.Join(s.Choices, "\n")
	for _, want := range []string{"secret_kernel_7", "secret_kernel_8", "v2", "deepgemm", "flash_decode"} {
		if !strings.Contains(all, want) {
			t.Errorf("choices do not tell of %s:\n%s", want, all)
		}
	}
	if strings.Contains(all, "flash_attn2") {
		t.Errorf("a known kernel is among the choices:\n%s", all)
	}
	if s.GPUBound.Rows != 6 || s.HostBound.Rows != 3 {
		t.Errorf("%d GPU-bound rows and %d host-bound", s.GPUBound.Rows, s.HostBound.Rows)
	}
}

// A score without rows is a document with empty lists, not with nulls.
func TestEmptyScore(t *testing.T) {
	text, err := json.Marshal(score(t, ""))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(text), "null") || !strings.Contains(string(text), `"unsupported":[]`) {
		t.Errorf("%s", text)
	}
}

func TestReadRowsRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"":                              "no header",
		"a,b\n":                         `"family" is missing`,
		"family,kernel,gpu\n":           `"direction" is missing`,
		header + "x,f,k,a,g,fp16,\"1\n": "rows:",
	} {
		if _, err := ReadRows(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want one with %q", text, err, want)
		}
	}
}

// TestBadCells: a row with a cell that is no number is named, and the others are scored.
func TestBadCells(t *testing.T) {
	for row, want := range map[string]string{
		"x,f,k,a,g,fp16,-1\n":                    "line 2: B",
		"x,f,k,a,g,fp16,1,one\n":                 "line 2: H",
		"x,f,k,a,g,fp16,1,1,1e999\n":             "line 2: T",
		"x,f,k,a,g,fp16,1,1,1,1,1,,,slow\n":      "measured_ms",
		"x,f,k,a,g,fp16,NaN,1,1,1,1,,,1,,,fwd\n": "line 2: B",
	} {
		rows, err := ReadRows(strings.NewReader(header + row + "y,gemm_tensor,cublas_gemm,GEMM,A100-80GB-SXM,fp16,1,,,,,M=4096;N=4096;K=4096,,1,,,fwd,A,,\n"))
		if err != nil || len(rows) != 2 {
			t.Errorf("%q: %d rows, %v", row, len(rows), err)
			continue
		}
		prepared, unsupported, _ := Prepare(rows)
		if len(unsupported) != 1 || unsupported[0].ID != "x" || !strings.Contains(unsupported[0].Reason, want) || len(prepared) != 1 {
			t.Errorf("%q: %d prepared, %+v", row, len(prepared), unsupported)
		}
	}
}

// sharedRows opens the published timings, which live beside the repository.
func sharedRows(t *testing.T) []Row {
	t.Helper()
	file, err := os.Open("../../../shared/gpu/measured.csv")
	if err != nil {
		t.Skip("no published timings here")
	}
	defer file.Close()
	rows, err := ReadRows(file)
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

// The embedded constants keep the accuracy that results/gpu-score.md states, on all rows and without one that has no answer.
func TestPublishedRows(t *testing.T) {
	rows := sharedRows(t)
	s, err := ScoreRows(rows, testConstants(t))
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Unsupported) > 0 || s.Scored != len(rows) {
		t.Errorf("%d of %d rows scored: %v", s.Scored, s.Rows, s.Unsupported)
	}
	if len(s.Choices) > 0 {
		t.Errorf("published names are not in the tables: %v", s.Choices)
	}
	if e := s.GPUBound.Errors; e.MAPE > 12 || e.MacroMAPE > 15 || e.Spearman < 0.98 {
		t.Errorf("GPU-bound rows: %+v", e)
	}
	// No kernel beats the bound that its program and device imply.
	m := map[string]*Machine{}
	prepared, _, _ := Prepare(rows)
	var e Estimate
	for _, p := range prepared {
		if m[p.Device.Name] == nil {
			m[p.Device.Name] = NewMachine(p.Device, testConstants(t))
		}
		r, err := p.Time(m[p.Device.Name], &e)
		if err != nil {
			t.Fatal(err)
		}
		if p.Row.MS >= gpuBoundMS && e.LowerBoundNs > r.MeasuredNs {
			t.Errorf("%s: lower bound %g ms is above the measured %g", p.Row.ID, e.LowerBoundNs/1e6, p.Row.MS)
		}
	}
}

func TestTrace(t *testing.T) {
	tpl, err := FindProgram("chunk-delta-rule")
	if err != nil {
		t.Fatal(err)
	}
	d, err := FindDevice("b200")
	if err != nil {
		t.Fatal(err)
	}
	r, err := Simulate(Request{Device: d, Template: tpl, DType: BF16, Direction: Both, Values: Values{"b": 1, "t": 8192, "hq": 32, "dk": 128}, Constants: testConstants(t)})
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := WriteTrace(&b, r); err != nil {
		t.Fatal(err)
	}
	var doc struct {
		TraceEvents []traceEvent `json:"traceEvents"`
	}
	if err := json.Unmarshal(b.Bytes(), &doc); err != nil {
		t.Fatal(err)
	}
	spans, end := 0, 0.0
	for _, e := range doc.TraceEvents {
		if e.Phase == "X" && e.TID == 1 {
			if e.TS < end-1e-6 {
				t.Errorf("%s starts at %g, before the last launch ends at %g", e.Name, e.TS, end)
			}
			spans, end = spans+1, e.TS+e.Dur
		}
	}
	if spans != len(r.Launches) || math.Abs(end-r.TimeNs/1e3) > 1e-6*end {
		t.Errorf("%d spans to %g us, want %d to %g", spans, end, len(r.Launches), r.TimeNs/1e3)
	}
}

// TestUnknownKernelNames: a name that is not known is resolved by the most particular of what the name, the algorithm and the family say.
func TestUnknownKernelNames(t *testing.T) {
	for _, c := range []struct{ kernel, algorithm, family, program string }{
		{"k1", "softmax attention", "std_attention", "attention"},
		{"k1", "softmax attention", "flash_attention3", "flash-attention-3"},
		{"k1", "softmax attention", "flash_attention", "flash-attention-2"},
		{"flash_fwd_v9", "softmax attention", "flash_attention3", "flash-attention-3"},
		{"flash_attn3_fp8", "softmax attention", "flash_attention", "flash-attention-3"},
		{"k1", "GEMM", "gemm_fp32", "sgemm"},
		{"k1", "GEMM", "gemm_tensor", "gemm"},
		{"k1", "tiled causal linear attention", "lightning", "lightning-attention-2"},
		{"k1", "chunkwise linear (fla Triton)", "fla_gla", "gla"},
		{"k1", "chunkwise linear (fla Triton)", "fla_delta", "chunk-delta-rule"},
		{"k1", "chunkwise linear (fla Triton)", "fla_linear_attn", "chunk-linear-attention"},
		{"chunk_gla_v2", "chunkwise linear (fla Triton)", "fla_delta", "gla"}, // a particular name stands
		{"k1", "retention parallel", "fla_retention", "parallel-retention"},
		{"k1", "elementwise norm", "stream", "row-norm"},
	} {
		got, note, err := resolveKernel(c.kernel, c.algorithm, c.family, "somewhere")
		if err != nil || got.Program != c.program || !strings.Contains(note, c.kernel) {
			t.Errorf("%+v: %+v, %q, %v", c, got, note, err)
		}
	}
	if _, _, err := resolveKernel("k1", "sorting", "other", ""); err == nil {
		t.Error("a program was found for sorting")
	}
}
