/* Generated kernels as functions of a larger one, which calls them in turn for each work-item that they would have had:
 * turn0..2 is the item's number, turns0..2 how many there are. */
#undef CG_ENTRY
#undef CG_TURN_PARAMETERS
#undef CG_TURN
#undef CG_TURNS
#define CG_ENTRY(local_size) __attribute__((noinline)) static void
#define CG_TURN_PARAMETERS int turn0, int turn1, int turn2, int turns0, int turns1, int turns2,
#define CG_TURN(dimension) turn##dimension
#define CG_TURNS(dimension) turns##dimension
/* A place is a pool's number in the low four bits, and the byte where the value begins in it. */
#define CG_AT_PLACE(place) ((__global void *)(pools[(place)&15] + ((place) & ~(long)15)))
