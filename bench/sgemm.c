/* SGEMM through the library, in all transposition forms, beside OpenBLAS on all cores: alternating in one run, several
 * products deep in the queue, with the share of the multiply-add peak measured in the same run. Prints one JSON object
 * per case. Without OpenBLAS at build time the comparison is left out. */
#include "bench/measure.h"
#include <clgrad/clgrad.h>
#include <stdio.h>
#ifdef HAVE_OPENBLAS
#include <cblas.h>
#endif

enum { RUNS = 75, SETS = 2, MOST_DEPTH = 64 };

typedef struct product {
    const char *form; /* N or T for each operand */
    int m, n, k;
} product;

/* Both sides write each product of a run to memory of its own. */
typedef struct operands {
    float *a[SETS], *b[SETS], *c[MOST_DEPTH];
    cg_tensor left[SETS], right[SETS];
} operands;

static float *random_floats(size_t count)
{
    float *x = malloc(count * sizeof *x);
    for (size_t i = 0; x && i < count; i++) x[i] = (float)rand() / (float)RAND_MAX - 0.5f;
    return x;
}

static cg_tensor operand(cg_context *cg, const float *data, bool transposed, int rows, int columns)
{
    if (!transposed) return cg_input(cg, CG_F32, CG_SHAPE(rows, columns), data);
    return cg_permute(cg_input(cg, CG_F32, CG_SHAPE(columns, rows), data), CG_AXES(1, 0));
}

static void prepare(cg_context *cg, const product *p, int depth, operands *o)
{
    for (int s = 0; s < SETS; s++) {
        o->a[s] = random_floats((size_t)p->m * (size_t)p->k);
        o->b[s] = random_floats((size_t)p->k * (size_t)p->n);
        o->left[s] = operand(cg, o->a[s], p->form[0] == 'T', p->m, p->k);
        o->right[s] = operand(cg, o->b[s], p->form[1] == 'T', p->k, p->n);
    }
    for (int i = 0; i < depth; i++) o->c[i] = random_floats((size_t)p->m * (size_t)p->n);
}

static void discard(operands *o, int depth)
{
    for (int s = 0; s < SETS; s++) {
        free(o->a[s]);
        free(o->b[s]);
    }
    for (int i = 0; i < depth; i++) free(o->c[i]);
}

static double time_ours(cg_context *cg, const operands *o, int depth)
{
    cg_tensor results[MOST_DEPTH];
    cg_scope scope = cg_scope_local(cg);
    const double start = seconds_on(CLOCK_MONOTONIC);
    for (int i = 0; i < depth; i++) results[i] = cg_matmul(o->left[i % SETS], o->right[i % SETS]);
    cg_eval(results, depth);
    cg_wait(cg);
    const double spent = seconds_on(CLOCK_MONOTONIC) - start;
    cg_scope_end(scope);
    return spent / depth;
}

static double time_openblas(const product *p, const operands *o, int depth)
{
#ifdef HAVE_OPENBLAS
    const bool ta = p->form[0] == 'T', tb = p->form[1] == 'T';
    const double start = seconds_on(CLOCK_MONOTONIC);
    for (int i = 0; i < depth; i++)
        cblas_sgemm(CblasRowMajor, ta ? CblasTrans : CblasNoTrans, tb ? CblasTrans : CblasNoTrans, p->m, p->n, p->k, 1,
                    o->a[i % SETS], ta ? p->m : p->k, o->b[i % SETS], tb ? p->k : p->n, 0, o->c[i], p->n);
    return (seconds_on(CLOCK_MONOTONIC) - start) / depth;
#else
    (void)p, (void)o, (void)depth;
    return 0;
#endif
}

static void run(cg_context *cg, const product *p)
{
    operands o;
    double ours[RUNS], theirs[RUNS];
    const double flop = 2.0 * p->m * p->n * p->k;
    int depth = (int)(4e9 / 20 / flop);
    depth = depth < 2 ? 2 : depth > MOST_DEPTH ? MOST_DEPTH : depth;
    cg_scope scope = cg_scope_local(cg);
    prepare(cg, p, depth, &o);
    time_ours(cg, &o, depth);
    const double peak_before = peak_gflops(cg);
    for (int r = 0; r < RUNS; r++) {
        theirs[r] = time_openblas(p, &o, depth);
        ours[r] = time_ours(cg, &o, depth);
    }
    const double peak_after = peak_gflops(cg), peak = peak_before > peak_after ? peak_before : peak_after;
    const double mine = median_of(ours, RUNS), other = median_of(theirs, RUNS);
    printf(
        "{\"case\": \"sgemm_%s\", \"shape\": \"%dx%dx%d\", \"median_us\": %.1f, \"gflops\": %.1f, \"of_peak\": %.3f, "
        "\"peak\": %.0f, \"peer\": \"openblas\", \"theirs_us\": %.1f, \"ratio\": %.2f, \"ratio_best\": %.2f}\n",
        p->form, p->m, p->n, p->k, 1e6 * mine, flop / mine / 1e9, flop / mine / 1e9 / peak, peak, 1e6 * other,
        other / mine, theirs[0] / ours[0]);
    fflush(stdout);
    discard(&o, depth);
    cg_scope_end(scope);
}

int main(void)
{
    static const product products[] = {
        {"NN", 1024, 1024, 1024}, {"NN", 128, 512, 784}, {"NN", 128, 512, 512}, {"TN", 784, 512, 128},
        {"TN", 512, 512, 128},    {"NT", 128, 512, 512}, {"NN", 512, 512, 512}, {"TN", 512, 512, 512},
        {"NT", 512, 512, 512},    {"NN", 256, 256, 256}, {"NN", 128, 128, 128}, {"NN", 128, 10, 512},
        {"TN", 512, 10, 128},     {"NT", 128, 512, 10},
    };
    cg_context *cg = cg_open(NULL);
    for (size_t i = 0; i < sizeof products / sizeof *products && !cg_status(cg); i++) run(cg, &products[i]);
    const int failed = cg_status(cg) != CG_OK;
    if (failed) fprintf(stderr, "sgemm: %s\n", cg_message(cg));
    cg_close(cg);
    return failed;
}
