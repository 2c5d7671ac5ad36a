package tile

import (
	"fmt"
	"strings"
)

// The ops.
const (
	LinearAttention = "linear-attention" // rules linear and gated
	DeltaRule       = "delta-rule"       // rules delta and gated_delta
	HashLayer       = "hash-layer"       // MemoryFormer's memory layer
	CausalConv      = "causal-conv"      // ONNX CausalConvWithState, rules none and silu (its activation)
)

// The update rules, named as in ONNX LinearAttention.
const (
	RuleLinear     = "linear"
	RuleGated      = "gated"
	RuleDelta      = "delta"
	RuleGatedDelta = "gated_delta"
)

// Where a problem's decay comes from.
const (
	DecayNone  = "none"  // rules linear and delta
	DecayFixed = "fixed" // one log decay a head for all tokens (Lightning Attention-2, retention)
	DecayHead  = "head"  // one log decay a token and head: input (B, T, Hkv)
	DecayKey   = "key"   // one log decay a token, head and key: input (B, T, Hkv*dk)
)

// The feature maps of linear attention.
const (
	MapNone = ""
	MapReLU = "relu"   // max(x, 0)
	MapELU  = "elu1"   // elu(x)+1: x+1 for x >= 0, exp(x) else
	MapExp  = "exp"    // exp(x)
	MapL2   = "l2norm" // x / sqrt(sum of squares + eps)
)

// FeatureMaps lists them.
func FeatureMaps() []string { return []string{MapNone, MapReLU, MapELU, MapExp, MapL2} }

// What a delta rule does to its arrays before the rule, as layers of these models compute it; with any feature map of queries and keys after it.
const (
	FrontNone      = ""
	FrontSiLU      = "silu"       // queries, keys and values become x * sigmoid(x)
	FrontGates     = "gates"      // beta becomes sigmoid(beta), decay becomes -exp(decay_log) * softplus(decay + decay_bias)
	FrontSiLUGates = "silu_gates" // both
)

// Fronts lists them.
func Fronts() []string { return []string{FrontNone, FrontSiLU, FrontGates, FrontSiLUGates} }

// GatesApart names separate gates of erasing and writing, of a key and a value channel each, as in Gated DeltaNet-2.
const GatesApart = "apart"

// FrontHas says whether a front takes a part, FrontSiLU or FrontGates.
func FrontHas(front, part string) bool { return front == part || front == FrontSiLUGates }

// The types that arrays are stored in. Sums are float32.
const (
	Float32  = "float32"
	BFloat16 = "bfloat16"
	Float16  = "float16"
	Int8     = "int8" // tables of hash layers alone, with a scale a row
)

// The directions.
const (
	Forward  = "fwd"
	Backward = "bwd" // gradients of the inputs from those of the outputs
)

// The weightings of a hash layer: the paper's p(z), or the released code's
// |z|_1 p(z).
const (
	WeightingPaper    = "paper"
	WeightingReleased = "released"
)

// Shape is the size of a problem. Attention ops use B to Dv, hash layers N to
// Tau, causal convolutions B and C to K; the other fields stay zero.
type Shape struct {
	B   int `json:"b,omitempty"`   // batch
	T   int `json:"t,omitempty"`   // tokens
	Hq  int `json:"hq,omitempty"`  // query heads
	Hkv int `json:"hkv,omitempty"` // key, value and state heads
	Dk  int `json:"dk,omitempty"`  // key width
	Dv  int `json:"dv,omitempty"`  // value width

	N   int `json:"n,omitempty"`   // tokens of a hash layer
	D   int `json:"d,omitempty"`   // input width, K*tau
	H   int `json:"h,omitempty"`   // output width
	Tau int `json:"tau,omitempty"` // bits of a code

	C int `json:"c,omitempty"` // channels of a causal convolution, with B
	L int `json:"l,omitempty"` // its tokens
	K int `json:"k,omitempty"` // its taps
}

// String gives the shape in the form that the command line reads:
// "b=1,t=4096,hq=8,hkv=8,dk=128,dv=128" or "n=32,d=1024,h=1024,tau=8".
func (s Shape) String() string {
	if s.C != 0 {
		return fmt.Sprintf("b=%d,c=%d,l=%d,k=%d", s.B, s.C, s.L, s.K)
	}
	if s.D != 0 {
		return fmt.Sprintf("n=%d,d=%d,h=%d,tau=%d", s.N, s.D, s.H, s.Tau)
	}
	return fmt.Sprintf("b=%d,t=%d,hq=%d,hkv=%d,dk=%d,dv=%d", s.B, s.T, s.Hq, s.Hkv, s.Dk, s.Dv)
}

// Problem is an op with its shape, dtype, direction and thread count. It is
// comparable, so it can be the key of a map.
type Problem struct {
	Op        string `json:"op"`
	Rule      string `json:"rule,omitempty"`
	Shape     Shape  `json:"shape"`
	DType     string `json:"dtype"`               // of all arrays but the states: Float32, BFloat16 or Float16; of a hash layer's tables: Float32, BFloat16 or Int8
	Dir       string `json:"dir"`                 // Forward or Backward
	Threads   int    `json:"threads"`             // workers, at least 1
	Decay     string `json:"decay,omitempty"`     // attention ops
	Weighting string `json:"weighting,omitempty"` // hash layers

	// StateDType is the attention ops' type of past and present state, "" for float32.
	StateDType string `json:"state_dtype,omitempty"`

	// Precision is that of products: "" for float32, or BFloat16 for operands rounded to bfloat16 with sums and states in float32
	// (linear-attention, forward, decay not per key). Of a hash layer with int8 tables it is that of weights: "" for 16 bits or float32, Int8
	// for 8 bits.
	Precision string `json:"precision,omitempty"`

	// Options of linear-attention, the last of delta-rule too.
	Full       bool   `json:"full,omitempty"`        // not causal
	Normalize  bool   `json:"normalize,omitempty"`   // outputs are divided by q . (sum of keys)
	FeatureMap string `json:"feature_map,omitempty"` // of queries and keys; MapL2 alone of delta-rule

	Front string `json:"front,omitempty"` // delta-rule: FrontNone to FrontSiLUGates
	Gates string `json:"gates,omitempty"` // delta-rule: GatesApart where beta erases and another gate writes, else empty
}

// String names the problem on one line, for tables and messages.
func (p Problem) String() string {
	var b strings.Builder
	b.WriteString(p.Op)
	if p.Rule != "" {
		b.WriteString("/" + p.Rule)
	}
	if p.Decay == DecayFixed || p.Decay == DecayKey {
		b.WriteString("(" + p.Decay + ")")
	}
	if p.DType != Float32 {
		b.WriteString(" " + p.DType)
	}
	if p.StateDType != "" {
		b.WriteString(" (state " + p.StateDType + ")")
	}
	if p.Precision != "" {
		b.WriteString(" (products " + p.Precision + ")")
	}
	if p.Full {
		b.WriteString("(full)")
	}
	if p.Normalize {
		b.WriteString("(normalized)")
	}
	if p.FeatureMap != MapNone {
		b.WriteString("(" + p.FeatureMap + ")")
	}
	if p.Front != FrontNone {
		b.WriteString("(" + p.Front + ")")
	}
	if p.Gates != "" {
		b.WriteString("(gates " + p.Gates + ")")
	}
	if p.Dir == Backward {
		b.WriteString(" backward")
	}
	if p.Weighting == WeightingReleased {
		b.WriteString("(released)")
	}
	fmt.Fprintf(&b, " %s x%d", p.Shape, p.Threads)
	return b.String()
}
