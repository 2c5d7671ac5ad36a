// Package sim predicts what a tiling does on a memory hierarchy: traffic per
// level, a time in closed form, what binds it, and a lower bound on time that is
// sound. It measures nothing. The steps:
//
//  1. A Device is a list of memory levels over compute units. CPU builds one from
//     reported caches and measured ceilings, package gpu reads data files of GPUs.
//  2. A Program is a list of launches: a grid of blocks, each walking a nest of loops
//     over tiles with touches (loads and stores of blocks of an array), products and
//     element-wise work. A Recorder writes one by standing in for a table of primitives while
//     the real driver runs. GPUs' programs have a format of their own, in package gpu.
//  3. Simulate counts what every loop touches. On a CPU the touched lines go through
//     LRU stacks of the caches' capacities, write-backs included, as if the call were repeated for
//     ever (or once, if Program.Cold); the last recorded trip is taken as the
//     steady state and multiplied.
//  4. Simulate turns counts into the time that each resource alone would take. The largest
//     names what binds; how the others overlap with it is said at Simulate.
//  5. Compile does the counting once: what each further trip adds. An estimate for any number of trips is then a closed form. kernels.Predictor
//     keeps compiled candidates.
//  6. LowerBound is the time that no run of this program can beat, Roof the time that no program for
//     the problem can beat: both use the highest rate ever seen and count only what
//     must be moved when every cache holds as much as it can.
package sim
