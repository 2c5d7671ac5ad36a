/* Hands every kind of wrong argument to the library and checks that it is refused by name, with nothing written. */
#include "rooftune.h"

#include <stdio.h>
#include <string.h>

enum { D = 16 };

static float query[2 * D], key[2 * D], value[2 * D], output[2 * D], state[D * D], gates[4];
static int failures;

static rooftune_tensor tensor(void *data, int64_t b, int64_t t, int64_t w)
{
	rooftune_tensor x = {.data = data, .shape = {b, t, w}, .ndim = 3, .dtype = ROOFTUNE_FLOAT32};
	return x;
}

static rooftune_attention op(void)
{
	rooftune_attention x = {.q_heads = 1, .kv_heads = 1, .rule = ROOFTUNE_LINEAR, .threads = 1};
	return x;
}

static rooftune_attention_inputs inputs(void)
{
	rooftune_attention_inputs x = {.query = tensor(query, 1, 2, D), .key = tensor(key, 1, 2, D), .value = tensor(value, 1, 2, D)};
	return x;
}

static rooftune_attention_outputs outputs(void)
{
	rooftune_attention_outputs x = {.output = tensor(output, 1, 2, D)};
	return x;
}

/* refused checks the status, that the message begins with the argument's name, and that no output was written. */
static void refused(int32_t status, const char *message, const char *argument)
{
	if (status != ROOFTUNE_INVALID_ARGUMENT || strncmp(message, argument, strlen(argument)) != 0 || output[0] != 42) {
		fprintf(stderr, "%s: status %d, message \"%s\"\n", argument, (int)status, message);
		failures++;
	}
}

static void forward(const rooftune_attention *o, const rooftune_attention_inputs *in, const rooftune_attention_outputs *out, const char *argument)
{
	char message[200] = "";
	refused(rooftune_attention_forward(o, in, out, message, sizeof message), message, argument);
}

int main(void)
{
	rooftune_attention o = op();
	rooftune_attention_inputs in = inputs();
	rooftune_attention_outputs out = outputs();
	output[0] = 42;

	forward(NULL, &in, &out, "op");
	forward(&o, NULL, &out, "in");
	forward(&o, &in, NULL, "out");
	o.rule = 9;
	forward(&o, &in, &out, "rule");
	o = op();
	o.feature_map = -1;
	forward(&o, &in, &out, "feature_map");
	o = op();
	o.rule = ROOFTUNE_DELTA;
	o.normalize = 1;
	forward(&o, &in, &out, "normalize");
	o = op();
	o.q_heads = -1;
	forward(&o, &in, &out, "QHeads");
	o = op();
	o.kv_heads = INT64_MAX;
	o.head_decay = gates;
	forward(&o, &in, &out, "QHeads");
	o = op();

	in.query.ndim = 6;
	forward(&o, &in, &out, "query");
	in = inputs();
	in.query.ndim = -1;
	forward(&o, &in, &out, "query");
	in = inputs();
	in.key.dtype = 7;
	forward(&o, &in, &out, "key");
	in = inputs();
	in.value.shape[1] = -2;
	forward(&o, &in, &out, "value");
	in = inputs();
	in.value.shape[0] = in.value.shape[1] = INT64_MAX;
	forward(&o, &in, &out, "value");
	in = inputs();
	in.value.data = NULL;
	forward(&o, &in, &out, "value");
	in = inputs();
	in.value.data = (char *)value + 1;
	forward(&o, &in, &out, "value");
	in = inputs();
	in.key.shape[1] = 1;
	forward(&o, &in, &out, "key");
	in = inputs();
	in.query.dtype = ROOFTUNE_BFLOAT16;
	forward(&o, &in, &out, "key");
	in = inputs();
	in.decay = tensor(gates, 1, 2, 1);
	forward(&o, &in, &out, "decay");
	in = inputs();
	in.past_state = tensor(state, 1, D, D);
	forward(&o, &in, &out, "past_state");
	in = inputs();
	in.offsets = (const int64_t[]){0, 3};
	in.offsets_count = 2;
	forward(&o, &in, &out, "Offsets");
	in = inputs();
	in.keep = (const int64_t[]){1};
	in.keep_count = -1;
	forward(&o, &in, &out, "keep_count");
	in = inputs();
	in.query.data = output;
	forward(&o, &in, &out, "output");

	in = inputs();
	rooftune_attention_gradients grads = {.output = tensor(output, 1, 2, D)};
	char message[200] = "";
	refused(rooftune_attention_backward(&o, &in, NULL, message, sizeof message), message, "grads");
	refused(rooftune_attention_backward(&o, &in, &grads, message, sizeof message), message, "grad");

	o.front = ROOFTUNE_FRONT_SILU;
	forward(&o, &in, &out, "front");
	o.front = ROOFTUNE_FRONT_NONE;
	o.beta_scale = 2;
	forward(&o, &in, &out, "beta_scale");
	o.beta_scale = 0;
	o.front = 4;
	forward(&o, &in, &out, "front");
	o = op();
	o.rule = ROOFTUNE_DELTA;
	o.feature_map = ROOFTUNE_MAP_RELU;
	in = inputs();
	in.beta = tensor(gates, 1, 2, 1);
	forward(&o, &in, &out, "FeatureMap");
	o.feature_map = ROOFTUNE_MAP_NONE;
	in.decay_log = (rooftune_tensor){.data = gates, .shape = {1}, .ndim = 1};
	forward(&o, &in, &out, "decay_log");
	o = op();

	rooftune_hash_layer hash = {.tau = 2, .weighting = 3};
	rooftune_hash_inputs hin = {.input = {.data = query, .shape = {2, D}, .ndim = 2}, .tables = tensor(value, 8, 4, 1)};
	int32_t codes[16];
	rooftune_hash_outputs hout = {.output = {.data = output, .shape = {2, D}, .ndim = 2}, .codes = codes};
	refused(rooftune_hash_layer_forward(&hash, &hin, &hout, message, sizeof message), message, "weighting");
	hash.weighting = ROOFTUNE_WEIGHTING_PAPER;
	refused(rooftune_hash_layer_forward(NULL, &hin, &hout, message, sizeof message), message, "op");
	refused(rooftune_hash_layer_forward(&hash, NULL, &hout, message, sizeof message), message, "in");
	refused(rooftune_hash_layer_forward(&hash, &hin, NULL, message, sizeof message), message, "out");
	refused(rooftune_hash_layer_forward(&hash, &hin, &hout, message, sizeof message), message, "output");
	refused(rooftune_hash_layer_forward_sets(&hash, &hin, &hout, 0, message, sizeof message), message, "count");
	refused(rooftune_hash_layer_backward(&hash, &hin, NULL, message, sizeof message), message, "grads");
	rooftune_hash_gradients hgrads = {.output = {.data = key, .shape = {2, 2}, .ndim = 2}};
	refused(rooftune_hash_layer_backward(&hash, &hin, &hgrads, message, sizeof message), message, "grad_output");
	rooftune_tensor input = hin.input;
	hin.input.ndim = 0;
	refused(rooftune_hash_layer_forward(&hash, &hin, &hout, message, sizeof message), message, "input");
	hin.input = input;

	rooftune_hash_tables *ready = NULL;
	refused(rooftune_hash_tables_prepare(NULL, ROOFTUNE_FLOAT32, ROOFTUNE_LAYOUT_ROWS, &ready, message, sizeof message), message, "tables");
	refused(rooftune_hash_tables_prepare(&hin.tables, ROOFTUNE_FLOAT16, ROOFTUNE_LAYOUT_ROWS, &ready, message, sizeof message), message, "DType");
	refused(rooftune_hash_tables_prepare(&hin.tables, ROOFTUNE_FLOAT32, 7, &ready, message, sizeof message), message, "layout");
	refused(rooftune_hash_tables_prepare(&hin.tables, ROOFTUNE_FLOAT32, ROOFTUNE_LAYOUT_ROWS, NULL, message, sizeof message), message, "prepared");
	refused(rooftune_hash_tables_quantized(NULL, gates, NULL, ROOFTUNE_LAYOUT_ROWS, &ready, message, sizeof message), message, "tables");
	if (rooftune_hash_tables_open("/nowhere/tables.npy", NULL, -1, ROOFTUNE_LAYOUT_ROWS, &ready, message, sizeof message) != ROOFTUNE_FAILED || ready != NULL) {
		fprintf(stderr, "tables of no file were opened: \"%s\"\n", message);
		failures++;
	}
	rooftune_hash_tables_free(NULL);
	if (rooftune_hash_tables_prepare(&hin.tables, ROOFTUNE_INT8, ROOFTUNE_LAYOUT_BOTH, &ready, message, sizeof message) != ROOFTUNE_OK) {
		fprintf(stderr, "prepare: \"%s\"\n", message);
		return 1;
	}
	hin.prepared = ready;
	refused(rooftune_hash_layer_forward(&hash, &hin, &hout, message, sizeof message), message, "tables");
	hin.tables.ndim = 0;
	refused(rooftune_hash_layer_forward(&hash, &hin, &hout, message, sizeof message), message, "output");
	int64_t shape[3] = {0}, bytes = 0;
	int32_t dtype = -1;
	rooftune_hash_tables_info(ready, shape, &dtype, &bytes);
	if (shape[0] != 8 || shape[1] != 4 || shape[2] != 1 || dtype != ROOFTUNE_INT8 || bytes < 32) {
		fprintf(stderr, "prepared tables of type %d, %lld bytes\n", (int)dtype, (long long)bytes);
		failures++;
	}
	rooftune_hash_tables_free(ready);
	refused(rooftune_hash_layer_forward(&hash, &hin, &hout, message, sizeof message), message, "prepared");
	rooftune_hash_tables_free(ready);
	shape[0] = 77;
	rooftune_hash_tables_info(ready, shape, NULL, NULL);
	if (shape[0] != 77) {
		fprintf(stderr, "tables that were given back have a shape\n");
		failures++;
	}
	hin.prepared = NULL;
	hin.input = (rooftune_tensor){.data = query, .shape = {(int64_t)1 << 40, 0}, .ndim = 2};
	hin.tables = (rooftune_tensor){.data = value, .shape = {(int64_t)1 << 40, 4, 0}, .ndim = 3};
	refused(rooftune_hash_layer_forward(&hash, &hin, &hout, message, sizeof message), message, "codes");

	rooftune_causal_conv conv = {.threads = 1};
	rooftune_tensor signal = tensor(query, 1, 2, D), taps = tensor(key, 1, 1, 4), filtered = tensor(output, 1, 2, D);
	refused(rooftune_causal_conv_forward(&conv, &signal, &taps, NULL, NULL, &filtered, NULL, message, sizeof message), message, "weight");

	if (rooftune_load("/nowhere/profile.json", message, sizeof message) != ROOFTUNE_FAILED || strstr(message, "profile.json") == NULL) {
		fprintf(stderr, "load: \"%s\"\n", message);
		failures++;
	}
	size_t needed = 0;
	const char *problem = "{\"op\":\"linear-attention\",\"rule\":\"linear\",\"decay\":\"none\",\"dtype\":\"float32\",\"dir\":\"fwd\","
		"\"shape\":{\"b\":1,\"t\":1,\"hq\":1,\"hkv\":1,\"dk\":16,\"dv\":16}}";
	char text[4096], cut[8];
	if (rooftune_explain(problem, text, sizeof text, &needed) != ROOFTUNE_OK || needed != strlen(text) + 1 || strstr(text, "\"isa\"") == NULL) {
		fprintf(stderr, "explain: %zu bytes, \"%s\"\n", needed, text);
		failures++;
	}
	if (rooftune_explain(problem, cut, sizeof cut, NULL) != ROOFTUNE_OK || strlen(cut) != sizeof cut - 1) {
		fprintf(stderr, "explain in 8 bytes: \"%s\"\n", cut);
		failures++;
	}
	if (rooftune_explain("{", text, sizeof text, NULL) != ROOFTUNE_INVALID_ARGUMENT || rooftune_explain(NULL, NULL, 0, NULL) != ROOFTUNE_INVALID_ARGUMENT) {
		fprintf(stderr, "explain took a problem that is none\n");
		failures++;
	}

	/* What is right goes through, with no buffer for a message. */
	out = outputs();
	in = inputs();
	value[0] = 1;
	if (rooftune_attention_forward(&o, &in, &out, NULL, 0) != ROOFTUNE_OK || output[0] == 42) {
		fprintf(stderr, "a right call was refused\n");
		failures++;
	}
	rooftune_close();
	return failures != 0;
}
