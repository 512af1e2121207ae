/* The disk's cache of built programs: another context finds what one has built; whatever is wrong with a file, the
 * program is built from its source and the file written anew; and where nothing can be written all works without. Each
 * test has a folder of its own and names it, since on PoCL nothing is cached otherwise. */
#include "engine/binary_cache.h"
#include "program.h"
#include <clgrad/clgrad.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { PATH_BYTES = 256 };
static char folder[PATH_BYTES / 2];

/* ---- The folder -------------------------------------------------------------------------------------------------- */

/* The number of entries; `path` is one of them. */
static int list(const char *of, char path[PATH_BYTES])
{
    DIR *directory = opendir(of);
    int count = 0;
    for (struct dirent *entry; directory && (entry = readdir(directory));) {
        if (entry->d_name[0] == '.') continue;
        const int length = snprintf(path, PATH_BYTES, "%s/%s", of, entry->d_name);
        ck_assert_int_lt(length, PATH_BYTES);
        count++;
    }
    if (directory) closedir(directory);
    return count;
}

static void set_up(void)
{
    make_temporary_folder(folder, sizeof folder);
    setenv("CLGRAD_CACHE", folder, 1);
}

static void tear_down(void)
{
    char path[PATH_BYTES];
    unsetenv("CLGRAD_CACHE");
    while (list(folder, path)) ck_assert_int_eq(remove(path), 0);
    ck_assert_int_eq(rmdir(folder), 0);
}

static long bytes_of(const char *path)
{
    struct stat info;
    ck_assert_int_eq(stat(path, &info), 0);
    return (long)info.st_size;
}

/* A file that is replaced, not written into, is another one. */
static ino_t identity(const char *path)
{
    struct stat info;
    ck_assert_int_eq(stat(path, &info), 0);
    return info.st_ino;
}

/* ---- One program ------------------------------------------------------------------------------------------------- */

/* x * x + k in a context of its own, which needs one program; its counters. `device`: 0, or 1 for a key that says that
 * the program was built for another device. */
static cg_counters compute_on(int device, int k)
{
    cg_context *cg = cg_open(NULL);
    float found[3];
    ck_assert_msg(cg_status(cg) == CG_OK, "%s", cg_message(cg));
    if (cg->binary_device) cg->binary_device[0] ^= (char)device;
    cg_tensor y = cg_square(cg_input(cg, CG_F32, CG_SHAPE(3), ((float[]){1, 2, 3})));
    for (int i = 0; i < k; i++) y = cg_add(y, cg_scalar(cg, 1));
    ck_assert_msg(cg_read_floats(y, found, 3), "%s", cg_message(cg));
    for (int i = 0; i < 3; i++) ck_assert_float_eq(found[i], (float)((i + 1) * (i + 1) + k));
    ck_assert_int_eq(cg_status(cg), CG_OK);
    const cg_counters counters = cg_counters_get(cg);
    ck_assert_int_eq(counters.programs_built, 1);
    cg_close(cg);
    return counters;
}

static cg_counters compute(int k)
{
    return compute_on(0, k);
}

static void expect_loaded(int k)
{
    ck_assert_int_eq(compute(k).programs_loaded, 1);
}

static void expect_built(int k)
{
    ck_assert_int_eq(compute(k).programs_loaded, 0);
}

/* Builds the program once; the path of its file. */
static void make_file(char path[PATH_BYTES])
{
    expect_built(1);
    ck_assert_int_eq(list(folder, path), 1);
}

/* It is not used, and one that can be used takes its place. */
static void expect_rebuilt(const char *path, const char *what, long at)
{
    const ino_t before = identity(path);
    char only[PATH_BYTES];
    ck_assert_msg(compute(1).programs_loaded == 0, "%s at %ld: the file was used", what, at);
    ck_assert_msg(identity(path) != before, "%s at %ld: the file was not written anew", what, at);
    ck_assert_int_eq(list(folder, only), 1);
    expect_loaded(1);
}

START_TEST(another_context_finds_it)
{
    char path[PATH_BYTES];
    make_file(path);
    const ino_t written = identity(path);
    expect_loaded(1);
    expect_loaded(1);
    ck_assert_int_eq(identity(path), written);
    expect_built(2);
    ck_assert_int_eq(list(folder, path), 2);
    expect_loaded(1);
    expect_loaded(2);
}
END_TEST

/* Whatever is changed: magic number, lengths, checksum, device, source, binary. */
START_TEST(a_damaged_file_is_rebuilt)
{
    char path[PATH_BYTES];
    make_file(path);
    const long bytes = bytes_of(path);
    for (int i = 0; i <= 12; i++) {
        const long at = i <= 8 ? 7 * i : (bytes - 1) * (i - 8) / 4;
        FILE *file = fopen(path, "r+b");
        ck_assert_ptr_nonnull(file);
        ck_assert_int_eq(fseek(file, at, SEEK_SET), 0);
        const int byte = fgetc(file);
        ck_assert_int_eq(fseek(file, at, SEEK_SET), 0);
        ck_assert_int_eq(fputc(byte ^ 1 << i % 8, file), byte ^ 1 << i % 8);
        ck_assert_int_eq(fclose(file), 0);
        expect_rebuilt(path, "a bit changed", at);
    }
}
END_TEST

START_TEST(a_file_of_the_wrong_length_is_rebuilt)
{
    char path[PATH_BYTES];
    make_file(path);
    const long bytes = bytes_of(path), lengths[] = {0, 1, 40, bytes / 2, bytes - 1, bytes + 1};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        ck_assert_int_eq(truncate(path, lengths[i]), 0);
        expect_rebuilt(path, "cut", lengths[i]);
    }
}
END_TEST

/* Whole, but of another key. */
static void expect_not_taken_for(const char *path, int device, int k, const char *what)
{
    char other[PATH_BYTES];
    ck_assert_int_eq(unlink(path), 0);
    ck_assert_int_eq(compute_on(device, k).programs_loaded, 0);
    ck_assert_int_eq(list(folder, other), 1);
    ck_assert_str_ne(other, path);
    ck_assert_int_eq(rename(other, path), 0);
    expect_rebuilt(path, what, 0);
}

START_TEST(a_file_of_another_key_is_rebuilt)
{
    char path[PATH_BYTES];
    make_file(path);
    expect_not_taken_for(path, 0, 2, "another program's");
    expect_not_taken_for(path, 1, 1, "another device's");
}
END_TEST

/* ---- Folders that cannot be used --------------------------------------------------------------------------------- */

START_TEST(without_a_folder_that_can_be_written_all_works)
{
    char path[PATH_BYTES], below[PATH_BYTES];
    make_file(path);
    snprintf(below, sizeof below, "%.200s/below/a-file", path);
    setenv("CLGRAD_CACHE", below, 1);
    expect_built(1);
    setenv("CLGRAD_CACHE", "/dev/null/clgrad", 1);
    expect_built(1);
    ck_assert_int_eq(list(folder, path), 1);
}
END_TEST

/* A folder of its name stays, and no temporary file is left beside it; a pipe is not waited for, but replaced. */
START_TEST(something_else_of_the_file_s_name)
{
    char path[PATH_BYTES], inside[PATH_BYTES];
    make_file(path);
    ck_assert_int_eq(unlink(path), 0);
    ck_assert_int_eq(mkdir(path, 0700), 0);
    expect_built(1);
    expect_built(1);
    ck_assert_int_eq(list(folder, inside), 1);
    ck_assert_str_eq(inside, path);
    ck_assert_int_eq(rmdir(path), 0);
    ck_assert_int_eq(mkfifo(path, 0600), 0);
    expect_rebuilt(path, "a pipe", 0);
}
END_TEST

START_TEST(folders_are_made)
{
    char inner[PATH_BYTES], path[PATH_BYTES];
    snprintf(inner, sizeof inner, "%.100s/one", folder);
    snprintf(path, sizeof path, "%.110s/two", inner);
    setenv("CLGRAD_CACHE", path, 1);
    expect_built(1);
    expect_loaded(1);
    char file[PATH_BYTES];
    ck_assert_int_eq(list(path, file), 1);
    ck_assert(remove(file) == 0 && rmdir(path) == 0);
}
END_TEST

/* ---- Size -------------------------------------------------------------------------------------------------------- */

/* A file of the cache's with nothing in it that takes space, used `days` ago. */
static void make_large(const char *name, int days, int64_t bytes, char path[PATH_BYTES])
{
    snprintf(path, PATH_BYTES, "%.100s/%s", folder, name);
    const int descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
    ck_assert_int_ge(descriptor, 0);
    const time_t then = time(NULL) - 86400 * days;
    const struct timespec times[2] = {{.tv_sec = then}, {.tv_sec = then}};
    ck_assert_int_eq(ftruncate(descriptor, bytes), 0);
    ck_assert_int_eq(futimens(descriptor, times), 0);
    close(descriptor);
}

static bool exists(const char *path)
{
    return access(path, F_OK) == 0;
}

/* Those not used for longest go, and nothing that is not the cache's. */
START_TEST(old_files_go_when_there_are_too_many)
{
    const int64_t most = CG_BINARY_CACHE_BYTES;
    char path[PATH_BYTES], oldest[PATH_BYTES], old[PATH_BYTES], recent[PATH_BYTES], foreign[PATH_BYTES];
    make_file(path);
    make_large("clgrad-1.bin.17.0.tmp", 9, most / 2, oldest);
    make_large("clgrad-2.bin", 8, most / 2, old);
    make_large("clgrad-3.bin", 1, most / 3, recent);
    make_large("photos", 99, 2 * most, foreign);
    expect_loaded(1); /* which counts as a use, and writes nothing */
    ck_assert(exists(oldest) && exists(old));
    expect_built(2);
    ck_assert(!exists(oldest) && exists(old) && exists(recent) && exists(foreign));
    expect_loaded(1);
    expect_loaded(2);
}
END_TEST

/* ---- The environment --------------------------------------------------------------------------------------------- */

START_TEST(off_means_no_files)
{
    char path[PATH_BYTES];
    setenv("CLGRAD_CACHE", "off", 1);
    setenv("XDG_CACHE_HOME", folder, 1);
    expect_built(1);
    expect_built(1);
    unsetenv("XDG_CACHE_HOME");
    ck_assert_int_eq(list(folder, path), 0);
}
END_TEST

/* Without being told, in the user's folder for caches; on PoCL, which has a cache, nowhere. */
START_TEST(the_default_is_by_platform)
{
    char path[PATH_BYTES], inside[PATH_BYTES];
    unsetenv("CLGRAD_CACHE");
    setenv("XDG_CACHE_HOME", folder, 1);
    cg_context *cg = cg_open(NULL);
    const bool pocl = strstr(cg_device(cg)->platform, "Portable Computing Language") != NULL;
    cg_close(cg);
    expect_built(1);
    ck_assert_int_eq(compute(1).programs_loaded, !pocl);
    unsetenv("XDG_CACHE_HOME");
    ck_assert_int_eq(list(folder, path), !pocl);
    if (pocl) return;
    ck_assert_str_eq(strrchr(path, '/'), "/clgrad");
    ck_assert_int_eq(list(path, inside), 1);
    ck_assert_int_eq(remove(inside), 0);
}
END_TEST

START_TEST(an_unknown_word_is_an_error)
{
    setenv("CLGRAD_CACHE", "on", 1);
    cg_context *cg = cg_open(NULL);
    ck_assert_int_eq(cg_status(cg), CG_ERROR_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(cg_message(cg), "CLGRAD_CACHE is \"on\"; it takes off, or a folder"));
    cg_close(cg);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("binary_cache");
    TCase *tests = tcase_create("binary_cache");
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_test(tests, another_context_finds_it);
    tcase_add_test(tests, a_damaged_file_is_rebuilt);
    tcase_add_test(tests, a_file_of_the_wrong_length_is_rebuilt);
    tcase_add_test(tests, a_file_of_another_key_is_rebuilt);
    tcase_add_test(tests, without_a_folder_that_can_be_written_all_works);
    tcase_add_test(tests, something_else_of_the_file_s_name);
    tcase_add_test(tests, folders_are_made);
    tcase_add_test(tests, old_files_go_when_there_are_too_many);
    tcase_add_test(tests, off_means_no_files);
    tcase_add_test(tests, the_default_is_by_platform);
    tcase_add_test(tests, an_unknown_word_is_an_error);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
