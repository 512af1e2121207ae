/* OpenBLAS's side of the comparison of matrix products, on all cores: reads lines such as `128x512x784 TN` and answers
 * each with the median and best time of a product, sampled as `clgrad bench` samples. Operands take turns, and each
 * product goes to memory of its own, as there. */
#include "cli/sampling.h"
#include <cblas.h>
#include <stdio.h>
#include <stdlib.h>

enum { MOST_SETS = 4, LEAST_SETS = 2, SETS_MIB = 256 };

typedef struct products {
    int rows, columns, inner, sets, next;
    char form[3];
    float *left[MOST_SETS], *right[MOST_SETS], *result[MOST_SETS];
} products;

static float *random_floats(size_t count)
{
    float *values = malloc(count * sizeof *values);
    if (!values) exit(EXIT_FAILURE);
    for (size_t i = 0; i < count; i++) values[i] = 2 * (float)rand() / (float)RAND_MAX - 1;
    return values;
}

static void prepare(products *p)
{
    const size_t rows = (size_t)p->rows, columns = (size_t)p->columns, inner = (size_t)p->inner;
    const size_t bytes = (rows * inner + inner * columns + rows * columns) * sizeof(float);
    p->next = 0;
    p->sets = MOST_SETS * bytes < (size_t)SETS_MIB << 20 ? MOST_SETS : LEAST_SETS;
    for (int s = 0; s < p->sets; s++) {
        p->left[s] = random_floats(rows * inner);
        p->right[s] = random_floats(inner * columns);
        p->result[s] = random_floats(rows * columns);
    }
}

static void discard(products *p)
{
    for (int s = 0; s < p->sets; s++) {
        free(p->left[s]);
        free(p->right[s]);
        free(p->result[s]);
    }
}

static double time_block(void *user, int repetitions)
{
    products *p = user;
    const bool left = p->form[0] == 'T', right = p->form[1] == 'T';
    const double start = seconds_on(CLOCK_MONOTONIC);
    for (int i = 0; i < repetitions; i++) {
        const int set = p->next++ % p->sets;
        cblas_sgemm(CblasRowMajor, left ? CblasTrans : CblasNoTrans, right ? CblasTrans : CblasNoTrans, p->rows,
                    p->columns, p->inner, 1, p->left[set], left ? p->rows : p->inner, p->right[set],
                    right ? p->inner : p->columns, 0, p->result[set], p->columns);
    }
    return seconds_on(CLOCK_MONOTONIC) - start;
}

int main(void)
{
    char line[128];
    printf("{\"version\": \"%s\"}\n", openblas_get_config());
    fflush(stdout);
    while (fgets(line, sizeof line, stdin)) {
        products p;
        statistics time;
        if (sscanf(line, "gemm %dx%dx%d %2s", &p.rows, &p.columns, &p.inner, p.form) != 4) {
            printf("{\"error\": \"no such case\"}\n");
        } else {
            prepare(&p);
            if (sample(time_block, &p, false, &time))
                printf("{\"median_us\": %.3f, \"best_us\": %.3f}\n", 1e6 * time.median, 1e6 * time.best);
            discard(&p);
        }
        fflush(stdout);
    }
    return EXIT_SUCCESS;
}
