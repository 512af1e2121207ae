/* Chooses how matrix products are computed on this device, and which plans are joined: as the tuning file says; else,
 * where CLGRAD_TUNE asks for it, by measuring when a product of that shape is first seen; else by the defaults. The
 * same file, the same choices.
 */
#ifndef CLGRAD_ENGINE_TUNE_H
#define CLGRAD_ENGINE_TUNE_H

#include "engine/context.h"
#include "engine/gemm_narrow.h"
#include "engine/gemm_tiles.h"

typedef struct cg_gemm_choice {
    cg_gemm_kernel kernel;
    struct gemm_division division; /* PACKED */
    struct gemm_tiles tiles;       /* TILED */
    int edge;                      /* WINOGRAD: of a tile of outputs */
} cg_gemm_choice;

/* `product`: the op, to measure with. Never fails: where measuring does, the default it is. */
cg_gemm_choice cg_gemm_choose(cg_context *cg, const cg_op *product, const struct gemm_shape *shape);

/* What the kernels of a plan may take on average, in seconds as engine/join.c estimates them, to be worth joining. */
double cg_join_seconds(cg_context *cg);

/* What engine/gemm_plan.c and gemm_tiles.c want to know of the device. */
struct gemm_device cg_gemm_device(const cg_context *cg);
struct gemm_limits cg_gemm_limits(const cg_context *cg);

#endif
