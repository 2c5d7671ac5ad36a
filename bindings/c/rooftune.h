/*
 * rooftune.h: linear-time sequence operators for C.
 *
 * Library: go build -tags librooftune -buildmode=c-shared -o librooftune.so ./bindings/c
 * Program: cc program.c -I bindings/c -L . -lrooftune
 *
 * Conventions
 *   - Every array is dense, row-major and the caller's. The library keeps no pointer after a call returns.
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
#define ROOFTUNE_ABI 1

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
	ROOFTUNE_FLOAT16 = 2
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

/* Maps of queries and keys, for the rules LINEAR and GATED. */
enum {
	ROOFTUNE_MAP_NONE = 0,
	ROOFTUNE_MAP_RELU = 1,   /* max(x, 0) */
	ROOFTUNE_MAP_ELU1 = 2,   /* elu(x) + 1 */
	ROOFTUNE_MAP_EXP = 3,    /* exp(x) */
	ROOFTUNE_MAP_L2NORM = 4  /* x / sqrt(sum of squares + feature_map_eps) */
};

/* rooftune_attention describes linear attention and the delta rules. */
typedef struct rooftune_attention {
	int64_t q_heads;         /* Hq: query heads, a multiple of kv_heads (or, with inverse_gqa, a divisor) */
	int64_t kv_heads;        /* Hkv: key, value and state heads */
	int32_t rule;            /* ROOFTUNE_LINEAR, ... */
	float scale;             /* 0: 1/sqrt(dk) */
	const float *head_decay; /* kv_heads log decays for all tokens, in place of the decay input; NULL: none */
	int32_t full;            /* LINEAR: every token reads the state after the last one (not causal) */
	int32_t feature_map;     /* LINEAR, GATED: ROOFTUNE_MAP_NONE, ... */
	float feature_map_eps;
	int32_t normalize;       /* LINEAR, GATED: divide by scale * q . (sum of keys) + normalize_eps */
	float normalize_eps;
	int32_t inverse_gqa;     /* allow q_heads < kv_heads */
	int32_t bf16_products;   /* LINEAR, GATED, forward: products of operands rounded to bfloat16, where the CPU has them */
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
	rooftune_tensor beta;            /* (B, T, Hkv) or (B, T, 1); rules DELTA and GATED_DELTA */
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
	rooftune_tensor output;        /* in: (B, T, Hq*dv) */
	rooftune_tensor present_state; /* in: (B, Hkv, dk, dv), absent: zeros */
	rooftune_tensor query;         /* out: as query */
	rooftune_tensor key;           /* out: as key */
	rooftune_tensor value;         /* out: as value */
	rooftune_tensor past_state;    /* out: (B, Hkv, dk, dv), optional */
	rooftune_tensor decay;         /* out: as decay, optional */
	rooftune_tensor beta;          /* out: as beta, optional */
} rooftune_attention_gradients;

/* Weightings of rooftune_hash_layer. */
enum {
	ROOFTUNE_WEIGHTING_PAPER = 0,   /* prod_i 1/(1 + exp(-2 |z_i|)) */
	ROOFTUNE_WEIGHTING_RELEASED = 1 /* |z|_1 times that, as the released code has it */
};

/* rooftune_hash_layer describes MemoryFormer's memory layer. */
typedef struct rooftune_hash_layer {
	int32_t tau;       /* bits of a code, 1 to 16 */
	int32_t weighting; /* ROOFTUNE_WEIGHTING_PAPER, ... */
	int32_t threads;   /* 0: all that this process may use */
} rooftune_hash_layer;

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

/*
 * output (N, h) = bias + sum over k of weight_k tables[k][code_k], for input (N, d) and tables (ceil(d/tau), 2^tau, h), float32.
 * bias (h) is optional (NULL). codes (N, ceil(d/tau)) and weights of the same shape receive the hash where they are not NULL.
 */
int32_t rooftune_hash_layer_forward(const rooftune_hash_layer *op, const rooftune_tensor *input, const rooftune_tensor *tables,
	const rooftune_tensor *bias, const rooftune_tensor *output, int32_t *codes, float *weights, char *message, size_t size);

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
