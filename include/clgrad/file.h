/* The atomic replacement of a file, which everything that writes one goes through. */
#ifndef CLGRAD_FILE_H
#define CLGRAD_FILE_H

#include <clgrad/tensor.h>

CG_BEGIN

/* A file that takes the place of `path` only once it is complete: written under a temporary name in the same folder,
 * flushed to the disk, renamed, and the folder flushed too. */
typedef struct cg_output_file cg_output_file;
/* NULL with a message on an error. */
CG_API cg_output_file *cg_output_file_new(cg_context *cg, const char *path);
CG_API bool cg_output_file_write(cg_output_file *file, const void *data, size_t bytes);
CG_API bool cg_output_file_print(cg_output_file *file, const char *format, ...) CG_FORMAT(2, 3);
/* Completes and frees the file. False with a message if this or any write before it failed: `path` is as it was. */
CG_API bool cg_output_file_commit(cg_output_file *file);
/* Drops what was written and frees the file. */
CG_API void cg_output_file_discard(cg_output_file *file);

CG_END
#endif
