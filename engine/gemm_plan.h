/* Chooses how cl_kernels/gemm_packed.cl is specialised and launched for one matrix product on one CPU. Pure arithmetic
 * on the host: it makes no OpenCL call, keeps no state and never fails. */
#ifndef CLGRAD_ENGINE_GEMM_PLAN_H
#define CLGRAD_ENGINE_GEMM_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* An operand is gathered, and `unit` of its rows are the same elements, some places or lines further on: a work-group
 * keeps these once, as `phases` planes of lines, with as many places and lines more as its rows reach. Its columns are
 * `outer` images of `lines` of `places`. Of what a whole line begins and ends with, `border` places are 0: lines in a
 * plane may share these. */
struct gemm_slides {
    int64_t unit, phases, places, lines, outer, reach_places, reach_lines, border; /* unit 0: none of this */
};

/* C[m,n] = A[m,k] B[k,n], `batches` times. An extent that varies is a minibatch size: what ends up in the kernel's
 * source does not depend on it. */
struct gemm_shape {
    int64_t m, n, k, batches;
    bool transposed_a, transposed_b; /* A is stored [k,m], B is stored [n,k] */
    bool f64;
    bool m_varies, n_varies, k_varies, batches_vary;
    bool gathered_a, gathered_b; /* they lie as engine/operand.h says */
    int64_t segment;   /* of the columns, that one of several products had which were joined; 0: there was one */
    int64_t stretches; /* equal ones, into which k is cut where an operand does not have it in one; 0 is 1 */
    struct gemm_slides slides;
    struct gemm_slides slides_of_a; /* the same of A's rows; its images are those of a stretch */
};

struct gemm_device {
    int compute_units;
    int lanes_f32, lanes_f64; /* elements in a vector register: 4, 8 or 16 */
    int registers;            /* vector registers: 32 on AVX-512 and NEON, else 16 */
};

struct gemm_launch {
    int columns, lanes;    /* compile-time constants of the kernel */
    int depth, most_depth; /* the first, a run-time argument but with slides, is at most the second, a constant */
    int rows;              /* run-time argument */
    int places, lines;     /* with slides: a panel's part of an image; run-time arguments, as are */
    int pitch;             /* elements from one line of a plane to the next, and */
    int span;              /* columns that are computed for a line; 0: lines with what lies between them */
    size_t global[3];      /* with a local size of 1, 1, 1; the third may be less than the number of batches */
    int64_t scratch_elements;
};

/* How the work is cut; 0 in a field leaves that to the model of costs. */
struct gemm_division {
    int columns, depth;            /* as in the launch */
    int row_groups, column_groups; /* into how many work-groups each product's rows and columns go, if they suffice */
};

/* Having more than one work-group: other threads must be woken. In multiply-adds of one vector. */
enum { GEMM_WAKE_STEPS = 12000 };

/* Of a vector of the product's elements. */
int cg_gemm_lanes(const struct gemm_shape *shape, const struct gemm_device *device);

/* The shape with a typical minibatch in place of each extent that varies, for what the source depends on. */
struct gemm_shape cg_gemm_typical(const struct gemm_shape *shape);

/* A launch without rows, columns or batches has a global size with a zero in it: it must be skipped. */
struct gemm_launch cg_gemm_plan(const struct gemm_shape *shape, const struct gemm_device *device);

/* The same for a given division, which is complete or fits. */
struct gemm_launch cg_gemm_plan_as(const struct gemm_shape *shape, const struct gemm_device *device,
                                   const struct gemm_division *division);

/* With slides: images cut into panels of at most so many vectors of columns, with planes of `units` of rows at once. */
struct gemm_cut {
    struct gemm_launch launch;       /* lanes, places, lines, pitch, span */
    int64_t panels, columns, planes; /* columns that are computed in all; elements of the planes of a panel */
};
struct gemm_cut cg_gemm_cut(const struct gemm_shape *shape, const struct gemm_device *device, int vectors,
                            int64_t units);

/* Whether a complete division is one that the kernel can work with, in a bounded amount of scratch. */
bool cg_gemm_division_fits(const struct gemm_division *division, bool f64, const struct gemm_device *device);

#endif
