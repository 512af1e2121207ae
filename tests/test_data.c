/* Tests of IDX files, good and damaged, and of the loader: order, shuffling, the last minibatch, scaling, and how long
 * its tensors live. */
#include "program.h"
#include <clgrad/clgrad.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

static cg_context *cg;
static char folder[64], path[96], other_path[96];

static void open_context(void)
{
    cg = cg_open(NULL);
    ck_assert_msg(cg && cg_status(cg) == CG_OK, "%s", cg_message(cg));
    make_temporary_folder(folder, sizeof folder);
    snprintf(path, sizeof path, "%s/items", folder);
    snprintf(other_path, sizeof other_path, "%s/labels", folder);
}

static void close_context(void)
{
    unlink(path);
    unlink(other_path);
    rmdir(folder);
    cg_close(cg);
}

static void check_error(const char *part, int line)
{
    ck_assert_msg(cg_status(cg) == CG_ERROR_FILE, "line %d: no file error: %s", line, cg_message(cg));
    ck_assert_msg(strstr(cg_message(cg), part) != NULL, "line %d: \"%s\" lacks \"%s\"", line, cg_message(cg), part);
    ck_assert_msg(strstr(cg_message(cg), folder) != NULL, "line %d: \"%s\" names no file", line, cg_message(cg));
    cg_clear_error(cg);
}
#define ERROR(part) check_error(part, __LINE__)

/* Writes a file; `mode` "wb" gzips it, "wbT" does not. */
static void write_file(const char *name, const char *mode, const void *bytes, size_t count)
{
    gzFile file = gzopen(name, mode);
    ck_assert_ptr_nonnull(file);
    ck_assert_int_eq(gzwrite(file, bytes, (unsigned)count), (int)count);
    ck_assert_int_eq(gzclose(file), Z_OK);
}

/* 3 items of 2x2 bytes, 1..12. */
static const unsigned char items[] = {0, 0, 8, 3, 0, 0, 0, 3, 0, 0, 0, 2,  0,  0,
                                      0, 2, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
static const unsigned char three_labels[] = {0, 0, 8, 1, 0, 0, 0, 3, 7, 8, 9};

static void check_items(const cg_idx *idx)
{
    ck_assert_int_eq(idx->dtype, CG_U8);
    ck_assert_int_eq(idx->shape.rank, 3);
    ck_assert(idx->shape.size[0] == 3 && idx->shape.size[1] == 2 && idx->shape.size[2] == 2);
    ck_assert_mem_eq(idx->data, items + 16, 12);
}

START_TEST(idx_plain_and_gzipped)
{
    const char *modes[] = {"wb", "wbT"};
    for (int i = 0; i < 2; i++) {
        cg_idx idx;
        write_file(path, modes[i], items, sizeof items);
        ck_assert_msg(cg_idx_read(cg, path, &idx), "%s", cg_message(cg));
        check_items(&idx);
        cg_idx_free(cg, &idx);
        ck_assert_ptr_null(idx.data);
    }
}
END_TEST

START_TEST(idx_wide_elements_are_big_endian)
{
    const unsigned char ints[] = {0, 0, 12, 1, 0, 0, 0, 2, 0, 0, 1, 2, 255, 255, 255, 254};
    const unsigned char floats[] = {0, 0, 13, 1, 0, 0, 0, 1, 0x3f, 0xc0, 0, 0};
    const unsigned char doubles[] = {0, 0, 14, 1, 0, 0, 0, 1, 0xc0, 0x04, 0, 0, 0, 0, 0, 0};
    cg_idx idx;
    write_file(path, "wbT", ints, sizeof ints);
    ck_assert(cg_idx_read(cg, path, &idx) && idx.dtype == CG_I32);
    ck_assert(((int32_t *)idx.data)[0] == 258 && ((int32_t *)idx.data)[1] == -2);
    cg_idx_free(cg, &idx);
    write_file(path, "wbT", floats, sizeof floats);
    ck_assert(cg_idx_read(cg, path, &idx) && idx.dtype == CG_F32 && *(float *)idx.data == 1.5f);
    cg_idx_free(cg, &idx);
    write_file(path, "wbT", doubles, sizeof doubles);
    ck_assert(cg_idx_read(cg, path, &idx) && idx.dtype == CG_F64 && *(double *)idx.data == -2.5);
    cg_idx_free(cg, &idx);
}
END_TEST

static void expect_damage(const char *part, int line)
{
    cg_idx idx;
    ck_assert_msg(!cg_idx_read(cg, path, &idx), "line %d: read", line);
    ck_assert_ptr_null(idx.data);
    check_error(part, line);
}
#define DAMAGED(part) expect_damage(part, __LINE__)

START_TEST(idx_missing)
{
    DAMAGED("No such file");
}
END_TEST

START_TEST(idx_truncated_anywhere)
{
    for (size_t length = 0; length < sizeof items; length++) {
        write_file(path, "wbT", items, length);
        DAMAGED("truncated");
        write_file(path, "wb", items, length);
        DAMAGED("truncated");
    }
}
END_TEST

static size_t read_back(unsigned char *bytes, size_t room)
{
    FILE *file = fopen(path, "rb");
    size_t count = fread(bytes, 1, room, file);
    fclose(file);
    return count;
}

START_TEST(idx_gzip_stream_cut_off)
{
    unsigned char bytes[256];
    write_file(path, "wb", items, sizeof items);
    size_t count = read_back(bytes, sizeof bytes);
    for (size_t length = 18; length < count; length++) {
        write_file(path, "wbT", bytes, length);
        DAMAGED("truncated");
    }
}
END_TEST

START_TEST(idx_gzip_damaged)
{
    unsigned char bytes[256];
    write_file(path, "wb", items, sizeof items);
    size_t count = read_back(bytes, sizeof bytes);
    for (size_t at = count - 8; at < count; at++) {
        bytes[at] ^= 0x10;
        write_file(path, "wbT", bytes, count);
        DAMAGED("damaged");
        bytes[at] ^= 0x10;
    }
    bytes[14] ^= 0xff;
    write_file(path, "wbT", bytes, count);
    cg_idx idx;
    ck_assert(!cg_idx_read(cg, path, &idx));
    ERROR("idx: ");
}
END_TEST

START_TEST(idx_bad_headers)
{
    unsigned char bytes[sizeof items + 1] = {0};
    memcpy(bytes, items, sizeof items);
    write_file(path, "wbT", bytes, sizeof bytes);
    DAMAGED("longer than its header says");
    bytes[1] = 1;
    write_file(path, "wbT", bytes, sizeof items);
    DAMAGED("not an IDX file");
    bytes[1] = 0, bytes[2] = 7;
    write_file(path, "wbT", bytes, sizeof items);
    DAMAGED("not an IDX file");
    bytes[2] = 0x0B;
    write_file(path, "wbT", bytes, sizeof items);
    DAMAGED("not supported");
    bytes[2] = 8, bytes[3] = 0;
    write_file(path, "wbT", bytes, sizeof items);
    DAMAGED("1 to 8 axes");
    bytes[3] = 9;
    write_file(path, "wbT", bytes, sizeof items);
    DAMAGED("1 to 8 axes");
}
END_TEST

START_TEST(idx_sizes_that_overflow)
{
    unsigned char bytes[36] = {0, 0, 14, 8};
    memset(bytes + 4, 0xff, 32);
    write_file(path, "wbT", bytes, sizeof bytes);
    DAMAGED("overflow");
    unsigned char huge[] = {0, 0, 8, 2, 0x7f, 0xff, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff};
    write_file(path, "wb", huge, sizeof huge);
    DAMAGED("truncated");
}
END_TEST

START_TEST(labels_must_match)
{
    write_file(path, "wb", items, sizeof items);
    const unsigned char two[] = {0, 0, 8, 1, 0, 0, 0, 2, 7, 8};
    write_file(other_path, "wb", two, sizeof two);
    ck_assert_ptr_null(cg_idx_dataset(cg, path, other_path));
    ERROR("3 items");
}
END_TEST

START_TEST(idx_dataset_flattens_when_asked)
{
    write_file(path, "wb", items, sizeof items);
    write_file(other_path, "wb", three_labels, sizeof three_labels);
    cg_dataset *square = cg_idx_dataset(cg, path, other_path), *flat = cg_idx_dataset(cg, path, NULL, .flatten = true);
    ck_assert(square && square->length == 3 && square->has_y && square->y_shape.rank == 0);
    ck_assert(square->x_shape.rank == 2 && square->x_shape.size[0] == 2 && square->x_shape.size[1] == 2);
    ck_assert(flat && !flat->has_y && flat->x_shape.rank == 1 && flat->x_shape.size[0] == 4);
    unsigned char x[4], y;
    ck_assert(square->fetch(square, 1, x, &y) && y == 8);
    ck_assert_mem_eq(x, items + 20, 4);
    cg_dataset_free(square);
    cg_dataset_free(flat);
}
END_TEST

/* A data set whose item i is {i, i + 0.5} with label i; `user` points to an index that cannot be fetched. */
static bool fetch_number(const cg_dataset *dataset, int64_t index, void *x, void *y)
{
    if (dataset->user && *(int64_t *)dataset->user == index) {
        cg_report(cg, CG_ERROR_FILE, "numbers", "%s: item %lld is unreadable", folder, (long long)index);
        return false;
    }
    ((float *)x)[0] = (float)index;
    ((float *)x)[1] = (float)index + 0.5f;
    *(int32_t *)y = (int32_t)index;
    return true;
}

enum { LENGTH = 10 };
static cg_dataset numbers(void)
{
    return (cg_dataset){.context = cg,
                        .length = LENGTH,
                        .x_shape = CG_SHAPE(2),
                        .x_dtype = CG_F32,
                        .y_dtype = CG_I32,
                        .has_y = true,
                        .fetch = fetch_number};
}

/* Runs one epoch, checks x against y, and writes the labels in order. Returns how many there were. */
static int run_epoch(cg_loader *loader, int32_t *order, int64_t *largest_batch)
{
    int seen = 0;
    cg_batch batch;
    while (cg_loader_next(loader, &batch)) {
        float x[2 * LENGTH];
        ck_assert(cg_shape_of(batch.x).rank == 2 && cg_shape_of(batch.x).size[0] == batch.count);
        ck_assert(cg_read_floats(batch.x, x, 2 * batch.count) && cg_read_ints(batch.y, order + seen, batch.count));
        for (int i = 0; i < batch.count; i++)
            ck_assert(x[2 * i] == (float)order[seen + i] && x[2 * i + 1] == x[2 * i] + 0.5f);
        seen += (int)batch.count;
        if (largest_batch && batch.count > *largest_batch) *largest_batch = batch.count;
    }
    ck_assert(cg_is_null(batch.x) && cg_is_null(batch.y) && batch.count == 0);
    ck_assert_msg(cg_status(cg) == CG_OK, "%s", cg_message(cg));
    return seen;
}

START_TEST(loader_keeps_the_order_and_the_short_last_batch)
{
    cg_dataset data = numbers();
    cg_loader *loader = cg_loader_new(&data, .batch_size = 4);
    ck_assert_int_eq(cg_loader_batches(loader), 3);
    for (int epoch = 0; epoch < 2; epoch++) {
        int32_t order[LENGTH];
        int64_t largest = 0;
        ck_assert_int_eq(run_epoch(loader, order, &largest), LENGTH);
        ck_assert_int_eq(largest, 4);
        for (int i = 0; i < LENGTH; i++) ck_assert_int_eq(order[i], i);
    }
    cg_loader_free(loader);
}
END_TEST

START_TEST(loader_drops_the_last_batch_when_asked)
{
    cg_dataset data = numbers();
    int32_t order[LENGTH];
    cg_loader *loader = cg_loader_new(&data, .batch_size = 4, .drop_last = true);
    ck_assert_int_eq(cg_loader_batches(loader), 2);
    ck_assert_int_eq(run_epoch(loader, order, NULL), 8);
    cg_loader_free(loader);
    loader = cg_loader_new(&data);
    ck_assert_int_eq(cg_loader_batches(loader), 1);
    ck_assert_int_eq(run_epoch(loader, order, NULL), LENGTH);
    cg_loader_free(loader);
}
END_TEST

START_TEST(loader_shuffles_by_seed_and_epoch)
{
    cg_dataset data = numbers();
    int32_t order[3][3][LENGTH];
    uint64_t seeds[] = {1, 1, 2};
    for (int k = 0; k < 3; k++) {
        cg_loader *loader = cg_loader_new(&data, .batch_size = 3, .shuffle = true, .seed = seeds[k]);
        for (int epoch = 0; epoch < 3; epoch++) {
            int32_t *found = order[k][epoch];
            bool seen[LENGTH] = {false};
            ck_assert_int_eq(run_epoch(loader, found, NULL), LENGTH);
            for (int i = 0; i < LENGTH; i++) seen[found[i]] = true;
            for (int i = 0; i < LENGTH; i++) ck_assert(seen[i]);
        }
        cg_loader_free(loader);
    }
    ck_assert_mem_eq(order[0], order[1], sizeof order[0]);
    ck_assert_mem_ne(order[0][0], order[0][1], sizeof order[0][0]);
    ck_assert_mem_ne(order[0][1], order[0][2], sizeof order[0][0]);
    ck_assert_mem_ne(order[0][0], order[2][0], sizeof order[0][0]);
}
END_TEST

/* Each item comes first about equally often: chi-squared with 9 degrees of freedom stays under 30 (p = 0.0004). */
START_TEST(shuffling_is_even)
{
    cg_dataset data = numbers();
    int count[LENGTH] = {0}, epochs = 500;
    cg_loader *loader = cg_loader_new(&data, .batch_size = LENGTH, .shuffle = true, .seed = 3);
    cg_batch batch;
    for (int epoch = 0; epoch < epochs; epoch++) {
        int32_t order[LENGTH];
        ck_assert(cg_loader_next(loader, &batch) && cg_read_ints(batch.y, order, LENGTH));
        count[order[0]]++;
        ck_assert(!cg_loader_next(loader, &batch));
    }
    double expected = (double)epochs / LENGTH, chi_squared = 0;
    for (int i = 0; i < LENGTH; i++) chi_squared += pow(count[i] - expected, 2) / expected;
    ck_assert_msg(chi_squared < 30, "chi-squared is %g", chi_squared);
    cg_loader_free(loader);
}
END_TEST

START_TEST(loader_converts_and_scales_on_the_device)
{
    write_file(path, "wb", items, sizeof items);
    write_file(other_path, "wb", three_labels, sizeof three_labels);
    cg_dataset *data = cg_idx_dataset(cg, path, other_path, .flatten = true);
    cg_loader *plain = cg_loader_new(data), *scaled = cg_loader_new(data, .scale = 1.0 / 255);
    cg_batch batch;
    float x[12];
    int32_t y[3];
    ck_assert(cg_loader_next(plain, &batch) && cg_dtype_of(batch.x) == CG_F32 && cg_dtype_of(batch.y) == CG_U8);
    ck_assert(cg_shape_of(batch.x).rank == 2 && cg_shape_of(batch.x).size[1] == 4);
    ck_assert(cg_read_floats(batch.x, x, 12) && cg_read_ints(batch.y, y, 3));
    for (int i = 0; i < 12; i++) ck_assert(x[i] == (float)(i + 1));
    ck_assert(y[0] == 7 && y[1] == 8 && y[2] == 9);
    ck_assert(cg_loader_next(scaled, &batch) && cg_read_floats(batch.x, x, 12));
    for (int i = 0; i < 12; i++) ck_assert(fabs(x[i] - (i + 1) / 255.0) < 1e-7);
    cg_loader_free(plain);
    cg_loader_free(scaled);
    cg_dataset_free(data);
}
END_TEST

START_TEST(batches_outlive_the_scopes_that_use_them)
{
    cg_dataset data = numbers();
    cg_loader *loader = cg_loader_new(&data, .batch_size = 4, .scale = 2);
    cg_batch batch, next;
    int64_t nodes = 0;
    int first = 0;
    while (cg_loader_next(loader, &batch)) {
        for (int step = 0; step < 2; step++) {
            cg_scope scope = cg_scope_begin(cg);
            double sum = 0;
            for (int i = 0; i < batch.count; i++) sum += 2 * (2 * (first + i) + 0.5);
            ck_assert_double_eq(cg_item(cg_sum(batch.x)), sum);
            cg_scope_end(scope);
        }
        first += (int)batch.count;
        if (!nodes) nodes = cg_counters_get(cg).nodes;
        ck_assert_int_eq(cg_counters_get(cg).nodes, nodes);
    }
    cg_scope scope = cg_scope_begin(cg);
    ck_assert(cg_loader_next(loader, &batch));
    cg_scope_end(scope);
    ck_assert(cg_loader_next(loader, &next));
    ck_assert_msg(cg_status(cg) == CG_OK, "%s", cg_message(cg));
    ck_assert(cg_is_null(cg_neg(batch.x)));
    ck_assert_msg(strstr(cg_message(cg), "for a minibatch, the loader's next call"), "%s", cg_message(cg));
    cg_clear_error(cg);
    cg_loader_free(loader);
    ck_assert_int_eq(cg_counters_get(cg).nodes, 0);
}
END_TEST

START_TEST(loader_stops_at_errors)
{
    cg_dataset data = numbers();
    int64_t unreadable = 5;
    data.user = &unreadable;
    cg_loader *loader = cg_loader_new(&data, .batch_size = 4);
    cg_batch batch;
    ck_assert(cg_loader_next(loader, &batch));
    ck_assert(!cg_loader_next(loader, &batch) && cg_is_null(batch.x));
    ck_assert(!cg_loader_next(loader, &batch));
    ERROR("item 5 is unreadable");
    unreadable = -1;
    int32_t order[LENGTH];
    ck_assert_msg(run_epoch(loader, order, NULL) == 6 && order[0] == 4, "it goes on where it stopped");
    ck_assert_ptr_null(cg_loader_new(&data, .batch_size = -1));
    ck_assert_int_eq(cg_status(cg), CG_ERROR_ARGUMENT);
    cg_clear_error(cg);
    ck_assert_ptr_null(cg_loader_new(NULL));
    ck_assert(!cg_loader_next(NULL, &batch));
    cg_loader_free(loader);
    cg_dataset strange = numbers();
    strange.y_dtype = (cg_dtype)9;
    ck_assert_ptr_null(cg_loader_new(&strange));
    ck_assert_str_eq(cg_message(cg), "loader: there is no dtype 9");
    cg_clear_error(cg);
    loader = cg_loader_new_with(&data, NULL);
    ck_assert_int_eq(cg_loader_batches(loader), 1);
    cg_loader_free(loader);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("data");
    TCase *cases = tcase_create("data");
    tcase_add_checked_fixture(cases, open_context, close_context);
    tcase_add_test(cases, idx_plain_and_gzipped);
    tcase_add_test(cases, idx_wide_elements_are_big_endian);
    tcase_add_test(cases, idx_missing);
    tcase_add_test(cases, idx_truncated_anywhere);
    tcase_add_test(cases, idx_gzip_stream_cut_off);
    tcase_add_test(cases, idx_gzip_damaged);
    tcase_add_test(cases, idx_bad_headers);
    tcase_add_test(cases, idx_sizes_that_overflow);
    tcase_add_test(cases, labels_must_match);
    tcase_add_test(cases, idx_dataset_flattens_when_asked);
    tcase_add_test(cases, loader_keeps_the_order_and_the_short_last_batch);
    tcase_add_test(cases, loader_drops_the_last_batch_when_asked);
    tcase_add_test(cases, loader_shuffles_by_seed_and_epoch);
    tcase_add_test(cases, shuffling_is_even);
    tcase_add_test(cases, loader_converts_and_scales_on_the_device);
    tcase_add_test(cases, batches_outlive_the_scopes_that_use_them);
    tcase_add_test(cases, loader_stops_at_errors);
    suite_add_tcase(suite, cases);
    return run_suite(suite);
}
