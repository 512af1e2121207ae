/* The loader: walks a data set in a fixed or shuffled order and hands it out in minibatches on the device. Items are
 * fetched into host memory that the context lends; conversion and scaling are left to the device. */
#include <clgrad/data.h>
#include <clgrad/ops.h>

#include <string.h>

struct cg_loader {
    cg_dataset *dataset;
    cg_loader_options options;
    int64_t *order; /* of the items in this epoch; NULL: as they come */
    int64_t next;   /* position of the next item in the order */
    uint64_t epoch;
    cg_batch batch; /* handed out last */
};

void cg_dataset_free(cg_dataset *dataset)
{
    if (dataset && dataset->destroy) dataset->destroy(dataset);
}

/* SplitMix64 (Steele, Lea and Flood, 2014): well-distributed numbers from any seed, the same on every machine. */
static uint64_t next_random(uint64_t *state)
{
    uint64_t z = *state += 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

/* Evenly from 0..bound-1: numbers of the last, incomplete run of `bound` are drawn again. */
static uint64_t random_below(uint64_t *state, uint64_t bound)
{
    uint64_t number, limit = UINT64_MAX - UINT64_MAX % bound;
    do {
        number = next_random(state);
    } while (number >= limit);
    return number % bound;
}

/* Fisher and Yates. The order depends on nothing but seed and epoch, so that an epoch can be repeated. */
static void shuffle(cg_loader *loader)
{
    if (!loader->order) return;
    uint64_t state = loader->options.seed;
    state = next_random(&state) + loader->epoch;
    for (int64_t i = 0; i < loader->dataset->length; i++) loader->order[i] = i;
    for (int64_t i = loader->dataset->length - 1; i > 0; i--) {
        int64_t other = (int64_t)random_below(&state, (uint64_t)i + 1), held = loader->order[i];
        loader->order[i] = loader->order[other];
        loader->order[other] = held;
    }
}

static bool dtype_exists(const cg_dataset *dataset, cg_dtype dtype)
{
    if (cg_dtype_bytes(dtype) > 0) return true;
    cg_report(dataset->context, CG_ERROR_ARGUMENT, "loader", "there is no dtype %d", (int)dtype);
    return false;
}

static bool check_options(const cg_dataset *dataset, const cg_loader_options *options)
{
    if (options->batch_size < 0) {
        cg_report(dataset->context, CG_ERROR_ARGUMENT, "loader", "a batch size of %lld",
                  (long long)options->batch_size);
        return false;
    }
    if (!dtype_exists(dataset, dataset->x_dtype) || (dataset->has_y && !dtype_exists(dataset, dataset->y_dtype)))
        return false;
    if (dataset->x_shape.rank < CG_MAX_RANK && (!dataset->has_y || dataset->y_shape.rank < CG_MAX_RANK)) return true;
    cg_report(dataset->context, CG_ERROR_ARGUMENT, "loader", "items of rank 8 leave no axis for the minibatch");
    return false;
}

cg_loader *cg_loader_new_with(cg_dataset *dataset, const cg_loader_options *options)
{
    options = options ? options : CG_OPTIONS(cg_loader_options, );
    if (!dataset || !check_options(dataset, options)) return NULL;
    cg_loader *loader = cg_host_allocate(dataset->context, sizeof *loader);
    if (!loader) return NULL;
    loader->dataset = dataset;
    loader->options = *options;
    if (!loader->options.batch_size) loader->options.batch_size = 32;
    if (options->shuffle) {
        loader->order = cg_host_allocate(dataset->context, ((size_t)dataset->length + 1) * sizeof *loader->order);
        if (!loader->order) {
            cg_loader_free(loader);
            return NULL;
        }
    }
    shuffle(loader);
    return loader;
}

/* A tensor of rank -1 is null, or has died with a scope of the caller's. */
static void release_batch(cg_loader *loader)
{
    if (cg_shape_of(loader->batch.x).rank >= 0) cg_release(loader->batch.x);
    if (cg_shape_of(loader->batch.y).rank >= 0) cg_release(loader->batch.y);
    loader->batch = (cg_batch){.count = 0};
}

void cg_loader_free(cg_loader *loader)
{
    if (!loader) return;
    cg_context *cg = loader->dataset->context;
    release_batch(loader);
    cg_host_free(cg, loader->order);
    cg_host_free(cg, loader);
}

int64_t cg_loader_batches(const cg_loader *loader)
{
    if (!loader) return 0;
    int64_t whole = loader->dataset->length / loader->options.batch_size;
    return whole + (!loader->options.drop_last && loader->dataset->length % loader->options.batch_size);
}

/* The number of items in the next minibatch; 0 at the end of the epoch. */
static int64_t next_count(const cg_loader *loader)
{
    int64_t left = loader->dataset->length - loader->next;
    if (left >= loader->options.batch_size) return loader->options.batch_size;
    return loader->options.drop_last ? 0 : left;
}

static cg_shape with_batch_axis(cg_shape item, int64_t count)
{
    cg_shape shape = {.rank = item.rank + 1, .size = {count}};
    for (int i = 0; i < item.rank; i++) shape.size[i + 1] = item.size[i];
    return shape;
}

/* Host memory for both parts of a minibatch. */
typedef struct lent_memory {
    char *x, *y;
    size_t x_bytes, y_bytes; /* per item */
} lent_memory;

static void return_memory(cg_context *cg, lent_memory *lent)
{
    if (lent->x) cg_staging_return(cg, lent->x);
    if (lent->y) cg_staging_return(cg, lent->y);
}

static bool borrow_memory(const cg_dataset *dataset, int64_t count, lent_memory *lent)
{
    *lent = (lent_memory){.x_bytes = (size_t)cg_shape_size(dataset->x_shape) * cg_dtype_bytes(dataset->x_dtype)};
    lent->x = cg_staging(dataset->context, (size_t)count * lent->x_bytes);
    if (!lent->x) return false;
    if (!dataset->has_y) return true;
    lent->y_bytes = (size_t)cg_shape_size(dataset->y_shape) * cg_dtype_bytes(dataset->y_dtype);
    lent->y = cg_staging(dataset->context, (size_t)count * lent->y_bytes);
    if (lent->y) return true;
    return_memory(dataset->context, lent);
    return false;
}

static bool fetch_items(const cg_loader *loader, int64_t count, const lent_memory *lent)
{
    const cg_dataset *dataset = loader->dataset;
    for (int64_t i = 0; i < count; i++) {
        int64_t position = loader->next + i, index = loader->order ? loader->order[position] : position;
        if (!dataset->fetch(dataset, index, lent->x + (size_t)i * lent->x_bytes,
                            lent->y ? lent->y + (size_t)i * lent->y_bytes : NULL))
            return false;
    }
    return true;
}

/* x as the program gets it: floating, and scaled. */
static cg_tensor convert(const cg_loader *loader, cg_tensor x)
{
    if (!cg_is_null(x) && !cg_is_floating(cg_dtype_of(x))) x = cg_cast(x, CG_F32);
    if (!cg_is_null(x) && loader->options.scale != 0 && loader->options.scale != 1)
        x = cg_mul(x, cg_scalar(cg_context_of(x), loader->options.scale));
    return x;
}

/* Tensors from what was fetched. They leave the scope in which their temporaries end, and so belong to the caller's. */
static bool upload(cg_loader *loader, int64_t count, const lent_memory *lent)
{
    const cg_dataset *dataset = loader->dataset;
    cg_context *cg = dataset->context;
    const cg_input_options options = {.has_batch_axis = true, .batch_axis = 0};
    cg_scope scope = cg_scope_local(cg);
    cg_tensor x = cg_input_staged(cg, dataset->x_dtype, with_batch_axis(dataset->x_shape, count), lent->x, &options);
    cg_tensor y = {0};
    if (lent->y) y = cg_input_staged(cg, dataset->y_dtype, with_batch_axis(dataset->y_shape, count), lent->y, &options);
    x = convert(loader, x);
    bool done = !cg_is_null(x) && (!lent->y || !cg_is_null(y));
    if (done) loader->batch = (cg_batch){.x = cg_keep(x), .y = lent->y ? cg_keep(y) : y, .count = count};
    cg_scope_end(scope);
    return done;
}

static bool load(cg_loader *loader, int64_t count)
{
    lent_memory lent;
    if (!borrow_memory(loader->dataset, count, &lent)) return false;
    if (!fetch_items(loader, count, &lent)) {
        return_memory(loader->dataset->context, &lent);
        return false;
    }
    return upload(loader, count, &lent);
}

bool cg_loader_next(cg_loader *loader, cg_batch *batch)
{
    *batch = (cg_batch){.count = 0};
    if (!loader || cg_status(loader->dataset->context)) return false;
    release_batch(loader);
    int64_t count = next_count(loader);
    if (!count) {
        loader->next = 0;
        loader->epoch++;
        shuffle(loader);
        return false;
    }
    if (!load(loader, count)) return false;
    loader->next += count;
    *batch = loader->batch;
    return true;
}
