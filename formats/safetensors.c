/* Safetensors files. A header in JSON lies before the elements; reading trusts nothing in it: every length, name,
 * dtype, shape and offset is checked before anything is read from the data. Knows nothing of models. */
#include <clgrad/formats.h>
#include <clgrad/op.h>

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PREFIX = 8, ALIGNMENT = 8 };
static const uint64_t longest_header = 100 * 1000 * 1000; /* the limit of the format's own implementation */

static const struct {
    const char *name;
    cg_dtype dtype;
} dtypes[] = {{"F32", CG_F32},   {"F64", CG_F64}, {"I32", CG_I32},  {"U8", CG_U8},
              {"BOOL", CG_BOOL}, {"F16", CG_F16}, {"BF16", CG_BF16}};
enum { DTYPES = sizeof dtypes / sizeof dtypes[0] };

static const char *name_of_dtype(cg_dtype dtype)
{
    for (int i = 0; i < DTYPES; i++)
        if (dtypes[i].dtype == dtype) return dtypes[i].name;
    return NULL;
}

static bool out_of_memory(cg_context *cg, const char *path)
{
    cg_report(cg, CG_ERROR_MEMORY, "safetensors", "%s: no host memory for the header", path);
    return false;
}

/* Writing. */

static int64_t bytes_of(const cg_safetensors_entry *entry)
{
    return cg_shape_size(entry->shape) * (int64_t)cg_dtype_bytes(entry->dtype);
}

/* The description of one entry; NULL if it cannot be made. */
static json_t *describe(const cg_safetensors_entry *entry, int64_t begin)
{
    json_t *shape = json_array();
    for (int i = 0; shape && i < entry->shape.rank; i++)
        if (json_array_append_new(shape, json_integer(entry->shape.size[i]))) {
            json_decref(shape);
            return NULL;
        }
    if (!shape) return NULL;
    const json_int_t first = begin, end = begin + bytes_of(entry);
    return json_pack("{s:s, s:o, s:[I, I]}", "dtype", name_of_dtype(entry->dtype), "shape", shape, "data_offsets",
                     first, end);
}

/* Fills `order` with the entries' indices, those of larger elements first. Returns the number. */
static int order_entries(const cg_safetensors_entry *entries, int count, int *order)
{
    int filled = 0;
    for (size_t bytes = 8; bytes >= 1; bytes /= 2)
        for (int i = 0; i < count; i++)
            if (cg_dtype_bytes(entries[i].dtype) == bytes) order[filled++] = i;
    return filled;
}

/* The header as text, padded with spaces so that the data is aligned; to be freed. NULL after reporting. */
static char *make_header(cg_context *cg, const char *path, const cg_safetensors_entry *entries, const int *order,
                         int count, size_t *length)
{
    json_t *header = json_object();
    int64_t offset = 0;
    for (int i = 0; header && i < count; i++) {
        const cg_safetensors_entry *entry = &entries[order[i]];
        if (json_object_get(header, entry->name)) {
            cg_report(cg, CG_ERROR_FILE, "safetensors", "%s: tensor \"%s\" appears twice", path, entry->name);
            json_decref(header);
            return NULL;
        }
        if (json_object_set_new(header, entry->name, describe(entry, offset))) {
            cg_report(cg, CG_ERROR_FILE, "safetensors", "%s: tensor \"%s\" cannot be described", path, entry->name);
            json_decref(header);
            return NULL;
        }
        offset += bytes_of(entry);
    }
    char *compact = header ? json_dumps(header, JSON_COMPACT) : NULL;
    json_decref(header);
    size_t used = compact ? strlen(compact) : 0;
    *length = (used + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    char *text = compact ? cg_host_allocate(cg, *length + 1) : NULL;
    if (text) {
        memcpy(text, compact, used + 1);
        memset(text + used, ' ', *length - used);
    } else if (!compact) {
        out_of_memory(cg, path);
    }
    free(compact);
    return text;
}

static bool write_elements(cg_output_file *file, void *buffer, const cg_safetensors_entry *entries, const int *order,
                           int count, cg_safetensors_source source, void *user)
{
    for (int i = 0; i < count; i++) {
        size_t bytes = (size_t)bytes_of(&entries[order[i]]);
        if (!source(user, order[i], buffer, bytes) || !cg_output_file_write(file, buffer, bytes)) return false;
    }
    return true;
}

static bool write_header(cg_output_file *file, const char *header, size_t length)
{
    unsigned char prefix[PREFIX];
    for (int i = 0; i < PREFIX; i++) prefix[i] = (unsigned char)((uint64_t)length >> (8 * i));
    return cg_output_file_write(file, prefix, PREFIX) && cg_output_file_write(file, header, length);
}

bool cg_safetensors_write(cg_context *cg, const char *path, const cg_safetensors_entry *entries, int count,
                          cg_safetensors_source source, void *user)
{
    if (!cg) return false;
    size_t largest = 1, length = 0;
    for (int i = 0; i < count; i++) {
        if (cg_dtype_bytes(entries[i].dtype) > 0) continue;
        cg_report(cg, CG_ERROR_ARGUMENT, "safetensors", "tensor \"%s\": there is no dtype %d", entries[i].name,
                  (int)entries[i].dtype);
        return false;
    }
    for (int i = 0; i < count; i++)
        if ((size_t)bytes_of(&entries[i]) > largest) largest = (size_t)bytes_of(&entries[i]);
    int *order = cg_host_allocate(cg, ((size_t)count + 1) * sizeof *order);
    void *buffer = cg_host_allocate(cg, largest);
    char *header = NULL;
    bool done = false;
    if (order && buffer && order_entries(entries, count, order) == count)
        header = make_header(cg, path, entries, order, count, &length);
    cg_output_file *file = header ? cg_output_file_new(cg, path) : NULL;
    if (file && write_header(file, header, length) && write_elements(file, buffer, entries, order, count, source, user))
        done = cg_output_file_commit(file);
    else
        cg_output_file_discard(file);
    cg_host_free(cg, header);
    cg_host_free(cg, buffer);
    cg_host_free(cg, order);
    return done;
}

/* Reading. */

typedef struct stored_entry {
    cg_safetensors_entry entry; /* the name belongs to the header */
    uint64_t begin, end;        /* from the start of the data */
} stored_entry;

struct cg_safetensors {
    cg_context *context;
    FILE *stream;
    json_t *header;
    char *path;
    stored_entry *entries; /* by offset */
    int count;
    uint64_t data_start, data_bytes;
};

/* A damaged file. `name` is the tensor, or NULL for the file as a whole. Returns false. */
static bool damaged(const cg_safetensors *file, const char *name, const char *what)
{
    if (name)
        cg_report(file->context, CG_ERROR_FILE, "safetensors", "%s: tensor \"%s\": %s", file->path, name, what);
    else
        cg_report(file->context, CG_ERROR_FILE, "safetensors", "%s: %s", file->path, what);
    return false;
}

static bool read_bytes(cg_safetensors *file, uint64_t offset, void *out, size_t bytes)
{
    if (!fseeko(file->stream, (off_t)offset, SEEK_SET) && fread(out, 1, bytes, file->stream) == bytes) return true;
    return damaged(file, NULL, ferror(file->stream) ? strerror(errno) : "truncated while being read");
}

/* Reads the prefix and parses the header. */
static bool read_header(cg_safetensors *file)
{
    if (fseeko(file->stream, 0, SEEK_END)) return damaged(file, NULL, strerror(errno));
    off_t size = ftello(file->stream);
    if (size < PREFIX) return damaged(file, NULL, "too short for a safetensors file");
    unsigned char prefix[PREFIX];
    if (!read_bytes(file, 0, prefix, PREFIX)) return false;
    uint64_t length = 0;
    for (int i = PREFIX - 1; i >= 0; i--) length = length << 8 | prefix[i];
    if (length > longest_header) return damaged(file, NULL, "the header is said to be longer than 100 MB");
    if (length > (uint64_t)size - PREFIX) return damaged(file, NULL, "truncated: the header passes the end");
    char *text = cg_host_allocate(file->context, (size_t)length + 1);
    if (!text) return false;
    bool done = read_bytes(file, PREFIX, text, (size_t)length);
    json_error_t error;
    if (done) {
        file->header = json_loadb(text, (size_t)length, JSON_REJECT_DUPLICATES, &error);
        if (!file->header) {
            cg_report(file->context, CG_ERROR_FILE, "safetensors", "%s: the header is not valid JSON: %s", file->path,
                      error.text);
            done = false;
        }
    }
    cg_host_free(file->context, text);
    file->data_start = PREFIX + length;
    file->data_bytes = (uint64_t)size - file->data_start;
    return done;
}

static bool parse_dtype(const cg_safetensors *file, const char *name, json_t *value, cg_dtype *dtype)
{
    const char *text = json_string_value(value);
    if (!text) return damaged(file, name, "has no dtype");
    for (int i = 0; i < DTYPES; i++) {
        if (strcmp(text, dtypes[i].name)) continue;
        *dtype = dtypes[i].dtype;
        return true;
    }
    cg_report(file->context, CG_ERROR_FILE, "safetensors",
              "%s: tensor \"%s\": dtype %.20s is not one of F32, F64, I32, U8, BOOL", file->path, name, text);
    return false;
}

/* The shape, and how many bytes it takes; a product that overflows cannot fit the file. */
static bool parse_shape(const cg_safetensors *file, const char *name, json_t *value, cg_dtype dtype, cg_shape *shape,
                        uint64_t *bytes)
{
    if (!json_is_array(value)) return damaged(file, name, "has no shape");
    if (json_array_size(value) > CG_MAX_RANK) return damaged(file, name, "has more than 8 axes");
    shape->rank = (int)json_array_size(value);
    *bytes = cg_dtype_bytes(dtype);
    for (int i = 0; i < shape->rank; i++) {
        json_t *size = json_array_get(value, (size_t)i);
        if (!json_is_integer(size) || json_integer_value(size) < 0) return damaged(file, name, "has a bad size");
        shape->size[i] = json_integer_value(size);
        if (__builtin_mul_overflow(*bytes, (uint64_t)shape->size[i], bytes))
            return damaged(file, name, "its sizes overflow");
    }
    return true;
}

static bool parse_entry(const cg_safetensors *file, const char *name, json_t *value, stored_entry *stored)
{
    stored->entry.name = name;
    if (!json_is_object(value)) return damaged(file, name, "is not described by an object");
    uint64_t bytes;
    if (!parse_dtype(file, name, json_object_get(value, "dtype"), &stored->entry.dtype) ||
        !parse_shape(file, name, json_object_get(value, "shape"), stored->entry.dtype, &stored->entry.shape, &bytes))
        return false;
    json_t *offsets = json_object_get(value, "data_offsets");
    json_t *begin = json_array_get(offsets, 0), *end = json_array_get(offsets, 1);
    if (json_array_size(offsets) != 2 || !json_is_integer(begin) || !json_is_integer(end))
        return damaged(file, name, "has no offsets");
    if (json_integer_value(begin) < 0 || json_integer_value(end) < json_integer_value(begin))
        return damaged(file, name, "its offsets are not in order");
    stored->begin = (uint64_t)json_integer_value(begin);
    stored->end = (uint64_t)json_integer_value(end);
    if (stored->end > file->data_bytes) return damaged(file, name, "truncated: its elements pass the end of the file");
    if (stored->end - stored->begin != bytes) return damaged(file, name, "its offsets do not fit its shape");
    return true;
}

static int by_offset(const void *left, const void *right)
{
    const stored_entry *a = left, *b = right;
    if (a->begin != b->begin) return a->begin < b->begin ? -1 : 1;
    return (a->end > b->end) - (a->end < b->end);
}

/* All entries, and that they cover the data without overlaps and gaps. */
static bool parse_entries(cg_safetensors *file)
{
    if (!json_is_object(file->header)) return damaged(file, NULL, "the header is not an object");
    size_t count = json_object_size(file->header);
    file->entries = cg_host_allocate(file->context, (count + 1) * sizeof *file->entries);
    if (!file->entries) return false;
    const char *name;
    json_t *value;
    json_object_foreach(file->header, name, value)
    {
        if (!strcmp(name, "__metadata__")) continue;
        if (!parse_entry(file, name, value, &file->entries[file->count])) return false;
        file->count++;
    }
    qsort(file->entries, (size_t)file->count, sizeof *file->entries, by_offset);
    uint64_t covered = 0;
    for (int i = 0; i < file->count; i++) {
        const stored_entry *stored = &file->entries[i];
        if (stored->begin < covered) return damaged(file, stored->entry.name, "overlaps the tensor before it");
        if (stored->begin > covered) return damaged(file, stored->entry.name, "leaves a gap before it");
        covered = stored->end;
    }
    return covered == file->data_bytes || damaged(file, NULL, "there are bytes after the last tensor");
}

cg_safetensors *cg_safetensors_open(cg_context *cg, const char *path)
{
    if (!cg) return NULL;
    if (!path || !*path) {
        cg_report(cg, CG_ERROR_ARGUMENT, "safetensors", "no path given");
        return NULL;
    }
    size_t length = strlen(path) + 1;
    cg_safetensors *file = cg_host_allocate(cg, sizeof *file + length);
    if (!file) return NULL;
    file->context = cg;
    file->path = memcpy(file + 1, path, length);
    file->stream = fopen(path, "rb");
    bool done = file->stream ? true : damaged(file, NULL, strerror(errno));
    if (done && read_header(file) && parse_entries(file)) return file;
    cg_safetensors_close(file);
    return NULL;
}

void cg_safetensors_close(cg_safetensors *file)
{
    if (!file) return;
    if (file->stream) fclose(file->stream);
    json_decref(file->header);
    cg_host_free(file->context, file->entries);
    cg_host_free(file->context, file);
}

int cg_safetensors_count(const cg_safetensors *file)
{
    return file ? file->count : 0;
}

const cg_safetensors_entry *cg_safetensors_at(const cg_safetensors *file, int index)
{
    return file && index >= 0 && index < file->count ? &file->entries[index].entry : NULL;
}

int cg_safetensors_find(const cg_safetensors *file, const char *name)
{
    for (int i = 0; i < cg_safetensors_count(file); i++)
        if (!strcmp(file->entries[i].entry.name, name)) return i;
    return -1;
}

bool cg_safetensors_read(cg_safetensors *file, int index, void *out, size_t bytes)
{
    if (!cg_safetensors_at(file, index)) return false;
    const stored_entry *stored = &file->entries[index];
    if (bytes != stored->end - stored->begin) return damaged(file, stored->entry.name, "has another size");
    return !bytes || read_bytes(file, file->data_start + stored->begin, out, bytes);
}
