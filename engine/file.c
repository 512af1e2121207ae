/* The atomic replacement of a file: a reader sees the old content or the new, whole, whatever fails in between. Uses
 * POSIX calls directly, because the C library can neither flush to the disk nor refuse an existing name. */
#include "engine/context.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct cg_output_file {
    cg_context *context;
    FILE *stream;
    bool failed, quiet;
    char *path, *temporary; /* in the same block as the struct */
};

static void report(const cg_output_file *file, const char *what)
{
    if (file->quiet) return;
    cg_report(file->context, CG_ERROR_FILE, "file", "%s: %s: %s", file->path, what, strerror(errno));
}

/* Opens a new file beside `path`, under a name that is not taken. */
static FILE *open_temporary(cg_output_file *file, size_t room)
{
    for (int attempt = 0; attempt < 100; attempt++) {
        snprintf(file->temporary, room, "%s.%ld.%d.tmp", file->path, (long)getpid(), attempt);
        int descriptor = open(file->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (descriptor < 0 && errno == EEXIST) continue;
        if (descriptor < 0) return NULL;
        FILE *stream = fdopen(descriptor, "wb");
        if (stream) return stream;
        close(descriptor);
        unlink(file->temporary);
        return NULL;
    }
    return NULL;
}

static cg_output_file *open_file(cg_context *cg, const char *path, bool quiet)
{
    size_t length = strlen(path) + 1, room = length + 48;
    cg_output_file *file = cg_host_allocate(cg, sizeof *file + length + room);
    if (!file) return NULL;
    file->context = cg;
    file->quiet = quiet;
    file->path = (char *)(file + 1);
    file->temporary = file->path + length;
    memcpy(file->path, path, length);
    file->stream = open_temporary(file, room);
    if (file->stream) return file;
    report(file, "cannot create");
    cg_host_free(cg, file);
    return NULL;
}

cg_output_file *cg_output_file_new(cg_context *cg, const char *path)
{
    if (!cg) return NULL;
    if (path && *path) return open_file(cg, path, false);
    cg_report(cg, CG_ERROR_ARGUMENT, "file", "no path given");
    return NULL;
}

cg_output_file *cg_output_file_quiet(cg_context *cg, const char *path)
{
    return open_file(cg, path, true);
}

static bool fail(cg_output_file *file, const char *what)
{
    if (!file->failed) report(file, what);
    file->failed = true;
    return false;
}

bool cg_output_file_write(cg_output_file *file, const void *data, size_t bytes)
{
    if (!file || file->failed) return false;
    if (!bytes || fwrite(data, 1, bytes, file->stream) == bytes) return true;
    return fail(file, "cannot write");
}

bool cg_output_file_print(cg_output_file *file, const char *format, ...)
{
    if (!file || file->failed) return false;
    va_list arguments;
    va_start(arguments, format);
    bool done = vfprintf(file->stream, format, arguments) >= 0;
    va_end(arguments);
    return done ? true : fail(file, "cannot write");
}

/* Flushes the folder, so that the new name survives a crash too. Some file systems cannot; that is no error. */
static void flush_folder(const char *path)
{
    char folder[4096];
    const char *slash = strrchr(path, '/');
    size_t length = slash ? (size_t)(slash - path) + (slash == path) : 1;
    if (length >= sizeof folder) return;
    memcpy(folder, slash ? path : ".", length);
    folder[length] = '\0';
    int descriptor = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (descriptor < 0) return;
    (void)fsync(descriptor);
    close(descriptor);
}

bool cg_output_file_commit(cg_output_file *file)
{
    if (!file) return false;
    if (!file->failed && (fflush(file->stream) || fsync(fileno(file->stream)))) fail(file, "cannot write");
    if (fclose(file->stream)) fail(file, "cannot write");
    file->stream = NULL;
    if (!file->failed && rename(file->temporary, file->path)) fail(file, "cannot replace");
    bool done = !file->failed;
    if (done) flush_folder(file->path);
    cg_output_file_discard(file);
    return done;
}

/* After a commit that succeeded the temporary name is gone, and unlinking it does nothing. */
void cg_output_file_discard(cg_output_file *file)
{
    if (!file) return;
    if (file->stream) fclose(file->stream);
    unlink(file->temporary);
    cg_host_free(file->context, file);
}

void cg_make_folders(const char *path)
{
    char folder[4096];
    if (snprintf(folder, sizeof folder, "%s", path) >= (int)sizeof folder) return;
    for (char *slash = folder; (slash = strchr(slash + 1, '/'));) {
        *slash = '\0';
        (void)mkdir(folder, 0700);
        *slash = '/';
    }
}
