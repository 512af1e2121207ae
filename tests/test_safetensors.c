/* Tests of safetensors files and of saving and loading models: what is written is read back, the layout is the one
 * that other programs expect, and every kind of damage is reported and changes nothing. */
#include "program.h"
#include <clgrad/clgrad.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static cg_context *cg;
static char folder[64], path[96];

static void open_context(void)
{
    cg = cg_open(NULL);
    ck_assert_msg(cg && cg_status(cg) == CG_OK, "%s", cg_message(cg));
    make_temporary_folder(folder, sizeof folder);
    snprintf(path, sizeof path, "%s/model.safetensors", folder);
}

static void close_context(void)
{
    unlink(path);
    ck_assert_msg(rmdir(folder) == 0, "a temporary file was left");
    cg_close(cg);
}

static void check_error(const char *part, int line)
{
    ck_assert_msg(cg_status(cg) == CG_ERROR_FILE, "line %d: no file error: %s", line, cg_message(cg));
    ck_assert_msg(strstr(cg_message(cg), part) != NULL, "line %d: \"%s\" lacks \"%s\"", line, cg_message(cg), part);
    ck_assert_msg(strstr(cg_message(cg), path) != NULL, "line %d: \"%s\" names no file", line, cg_message(cg));
    cg_clear_error(cg);
}
#define ERROR(part) check_error(part, __LINE__)

/* Files. */

static const uint8_t bytes[3] = {1, 2, 255};
static const bool truths[2] = {true, false};
static const int32_t ints[2] = {-5, 1 << 30};
static const float floats[6] = {0, 1, 2, 3.5f, -4, 1e30f};
static const double doubles[1] = {3.141592653589793};
static const void *const contents[] = {bytes, doubles, truths, floats, ints, NULL};
static const cg_safetensors_entry entries[] = {
    {"bytes", CG_U8, {1, {3}}},      {"scalar", CG_F64, {0, {0}}}, {"truths \"q\" \xc3\xa9", CG_BOOL, {1, {2}}},
    {"floats", CG_F32, {2, {2, 3}}}, {"ints", CG_I32, {1, {2}}},   {"empty", CG_F32, {2, {0, 4}}}};
enum { ENTRIES = sizeof entries / sizeof entries[0] };

static bool give_contents(void *user, int index, void *out, size_t count)
{
    (void)user;
    if (count) memcpy(out, contents[index], count);
    return true;
}

static void write_entries(void)
{
    ck_assert_msg(cg_safetensors_write(cg, path, entries, ENTRIES, give_contents, NULL), "%s", cg_message(cg));
}

START_TEST(every_dtype_comes_back)
{
    write_entries();
    cg_safetensors *file = cg_safetensors_open(cg, path);
    ck_assert_msg(file != NULL, "%s", cg_message(cg));
    ck_assert_int_eq(cg_safetensors_count(file), ENTRIES);
    for (int i = 0; i < ENTRIES; i++) {
        int found = cg_safetensors_find(file, entries[i].name);
        const cg_safetensors_entry *entry = cg_safetensors_at(file, found);
        ck_assert_msg(entry != NULL, "%s is missing", entries[i].name);
        ck_assert_int_eq(entry->dtype, entries[i].dtype);
        ck_assert_int_eq(entry->shape.rank, entries[i].shape.rank);
        for (int k = 0; k < entry->shape.rank; k++) ck_assert(entry->shape.size[k] == entries[i].shape.size[k]);
        unsigned char out[64];
        size_t count = (size_t)cg_shape_size(entry->shape) * cg_dtype_bytes(entry->dtype);
        ck_assert(cg_safetensors_read(file, found, out, count));
        ck_assert(!count || !memcmp(out, contents[i], count));
    }
    ck_assert_int_eq(cg_safetensors_find(file, "other"), -1);
    ck_assert_ptr_null(cg_safetensors_at(file, ENTRIES));
    char out[8];
    ck_assert(!cg_safetensors_read(file, 0, out, 1));
    ERROR("another size");
    cg_safetensors_close(file);
}
END_TEST

static size_t read_file(char *out, size_t room)
{
    FILE *file = fopen(path, "rb");
    ck_assert_ptr_nonnull(file);
    size_t count = fread(out, 1, room, file);
    fclose(file);
    return count;
}

START_TEST(data_is_aligned_and_wide_elements_come_first)
{
    char text[4096];
    write_entries();
    size_t count = read_file(text, sizeof text), length = 0;
    for (int i = 7; i >= 0; i--) length = length << 8 | (unsigned char)text[i];
    ck_assert(length % 8 == 0 && text[8] == '{');
    ck_assert_uint_eq(count, 8 + length + 3 + 2 + 8 + 24 + 8);
    ck_assert(!memcmp(text + 8 + length, contents[1], 8) && !memcmp(text + 8 + length + 8, contents[3], 24));
    struct stat status;
    mode_t mask = umask(0);
    umask(mask);
    ck_assert(!stat(path, &status) && (status.st_mode & 0777) == (0666 & ~mask));
}
END_TEST

static bool refuse(void *user, int index, void *out, size_t count)
{
    (void)out;
    (void)count;
    if (index == *(int *)user) cg_report(cg, CG_ERROR_FILE, "source", "%s: refused", path);
    return index != *(int *)user;
}

START_TEST(a_failed_write_leaves_the_file)
{
    char before[4096], after[4096];
    write_entries();
    size_t count = read_file(before, sizeof before);
    for (int at = 0; at < ENTRIES; at++) {
        ck_assert(!cg_safetensors_write(cg, path, entries, ENTRIES, refuse, &at));
        ERROR("refused");
    }
    ck_assert_uint_eq(read_file(after, sizeof after), count);
    ck_assert_mem_eq(before, after, count);
    cg_safetensors_entry twice[] = {entries[0], entries[0]};
    ck_assert(!cg_safetensors_write(cg, path, twice, 2, give_contents, NULL));
    ERROR("\"bytes\" appears twice");
    cg_safetensors_entry broken = {"\xff", CG_U8, {1, {3}}};
    ck_assert(!cg_safetensors_write(cg, path, &broken, 1, give_contents, NULL));
    ERROR("cannot be described");
}
END_TEST

/* Writes a file with this header and so many bytes of data; the length field says `claimed`, or the truth for 0. */
static void write_raw(const char *header, size_t data_bytes, uint64_t claimed)
{
    FILE *file = fopen(path, "wb");
    uint64_t length = claimed ? claimed : strlen(header);
    for (int i = 0; i < 8; i++) fputc((int)(length >> (8 * i) & 0xff), file);
    fputs(header, file);
    for (size_t i = 0; i < data_bytes; i++) fputc(0, file);
    fclose(file);
}

START_TEST(a_dtype_that_does_not_exist)
{
    const cg_safetensors_entry entry = {"strange", (cg_dtype)9, {1, {3}}};
    ck_assert(!cg_safetensors_write(cg, path, &entry, 1, give_contents, NULL));
    ck_assert_str_eq(cg_message(cg), "safetensors: tensor \"strange\": there is no dtype 9");
    cg_clear_error(cg);
}
END_TEST

START_TEST(damaged_headers_are_reported)
{
    static const struct {
        const char *header;
        size_t data_bytes;
        uint64_t claimed;
        const char *message;
    } cases[] = {
        {"", 0, 3, "the header passes the end"},
        {"{}", 0, 1u << 20, "the header passes the end"},
        {"{}", 0, UINT64_MAX, "longer than 100 MB"},
        {"{]", 0, 0, "not valid JSON"},
        {"{\"a\":1", 0, 0, "not valid JSON"},
        {"[]", 0, 0, "not an object"},
        {"{}", 4, 0, "bytes after the last tensor"},
        {"{\"a\":1}", 0, 0, "\"a\": is not described"},
        {"{\"a\":{\"shape\":[1],\"data_offsets\":[0,4]}}", 4, 0, "\"a\": has no dtype"},
        {"{\"a\":{\"dtype\":\"F8_E4M3\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1, 0, "dtype F8_E4M3"},
        {"{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,4]}}", 4, 0, "\"a\": has no shape"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[0,4]}}", 4, 0, "\"a\": has a bad size"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1.5],\"data_offsets\":[0,4]}}", 4, 0, "\"a\": has a bad size"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1,1,1,1,1],\"data_offsets\":[0,4]}}", 4, 0, "more than 8 axes"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4611686018427387904,4],\"data_offsets\":[0,0]}}", 0, 0, "overflow"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", 4, 0, "\"a\": has no offsets"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0]}}", 4, 0, "\"a\": has no offsets"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,0]}}", 4, 0, "not in order"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[-4,0]}}", 4, 0, "not in order"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 4, 0, "\"a\": truncated"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,4]}}", 4, 0, "\"a\": its offsets do not fit"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]},"
         "\"b\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[2,6]}}",
         6, 0, "\"b\": overlaps"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]},"
         "\"b\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[5,6]}}",
         6, 0, "\"b\": leaves a gap"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]},"
         "\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[4,8]}}",
         8, 0, "duplicate"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        write_raw(cases[i].header, cases[i].data_bytes, cases[i].claimed);
        ck_assert_msg(!cg_safetensors_open(cg, path), "case %d was read", (int)i);
        ERROR(cases[i].message);
    }
}
END_TEST

START_TEST(metadata_and_padding_are_skipped)
{
    write_raw("{\"__metadata__\":{\"a\":\"b\"},\"x\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]}}   ", 2,
              0);
    cg_safetensors *file = cg_safetensors_open(cg, path);
    ck_assert_msg(file && cg_safetensors_count(file) == 1, "%s", cg_message(cg));
    cg_safetensors_close(file);
}
END_TEST

START_TEST(files_that_are_none)
{
    ck_assert_ptr_null(cg_safetensors_open(cg, path));
    ERROR("No such file");
    FILE *file = fopen(path, "wb");
    fputs("short", file);
    fclose(file);
    ck_assert_ptr_null(cg_safetensors_open(cg, path));
    ERROR("too short");
}
END_TEST

/* Models. */

static cg_model *new_model(int64_t outputs, const char *name)
{
    cg_model *model = cg_model_new(cg);
    cg_dense_new(model, name, 7, outputs, .bias_initializer = cg_initializer_uniform(1, 2));
    cg_batch_norm_new(model, "bn", outputs);
    ck_assert_msg(cg_status(cg) == CG_OK, "%s", cg_message(cg));
    return model;
}

/* The values of all variables, one after the other. */
static int read_model(const cg_model *model, float *out)
{
    int count = 0;
    for (int i = 0; i < cg_model_count(model); i++) {
        int size = (int)cg_shape_size(cg_variable_shape(cg_model_at(model, i)));
        ck_assert_msg(cg_read_floats(cg_value(cg_model_at(model, i)), out + count, size), "%s", cg_message(cg));
        count += size;
    }
    return count;
}

enum { ROOM = 128 };

START_TEST(models_come_back)
{
    cg_model *saved = new_model(5, "fc"), *loaded = new_model(5, "fc");
    float before[ROOM], after[ROOM];
    int count = read_model(saved, before);
    ck_assert_int_eq(read_model(loaded, after), count);
    ck_assert_mem_ne(before, after, (size_t)count * sizeof *before);
    ck_assert_msg(cg_model_save(saved, path), "%s", cg_message(cg));
    ck_assert_msg(cg_model_load(loaded, path), "%s", cg_message(cg));
    read_model(loaded, after);
    ck_assert_mem_eq(before, after, (size_t)count * sizeof *before);
    cg_model_free(saved);
    cg_model_free(loaded);
}
END_TEST

/* Loading must fail with this message, and change nothing. */
static void expect_refusal(cg_model *model, const char *message, int line)
{
    float before[ROOM], after[ROOM];
    int count = read_model(model, before);
    ck_assert_msg(!cg_model_load(model, path), "line %d: loaded", line);
    check_error(message, line);
    read_model(model, after);
    ck_assert_mem_eq(before, after, (size_t)count * sizeof *before);
}
#define REFUSED(model, message) expect_refusal(model, message, __LINE__)

START_TEST(other_models_files_are_refused)
{
    cg_model *model = new_model(5, "fc"), *wide = new_model(6, "fc"), *renamed = new_model(5, "other");
    ck_assert(cg_model_save(wide, path));
    REFUSED(model, "tensor \"fc/kernel\" is f32 [7,6], the model's variable f32 [7,5]");
    ck_assert(cg_model_save(renamed, path));
    REFUSED(model, "tensor \"fc/kernel\" is missing");
    float extra = 1;
    cg_model_add(wide, "extra", cg_input(cg, CG_F32, CG_RANK0, &extra));
    ck_assert(cg_model_save(wide, path));
    cg_model *plain = new_model(6, "fc");
    REFUSED(plain, "the model has no variable \"extra\"");
    int32_t whole = 1;
    cg_model_add(plain, "extra", cg_input(cg, CG_I32, CG_RANK0, &whole));
    ck_assert(!cg_model_load(plain, path));
    ERROR("tensor \"extra\" is f32 [], the model's variable i32 []");
    cg_model_free(model);
    cg_model_free(wide);
    cg_model_free(renamed);
    cg_model_free(plain);
}
END_TEST

START_TEST(truncated_files_are_refused)
{
    static char whole[8192];
    cg_model *model = new_model(5, "fc");
    ck_assert(cg_model_save(model, path));
    size_t count = read_file(whole, sizeof whole);
    for (size_t length = 0; length < count; length += length < 16 ? 1 : 37) {
        FILE *file = fopen(path, "wb");
        fwrite(whole, 1, length, file);
        fclose(file);
        ck_assert(!cg_model_load(model, path));
        ERROR(path);
    }
    REFUSED(model, "truncated");
    cg_model_free(model);
}
END_TEST

START_TEST(saving_where_one_cannot)
{
    cg_model *model = new_model(5, "fc");
    char nowhere[128];
    snprintf(nowhere, sizeof nowhere, "%s/missing/model.safetensors", folder);
    ck_assert(!cg_model_save(model, nowhere));
    ck_assert(cg_status(cg) == CG_ERROR_FILE && strstr(cg_message(cg), nowhere));
    cg_clear_error(cg);
    ck_assert(!cg_model_save(model, folder));
    ck_assert(cg_status(cg) == CG_ERROR_FILE && strstr(cg_message(cg), folder));
    cg_clear_error(cg);
    ck_assert(!cg_model_save(model, NULL) && cg_status(cg) == CG_ERROR_ARGUMENT);
    cg_model_free(model);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("safetensors");
    TCase *cases = tcase_create("safetensors");
    tcase_add_checked_fixture(cases, open_context, close_context);
    tcase_add_test(cases, every_dtype_comes_back);
    tcase_add_test(cases, data_is_aligned_and_wide_elements_come_first);
    tcase_add_test(cases, a_failed_write_leaves_the_file);
    tcase_add_test(cases, a_dtype_that_does_not_exist);
    tcase_add_test(cases, damaged_headers_are_reported);
    tcase_add_test(cases, metadata_and_padding_are_skipped);
    tcase_add_test(cases, files_that_are_none);
    tcase_add_test(cases, models_come_back);
    tcase_add_test(cases, other_models_files_are_refused);
    tcase_add_test(cases, truncated_files_are_refused);
    tcase_add_test(cases, saving_where_one_cannot);
    suite_add_tcase(suite, cases);
    return run_suite(suite);
}
