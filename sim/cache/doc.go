// Package cache is a trace-driven model of a hierarchy of set-associative caches. It counts hits, misses and bytes
// between levels for a stream of loads, stores and streaming stores:
//
//  1. A Config lists the levels, nearest first: capacity, ways, replacement (true LRU or tree-PLRU), what a level holds of the
//     nearer ones, and whether it fetches the next line on a miss.
//  2. A Hierarchy made of it takes accesses one at a time (Load, Store, Stream), as runs of equal ones (Run) or as a trace (Replay).
//  3. Stats and Beyond say what happened; Flush writes back what is still dirty.
//
// Lines are allocated on a write and written back when they leave. With sectors, a line's tag covers several parts that
// are fetched and written back one by one. The order of events is fixed, so that a slow, obvious model gives the same counts:
// a miss is fetched from the next level first, which makes room there; then the line takes the place of its set's victim; then the
// victim is written back.
package cache
