/* Data: data sets, readers of files that hold them, and the loader that hands them out in minibatches. */
#ifndef CLGRAD_DATA_H
#define CLGRAD_DATA_H

#include <clgrad/tensor.h>

CG_BEGIN

/* A data set: a length and a function that writes one item into host memory. Fill one in for data of your own. */
typedef struct cg_dataset cg_dataset;
struct cg_dataset {
    cg_context *context;
    int64_t length;
    cg_shape x_shape; /* of one item, without the minibatch axis */
    cg_dtype x_dtype;
    cg_shape y_shape; /* of its label; rank 0 for a class number */
    cg_dtype y_dtype;
    bool has_y;
    void *user;
    /* Writes item `index`: x_shape elements to x, y_shape elements to y (NULL without labels). False after
     * reporting an error through cg_report. */
    bool (*fetch)(const cg_dataset *dataset, int64_t index, void *x, void *y);
    /* Frees what `user` refers to, and the data set itself. May be NULL. */
    void (*destroy)(cg_dataset *dataset);
};
CG_API void cg_dataset_free(cg_dataset *dataset);

/* IDX, the format of the MNIST files (http://yann.lecun.com/exdb/mnist), plain or gzipped: elements u8, i32, f32 or
 * f64, any rank up to 8. `data` is host memory of the context, to be freed by cg_idx_free. False with a message that
 * names the file: missing, truncated, longer than its header says, damaged, not IDX, sizes that overflow. */
typedef struct cg_idx {
    cg_dtype dtype;
    cg_shape shape;
    void *data;
} cg_idx;
CG_API bool cg_idx_read(cg_context *cg, const char *path, cg_idx *idx);
CG_API void cg_idx_free(cg_context *cg, cg_idx *idx);

typedef struct cg_idx_dataset_options {
    char unset_;
    bool flatten; /* items are vectors: [28, 28] becomes [784] */
} cg_idx_dataset_options;
/* The data set of one IDX file of items and one of labels (NULL: none), both held in memory. NULL with a message on
 * an error: also when the two lengths differ. */
#define cg_idx_dataset(cg, x_path, y_path, ...) \
    cg_idx_dataset_with(cg, x_path, y_path, CG_OPTIONS(cg_idx_dataset_options, __VA_ARGS__))
CG_API cg_dataset *cg_idx_dataset_with(cg_context *cg, const char *x_path, const char *y_path,
                                       const cg_idx_dataset_options *options);

typedef struct cg_loader cg_loader;

typedef struct cg_loader_options {
    char unset_;
    int64_t batch_size; /* default 32 */
    bool shuffle;       /* a new order in every epoch, a function of seed and epoch alone */
    uint64_t seed;
    bool drop_last; /* leave out a last batch that is not full; default: it is handed out */
    double scale;   /* x is multiplied by it, on the device; default 1 */
} cg_loader_options;

/* One minibatch. The tensors are valid until the loader's next call, across the step scopes in between. */
typedef struct cg_batch {
    cg_tensor x; /* [count, x_shape...]; integers are converted to f32 on the device */
    cg_tensor y; /* [count, y_shape...] in the data set's dtype; null without labels */
    int64_t count;
} cg_batch;

/* The data set must outlive the loader and is not freed with it. NULL after an error. */
#define cg_loader_new(dataset, ...) cg_loader_new_with(dataset, CG_OPTIONS(cg_loader_options, __VA_ARGS__))
CG_API cg_loader *cg_loader_new_with(cg_dataset *dataset, const cg_loader_options *options);
CG_API void cg_loader_free(cg_loader *loader);
/* The next minibatch. False at the end of an epoch (the next call begins another one) and while the context has an
 * error, with *batch all null. Call it outside the step scopes that use the batch. */
CG_API bool cg_loader_next(cg_loader *loader, cg_batch *batch);
CG_API int64_t cg_loader_batches(const cg_loader *loader); /* per epoch */

CG_END
#endif
