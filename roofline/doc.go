// Package roofline measures what a machine can do at best, its ceilings, and
// shows what kernels reach of it.
//
//  1. Measure times loops of assembly (package kernels/asm/probe) on pinned threads: FLOP/s per
//     instruction set, bytes per second read, copied and gathered at each memory level, and the latency of
//     dependent loads over growing buffers, from which the caches' real sizes follow.
//  2. Points places a profile's tuned answers under those ceilings.
//  3. Table and SVG show both.
//
// Conventions: intensity is in FLOP per byte of a named memory level, flops are the useful ones that the
// problem asks for, and bytes are what the problem must move through that level at least. Every ceiling is
// the median of several samples that were taken in turns with those of all other ceilings, and carries
// the smallest and largest sample as its spread.
package roofline
