/* How generated kernels begin and know their share of the work: as kernels of their own. stage.cl is the other way. */
#undef CG_ENTRY
#undef CG_TURN_PARAMETERS
#undef CG_TURN
#undef CG_TURNS
#define CG_ENTRY(local_size) __kernel __attribute__((reqd_work_group_size(local_size, 1, 1))) void
#define CG_TURN_PARAMETERS
#define CG_TURN(dimension) get_global_id(dimension)
#define CG_TURNS(dimension) get_global_size(dimension)
