/*
 * rooftune.h: linear-time sequence operators for C.
 *
 * Library: go build -tags librooftune -buildmode=c-shared -o librooftune.so ./bindings/c
 * Program: cc program.c -I bindings/c -L . -lrooftune
 *
 * Conventions
 *   - Every array is dense, row-major and the caller's. The library keeps no pointer after a call returns, but
 *     for prepared tables: those say so.
 *   - A tensor whose ndim is 0 is absent. An empty array (a dimension of 0) may have data NULL.
 *   - A function returns ROOFTUNE_OK, or another status and a message that names the argument, what it was and what it must be. The message
 *     is written to `message` (at most `size` bytes, always ended by a zero byte; NULL with 0 for none). Nothing else is written then.
 *   - A struct that is all zeros asks for every default; set what differs. Compare rooftune_abi() with ROOFTUNE_ABI once, at start.
 *   - All functions may be called from any thread at any time. A call uses op->threads workers (0: all that the process may use).
 *   - Which kernel runs is chosen at the first call, from the machine's profile (see rooftune_load and rooftune_explain). The same choice and
 *     the same number of threads give the same bits, from C as from Go and Python.
 *   - Inputs must not overlap outputs, with one exception: present_state may be the memory of past_state (in place).
 */
#ifndef ROOFTUNE_H
#define ROOFTUNE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Version of the structs and functions below. It changes when a program must be compiled again. */
#define ROOFTUNE_ABI 2

#define ROOFTUNE_MAX_DIMS 5

/* What a function returns. */
enum {
	ROOFTUNE_OK = 0,
	ROOFTUNE_INVALID_ARGUMENT = 1, /* an argument is wrong: the message names it */
	ROOFTUNE_FAILED = 2            /* a profile cannot be read, or the library found itself wrong */
};

/* Types of elements. Sums are float32 whatever the arrays are. */
enum {
	ROOFTUNE_FLOAT32 = 0,
	ROOFTUNE_BFLOAT16 = 1,
	ROOFTUNE_FLOAT16 = 2,
	ROOFTUNE_INT8 = 3 /* prepared tables only, with one scale a row */
};

/* rooftune_tensor is a dense row-major array. */
typedef struct rooftune_tensor {
	void *data;
	int64_t shape[ROOFTUNE_MAX_DIMS];
	int32_t ndim;  /* 0: absent */
	int32_t dtype; /* ROOFTUNE_FLOAT32, ... */
} rooftune_tensor;

/* Update rules of rooftune_attention, as in ONNX LinearAttention. S is a head's state (dk x dv), o = scale * S^T q:
 *   LINEAR       S += k v^T
 *   GATED        S *= exp(decay); S += k v^T
 *   DELTA        S += k (beta * (v - S^T k))^T
 *   GATED_DELTA  S *= exp(decay); S += k (beta * (v - S^T k))^T
 */
enum {
	ROOFTUNE_LINEAR = 0,
	ROOFTUNE_GATED = 1,
	ROOFTUNE_DELTA = 2,
	ROOFTUNE_GATED_DELTA = 3
};

/* Maps of queries and keys; of the delta rules L2NORM alone. */
enum {
	ROOFTUNE_MAP_NONE = 0,
	ROOFTUNE_MAP_RELU = 1,   /* max(x, 0) */
	ROOFTUNE_MAP_ELU1 = 2,   /* elu(x) + 1 */
	ROOFTUNE_MAP_EXP = 3,    /* exp(x) */
	ROOFTUNE_MAP_L2NORM = 4  /* x / sqrt(sum of squares + feature_map_eps) */
};

/* What layers of Gated DeltaNet, Kimi Delta Attention and Qwen3.5 do to the arrays before a delta rule, in the same pass:
 *   SILU   query, key, value = x * sigmoid(x), then the map of queries and keys
 *   GATES  beta = beta_scale * sigmoid(beta); decay = -exp(decay_log) * softplus(decay + decay_bias)
 */
enum {
	ROOFTUNE_FRONT_NONE = 0,
	ROOFTUNE_FRONT_SILU = 1,
	ROOFTUNE_FRONT_GATES = 2,
	ROOFTUNE_FRONT_SILU_GATES = 3
};

/* rooftune_attention describes linear attention and the delta rules. */
typedef struct rooftune_attention {
	int64_t q_heads;         /* Hq: query heads, a multiple of kv_heads (or, with inverse_gqa, a divisor) */
	int64_t kv_heads;        /* Hkv: key, value and state heads */
	int32_t rule;            /* ROOFTUNE_LINEAR, ... */
	float scale;             /* 0: 1/sqrt(dk) */
	const float *head_decay; /* kv_heads log decays for all tokens, in place of the decay input; NULL: none */
	int32_t full;            /* LINEAR: every token reads the state after the last one (not causal) */
	int32_t feature_map;     /* ROOFTUNE_MAP_NONE, ... */
	float feature_map_eps;
	int32_t normalize;       /* LINEAR, GATED: divide by scale * q . (sum of keys) + normalize_eps */
	float normalize_eps;
	int32_t inverse_gqa;     /* allow q_heads < kv_heads */
	int32_t bf16_products;   /* forward: products of operands rounded to bfloat16, where the CPU has them */
	int32_t front;           /* DELTA, GATED_DELTA: ROOFTUNE_FRONT_NONE, ... */
	float beta_scale;        /* factor of beta with GATES, 0: 1; 2 allows negative eigenvalues */
	int32_t threads;         /* 0: all that this process may use */
} rooftune_attention;

/* Inputs of an attention call. B batch, T tokens, dk and dv the widths of a key and of a value. */
typedef struct rooftune_attention_inputs {
	rooftune_tensor query;           /* (B, T, Hq*dk) */
	rooftune_tensor key;             /* (B, T, Hkv*dk) */
	rooftune_tensor value;           /* (B, T, Hkv*dv) */
	rooftune_tensor past_state;      /* (B, Hkv, dk, dv), absent: zeros */
	rooftune_tensor past_normalizer; /* (B, Hkv, dk), with normalize; absent: zeros */
	rooftune_tensor decay;           /* (B, T, Hkv) or (B, T, Hkv*dk), natural logarithm; rules GATED and GATED_DELTA */
	rooftune_tensor beta;            /* (B, T, Hkv) or (B, T, 1); rules DELTA and GATED_DELTA; with write also (B, T, Hkv*dk) */
	rooftune_tensor write;           /* (B, T, Hkv) or (B, T, Hkv*dv), such rules: gates what is written, beta what is erased; absent: beta gates both */
	rooftune_tensor decay_log;       /* (Hkv), with a front that has gates; absent: zeros */
	rooftune_tensor decay_bias;      /* (Hkv), or (Hkv*dk) where decay is per key, with such a front; absent: zeros */
	const int64_t *offsets;          /* packed sequences (B = 1): rows offsets[i] to offsets[i+1] are sequence i; NULL: none */
	int64_t offsets_count;           /* sequences + 1; the states are then (sequences, Hkv, dk, dv) */
	const int64_t *keep;             /* ascending numbers of tokens after which kept_states takes the state; NULL: none */
	int64_t keep_count;
} rooftune_attention_inputs;

/* Outputs of an attention call. */
typedef struct rooftune_attention_outputs {
	rooftune_tensor output;             /* (B, T, max(Hq, Hkv)*dv) */
	rooftune_tensor present_state;      /* (B, Hkv, dk, dv), optional */
	rooftune_tensor present_normalizer; /* (B, Hkv, dk), optional, with normalize */
	rooftune_tensor kept_states;        /* (keep_count, B, Hkv, dk, dv), with keep */
} rooftune_attention_outputs;

/* Gradients of a loss with respect to the outputs, and where those of the inputs go. float32. */
typedef struct rooftune_attention_gradients {
	rooftune_tensor output;             /* in: (B, T, Hq*dv) */
	rooftune_tensor present_state;      /* in: (B, Hkv, dk, dv), absent: zeros */
	rooftune_tensor present_normalizer; /* in: (B, Hkv, dk), with normalize; absent: zeros */
	rooftune_tensor query;              /* out: as query */
	rooftune_tensor key;                /* out: as key */
	rooftune_tensor value;              /* out: as value */
	rooftune_tensor past_state;         /* out: (B, Hkv, dk, dv), optional */
	rooftune_tensor past_normalizer;    /* out: (B, Hkv, dk), optional, with normalize */
	rooftune_tensor decay;              /* out: as decay, optional */
	rooftune_tensor beta;               /* out: as beta, optional */
	rooftune_tensor write;              /* out: as write, optional */
	rooftune_tensor decay_log;          /* out: (Hkv), optional, with a front that has gates */
	rooftune_tensor decay_bias;         /* out: (Hkv), or (Hkv*dk) where decay is per key, optional, with such a front */
} rooftune_attention_gradients;

/* Weightings of rooftune_hash_layer. */
enum {
	ROOFTUNE_WEIGHTING_PAPER = 0,   /* prod_i 1/(1 + exp(-2 |z_i|)) */
	ROOFTUNE_WEIGHTING_RELEASED = 1 /* |z|_1 times that, as the released code has it */
};

/* rooftune_hash_layer describes MemoryFormer's memory layer:
 *   output = bias + sum over k of w_k tables[k, code_k]
 * for K = ceil(d/tau) parts z_k of an input row, code_k being the signs of z_k (bit 1 where z >= 0, the first number the highest bit).
 */
typedef struct rooftune_hash_layer {
	int32_t tau;          /* bits of a code, 1 to 16 */
	int32_t weighting;    /* ROOFTUNE_WEIGHTING_PAPER, ... */
	int32_t int8_weights; /* with tables of ROOFTUNE_INT8: weights of 8 bits, faster where the CPU multiplies bytes; 0: of at least 16 */
	int32_t threads;      /* 0: all that this process may use */
} rooftune_hash_layer;

/* rooftune_hash_tables are tables made ready once, for any number of calls from any thread. See rooftune_hash_tables_prepare. */
typedef struct rooftune_hash_tables rooftune_hash_tables;

/* Layouts of prepared tables. */
enum {
	ROOFTUNE_LAYOUT_BOTH = 0,
	ROOFTUNE_LAYOUT_ROWS = 1,  /* best for few tokens; no copy where the type stays */
	ROOFTUNE_LAYOUT_PANELS = 2 /* best for many tokens; a copy */
};

/* Inputs of a hash layer. N tokens, d and h the widths of an input and of an output row. */
typedef struct rooftune_hash_inputs {
	rooftune_tensor input;                /* (N, d), float32 */
	rooftune_tensor tables;               /* (K, 2^tau, h), float32 or bfloat16; absent with prepared */
	const rooftune_hash_tables *prepared; /* NULL: none */
	rooftune_tensor bias;                 /* (h), float32, optional */
} rooftune_hash_inputs;

/* Outputs of a hash layer. */
typedef struct rooftune_hash_outputs {
	rooftune_tensor output; /* (N, h), float32 */
	int32_t *codes;         /* (N, K), NULL: not wanted */
	float *weights;         /* (N, K), NULL: not wanted */
} rooftune_hash_outputs;

/* Gradients of a loss with respect to the output, and where those of the inputs go. float32; an absent one is not computed. */
typedef struct rooftune_hash_gradients {
	rooftune_tensor output; /* in: (N, h) */
	rooftune_tensor input;  /* out: (N, d) */
	rooftune_tensor tables; /* out: (K, 2^tau, h), zero where no token's code points */
	rooftune_tensor bias;   /* out: (h) */
} rooftune_hash_gradients;

/* rooftune_causal_conv describes ONNX CausalConvWithState: a convolution over time of its own for each channel. */
typedef struct rooftune_causal_conv {
	int32_t silu;    /* 1: output is y * sigmoid(y) */
	int32_t threads; /* 0: all that this process may use */
} rooftune_causal_conv;

#ifndef ROOFTUNE_TYPES_ONLY

/* ROOFTUNE_ABI of the library that was loaded. */
int32_t rooftune_abi(void);

/* Output and state after the last token. T = 0 hands the state on. */
int32_t rooftune_attention_forward(const rooftune_attention *op, const rooftune_attention_inputs *in,
	const rooftune_attention_outputs *out, char *message, size_t size);

/* Gradients of the inputs of the forward call on `in`. */
int32_t rooftune_attention_backward(const rooftune_attention *op, const rooftune_attention_inputs *in,
	const rooftune_attention_gradients *grads, char *message, size_t size);

/* Output of a hash layer, and its codes and weights where they are wanted. */
int32_t rooftune_hash_layer_forward(const rooftune_hash_layer *op, const rooftune_hash_inputs *in, const rooftune_hash_outputs *out,
	char *message, size_t size);

/*
 * Several layers over one input, as queries, keys and values: `count` sets of tables (with their biases and outputs) from one hash. The input is
 * that of in[0]; it is absent in the others. Codes and weights are those of out[0].
 */
int32_t rooftune_hash_layer_forward_sets(const rooftune_hash_layer *op, const rooftune_hash_inputs *in, const rooftune_hash_outputs *out,
	int64_t count, char *message, size_t size);

/* Gradients of a hash layer. Codes have none. The tables are float32. */
int32_t rooftune_hash_layer_backward(const rooftune_hash_layer *op, const rooftune_hash_inputs *in, const rooftune_hash_gradients *grads,
	char *message, size_t size);

/*
 * Makes tables (K, 2^tau, h) of float32 or bfloat16 ready, stored as `dtype` (ROOFTUNE_FLOAT32, ROOFTUNE_BFLOAT16 or ROOFTUNE_INT8; not wider than
 * they are) and laid out as `layout`, and sets *prepared. Where the type stays and the layout has rows, the caller's memory is used: it must stay, unchanged, until
 * rooftune_hash_tables_free.
 */
int32_t rooftune_hash_tables_prepare(const rooftune_tensor *tables, int32_t dtype, int32_t layout, rooftune_hash_tables **prepared,
	char *message, size_t size);

/* The same of int8 values (K, 2^tau, h) with a scale, not negative, for each row: scales (K, 2^tau). The memory of both is used as above. */
int32_t rooftune_hash_tables_quantized(const int8_t *values, const float *scales, const int64_t shape[3], int32_t layout,
	rooftune_hash_tables **prepared, char *message, size_t size);

/*
 * The same from a file, mapped into memory: .npy (float32, or uint16 as bfloat16) or safetensors, `tensor` naming one in it (NULL: "tables", or
 * the only one). dtype -1 keeps the file's type.
 */
int32_t rooftune_hash_tables_open(const char *path, const char *tensor, int32_t dtype, int32_t layout, rooftune_hash_tables **prepared,
	char *message, size_t size);

/* The shape (K, 2^tau, h) and type of prepared tables, and the bytes that they take, the caller's memory or file included. */
void rooftune_hash_tables_info(const rooftune_hash_tables *prepared, int64_t shape[3], int32_t *dtype, int64_t *bytes);

/* Gives prepared tables back. No call may be using them; NULL is ignored. Later calls with them are refused. */
void rooftune_hash_tables_free(rooftune_hash_tables *prepared);

/*
 * output (B, C, L) from input (B, C, L), weight (C, 1, K), bias (C) and past_state (B, C, K-1), the last two optional (NULL).
 * present_state (B, C, K-1) receives the last K-1 inputs where it is not NULL; it may be the memory of past_state.
 */
int32_t rooftune_causal_conv_forward(const rooftune_causal_conv *op, const rooftune_tensor *input, const rooftune_tensor *weight,
	const rooftune_tensor *bias, const rooftune_tensor *past_state, const rooftune_tensor *output,
	const rooftune_tensor *present_state, char *message, size_t size);

/* Choose from the profile at path first (as `tune` writes it); NULL or "": the usual places. On failure the choice stays as it was. */
int32_t rooftune_load(const char *path, char *message, size_t size);

/*
 * Which kernel runs a problem, from where and why, as JSON in `text`. The problem is JSON too, with the keys that `tune --json` prints, e.g.
 * {"op":"delta-rule","rule":"gated_delta","decay":"head","dtype":"float32","dir":"fwd","shape":{"b":1,"t":1,"hq":8,"hkv":8,"dk":128,"dv":128}}.
 * On failure the text is the message. *needed, where it is not NULL, receives the size that holds the whole text and its zero byte.
 */
int32_t rooftune_explain(const char *problem, char *text, size_t size, size_t *needed);

/* End the workers that calls of several threads have started. A later call starts new ones. */
void rooftune_close(void);

#endif /* ROOFTUNE_TYPES_ONLY */

#ifdef __cplusplus
}
#endif

#endif /* ROOFTUNE_H */
