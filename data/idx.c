/* IDX files, the format of MNIST, plain or gzipped (zlib tells which), and data sets made of them. Nothing in a file's
 * header is believed before it has been compared with the file's length. */
#include <clgrad/data.h>
#include <clgrad/op.h>

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <zlib.h>

typedef struct reader {
    cg_context *context;
    const char *path;
    gzFile file;
} reader;

static bool damaged(const reader *reader, const char *what)
{
    cg_report(reader->context, CG_ERROR_FILE, "idx", "%s: %s", reader->path, what);
    return false;
}

/* Says why fewer bytes came than were asked for. */
static bool explain_short_read(const reader *reader)
{
    int code = Z_OK;
    const char *text = gzerror(reader->file, &code);
    if (code == Z_ERRNO) return damaged(reader, strerror(errno));
    if (code == Z_OK || code == Z_BUF_ERROR) return damaged(reader, "truncated");
    cg_report(reader->context, CG_ERROR_FILE, "idx", "%s: the gzip data is damaged: %s", reader->path, text);
    return false;
}

static bool read_bytes(const reader *reader, void *out, uint64_t bytes)
{
    unsigned char *next = out;
    while (bytes) {
        unsigned chunk = bytes < 1u << 30 ? (unsigned)bytes : 1u << 30;
        int got = gzread(reader->file, next, chunk);
        if (got != (int)chunk) return explain_short_read(reader);
        next += chunk;
        bytes -= chunk;
    }
    return true;
}

/* There must be nothing more. Reading on to the end is also what makes zlib compare the checksum. */
static bool check_end(const reader *reader)
{
    char extra;
    int got = gzread(reader->file, &extra, 1);
    if (got > 0) return damaged(reader, "longer than its header says");
    int code = Z_OK;
    gzerror(reader->file, &code);
    return got == 0 && (code == Z_OK || code == Z_STREAM_END) ? true : explain_short_read(reader);
}

static bool read_dtype(const reader *reader, unsigned char code, cg_dtype *dtype)
{
    switch (code) {
    case 0x08:
        *dtype = CG_U8;
        return true;
    case 0x0C:
        *dtype = CG_I32;
        return true;
    case 0x0D:
        *dtype = CG_F32;
        return true;
    case 0x0E:
        *dtype = CG_F64;
        return true;
    case 0x09:
    case 0x0B:
        return damaged(reader, "elements of signed 8 or 16 bits are not supported");
    default:
        return damaged(reader, "not an IDX file: its third byte names no element type");
    }
}

/* What the file can hold at most: deflate packs no more than 1032 bytes into one. */
static uint64_t largest_content(const reader *reader)
{
    struct stat status;
    if (stat(reader->path, &status) || status.st_size < 0) return 0;
    uint64_t size = (uint64_t)status.st_size;
    return gzdirect(reader->file) ? size : size * 1032;
}

static bool read_header(const reader *reader, cg_idx *idx, uint64_t *bytes)
{
    unsigned char magic[4], word[4];
    if (!read_bytes(reader, magic, sizeof magic)) return false;
    if (magic[0] || magic[1]) return damaged(reader, "not an IDX file: it does not begin with two zero bytes");
    if (!read_dtype(reader, magic[2], &idx->dtype)) return false;
    if (magic[3] < 1 || magic[3] > CG_MAX_RANK) return damaged(reader, "does not have 1 to 8 axes");
    idx->shape.rank = magic[3];
    *bytes = cg_dtype_bytes(idx->dtype);
    for (int i = 0; i < idx->shape.rank; i++) {
        if (!read_bytes(reader, word, sizeof word)) return false;
        uint32_t size = (uint32_t)word[0] << 24 | (uint32_t)word[1] << 16 | (uint32_t)word[2] << 8 | word[3];
        idx->shape.size[i] = size;
        if (__builtin_mul_overflow(*bytes, (uint64_t)size, bytes)) return damaged(reader, "its sizes overflow");
    }
    return *bytes <= largest_content(reader) || damaged(reader, "truncated: too short for the sizes in its header");
}

/* IDX is big-endian; devices are not. */
static void swap_bytes(unsigned char *data, uint64_t bytes, size_t width)
{
    for (uint64_t at = 0; width > 1 && at < bytes; at += width)
        for (size_t i = 0; i < width / 2; i++) {
            unsigned char other = data[at + i];
            data[at + i] = data[at + width - 1 - i];
            data[at + width - 1 - i] = other;
        }
}

static bool read_all(const reader *reader, cg_idx *idx)
{
    uint64_t bytes;
    if (!read_header(reader, idx, &bytes)) return false;
    idx->data = cg_host_allocate(reader->context, bytes ? (size_t)bytes : 1);
    if (!idx->data) return false;
    if (read_bytes(reader, idx->data, bytes) && check_end(reader)) {
        swap_bytes(idx->data, bytes, cg_dtype_bytes(idx->dtype));
        return true;
    }
    cg_idx_free(reader->context, idx);
    return false;
}

bool cg_idx_read(cg_context *cg, const char *path, cg_idx *idx)
{
    if (!cg || !idx) return false;
    *idx = (cg_idx){.data = NULL};
    reader reader = {.context = cg, .path = path ? path : "(no path)"};
    errno = 0;
    reader.file = gzopen(reader.path, "rb");
    if (!reader.file) return damaged(&reader, errno ? strerror(errno) : "no host memory to read it");
    bool done = read_all(&reader, idx);
    gzclose(reader.file);
    return done;
}

void cg_idx_free(cg_context *cg, cg_idx *idx)
{
    if (!cg || !idx) return;
    cg_host_free(cg, idx->data);
    *idx = (cg_idx){.data = NULL};
}

/* A data set in memory: the items, and labels or none. */
typedef struct idx_pair {
    cg_idx x, y;
    size_t x_bytes, y_bytes; /* per item */
} idx_pair;

static bool fetch(const cg_dataset *dataset, int64_t index, void *x, void *y)
{
    const idx_pair *pair = dataset->user;
    memcpy(x, (const char *)pair->x.data + (size_t)index * pair->x_bytes, pair->x_bytes);
    if (y) memcpy(y, (const char *)pair->y.data + (size_t)index * pair->y_bytes, pair->y_bytes);
    return true;
}

static void destroy(cg_dataset *dataset)
{
    idx_pair *pair = dataset->user;
    cg_context *cg = dataset->context;
    cg_idx_free(cg, &pair->x);
    cg_idx_free(cg, &pair->y);
    cg_host_free(cg, pair);
    cg_host_free(cg, dataset);
}

/* The shape of one item: the file's without the first axis. */
static cg_shape item_shape(cg_shape shape, bool flatten)
{
    cg_shape item = {.rank = shape.rank - 1};
    for (int i = 0; i < item.rank; i++) item.size[i] = shape.size[i + 1];
    if (flatten) item = CG_SHAPE(cg_shape_size(item));
    return item;
}

static bool read_pair(cg_context *cg, const char *x_path, const char *y_path, idx_pair *pair)
{
    if (!cg_idx_read(cg, x_path, &pair->x) || (y_path && !cg_idx_read(cg, y_path, &pair->y))) return false;
    if (!y_path || pair->x.shape.size[0] == pair->y.shape.size[0]) return true;
    cg_report(cg, CG_ERROR_FILE, "idx", "%s holds %lld items, %s %lld labels", x_path, (long long)pair->x.shape.size[0],
              y_path, (long long)pair->y.shape.size[0]);
    return false;
}

cg_dataset *cg_idx_dataset_with(cg_context *cg, const char *x_path, const char *y_path,
                                const cg_idx_dataset_options *options)
{
    options = options ? options : CG_OPTIONS(cg_idx_dataset_options, );
    if (!cg) return NULL;
    cg_dataset *dataset = cg_host_allocate(cg, sizeof *dataset);
    idx_pair *pair = cg_host_allocate(cg, sizeof *pair);
    if (!dataset || !pair) {
        cg_host_free(cg, pair);
        cg_host_free(cg, dataset);
        return NULL;
    }
    *dataset = (cg_dataset){.context = cg, .has_y = y_path != NULL, .user = pair, .fetch = fetch, .destroy = destroy};
    if (!read_pair(cg, x_path, y_path, pair)) {
        cg_dataset_free(dataset);
        return NULL;
    }
    dataset->length = pair->x.shape.size[0];
    dataset->x_shape = item_shape(pair->x.shape, options->flatten);
    dataset->x_dtype = pair->x.dtype;
    pair->x_bytes = (size_t)cg_shape_size(dataset->x_shape) * cg_dtype_bytes(dataset->x_dtype);
    if (!y_path) return dataset;
    dataset->y_shape = item_shape(pair->y.shape, false);
    dataset->y_dtype = pair->y.dtype;
    pair->y_bytes = (size_t)cg_shape_size(dataset->y_shape) * cg_dtype_bytes(dataset->y_dtype);
    return dataset;
}
