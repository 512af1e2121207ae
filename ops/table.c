/* Joins the families into the table of built-in ops. Knows no op by name: a new op is listed in its family's file. */
#include "ops/family.h"

#include <pthread.h>

static const cg_op_family *const families[] = {
    &cg_ops_unary,  &cg_ops_activation, &cg_ops_units,         &cg_ops_binary,    &cg_ops_compare,     &cg_ops_shape,
    &cg_ops_slice,  &cg_ops_arrange,    &cg_ops_reduce,        &cg_ops_matmul,    &cg_ops_softmax,     &cg_ops_index,
    &cg_ops_create, &cg_ops_random,     &cg_ops_normalization, &cg_ops_windows,   &cg_ops_convolution, &cg_ops_scaling,
    &cg_ops_gates,  &cg_ops_dropout,    &cg_ops_pooling,       &cg_ops_depthwise, &cg_ops_resize,      &cg_ops_patches,
    &cg_ops_grid,   &cg_ops_scan,       &cg_ops_sort,          &cg_ops_along,     &cg_ops_statistics,
};

/* C cannot concatenate constant arrays of several files, so the first caller copies them, once for all threads. */
enum { CAPACITY = 512 };
static const cg_op *table[CAPACITY];
static int table_count;
static pthread_once_t table_filled = PTHREAD_ONCE_INIT;

static void fill(void)
{
    for (int i = 0; i < LENGTH(families); i++)
        for (int k = 0; k < families[i]->count && table_count < CAPACITY; k++)
            table[table_count++] = families[i]->ops[k];
}

const cg_op *const *cg_op_table(int *count)
{
    pthread_once(&table_filled, fill);
    *count = table_count;
    return table;
}

const cg_op_family *const *cg_op_families(int *count)
{
    *count = LENGTH(families);
    return families;
}
