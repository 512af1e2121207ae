/* Checks cl_kernels/gemm_packed.cl, gemm_narrow.cl and gemm_tiled.cl, launched as engine/gemm_plan.c, gemm_narrow.c and
 * gemm_tiles.c say, against a plain product in double on the host. Operands and scratch end where unreadable memory
 * begins, and the epilogue adds to what is there, so that an access out of bounds or an element stored twice or not at
 * all shows. Uses OpenCL directly, on the device that the library chooses. */
#define _GNU_SOURCE
#include "cl_kernels.h"
#include "engine/context.h"
#include "engine/gemm_narrow.h"
#include "engine/gemm_places.h"
#include "engine/gemm_tiles.h"
#include "engine/integers.h"
#include "program.h"
#include "shared_device.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { BEFORE = 1000, GAP_A = 3, GAP_B = 1, GAP_C = 2 }; /* C's first contents; elements between the rows */

static cl_device_id device;
static cl_context context;
static cl_command_queue queue;
static bool has_fetches; /* memory can be asked ahead */

/* Host memory that ends at a page that cannot be read, seen by the device as a buffer. */
struct guarded {
    void *mapping, *data;
    size_t mapped, bytes;
    cl_mem buffer;
};

struct product {
    struct gemm_shape shape;
    struct gemm_launch launch;
    int leading_a, leading_b, leading_c;
    struct guarded a, b, c;
};

static const char parameters[] =
    "#define PARAMETERS __global const REAL *given_a, long given_a_size, __global const REAL *given_b, "
    "long given_b_size, __global REAL *given_c, __global REAL *given_scratch, int given_m, int given_n, int given_k, "
    "int given_leading_a, int given_leading_b, int given_leading_c, int given_rows, int given_depth, "
    "int given_batches\n"
    "#define ARGUMENTS given_a, given_a_size, given_b, given_b_size, given_c, given_scratch, given_m, given_n, "
    "given_k, given_leading_a, given_leading_b, given_leading_c, given_rows, given_depth, given_batches\n"
    "#define OPERAND_A(batch) (given_a + (batch)*given_a_size)\n"
    "#define OPERAND_B(batch) (given_b + (batch)*given_b_size)\n"
    "#define SCRATCH given_scratch\n#define ROWS given_rows\n#define DEPTH given_depth\n"
    "#define BATCHES given_batches\n"
    "#define SIZE_M given_m\n#define SIZE_N given_n\n#define SIZE_K given_k\n"
    "#define LEADING_A given_leading_a\n#define LEADING_B given_leading_b\n#define GATHERED_A 0\n#define GATHERED_B 0\n"
    "#define SLIDING 0\n#define JOINED 0\n"
    "#define STRETCHES 1\n#define STRETCH_A 0\n#define STRETCH_B 0\n"
    "static void epilogue_scalar(PARAMETERS, int batch, int row, int column, REAL value)\n"
    "{\n"
    "    given_c[((long)batch * given_m + row) * given_leading_c + column] += value;\n"
    "}\n"
    "#if LANES > 1\n"
    "static void epilogue_vector(PARAMETERS, int batch, int row, int column, CG_JOIN(REAL, LANES) value)\n"
    "{\n"
    "    __global REAL *to = given_c + ((long)batch * given_m + row) * given_leading_c + column;\n"
    "    CG_JOIN(vstore, LANES)(CG_JOIN(vload, LANES)(0, to) + value, 0, to);\n"
    "}\n"
    "#endif\n";

/* The shared device stays open. */
static void open_device(void)
{
    cg_context *cg = open_on_shared_device();
    device = cg_opencl_device(cg), queue = cg_opencl_queue(cg), context = cg_opencl_context(cg);
    has_fetches = cg->fetches;
    cg_close(cg);
}

/* `constants`: those that only this kernel knows, as definitions. */
static cl_kernel build_kernel(const struct gemm_shape *shape, const char *constants, const char *kernel_source)
{
    static char text[1 << 16];
    const int length = snprintf(
        text, sizeof text,
        "%s#define CG_LANES 1\n%s%s%s#define KERNEL_NAME product\n#define REAL %s\n#define REAL_IS_DOUBLE %d\n"
        "#define TRANSPOSED_A %d\n#define TRANSPOSED_B %d\n%s%s%s",
        shape->f64 ? "#pragma OPENCL EXTENSION cl_khr_fp64 : enable\n" : "", cg_source_entry, cg_source_prelude,
        has_fetches ? "" : "#undef CG_FETCH\n#define CG_FETCH(p)\n#undef CG_FETCH_NEAR\n#define CG_FETCH_NEAR(p)\n",
        shape->f64 ? "double" : "float", shape->f64, shape->transposed_a, shape->transposed_b, constants, parameters,
        kernel_source);
    ck_assert_int_lt(length, sizeof text);
    const char *source = text;
    cl_int status;
    cl_program program = clCreateProgramWithSource(context, 1, &source, NULL, &status);
    ck_assert_int_eq(status, CL_SUCCESS);
    if (clBuildProgram(program, 1, &device, "", NULL, NULL) != CL_SUCCESS) {
        static char log[1 << 14];
        clGetProgramBuildInfo(program, device, CL_PROGRAM_BUILD_LOG, sizeof log, log, NULL);
        ck_abort_msg("%s", log);
    }
    cl_kernel kernel = clCreateKernel(program, "product", &status);
    ck_assert_int_eq(status, CL_SUCCESS);
    clReleaseProgram(program);
    return kernel;
}

static cl_kernel build(const struct gemm_shape *shape, const struct gemm_launch *launch, int registers,
                       bool short_epilogue)
{
    char constants[256];
    snprintf(constants, sizeof constants,
             "#define LANES %d\n#define REGISTERS %d\n#define COLUMNS %d\n#define MOST_DEPTH %d\n"
             "#define SHORT_EPILOGUE %d\n#define FETCHING_EPILOGUE 0\n",
             launch->lanes, registers, launch->columns, launch->most_depth, short_epilogue);
    return build_kernel(shape, constants, cg_source_gemm_packed);
}

static struct gemm_limits limits_of_device(void)
{
    struct gemm_limits limits = {.compute_units = 1};
    cl_ulong local = 0;
    size_t group = 0;
    clGetDeviceInfo(device, CL_DEVICE_LOCAL_MEM_SIZE, sizeof local, &local, NULL);
    clGetDeviceInfo(device, CL_DEVICE_MAX_WORK_GROUP_SIZE, sizeof group, &group, NULL);
    limits.local_bytes = (int64_t)local;
    limits.group_size = (int64_t)group;
    return limits;
}

static cl_kernel build_tiled(const struct gemm_shape *shape, const struct gemm_tiles *tiles, bool shared)
{
    char constants[512];
    snprintf(constants, sizeof constants,
             "#define LANES 1\n#define TILE_ROWS %d\n#define TILE_COLUMNS %d\n"
             "#define TILE_DEPTH %d\n#define ITEM_ROWS %d\n#define ITEM_COLUMNS %d\n#define SHARED %d\n"
             "#define SHARE_DEPTH given_depth\n#define SUMS given_scratch\n",
             tiles->rows, tiles->columns, tiles->depth, tiles->item_rows, tiles->item_columns, shared);
    return build_kernel(shape, constants, cg_source_gemm_tiled);
}

static cl_kernel build_sums(const struct gemm_shape *shape, const struct gemm_sums_launch *launch)
{
    char constants[256];
    snprintf(constants, sizeof constants,
             "#define LANES 1\n#define SUMS_COLUMNS %d\n#define SUMS_LANES %d\n#define SHARES given_rows\n"
             "#define SUMS given_scratch\n",
             launch->columns, launch->lanes);
    return build_kernel(shape, constants, cg_source_gemm_tiled_sums);
}

static struct guarded guarded_new(size_t bytes)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE), pages = (bytes + page - 1) / page * page;
    struct guarded g = {.mapped = pages + page, .bytes = bytes};
    g.mapping = mmap(NULL, g.mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(g.mapping, MAP_FAILED);
    ck_assert_int_eq(mprotect((char *)g.mapping + pages, page, PROT_NONE), 0);
    g.data = (char *)g.mapping + pages - bytes;
    cl_int status;
    /* A buffer cannot be empty; the one byte more of an empty operand is never used. */
    g.buffer = bytes ? clCreateBuffer(context, CL_MEM_USE_HOST_PTR, bytes, g.data, &status)
                     : clCreateBuffer(context, 0, 1, NULL, &status);
    ck_assert_int_eq(status, CL_SUCCESS);
    return g;
}

static void guarded_free(struct guarded *g)
{
    clReleaseMemObject(g->buffer);
    munmap(g->mapping, g->mapped);
}

static double element(const struct guarded *g, bool f64, int64_t i)
{
    return f64 ? ((const double *)g->data)[i] : (double)((const float *)g->data)[i];
}

/* Small integers, so that sums are exact whatever their order; or else numbers in [-1, 1]. */
static void fill(struct guarded *g, bool f64, bool integers)
{
    const size_t size = f64 ? sizeof(double) : sizeof(float);
    for (size_t i = 0; i < g->bytes / size; i++) {
        const double value = integers ? rand() % 9 - 4 : 2.0 * rand() / RAND_MAX - 1;
        if (f64)
            ((double *)g->data)[i] = value;
        else
            ((float *)g->data)[i] = (float)value;
    }
}

static void fill_with(struct guarded *g, bool f64, double value)
{
    for (size_t i = 0; i < g->bytes / (f64 ? sizeof(double) : sizeof(float)); i++) {
        if (f64)
            ((double *)g->data)[i] = value;
        else
            ((float *)g->data)[i] = (float)value;
    }
}

/* The last row of the last batch has no gap after it: the memory ends with its last element. */
static struct guarded matrix_new(const struct gemm_shape *shape, int64_t rows, int64_t columns, int gap)
{
    const int64_t elements = rows && columns ? rows * shape->batches * (columns + gap) - gap : 0;
    return guarded_new((size_t)elements * (shape->f64 ? sizeof(double) : sizeof(float)));
}

static struct product product_new_with_gap(const struct gemm_shape *shape, const struct gemm_launch *launch,
                                           bool integers, int gap_c)
{
    struct product p = {.shape = *shape, .launch = *launch};
    p.leading_a = (int)(shape->transposed_a ? shape->m : shape->k) + GAP_A;
    p.leading_b = (int)(shape->transposed_b ? shape->k : shape->n) + GAP_B;
    p.leading_c = (int)shape->n + gap_c;
    p.a = matrix_new(shape, shape->transposed_a ? shape->k : shape->m, shape->transposed_a ? shape->m : shape->k,
                     GAP_A);
    p.b = matrix_new(shape, shape->transposed_b ? shape->n : shape->k, shape->transposed_b ? shape->k : shape->n,
                     GAP_B);
    p.c = matrix_new(shape, shape->m, shape->n, gap_c);
    fill(&p.a, shape->f64, integers);
    fill(&p.b, shape->f64, integers);
    fill_with(&p.c, shape->f64, BEFORE);
    return p;
}

static struct product product_new(const struct gemm_shape *shape, const struct gemm_launch *launch, bool integers)
{
    return product_new_with_gap(shape, launch, integers, GAP_C);
}

static void product_free(struct product *p)
{
    guarded_free(&p->a);
    guarded_free(&p->b);
    guarded_free(&p->c);
}

static void enqueue(struct product *p, cl_kernel kernel, size_t group, cl_mem scratch)
{
    const struct gemm_shape *s = &p->shape;
    const cl_int m = (cl_int)s->m, n = (cl_int)s->n, k = (cl_int)s->k, batches = (cl_int)s->batches;
    const cl_long size_a = (cl_long)p->leading_a * (s->transposed_a ? k : m);
    const cl_long size_b = (cl_long)p->leading_b * (s->transposed_b ? n : k);
    const struct {
        size_t size;
        const void *value;
    } arguments[] = {{sizeof(cl_mem), &p->a.buffer},
                     {sizeof size_a, &size_a},
                     {sizeof(cl_mem), &p->b.buffer},
                     {sizeof size_b, &size_b},
                     {sizeof(cl_mem), &p->c.buffer},
                     {sizeof scratch, &scratch},
                     {sizeof m, &m},
                     {sizeof n, &n},
                     {sizeof k, &k},
                     {sizeof(int), &p->leading_a},
                     {sizeof(int), &p->leading_b},
                     {sizeof(int), &p->leading_c},
                     {sizeof(int), &p->launch.rows},
                     {sizeof(int), &p->launch.depth},
                     {sizeof batches, &batches}};
    for (cl_uint i = 0; i < sizeof arguments / sizeof *arguments; i++)
        ck_assert_int_eq(clSetKernelArg(kernel, i, arguments[i].size, arguments[i].value), CL_SUCCESS);
    const size_t local[3] = {group, 1, 1};
    ck_assert_int_eq(clEnqueueNDRangeKernel(queue, kernel, 3, NULL, p->launch.global, local, 0, NULL, NULL),
                     CL_SUCCESS);
}

static struct guarded scratch_new(const struct product *p)
{
    return guarded_new((size_t)p->launch.scratch_elements * (p->shape.f64 ? sizeof(double) : sizeof(float)));
}

/* Mapping makes the host's memory hold the result. */
static void finish(struct product *p, struct guarded *scratch)
{
    cl_int status;
    void *mapped = clEnqueueMapBuffer(queue, p->c.buffer, CL_TRUE, CL_MAP_READ, 0, p->c.bytes, 0, NULL, NULL, &status);
    ck_assert_int_eq(status, CL_SUCCESS);
    clEnqueueUnmapMemObject(queue, p->c.buffer, mapped, 0, NULL, NULL);
    clFinish(queue);
    guarded_free(scratch);
}

static void run(struct product *p, cl_kernel kernel, size_t group)
{
    if (p->launch.global[0] * p->launch.global[1] * p->launch.global[2] == 0) return;
    struct guarded scratch = scratch_new(p);
    enqueue(p, kernel, group, scratch.buffer);
    finish(p, &scratch);
}

/* sum of a[i,:] b[:,j], and of the magnitudes: what the rounding error is proportional to. */
static void expected(const struct product *p, int64_t batch, int64_t i, int64_t j, double *sum, double *magnitude)
{
    const struct gemm_shape *s = &p->shape;
    const int64_t first_a = batch * p->leading_a * (s->transposed_a ? s->k : s->m);
    const int64_t first_b = batch * p->leading_b * (s->transposed_b ? s->n : s->k);
    *sum = *magnitude = 0;
    for (int64_t k = 0; k < s->k; k++) {
        const int64_t at_a = s->transposed_a ? k * p->leading_a + i : i * p->leading_a + k;
        const int64_t at_b = s->transposed_b ? j * p->leading_b + k : k * p->leading_b + j;
        const double term = element(&p->a, s->f64, first_a + at_a) * element(&p->b, s->f64, first_b + at_b);
        *sum += term;
        *magnitude += term < 0 ? -term : term;
    }
}

static void compare(const struct product *p, bool integers)
{
    const struct gemm_shape *s = &p->shape;
    const double epsilon = s->f64 ? 2.3e-16 : 1.2e-7;
    const int64_t rows = s->m * s->batches;
    for (int64_t row = 0; row < rows && s->n; row++)
        for (int64_t j = 0; j < p->leading_c; j++) {
            double sum = 0, magnitude = 0, got;
            if (j >= s->n && row == rows - 1) continue;
            if (j < s->n) expected(p, row / s->m, row % s->m, j, &sum, &magnitude);
            got = element(&p->c, s->f64, row * p->leading_c + j) - BEFORE;
            const double bound = integers ? 0 : epsilon * (BEFORE + (double)(s->k + 1) * magnitude);
            ck_assert_msg(got - sum <= bound && sum - got <= bound,
                          "%ldx%ldx%ld, batches %ld, %c%c, %d lanes: C[%ld,%ld] is %.9g, not %.9g", (long)s->m,
                          (long)s->n, (long)s->k, (long)s->batches, "NT"[s->transposed_a], "NT"[s->transposed_b],
                          p -> launch.lanes, (long)row, (long)j, got, sum);
        }
}

static void check_product(cl_kernel kernel, const struct gemm_shape *shape, const struct gemm_launch *launch,
                          bool integers)
{
    struct product p = product_new(shape, launch, integers);
    run(&p, kernel, 1);
    compare(&p, integers);
    product_free(&p);
}

static void check_tiled_product(cl_kernel kernel, const struct gemm_shape *shape, const struct gemm_tiles *tiles)
{
    const struct gemm_limits limits = {.compute_units = 0}; /* so nothing is shared */
    const struct gemm_tiles_launch tiled = cg_gemm_tiles_launch(tiles, shape, &limits);
    struct gemm_launch launch = {.lanes = 1};
    memcpy(launch.global, tiled.global, sizeof launch.global);
    ck_assert_int_eq(tiled.shares, 1);
    for (int integers = 0; integers < 2; integers++) {
        struct product p = product_new(shape, &launch, integers);
        run(&p, kernel, tiled.local);
        compare(&p, integers);
        product_free(&p);
    }
}

static const int extents[][4] = {
    {0, 5, 3, 1},     {5, 0, 3, 1},       {5, 3, 0, 1},     {37, 70, 0, 2},   {1, 1, 1, 1},     {1, 513, 40, 1},
    {2, 16, 16, 1},   {3, 17, 15, 2},     {7, 31, 33, 1},   {12, 32, 64, 1},  {13, 33, 65, 3},  {23, 47, 5, 1},
    {25, 64, 17, 1},  {26, 79, 31, 2},    {35, 130, 9, 1},  {48, 96, 100, 1}, {97, 10, 33, 1},  {100, 1, 50, 1},
    {29, 45, 600, 2}, {64, 257, 1030, 1}, {130, 300, 8, 1}, {5, 3, 2, 40},    {600, 9, 520, 1}, {260, 300, 70, 1}};

static bool has_same_constants(const struct gemm_launch *a, const struct gemm_launch *b)
{
    return a->columns == b->columns && a->most_depth == b->most_depth && a->lanes == b->lanes;
}

/* One build serves them all, because every extent is said to vary; and every depth. */
static void check_extents(struct gemm_shape shape, const struct gemm_device *target, bool short_epilogue)
{
    shape.m_varies = shape.n_varies = shape.k_varies = true;
    cl_kernel kernel = NULL;
    struct gemm_launch first = {0};
    for (size_t i = 0; i < sizeof extents / sizeof *extents; i++) {
        shape.m = extents[i][0], shape.n = extents[i][1], shape.k = extents[i][2], shape.batches = extents[i][3];
        const struct gemm_launch launch = cg_gemm_plan(&shape, target);
        if (!kernel) {
            first = launch;
            kernel = build(&shape, &launch, target->registers, short_epilogue);
        }
        ck_assert(has_same_constants(&launch, &first));
        check_product(kernel, &shape, &launch, true);
        check_product(kernel, &shape, &launch, false);
        const struct gemm_division shallow = {.columns = launch.columns, .depth = 64};
        const struct gemm_launch in_blocks = cg_gemm_plan_as(&shape, target, &shallow);
        ck_assert(has_same_constants(&in_blocks, &first));
        check_product(kernel, &shape, &in_blocks, true);
    }
    clReleaseKernel(kernel);
}

static const struct gemm_device avx512 = {2, 16, 8, 32}, avx2 = {2, 8, 4, 16}, neon = {4, 4, 2, 32};

static bool has_doubles(void)
{
    cl_device_fp_config config = 0;
    clGetDeviceInfo(device, CL_DEVICE_DOUBLE_FP_CONFIG, sizeof config, &config, NULL);
    return config != 0;
}

START_TEST(every_form_in_f32)
{
    const struct gemm_shape shape = {.transposed_a = _i & 1, .transposed_b = _i & 2};
    check_extents(shape, &avx512, true);
    check_extents(shape, &avx512, false);
    check_extents(shape, _i == 0 || _i == 3 ? &neon : &avx2, true);
}
END_TEST

START_TEST(every_form_in_f64)
{
    if (!has_doubles()) return;
    const struct gemm_shape shape = {.transposed_a = _i & 1, .transposed_b = _i & 2, .f64 = true};
    check_extents(shape, _i & 1 ? &avx2 : &avx512, _i & 2);
}
END_TEST

/* Of a deep A that is stored [k,m], whose extent is fixed, blocks are shallow and panels may be wide. */
START_TEST(deep_products_are_cut_shallow)
{
    struct gemm_shape shape = {.m = 150, .n = 560, .batches = 1, .transposed_a = true, .transposed_b = _i, .f64 = _i};
    const int64_t most_depth = shape.f64 ? 512 : 1024, depths[] = {most_depth, most_depth + 77};
    if (shape.f64 && !has_doubles()) return;
    const struct gemm_division wide = {.columns = 32 * cg_gemm_lanes(&shape, &avx512)};
    for (int i = 0; i < 2; i++) {
        shape.k = depths[i];
        const struct gemm_launch launch = cg_gemm_plan_as(&shape, &avx512, &wide);
        ck_assert_int_eq(launch.depth, most_depth / 4);
        cl_kernel kernel = build(&shape, &launch, avx512.registers, true);
        check_product(kernel, &shape, &launch, true);
        clReleaseKernel(kernel);
    }
    shape.k_varies = true;
    ck_assert_int_eq(cg_gemm_plan(&shape, &avx512).depth, most_depth);
}
END_TEST

/* Tiles of A are packed into two buffers in turns while others are multiplied, from rows of no whole pieces. */
START_TEST(tiles_are_packed_on_the_way)
{
    const struct gemm_shape shape = {.m = 112, .n = 70, .k = 20, .batches = 1, .transposed_a = _i};
    const struct gemm_division one_group = {.columns = 64, .depth = 64, .row_groups = 1, .column_groups = 1};
    const struct gemm_launch launch = cg_gemm_plan_as(&shape, &avx512, &one_group);
    cl_kernel kernel = build(&shape, &launch, avx512.registers, true);
    check_product(kernel, &shape, &launch, true);
    clReleaseKernel(kernel);
}
END_TEST

/* Large products are dealt out so that all scratch together stays in the caches, and each core has its share. */
START_TEST(scratch_stays_in_the_caches)
{
    static const int extents[][3] = {{2048, 2048, 2048}, {1024, 4096, 2048}, {4096, 1024, 1024}};
    for (size_t i = 0; i < sizeof extents / sizeof *extents; i++) {
        const struct gemm_shape shape = {
            .m = extents[i][0], .n = extents[i][1], .k = extents[i][2], .batches = 1, .transposed_b = _i};
        const struct gemm_launch launch = cg_gemm_plan(&shape, &avx512);
        const size_t groups = launch.global[0] * launch.global[1] * launch.global[2];
        ck_assert_int_ge((int)groups, avx512.compute_units);
        ck_assert_int_eq((int)groups % avx512.compute_units, 0);
        ck_assert_int_le(launch.scratch_elements * (int)sizeof(float), avx512.compute_units * (4 << 20));
    }
}
END_TEST

/* Where their number is fixed, few columns get a narrow strip. */
START_TEST(few_columns_get_a_narrow_strip)
{
    static const int extents[][3] = {{128, 10, 512}, {37, 1, 700}, {512, 4, 13}, {1, 16, 1}, {3, 12, 40}};
    struct gemm_shape shape = {.batches = 1, .transposed_b = _i, .m_varies = true, .k_varies = true};
    cl_kernel kernel = NULL;
    for (size_t i = 0; i < sizeof extents / sizeof *extents; i++) {
        shape.m = extents[i][0], shape.n = extents[i][1], shape.k = extents[i][2];
        const struct gemm_launch launch = cg_gemm_plan(&shape, &avx512);
        if (!kernel) kernel = build(&shape, &launch, avx512.registers, true);
        ck_assert_int_eq(launch.columns, avx512.lanes_f32);
        check_product(kernel, &shape, &launch, true);
        check_product(kernel, &shape, &launch, false);
    }
    clReleaseKernel(kernel);
}
END_TEST

/* ---- narrow ------------------------------------------------------------------------------------------------------ */

/* A flat epilogue is one to which C is a single row: its rows have no gap. */
static cl_kernel build_narrow(const struct gemm_shape *shape, const struct gemm_narrow_launch *launch, bool flat)
{
    char constants[256];
    snprintf(constants, sizeof constants,
             "#define LANES %d\n#define COLUMNS %d\n#define VECTORS %d\n#define FLAT_EPILOGUE %d\n", launch->lanes,
             launch->columns, launch->vectors, flat);
    return build_kernel(shape, constants, cg_source_gemm_narrow);
}

static void check_narrow_product(cl_kernel kernel, const struct gemm_shape *shape,
                                 const struct gemm_narrow_launch *narrow, bool flat)
{
    struct gemm_launch launch = {
        .lanes = narrow->lanes, .rows = narrow->rows, .scratch_elements = narrow->scratch_elements};
    memcpy(launch.global, narrow->global, sizeof launch.global);
    for (int integers = 0; integers < 2; integers++) {
        struct product p = product_new_with_gap(shape, &launch, integers, flat ? 0 : GAP_C);
        run(&p, kernel, 1);
        compare(&p, integers);
        product_free(&p);
    }
}

/* Each count of columns has a kernel, which serves whatever rows, depth and products there are. The epilogue is flat
 * for every other. */
static void check_narrow(struct gemm_shape shape, const struct gemm_device *target, int first_flat)
{
    static const int columns[] = {1, 3, 7, 10, 15};
    static const int extents[][3] = {{0, 5, 1},   {33, 0, 1},   {1, 1, 1},    {16, 7, 1},    {32, 12, 2},
                                     {7, 30, 2},  {70, 40, 3},  {513, 65, 1}, {784, 128, 1}, {129, 1030, 1},
                                     {5, 3, 2},   {15, 16, 40}, {64, 33, 1},  {31, 2040, 1}, {4096, 300, 1},
                                     {17, 16, 1}, {1, 100, 1},  {48, 1, 1}};
    const int lanes = shape.f64 ? target->lanes_f64 : target->lanes_f32;
    for (int c = 0; c < (int)(sizeof columns / sizeof *columns) && columns[c] < lanes; c++) {
        const bool flat = (c + first_flat) % 2 == 0;
        cl_kernel kernel = NULL;
        for (size_t i = 0; i < sizeof extents / sizeof *extents; i++) {
            shape.m = extents[i][0], shape.n = columns[c], shape.k = extents[i][1], shape.batches = extents[i][2];
            const struct gemm_narrow_launch launch = cg_gemm_narrow(&shape, target);
            if (!kernel) kernel = build_narrow(&shape, &launch, flat);
            check_narrow_product(kernel, &shape, &launch, flat);
        }
        clReleaseKernel(kernel);
    }
}

START_TEST(every_narrow_form_in_f32)
{
    const struct gemm_shape shape = {.transposed_a = _i & 1, .transposed_b = _i & 2};
    check_narrow(shape, &avx512, _i >> 1);
    check_narrow(shape, &avx2, _i >> 1);
    check_narrow(shape, &neon, _i >> 1);
}
END_TEST

START_TEST(every_narrow_form_in_f64)
{
    if (!has_doubles()) return;
    const struct gemm_shape shape = {.transposed_a = _i & 1, .transposed_b = _i & 2, .f64 = true};
    check_narrow(shape, &avx512, _i >> 1);
    check_narrow(shape, &avx2, !(_i >> 1));
}
END_TEST

/* Which products are narrow is known from what does not change with a minibatch; few rows or many columns are not. */
START_TEST(narrow_products_are_known)
{
    struct gemm_shape layer = {.m = 128, .n = 10, .k = 784, .batches = 1, .m_varies = true};
    struct gemm_shape gradient = {.m = 784, .n = 10, .k = 128, .batches = 1, .transposed_a = true, .k_varies = true};
    const struct gemm_narrow_launch of_layer = cg_gemm_narrow(&layer, &avx512);
    const struct gemm_narrow_launch of_gradient = cg_gemm_narrow(&gradient, &avx512);
    for (int batch = 1; batch < 300; batch++) {
        layer.m = gradient.k = batch;
        ck_assert(cg_gemm_is_narrow(&layer, &avx512) && cg_gemm_is_narrow(&gradient, &avx512));
        const struct gemm_narrow_launch l = cg_gemm_narrow(&layer, &avx512), g = cg_gemm_narrow(&gradient, &avx512);
        ck_assert(l.columns == of_layer.columns && l.vectors == of_layer.vectors && l.lanes == of_layer.lanes);
        ck_assert(g.columns == of_gradient.columns && g.vectors == of_gradient.vectors && g.lanes == of_gradient.lanes);
        ck_assert_uint_ge(l.global[0] * (size_t)l.rows, (size_t)layer.m);
        ck_assert_uint_ge(g.global[0] * (size_t)g.rows, (size_t)gradient.m);
    }
    ck_assert(!cg_gemm_is_narrow(&(struct gemm_shape){.m = 5, .n = 3, .k = 700, .batches = 1}, &avx512));
    ck_assert(!cg_gemm_is_narrow(&(struct gemm_shape){.m = 784, .n = 16, .k = 700, .batches = 1}, &avx512));
    ck_assert(!cg_gemm_is_narrow(&(struct gemm_shape){.m = 784, .n = 10, .k = 700, .batches = 1}, &avx2));
    layer.n_varies = true;
    ck_assert(!cg_gemm_is_narrow(&layer, &avx512));
}
END_TEST

/* A convolution's kernel of 3x3 over so many images of side x side. */
static struct gemm_shape gradient_of_kernel(int64_t images, int64_t channels, int64_t outputs, int64_t side)
{
    return (struct gemm_shape){
        .m = 9 * channels,
        .n = outputs,
        .k = images * side * side,
        .batches = 1,
        .transposed_b = true,
        .gathered_a = true,
        .stretches = images,
        .slides_of_a = {
            .unit = 9, .phases = 1, .places = side, .lines = side, .outer = 1, .reach_places = 2, .reach_lines = 2}};
}

/* Work-groups take all rows and columns, and blocks of a bounded size; whether there are any does not depend on a
 * minibatch. */
START_TEST(sums_along_places_are_dealt_out_whole)
{
    static const int64_t sizes[][4] = {
        {1, 1, 1, 16}, {64, 16, 16, 32}, {3, 3, 64, 112}, {2, 500, 3, 16}, {70, 7, 30, 5}};
    const struct gemm_device *targets[] = {&avx512, &avx2, &neon};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (int t = 0; t < 3; t++) {
            const struct gemm_shape s = gradient_of_kernel(sizes[i][0], sizes[i][1], sizes[i][2], sizes[i][3]);
            const struct gemm_places_launch l = cg_gemm_places(&s, targets[t]);
            const int64_t groups = (int64_t)(l.global[0] * l.global[1]);
            ck_assert_int_ge((int64_t)l.global[0] * l.units * 9, s.m);
            ck_assert_int_lt(((int64_t)l.global[0] - 1) * l.units * 9, s.m);
            ck_assert_int_ge((int64_t)l.global[1] * l.columns, s.n);
            ck_assert_int_lt(((int64_t)l.global[1] - 1) * l.columns, s.n);
            ck_assert(l.columns % 4 == 0 && l.units_at_once >= 1 && l.units_at_once * 9 <= l.most_rows);
            ck_assert(l.lines_at_once >= 1 && l.lines_at_once <= sizes[i][3]);
            ck_assert(l.images_at_once >= 1 && l.images_at_once <= sizes[i][0]);
            const int64_t planes = (int64_t)l.units_at_once * (sizes[i][3] + 2) * (l.lines_at_once + 2);
            const int64_t between = (l.lines_at_once - 1) * (sizes[i][3] + 2);
            const int64_t packed = cg_divide_up(between + sizes[i][3], l.lanes) * l.lanes * 4;
            ck_assert_int_eq(l.scratch_elements,
                             groups * (l.images_at_once * (planes + packed) + 3 * l.lanes + l.units * 9 * l.columns));
        }
    for (int64_t images = 1; images < 300; images++) {
        struct gemm_shape few = gradient_of_kernel(images, 16, 16, 32), many = gradient_of_kernel(images, 128, 128, 28);
        ck_assert(cg_gemm_has_places(&few, &avx512) && !cg_gemm_has_places(&many, &avx512));
        few.transposed_b = false;
        ck_assert(!cg_gemm_has_places(&few, &avx512));
    }
}
END_TEST

/* ---- tiled ------------------------------------------------------------------------------------------------------- */

static void check_tiles(struct gemm_shape shape, struct gemm_tiles tiles)
{
    const struct gemm_limits limits = limits_of_device();
    if (!cg_gemm_tiles_fit(&tiles, &shape, &limits)) return;
    cl_kernel kernel = build_tiled(&shape, &tiles, false);
    for (size_t i = 0; i < sizeof extents / sizeof *extents; i++) {
        shape.m = extents[i][0], shape.n = extents[i][1], shape.k = extents[i][2], shape.batches = extents[i][3];
        check_tiled_product(kernel, &shape, &tiles);
    }
    clReleaseKernel(kernel);
}

/* Strips deeper and less deep than a tile is wide, which do not come out even between the work-items: with all forms,
 * in which they are copied along and across. Then square and oblong tiles, one element and many to a work-item. */
static const struct gemm_tiles tile_sizes[] = {{32, 8, 3, 4, 2},    {8, 48, 20, 2, 3},  {64, 64, 16, 4, 4},
                                               {16, 16, 16, 1, 1},  {1, 1, 1, 1, 1},    {128, 128, 8, 8, 8},
                                               {16, 128, 16, 1, 8}, {128, 64, 16, 8, 4}};
enum { TILE_SIZES = sizeof tile_sizes / sizeof *tile_sizes, IN_ALL_FORMS = 2 };

static void check_tiled_form(int form, int sizes, int in_all_forms, bool f64)
{
    const struct gemm_shape shape = {.transposed_a = form & 1, .transposed_b = form & 2, .f64 = f64};
    for (int i = 0; i < sizes; i++)
        if (i < in_all_forms || i % 4 == form) check_tiles(shape, tile_sizes[i]);
}

START_TEST(every_tiled_form_in_f32)
{
    check_tiled_form(_i, TILE_SIZES, IN_ALL_FORMS, false);
}
END_TEST

START_TEST(every_tiled_form_in_f64)
{
    if (has_doubles()) check_tiled_form(_i, 4, 1, true);
}
END_TEST

/* As on a GPU with many units: more shares than work-items that add them up, in stacks, the last share shorter. */
static void check_shares(bool f64)
{
    const struct gemm_limits limits = {.compute_units = 132, .local_bytes = 32768, .group_size = 256};
    const struct gemm_shape shape = {.m = 21, .n = 45, .k = 3001, .batches = 3, .transposed_a = true, .f64 = f64};
    const struct gemm_tiles tiles = cg_gemm_tiles(&shape, &limits);
    const struct gemm_tiles_launch tiled = cg_gemm_tiles_launch(&tiles, &shape, &limits);
    const struct gemm_sums_launch sums = cg_gemm_sums_launch(&shape, &limits);
    ck_assert_int_gt(tiled.shares, 2 * sums.lanes);
    cl_kernel first = build_tiled(&shape, &tiles, true), second = build_sums(&shape, &sums);
    struct gemm_launch launch = {.lanes = 1, .rows = (int)tiled.shares, .depth = (int)tiled.share_depth};
    launch.scratch_elements = tiled.scratch_elements;
    for (int integers = 0; integers < 2; integers++) {
        struct product p = product_new(&shape, &launch, integers);
        struct guarded scratch = scratch_new(&p);
        memcpy(p.launch.global, tiled.global, sizeof tiled.global);
        enqueue(&p, first, tiled.local, scratch.buffer);
        memcpy(p.launch.global, sums.global, sizeof sums.global);
        enqueue(&p, second, (size_t)sums.columns * (size_t)sums.lanes, scratch.buffer);
        finish(&p, &scratch);
        compare(&p, integers);
        product_free(&p);
    }
    clReleaseKernel(first);
    clReleaseKernel(second);
}

START_TEST(shares_are_added_up)
{
    if (!_i || has_doubles()) check_shares(_i);
}
END_TEST

/* Whatever a device allows, the default keeps to it; and it runs. */
START_TEST(tiles_keep_to_the_limits)
{
    static const int64_t groups[] = {1, 2, 3, 16, 64, 100, 256, 1024}, bytes[] = {1024, 2048, 16384, 32768, 65536};
    static const int64_t sizes[] = {1, 5, 16, 40, 128, 1000, 100000};
    for (int i = 0; i < 8 * 5; i++)
        for (int j = 0; j < 7 * 7 * 2 * 2; j++) {
            const struct gemm_limits limits = {j / 98 ? 100 : 1, bytes[i / 8], groups[i % 8]};
            const struct gemm_shape shape = {.m = sizes[j % 7],
                                             .n = sizes[j / 7 % 7],
                                             .k = 10,
                                             .batches = 1,
                                             .f64 = j / 49 % 2,
                                             .gathered_a = i % 3 == 1,
                                             .gathered_b = i % 3 != 0};
            const struct gemm_tiles tiles = cg_gemm_tiles(&shape, &limits);
            ck_assert_msg(cg_gemm_tiles_fit(&tiles, &shape, &limits), "%d x %d x %d, %d x %d each", tiles.rows,
                          tiles.columns, tiles.depth, tiles.item_rows, tiles.item_columns);
        }
}
END_TEST

START_TEST(tiles_of_narrow_devices_compute)
{
    const struct gemm_limits narrow[] = {{1, 2048, 1}, {4, 16384, 32}, {2, 4096, 100}};
    const struct gemm_shape shape = {.m = 130, .n = 70, .k = 33, .batches = 2, .transposed_a = true};
    const struct gemm_tiles tiles = cg_gemm_tiles(&shape, &narrow[_i]);
    cl_kernel kernel = build_tiled(&shape, &tiles, false);
    check_tiled_product(kernel, &shape, &tiles);
    clReleaseKernel(kernel);
}
END_TEST

START_TEST(tiles_do_not_depend_on_a_minibatch)
{
    const struct gemm_limits limits = {20, 32768, 256};
    struct gemm_shape shape = {.m = 128, .n = 512, .k = 784, .batches = 1, .m_varies = true};
    const struct gemm_tiles full = cg_gemm_tiles(&shape, &limits);
    const bool shared = cg_gemm_tiles_launch(&full, &shape, &limits).shared;
    for (shape.m = 1; shape.m < 2000; shape.m += 7) {
        const struct gemm_tiles tiles = cg_gemm_tiles(&shape, &limits);
        ck_assert_mem_eq(&tiles, &full, sizeof full);
        ck_assert(cg_gemm_tiles_launch(&tiles, &shape, &limits).shared == shared);
    }
}
END_TEST

/* Shares of the depth cover it, none is empty, and they come only where there are few tiles and many steps. */
START_TEST(shares_cover_the_depth)
{
    const struct gemm_limits limits = {132, 49152, 1024};
    for (int64_t k = 1; k < 200000; k += k / 3 + 1)
        for (int64_t m = 1; m < 3000; m *= 4) {
            const struct gemm_shape shape = {.m = m, .n = 70, .k = k, .batches = 2};
            const struct gemm_tiles tiles = cg_gemm_tiles(&shape, &limits);
            const struct gemm_tiles_launch launch = cg_gemm_tiles_launch(&tiles, &shape, &limits);
            ck_assert_int_ge(launch.shares * launch.share_depth, k);
            ck_assert_int_lt((launch.shares - 1) * launch.share_depth, k);
            ck_assert_int_eq(launch.global[2], launch.shares);
            ck_assert(launch.shares == 1 || (launch.share_depth >= 128 && launch.share_depth % tiles.depth == 0));
            ck_assert_int_eq(launch.scratch_elements, launch.shares > 1 ? launch.shares * 2 * m * 70 : 0);
            if (k < 512 || launch.global[0] / launch.local > 132) ck_assert_int_eq(launch.shares, 1);
        }
    const struct gemm_shape deep = {.m = 25, .n = 32, .k = 100352, .batches = 1};
    const struct gemm_tiles tiles = cg_gemm_tiles(&deep, &limits);
    ck_assert_int_ge(cg_gemm_tiles_launch(&tiles, &deep, &limits).shares, 100);
}
END_TEST

START_TEST(absurd_tiles_do_not_fit)
{
    static const struct gemm_tiles absurd[] = {
        {0, 16, 16, 1, 1},    {16, 16, 0, 1, 1},    {16, 16, 16, 0, 1}, {16, 16, 16, 3, 1},   {16, 16, 16, 1, 32},
        {-16, 16, 16, -1, 1}, {16, 16, 1000, 1, 1}, {64, 64, 16, 1, 1}, {128, 128, 64, 8, 8}, {256, 256, 8, 16, 16}};
    const struct gemm_limits limits = {20, 32768, 256};
    const struct gemm_shape plain = {0};
    ck_assert(!cg_gemm_tiles_fit(&absurd[_i], &plain, &limits));
}
END_TEST

START_TEST(source_does_not_depend_on_a_minibatch)
{
    struct gemm_shape shape = {.m = 128, .n = 512, .k = 784, .batches = 1, .m_varies = true};
    const struct gemm_launch full = cg_gemm_plan(&shape, &avx512);
    for (shape.m = 1; shape.m < 300; shape.m++) {
        const struct gemm_launch last = cg_gemm_plan(&shape, &avx512);
        ck_assert(has_same_constants(&last, &full));
        ck_assert_uint_ge(last.global[0] * (size_t)last.rows, (size_t)shape.m);
        ck_assert_int_gt(last.scratch_elements, 0);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("gemm_kernel");
    TCase *tests = tcase_create("values");
    tcase_add_checked_fixture(tests, open_device, NULL);
    tcase_add_loop_test(tests, every_form_in_f32, 0, 4);
    tcase_add_loop_test(tests, every_form_in_f64, 0, 4);
    tcase_add_loop_test(tests, deep_products_are_cut_shallow, 0, 2);
    suite_add_tcase(suite, tests);
    TCase *narrow = tcase_create("narrow");
    tcase_set_timeout(narrow, 120);
    tcase_add_checked_fixture(narrow, open_device, NULL);
    tcase_add_loop_test(narrow, every_narrow_form_in_f32, 0, 4);
    tcase_add_loop_test(narrow, every_narrow_form_in_f64, 0, 4);
    suite_add_tcase(suite, narrow);
    TCase *tiled = tcase_create("tiled");
    tcase_add_checked_fixture(tiled, open_device, NULL);
    tcase_add_loop_test(tiled, every_tiled_form_in_f32, 0, 4);
    tcase_add_loop_test(tiled, every_tiled_form_in_f64, 0, 4);
    tcase_add_loop_test(tiled, shares_are_added_up, 0, 2);
    suite_add_tcase(suite, tiled);
    /* Few of them, so that a simulator of devices gets through. */
    TCase *few = tcase_create("few");
    tcase_add_checked_fixture(few, open_device, NULL);
    tcase_add_loop_test(few, tiles_are_packed_on_the_way, 0, 2);
    tcase_add_loop_test(few, few_columns_get_a_narrow_strip, 0, 2);
    tcase_add_loop_test(few, tiles_of_narrow_devices_compute, 0, 3);
    suite_add_tcase(suite, few);
    TCase *plans = tcase_create("plans");
    tcase_add_test(plans, source_does_not_depend_on_a_minibatch);
    tcase_add_test(plans, narrow_products_are_known);
    tcase_add_loop_test(plans, scratch_stays_in_the_caches, 0, 2);
    tcase_add_test(plans, sums_along_places_are_dealt_out_whole);
    tcase_add_test(plans, tiles_keep_to_the_limits);
    tcase_add_test(plans, tiles_do_not_depend_on_a_minibatch);
    tcase_add_test(plans, shares_cover_the_depth);
    tcase_add_loop_test(plans, absurd_tiles_do_not_fit, 0, 10);
    suite_add_tcase(suite, plans);
    return run_suite(suite);
}
