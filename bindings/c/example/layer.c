/*
 * The attention of a Qwen3.5-shaped layer (gated delta rule, 16 query and key heads over 32 value heads, d = 128): a prompt, then tokens
 * one by one with the state updated in place.
 *
 *   cc -O2 bindings/c/example/layer.c -I bindings/c -L . -lrooftune -Wl,-rpath,'$ORIGIN' -o layer
 *   ./layer [FILE]      FILE receives every output and then the last state, as float32
 */
#include "rooftune.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { Q_HEADS = 16, V_HEADS = 32, D = 128, PROMPT = 100, STEPS = 8 };

/* draw gives numbers from -1 to 1: the same ones in every language that has 32-bit integers. */
static uint32_t seed = 1;
static float draw(void)
{
	seed = seed * 1664525u + 1013904223u;
	return (float)(seed >> 8) / 8388608.0f - 1.0f;
}

static float *fill(size_t n, float scale, float shift)
{
	float *x = malloc(n * sizeof *x);
	if (x == NULL) {
		perror("malloc");
		exit(1);
	}
	for (size_t i = 0; i < n; i++) {
		float d = draw() * scale;
		x[i] = d + shift;
	}
	return x;
}

static rooftune_tensor tokens(float *data, int64_t count, int64_t width)
{
	rooftune_tensor t = {.data = data, .shape = {1, count, width}, .ndim = 3, .dtype = ROOFTUNE_FLOAT32};
	return t;
}

static double seconds(void)
{
	struct timespec t;
	timespec_get(&t, TIME_UTC);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

int main(int argc, char **argv)
{
	if (rooftune_abi() != ROOFTUNE_ABI) {
		fprintf(stderr, "rooftune.h and the library are of different versions\n");
		return 1;
	}
	enum { TOTAL = PROMPT + STEPS };
	float *query = fill((size_t)TOTAL * Q_HEADS * D, 0.125f, 0);
	float *key = fill((size_t)TOTAL * Q_HEADS * D, 0.125f, 0);
	float *value = fill((size_t)TOTAL * V_HEADS * D, 1, 0);
	float *decay = fill((size_t)TOTAL * V_HEADS, 0.0625f, -0.0625f);
	float *beta = fill((size_t)TOTAL * V_HEADS, 0.5f, 0.5f);
	float *output = calloc((size_t)TOTAL * V_HEADS * D, sizeof *output);
	float *state = calloc((size_t)V_HEADS * D * D, sizeof *state);
	if (output == NULL || state == NULL) {
		perror("calloc");
		return 1;
	}
	rooftune_attention op = {.q_heads = Q_HEADS, .kv_heads = V_HEADS, .rule = ROOFTUNE_GATED_DELTA, .inverse_gqa = 1};
	rooftune_tensor memory = {.data = state, .shape = {1, V_HEADS, D, D}, .ndim = 4, .dtype = ROOFTUNE_FLOAT32};
	char message[256];
	double start = seconds(), prefill = 0;
	for (int64_t at = 0; at < TOTAL;) {
		int64_t count = at == 0 ? PROMPT : 1;
		rooftune_attention_inputs in = {
			.query = tokens(query + at * Q_HEADS * D, count, Q_HEADS * D),
			.key = tokens(key + at * Q_HEADS * D, count, Q_HEADS * D),
			.value = tokens(value + at * V_HEADS * D, count, V_HEADS * D),
			.past_state = memory,
			.decay = tokens(decay + at * V_HEADS, count, V_HEADS),
			.beta = tokens(beta + at * V_HEADS, count, V_HEADS),
		};
		rooftune_attention_outputs out = {.output = tokens(output + at * V_HEADS * D, count, V_HEADS * D), .present_state = memory};
		if (rooftune_attention_forward(&op, &in, &out, message, sizeof message) != ROOFTUNE_OK) {
			fprintf(stderr, "%s\n", message);
			return 1;
		}
		at += count;
		if (at == PROMPT)
			prefill = seconds();
	}
	double end = seconds(), sum = 0;
	for (size_t i = 0; i < (size_t)TOTAL * V_HEADS * D; i++)
		sum += output[i];
	printf("%d tokens of prompt %.2f ms, then %.1f us a token; sum of outputs %.3f\n", PROMPT, 1e3 * (prefill - start),
		1e6 * (end - prefill) / STEPS, sum);
	if (argc > 1) {
		FILE *f = fopen(argv[1], "wb");
		if (f == NULL || fwrite(output, sizeof *output, (size_t)TOTAL * V_HEADS * D, f) != (size_t)TOTAL * V_HEADS * D ||
			fwrite(state, sizeof *state, (size_t)V_HEADS * D * D, f) != (size_t)V_HEADS * D * D || fclose(f) != 0) {
			perror(argv[1]);
			return 1;
		}
	}
	rooftune_close();
	return 0;
}
