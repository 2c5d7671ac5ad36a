// Package kernels is the library: linear-time sequence operators on the CPU,
// each run by the kernel that was tuned for the machine it is on.
//
//  1. An op ([LinearAttention], [DeltaRule], [HashLayer]) checks its arguments.
//  2. The problem they make (op, shape, threads) is looked up: in the profile that ROOFTUNE_PROFILE names, the user's
//     profile of this machine as `tune run` writes it, the profiles that come with the library; failing these, the
//     simulator is asked. [Explain] says what was chosen, from where and why; ROOFTUNE_DEBUG=1 prints it.
//  3. The chosen candidate (instruction set and config) is a driver prepared over a table of primitives
//     ([github.com/rooftune/rooftune/kernels/tile.Primitives]): the driver decides the order of tiles, the table does the work.
//  4. Prepared calls are kept, so that a call allocates nothing after the first.
//
// Nothing is read or measured before the first call or an explicit [Load]. ROOFTUNE_ISA narrows the instruction
// sets that may run; no switch and no profile can make a CPU run what it lacks.
package kernels
