// Package gpu predicts what a tiled kernel does on a GPU that is not in the room: bytes at every memory level with the lower bound beside them, time, what
// binds it, a timeline. It measures nothing. The steps:
//
//  1. A Device is a GPU's facts, read from a data file (devices/, device.schema.json); doubtful ones are marked.
//  2. A Template is a kernel in a small text format (programs/, programs/README.md): launches of blocks that walk loops over tiles. Bind fills a
//     Program with the numbers of one shape, dtype, config and device.
//  3. A Machine is a device with the model's fitted Constants applied; its Time turns a program into an Estimate.
//  4. Simulate and Sweep do this for one config or all and return Results; WriteTrace draws one.
//  5. ReadRows and ScoreRows compare the model with published timings; kernels.json says which program a kernel's name stands for.
//
// # The model
//
// A launch runs in waves of the blocks that fit on the units together (SRAM, registers, warps); in the last, fewer share a unit. Of every loop the
// model counts what a block takes of each resource in a trip: products at the rate of their path (one-warp instructions, WGMMA and its successors, vector lanes),
// padded to the instructions' shapes; exponentials and other element-wise work; bytes between SRAM and registers, L2 and memory. Of bytes that several
// blocks touch at once, L2 answers neighbours together, and memory sees one copy as long as the blocks' tiles in flight fit in L2; what an earlier launch left in
// L2 is not read again.
//
// Over all loops of a wave, products and memory levels overlap by a fitted norm, and a fitted part of the element-wise work comes on top (less where warps have
// roles of their own). Beside this throughput stands a block's own path: its products, its element-wise work, the latency of steps that wait for each other, of
// the first load and of those that are not ahead. A wave takes the longer of the two, and a fitted part of the wait of the blocks of a unit for each
// other. Each launch adds a fixed time, and the host's for eager kernels where rows are scored.
//
// Eleven constants are fitted, the same for all GPUs, by the program in fit, which also reports the errors on GPUs and kernel families left out.
package gpu
