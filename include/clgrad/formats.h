/* File formats that other programs read and write. */
#ifndef CLGRAD_FORMATS_H
#define CLGRAD_FORMATS_H

#include <clgrad/file.h>
#include <clgrad/tensor.h>

CG_BEGIN

/* Safetensors, https://github.com/huggingface/safetensors: eight bytes of header length, a header in JSON, then the
 * elements, little-endian and row-major. Dtypes here: F32, F64, F16, BF16, I32, U8, BOOL. */
typedef struct cg_safetensors_entry {
    const char *name;
    cg_dtype dtype;
    cg_shape shape;
} cg_safetensors_entry;

/* Hands over the elements of entry `index`, all its bytes at once. False, after reporting, stops the writing. */
typedef bool (*cg_safetensors_source)(void *user, int index, void *out, size_t bytes);

/* Writes a file atomically, elements of larger dtypes first, so that all are aligned. False with a message on an
 * error, `path` then being as it was. */
CG_API bool cg_safetensors_write(cg_context *cg, const char *path, const cg_safetensors_entry *entries, int count,
                                 cg_safetensors_source source, void *user);

/* A file open for reading. Opening checks the whole header: names, dtypes, shapes, offsets that neither overlap nor
 * leave gaps nor pass the end. NULL with a message that names the file and the tensor otherwise. */
typedef struct cg_safetensors cg_safetensors;
CG_API cg_safetensors *cg_safetensors_open(cg_context *cg, const char *path);
CG_API void cg_safetensors_close(cg_safetensors *file);
CG_API int cg_safetensors_count(const cg_safetensors *file);
/* NULL outside 0..count-1. Lives as long as the file is open. */
CG_API const cg_safetensors_entry *cg_safetensors_at(const cg_safetensors *file, int index);
/* The index of a name, or -1. */
CG_API int cg_safetensors_find(const cg_safetensors *file, const char *name);
/* Reads the elements of an entry, `bytes` being exactly its size. */
CG_API bool cg_safetensors_read(cg_safetensors *file, int index, void *out, size_t bytes);

CG_END
#endif
