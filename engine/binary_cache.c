/* The disk's cache of built programs. A file is named by a hash of its key (source, options, device, driver) and holds
 * the key itself, the driver's binary, and a checksum of both. It is used if all of it is as it was written, by this
 * user, for this key; otherwise the program is built from its source, and the file written anew. */
#include "engine/binary_cache.h"
#include "engine/hash.h"
#include "engine/text.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char MAGIC[16] = "clgrad binary 1";
static const char PREFIX[] = "clgrad-";
enum { PATH_BYTES = 4096, NAME_BYTES = 64, LARGEST_FILE = 1 << 30 };

/* What a file begins with; then come the key and the binary. */
typedef struct header {
    char magic[sizeof MAGIC];
    uint64_t key_bytes, binary_bytes, checksum[2];
} header;

/* --- where --- */

static bool is_pocl(const cg_context *cg)
{
    return strcmp(cg->info.platform, "Portable Computing Language") == 0;
}

/* Fills in the folder, or nothing if there is to be none. */
static bool choose_folder(cg_context *cg, char path[PATH_BYTES])
{
    const char *chosen = getenv("CLGRAD_CACHE"), *caches = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    int length = 0;
    path[0] = '\0';
    if (chosen && *chosen == '/')
        length = snprintf(path, PATH_BYTES, "%s", chosen);
    else if (chosen && *chosen && strcmp(chosen, "off") != 0)
        return cg_fail(cg, CG_ERROR_ARGUMENT, "CLGRAD_CACHE is \"%s\"; it takes off, or a folder as an absolute path",
                       chosen);
    else if ((chosen && *chosen) || is_pocl(cg))
        return true;
    else if (caches && *caches == '/')
        length = snprintf(path, PATH_BYTES, "%s/clgrad", caches);
    else if (home && *home == '/')
        length = snprintf(path, PATH_BYTES, "%s/.cache/clgrad", home);
    if (length < 0 || length >= PATH_BYTES - 2 * NAME_BYTES) path[0] = '\0';
    return true;
}

/* The part of every key that says what the binaries are for. CPUs of one name may differ in their vectors. */
static char *describe_device(cg_context *cg)
{
    char version[256] = "";
    if (CL(cg, clGetDeviceInfo, cg->device, CL_DEVICE_VERSION, sizeof version, version, NULL) != CL_SUCCESS)
        version[0] = '\0';
    cg_text text = {.context = cg};
    cg_text_add(&text, "%s\n%s\n%s\n%s\n%d\n", cg->info.platform, cg->info.name, version, cg->info.driver,
                cg->vector_width);
    if (!text.failed) return text.data;
    cg_text_free(&text);
    return NULL;
}

bool cg_binary_cache_open(cg_context *cg)
{
    char path[PATH_BYTES];
    if (!choose_folder(cg, path)) return false;
    if (!path[0]) return true;
    return (cg->binary_device = describe_device(cg)) && (cg->binary_folder = cg_copy_text(cg, path));
}

void cg_binary_cache_close(cg_context *cg)
{
    cg_host_free(cg, cg->binary_device);
    cg_host_free(cg, cg->binary_folder);
    cg->binary_device = cg->binary_folder = NULL;
}

/* --- keys and checksums --- */

static bool make_key(cg_context *cg, const char *source, const char *options, cg_text *key)
{
    *key = (cg_text){.context = cg};
    cg_text_append(key, cg->binary_device);
    cg_text_append(key, options);
    cg_text_append(key, "\n");
    cg_text_append(key, source);
    return !key->failed;
}

static void add_hash(uint64_t hash[2], const void *data, size_t bytes)
{
    const unsigned char *at = data;
    for (size_t i = 0; i < bytes; i += 8) {
        uint64_t word = 0;
        memcpy(&word, at + i, bytes - i < 8 ? bytes - i : 8);
        hash[0] = cg_mix(hash[0], word);
        hash[1] = cg_mix(hash[1] ^ UINT64_C(0x5bd1e9955bd1e995), word);
    }
    hash[0] = cg_mix(hash[0], bytes);
    hash[1] = cg_mix(hash[1], ~(uint64_t)bytes);
}

static void path_of(const cg_context *cg, const cg_text *key, char path[PATH_BYTES])
{
    uint64_t hash[2] = {1, 2};
    add_hash(hash, key->data, (size_t)key->length);
    snprintf(path, PATH_BYTES, "%s/%s%016llx%016llx.bin", cg->binary_folder, PREFIX, (unsigned long long)hash[0],
             (unsigned long long)hash[1]);
}

static header header_for(const cg_text *key, const void *binary, size_t bytes)
{
    header h = {.key_bytes = (uint64_t)key->length, .binary_bytes = bytes, .checksum = {3, 4}};
    memcpy(h.magic, MAGIC, sizeof MAGIC);
    add_hash(h.checksum, key->data, (size_t)key->length);
    add_hash(h.checksum, binary, bytes);
    return h;
}

/* --- loading --- */

/* The content of a plain file of ours, NULL if it is none or cannot be read. */
static unsigned char *read_file(cg_context *cg, const char *path, size_t *bytes)
{
    struct stat info;
    unsigned char *data = NULL;
    const int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (descriptor < 0) return NULL;
    if (fstat(descriptor, &info) == 0 && S_ISREG(info.st_mode) && info.st_uid == geteuid() && info.st_size > 0 &&
        info.st_size <= LARGEST_FILE)
        data = cg_resize(cg, NULL, *bytes = (size_t)info.st_size);
    size_t have = 0;
    for (ssize_t n; data && have < *bytes && (n = read(descriptor, data + have, *bytes - have)) > 0;) have += (size_t)n;
    close(descriptor);
    if (data && have == *bytes) return data;
    cg_host_free(cg, data);
    return NULL;
}

/* The binary in a file's content, NULL if anything is not as it was written for this key. */
static const unsigned char *find_binary(const cg_text *key, const unsigned char *data, size_t bytes, size_t *length)
{
    const size_t before = sizeof(header) + (size_t)key->length;
    if (bytes <= before || memcmp(data + sizeof(header), key->data, (size_t)key->length) != 0) return NULL;
    *length = bytes - before;
    const header expected = header_for(key, data + before, *length);
    return memcmp(data, &expected, sizeof expected) == 0 ? data + before : NULL;
}

static cl_program build_binary(cg_context *cg, const char *options, const unsigned char *binary, size_t bytes)
{
    cl_int status = CL_SUCCESS, loaded = CL_SUCCESS;
    cl_program program = CL_NEW(cg, &status, clCreateProgramWithBinary, cg->cl, 1, &cg->device, &bytes, &binary,
                                &loaded);
    if (!program) return NULL;
    if (loaded == CL_SUCCESS && CL(cg, clBuildProgram, program, 1, &cg->device, options, NULL, NULL) == CL_SUCCESS)
        return program;
    clReleaseProgram(program);
    return NULL;
}

bool cg_binary_load(cg_context *cg, const char *source, const char *options, cl_program *program)
{
    const int64_t failures = cg->failures;
    char path[PATH_BYTES];
    cg_text key;
    size_t bytes = 0, length = 0;
    *program = NULL;
    if (!cg->binary_folder) return true;
    if (make_key(cg, source, options, &key)) {
        path_of(cg, &key, path);
        unsigned char *data = read_file(cg, path, &bytes);
        const unsigned char *binary = data ? find_binary(&key, data, bytes, &length) : NULL;
        if (binary) *program = build_binary(cg, options, binary, length);
        if (*program) (void)utimensat(AT_FDCWD, path, NULL, 0); /* the time of its last use: see trim() */
        cg_host_free(cg, data);
    }
    cg_text_free(&key);
    return cg->failures == failures;
}

/* --- storing --- */

/* A program of a context of somebody else's may be for several devices: it is not stored. */
static unsigned char *binary_of(cg_context *cg, cl_program program, size_t *bytes)
{
    cl_uint devices = 0;
    if (CL(cg, clGetProgramInfo, program, CL_PROGRAM_NUM_DEVICES, sizeof devices, &devices, NULL) != CL_SUCCESS ||
        devices != 1 ||
        CL(cg, clGetProgramInfo, program, CL_PROGRAM_BINARY_SIZES, sizeof *bytes, bytes, NULL) != CL_SUCCESS ||
        *bytes == 0)
        return NULL;
    unsigned char *binary = cg_host_allocate(cg, *bytes);
    if (binary &&
        CL(cg, clGetProgramInfo, program, CL_PROGRAM_BINARIES, sizeof binary, (void *)&binary, NULL) == CL_SUCCESS)
        return binary;
    cg_host_free(cg, binary);
    return NULL;
}

/* The bytes of all files of the cache, those under temporary names too, and the one that was not used for longest. */
static int64_t survey(const char *folder, char oldest[PATH_BYTES])
{
    int64_t bytes = 0;
    struct timespec earliest = {0};
    DIR *directory = opendir(folder);
    oldest[0] = '\0';
    for (struct dirent *entry; directory && (entry = readdir(directory));) {
        char path[PATH_BYTES];
        struct stat info;
        if (strncmp(entry->d_name, PREFIX, sizeof PREFIX - 1) != 0 ||
            snprintf(path, sizeof path, "%s/%s", folder, entry->d_name) >= PATH_BYTES || lstat(path, &info) ||
            !S_ISREG(info.st_mode))
            continue;
        bytes += info.st_size;
        const struct timespec used = info.st_mtim;
        if (oldest[0] &&
            (used.tv_sec > earliest.tv_sec || (used.tv_sec == earliest.tv_sec && used.tv_nsec >= earliest.tv_nsec)))
            continue;
        earliest = used;
        memcpy(oldest, path, sizeof path);
    }
    if (directory) closedir(directory);
    return bytes;
}

static void trim(const char *folder)
{
    char oldest[PATH_BYTES];
    while (survey(folder, oldest) > CG_BINARY_CACHE_BYTES)
        if (unlink(oldest)) return;
}

/* The file comes first: where it cannot be written, asking the driver for the binary is in vain. */
static void store(cg_context *cg, const cg_text *key, cl_program program)
{
    char path[PATH_BYTES];
    size_t bytes = 0;
    path_of(cg, key, path);
    cg_make_folders(path);
    cg_output_file *file = cg_output_file_quiet(cg, path);
    unsigned char *binary = file ? binary_of(cg, program, &bytes) : NULL;
    if (binary) {
        const header h = header_for(key, binary, bytes);
        cg_output_file_write(file, &h, sizeof h);
        cg_output_file_write(file, key->data, (size_t)key->length);
        cg_output_file_write(file, binary, bytes);
        if (cg_output_file_commit(file)) trim(cg->binary_folder);
    } else {
        cg_output_file_discard(file);
    }
    cg_host_free(cg, binary);
}

bool cg_binary_store(cg_context *cg, const char *source, const char *options, cl_program program)
{
    const int64_t failures = cg->failures;
    cg_text key;
    if (!cg->binary_folder) return true;
    if (make_key(cg, source, options, &key)) store(cg, &key, program);
    cg_text_free(&key);
    return cg->failures == failures;
}
