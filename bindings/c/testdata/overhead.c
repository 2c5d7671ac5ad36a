/* Times the smallest call: one token of one head of 16x16, one thread. Prints nanoseconds a call, the median of 21 rounds. */
#include "rooftune.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { D = 16, ROUNDS = 21, CALLS = 20000 };

static int ascending(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

static rooftune_tensor token(float *data, int64_t width)
{
	rooftune_tensor x = {.data = data, .shape = {1, 1, width}, .ndim = 3};
	return x;
}

int main(void)
{
	static float query[D], key[D], value[D], decay[1], beta[1], state[D * D], output[D];
	rooftune_attention op = {.q_heads = 1, .kv_heads = 1, .rule = ROOFTUNE_GATED_DELTA, .threads = 1};
	rooftune_tensor memory = {.data = state, .shape = {1, 1, D, D}, .ndim = 4};
	rooftune_attention_inputs in = {.query = token(query, D), .key = token(key, D), .value = token(value, D), .past_state = memory,
		.decay = token(decay, 1), .beta = token(beta, 1)};
	rooftune_attention_outputs out = {.output = token(output, D), .present_state = memory};
	double ns[ROUNDS];
	for (int r = 0; r < ROUNDS; r++) {
		struct timespec a, b;
		timespec_get(&a, TIME_UTC);
		for (int i = 0; i < CALLS; i++) {
			char message[128];
			if (rooftune_attention_forward(&op, &in, &out, message, sizeof message) != ROOFTUNE_OK) {
				fprintf(stderr, "%s\n", message);
				return 1;
			}
		}
		timespec_get(&b, TIME_UTC);
		ns[r] = ((double)(b.tv_sec - a.tv_sec) * 1e9 + (double)(b.tv_nsec - a.tv_nsec)) / CALLS;
	}
	qsort(ns, ROUNDS, sizeof *ns, ascending);
	printf("%.0f\n", ns[ROUNDS / 2]);
	return 0;
}
