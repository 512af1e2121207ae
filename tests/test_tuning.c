/* Tests the tuner: what the file says is done, if it can be; what is measured is kept; the results are those of the
 * defaults, and a file that is damaged, foreign, absurd or cannot be written changes nothing. */
#include "engine/tune.h"
#include "engine/tuning.h"
#include "semantics_support.h"

#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

enum { M = 40, N = 72, K = 50 };
#define MATTER "gemm packed f32 NN 40x72x50"

static char folder[64], path[96];

static void make_folder(void)
{
    make_temporary_folder(folder, sizeof folder);
    snprintf(path, sizeof path, "%s/deep/down/tuning", folder);
}

static void remove_folder(void)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", folder);
    ck_assert_int_eq(system(command), 0);
}

/* On the packed kernel, whatever the device, with this file. */
static void open_with(const char *gemm, const char *tune)
{
    setenv("CLGRAD_TUNING", path, 1);
    setenv("CLGRAD_TUNE", tune, 1);
    open_own("CLGRAD_GEMM", gemm);
    unsetenv("CLGRAD_TUNE");
    setenv("CLGRAD_TUNING", "off", 1);
}

static void multiply(float out[M * N])
{
    cg_scope scope = cg_scope_local(cg);
    ck_assert_msg(cg_read_floats(cg_matmul(numbers(CG_SHAPE(M, K), 1), numbers(CG_SHAPE(K, N), 2)), out, M * N), "%s",
                  cg_message(cg));
    cg_scope_end(scope);
}

/* Against a plain product in double. */
static void expect_product(const float out[M * N])
{
    for (int i = 0; i < M; i++)
        for (int j = 0; j < N; j++) {
            double sum = 0;
            for (int k = 0; k < K; k++)
                sum += (double)((float)(((i * K + k) * 37 + 11) % 101) / 50.0f - 1.0f) *
                       (double)((float)(((k * N + j) * 37 + 22) % 101) / 50.0f - 1.0f);
            ck_assert_double_eq_tol(out[i * N + j], sum, 1e-4);
        }
}

/* The step of the product in the newest plan. */
static const cg_step *product_step(void)
{
    for (int i = 0; i < cg->plan_newest->step_count; i++)
        if (strcmp(cg->plan_newest->steps[i].label, "matmul") == 0) return &cg->plan_newest->steps[i];
    ck_abort_msg("no product in the plan");
}

static void write_text(const char *text)
{
    for (char *slash = path; (slash = strchr(slash + 1, '/'));) {
        *slash = '\0';
        (void)mkdir(path, 0700);
        *slash = '/';
    }
    FILE *file = fopen(path, "wb");
    ck_assert_ptr_nonnull(file);
    fputs(text, file);
    fclose(file);
}

static void read_text(char *text, size_t room)
{
    FILE *file = fopen(path, "rb");
    ck_assert_ptr_nonnull(file);
    text[fread(text, 1, room - 1, file)] = '\0';
    fclose(file);
}

/* A file with one line of this device. */
static void write_choice(const char *matter, const char *choice)
{
    char text[1024];
    snprintf(text, sizeof text,
             "clgrad tuning 1\nanother device\t1.0\t%s\tpacked 1 1 1 1\t5\t6\n%s\t%s\t%s\t2000\t3000\n", matter,
             shared->tuning->device, matter, choice);
    write_text(text);
}

/* ---- what the file says ------------------------------------------------------------------------------------------ */

static int lanes(void)
{
    return cg->vector_width > 1 ? cg->vector_width : 4;
}

START_TEST(a_choice_from_the_file_is_used)
{
    float out[M * N];
    char choice[64];
    snprintf(choice, sizeof choice, "packed %d 64 2 3", lanes());
    write_choice(MATTER, choice);
    open_with("packed", "0");
    multiply(out);
    /* Two bands of rows, three sets of panels. */
    ck_assert_uint_eq(product_step()->global[0], 2);
    ck_assert_uint_eq(product_step()->global[1], 3);
    expect_product(out);
    cg_tuned_choice found;
    ck_assert(cg_tuned(cg, 0, &found) && !cg_tuned(cg, 1, &found));
    ck_assert_str_eq(found.what, MATTER);
    ck_assert_str_eq(found.choice, choice);
    ck_assert_double_eq_tol(found.seconds, 2e-6, 1e-12);
    ck_assert_double_eq_tol(found.default_seconds, 3e-6, 1e-12);
    ck_assert(!found.measured);
    ck_assert_str_eq(cg_tuning_path(cg), path);
    close_own();
}
END_TEST

START_TEST(tiles_from_the_file_are_used)
{
    float out[M * N];
    write_choice("gemm tiled f32 NN 40x72x50", "tiled 16 8 8 4 2");
    open_with("tiled", "0");
    if (cg->largest_group >= 16) {
        multiply(out);
        ck_assert_uint_eq(product_step()->local[0], 16);
        ck_assert_uint_eq(product_step()->global[0], 16 * 3 * 9);
        expect_product(out);
    }
    close_own();
}
END_TEST

/* Of several kernels, the one that the file names; without it the first that suits the device. */
START_TEST(a_kernel_from_the_file_is_used)
{
    float out[M * N];
    write_choice("gemm tiled clblast f32 NN 40x72x50", "clblast");
    open_with("tiled,clblast", "0");
    multiply(out);
    ck_assert_ptr_nonnull(product_step()->blas);
    expect_product(out);
    close_own();
    write_choice("gemm tiled clblast f32 NN 40x72x50", "tiled 16 16 16 2 2");
    open_with("tiled,clblast", "0");
    multiply(out);
    ck_assert_ptr_null(product_step()->blas);
    ck_assert(product_step()->together);
    expect_product(out);
    close_own();
}
END_TEST

START_TEST(the_same_file_gives_the_same_bits)
{
    float first[M * N], second[M * N];
    write_choice(MATTER, "packed 32 64 2 1");
    open_with("packed", "0");
    multiply(first);
    close_own();
    open_with("packed", "0");
    multiply(second);
    ck_assert_mem_eq(first, second, sizeof first);
    close_own();
}
END_TEST

/* ---- what it may not say ----------------------------------------------------------------------------------------- */

static const char *const absurd[] = {"packed 0 64 1 1",
                                     "packed 17 64 1 1",
                                     "packed 64 0 1 1",
                                     "packed 64 1024 0 1",
                                     "packed 64 1024 1 -3",
                                     "packed 64 1024 999 999",
                                     "packed 1048576 64 1 1",
                                     "packed 64 1000000 1 1",
                                     "packed 64 1024 1",
                                     "packed 64 1024 1 1 1",
                                     "packed 64 1024 1 1x",
                                     "packed 99999999999999999999 1 1 1",
                                     "packed",
                                     "tiled 64 64 16 4 4",
                                     "clblast",
                                     "fast",
                                     "packed  64 64 1 1",
                                     "packed 64.5 1024 1 1",
                                     "packed nan 1024 1 1"};
enum { ABSURD = sizeof absurd / sizeof *absurd };

START_TEST(absurd_choices_are_as_none)
{
    const struct gemm_shape shape = {.m = M, .n = N, .k = K, .batches = 1};
    float usual[M * N], out[M * N];
    open_with("packed", "0");
    const cg_gemm_choice expected = cg_gemm_choose(cg, NULL, &shape);
    multiply(usual);
    close_own();
    write_choice(MATTER, absurd[_i]);
    open_with("packed", "0");
    const cg_gemm_choice choice = cg_gemm_choose(cg, NULL, &shape);
    ck_assert_mem_eq(&choice, &expected, sizeof choice);
    multiply(out);
    ck_assert_mem_eq(out, usual, sizeof usual);
    close_own();
}
END_TEST

static const char *const damaged[] = {"",
                                      "clgrad tuning 2\n",
                                      "\x7f"
                                      "ELF and more",
                                      "clgrad tuning 1\n%s\t" MATTER "\tpacked 32 64 2 1\t2000\n",
                                      "clgrad tuning 1\n%s\t" MATTER "\tpacked 32 64 2 1\t2000\t3000",
                                      "clgrad tuning 1\n%s\t" MATTER "\tpacked 32 64 2 1\t2000\t3000\nrest",
                                      "clgrad tuning 1\n%s\t" MATTER "\tpacked 32 64 2 1\tfast\t3000\n",
                                      "clgrad tuning 1\n%s\t" MATTER "\tpacked 32 64 2 1\t-2\t3000\n",
                                      "clgrad tuning 1\n%s\t" MATTER "\tpacked 32 64 2 1\t2000\t3000\t4\n",
                                      "clgrad tuning 1\n\n%s\t" MATTER "\tpacked 32 64 2 1\t2000\t3000\n"};
enum { DAMAGED = sizeof damaged / sizeof *damaged };

static void write_damaged(int which)
{
    char text[1024];
    snprintf(text, sizeof text, damaged[which], shared->tuning->device);
    write_text(text);
}

START_TEST(a_damaged_file_is_ignored)
{
    float out[M * N];
    cg_tuned_choice found;
    write_damaged(_i);
    open_with("packed", "0");
    ck_assert(!cg_tuned(cg, 0, &found));
    multiply(out);
    expect_product(out);
    ck_assert_int_eq(cg_status(cg), CG_OK);
    close_own();
}
END_TEST

/* ---- measuring --------------------------------------------------------------------------------------------------- */

START_TEST(what_is_measured_is_kept)
{
    float tuned[M * N], again[M * N];
    cg_tuned_choice found;
    char text[4096], line[512];
    open_with("packed", "1");
    multiply(tuned);
    expect_product(tuned);
    ck_assert(cg_tuned(cg, 0, &found) && !cg_tuned(cg, 1, &found));
    ck_assert_str_eq(found.what, MATTER);
    ck_assert(found.measured && found.seconds > 0 && found.default_seconds > 0);
    read_text(text, sizeof text);
    snprintf(line, sizeof line, "clgrad tuning 1\n%s\t" MATTER "\t%s\t", shared->tuning->device, found.choice);
    ck_assert_msg(strncmp(text, line, strlen(line)) == 0, "%s", text);
    close_own();
    /* The next program does the same without measuring. */
    open_with("packed", "1");
    multiply(again);
    ck_assert_mem_eq(again, tuned, sizeof tuned);
    ck_assert(cg_tuned(cg, 0, &found) && !found.measured);
    close_own();
}
END_TEST

START_TEST(a_damaged_file_is_rewritten)
{
    float out[M * N];
    cg_tuned_choice found;
    write_damaged(_i);
    open_with("packed", "1");
    multiply(out);
    expect_product(out);
    close_own();
    open_with("packed", "0");
    ck_assert(cg_tuned(cg, 0, &found) && !cg_tuned(cg, 1, &found));
    ck_assert_str_eq(found.what, MATTER);
    close_own();
}
END_TEST

/* Lines of other devices and other matters stay; "again" measures what is known. */
START_TEST(other_lines_stay)
{
    float out[M * N];
    char text[4096];
    cg_tuned_choice found;
    write_choice("gemm packed f32 NN 3x4x5", "packed 32 64 1 1");
    open_with("packed", "1");
    multiply(out);
    close_own();
    read_text(text, sizeof text);
    ck_assert_ptr_nonnull(strstr(text, "another device\t1.0\tgemm packed f32 NN 3x4x5\tpacked 1 1 1 1\t5\t6\n"));
    ck_assert_ptr_nonnull(strstr(text, "\tgemm packed f32 NN 3x4x5\tpacked 32 64 1 1\t2000\t3000\n"));
    ck_assert_ptr_nonnull(strstr(text, "\t" MATTER "\tpacked "));
    open_with("packed", "again");
    multiply(out);
    expect_product(out);
    ck_assert(cg_tuned(cg, 1, &found) && found.measured);
    ck_assert(cg_tuned(cg, 0, &found) && !found.measured && !cg_tuned(cg, 2, &found));
    close_own();
}
END_TEST

START_TEST(an_unwritable_file_does_no_harm)
{
    float out[M * N];
    cg_tuned_choice found;
    snprintf(path, sizeof path, "/proc/no/such/folder/tuning");
    open_with("packed", "1");
    multiply(out);
    expect_product(out);
    ck_assert(cg_tuned(cg, 0, &found) && found.measured);
    ck_assert_int_eq(cg_status(cg), CG_OK);
    close_own();
}
END_TEST

/* Tiles of every size that is tried compute the product; stacks and f64 have matters of their own. */
START_TEST(measuring_tiles)
{
    float out[M * N];
    cg_tuned_choice found;
    open_with("tiled", "1");
    multiply(out);
    expect_product(out);
    cg_tensor a = numbers(CG_SHAPE(3, 20, 10), 1), b = numbers(CG_SHAPE(3, 20, 10), 2);
    ck_assert(!isnan(cg_item(cg_sum(cg_matmul(cg_swap_axes(a, -1, -2), b)))));
    ck_assert(cg_tuned(cg, 1, &found));
    ck_assert_str_eq(found.what, "gemm tiled f32 TN *x10x10x20");
    ck_assert_int_eq(strncmp(found.choice, "tiled ", 6), 0);
    close_own();
}
END_TEST

/* Two plans of the last run, by their launches: one if it was joined. */
static int launched_at_last(const char *tune)
{
    open_with("packed", tune);
    /* Of two sizes, or one kernel would do both. */
    cg_tensor vectors[2] = {numbers(CG_SHAPE(100), 1), numbers(CG_SHAPE(90), 2)};
    ck_assert(cg_eval(vectors, 2));
    for (int i = 0; i < 40; i++) {
        cg_scope scope = cg_scope_begin(cg);
        cg_keep(cg_sum(cg_exp(vectors[0])));
        cg_keep(cg_max(cg_sin(vectors[1])));
        mark();
        cg_scope_end(scope);
    }
    const int launched = kernels_run();
    ck_assert_msg(cg_status(cg) == CG_OK, "%s", cg_message(cg));
    return launched;
}

/* A threshold decides, on GPUs too; what is none is as if it were not there. */
START_TEST(a_threshold_for_joining_is_used)
{
    const int usual = cg_device(shared)->is_gpu ? 2 : 1;
    static const char *const absurd_thresholds[] = {"-5 ns", "8000", "8000 ns ", "99999999999 ns", "fast", "1e3 ns"};
    write_choice("join", "0 ns");
    ck_assert_int_eq(launched_at_last("0"), 2);
    close_own();
    write_choice("join", "1000000 ns");
    ck_assert_int_eq(launched_at_last("0"), 1);
    close_own();
    for (size_t i = 0; i < sizeof absurd_thresholds / sizeof *absurd_thresholds; i++) {
        write_choice("join", absurd_thresholds[i]);
        ck_assert_int_eq(launched_at_last("0"), usual);
        close_own();
    }
}
END_TEST

START_TEST(a_threshold_is_measured)
{
    cg_tuned_choice found;
    launched_at_last("1");
    ck_assert(cg_tuned(cg, 0, &found) && !cg_tuned(cg, 1, &found));
    ck_assert_str_eq(found.what, "join");
    ck_assert(found.measured);
    ck_assert_str_eq(found.choice + strspn(found.choice, "0123456789"), " ns");
    const double threshold = cg_join_seconds(cg);
    close_own();
    open_with("packed", "0");
    ck_assert_double_eq(cg_join_seconds(cg), threshold);
    close_own();
}
END_TEST

/* A minibatch's extent is not part of the matter: the choice made for one serves all. */
START_TEST(a_minibatch_is_measured_once)
{
    float rows[M * K] = {1};
    cg_tuned_choice found;
    open_with("packed", "1");
    for (int64_t size = M; size > 1; size -= 13) {
        cg_tensor x = cg_input(cg, CG_F32, CG_SHAPE(size, K), rows, .has_batch_axis = true);
        ck_assert(!isnan(cg_item(cg_sum(cg_matmul(x, numbers(CG_SHAPE(K, N), 2))))));
    }
    ck_assert(cg_tuned(cg, 0, &found) && !cg_tuned(cg, 1, &found));
    ck_assert_str_eq(found.what, "gemm packed f32 NN *x72x50");
    close_own();
}
END_TEST

/* ---- memory ------------------------------------------------------------------------------------------------------ */

static struct {
    int64_t calls, fail_at, live;
} memory;

static void *reallocate(void *user, void *pointer, size_t bytes)
{
    (void)user;
    if (bytes == 0) {
        memory.live -= pointer != NULL;
        free(pointer);
        return NULL;
    }
    if (++memory.calls == memory.fail_at) return NULL;
    void *result = realloc(pointer, bytes);
    memory.live += result && !pointer;
    return result;
}

/* The product comes out, or a clean error does; and nothing leaks. Returns how many allocations there were. */
static int64_t multiply_failing_at(int64_t fail_at)
{
    float out[M * N];
    memory.calls = memory.live = 0;
    memory.fail_at = fail_at;
    setenv("CLGRAD_TUNING", path, 1);
    setenv("CLGRAD_TUNE", "again", 1);
    setenv("CLGRAD_GEMM", "packed", 1);
    cg = cg_open_with(CG_OPTIONS(cg_open_options, .reallocate = reallocate));
    unsetenv("CLGRAD_GEMM");
    unsetenv("CLGRAD_TUNE");
    setenv("CLGRAD_TUNING", "off", 1);
    if (cg && cg_status(cg) == CG_OK) {
        cg_scope scope = cg_scope_local(cg);
        float left[M * K], right[K * N];
        for (int i = 0; i < M * K; i++) left[i] = (float)((i * 37 + 11) % 101) / 50.0f - 1.0f;
        for (int i = 0; i < K * N; i++) right[i] = (float)((i * 37 + 22) % 101) / 50.0f - 1.0f;
        cg_tensor a = cg_input(cg, CG_F32, CG_SHAPE(M, K), left), b = cg_input(cg, CG_F32, CG_SHAPE(K, N), right);
        if (cg_read_floats(cg_matmul(a, b), out, M * N)) expect_product(out);
        cg_scope_end(scope);
    }
    if (cg && cg_status(cg) != CG_OK) ck_assert_int_eq(cg_status(cg), CG_ERROR_MEMORY);
    cg_close(cg);
    cg = shared;
    ck_assert_int_eq(memory.live, 0);
    return memory.calls;
}

/* Every allocation while the file is read, and some of those of the measurements, which are alike. */
START_TEST(memory_may_fail_while_measuring)
{
    enum { OF_OPENING = 24, OTHERS = 12 };
    const int64_t all = multiply_failing_at(0); /* leaves a file to be read */
    ck_assert_int_gt(all, OF_OPENING);
    for (int64_t call = 1; call <= OF_OPENING; call++) multiply_failing_at(call);
    for (int64_t i = 1; i <= OTHERS; i++) multiply_failing_at(OF_OPENING + i * (all - OF_OPENING) / (OTHERS + 1));
}
END_TEST

int main(void)
{
    setenv("CLGRAD_TUNING", "off", 1);
    Suite *suite = suite_create("tuning");
    TCase *file = tcase_create("file"), *measuring = tcase_create("measuring");
    tcase_add_checked_fixture(file, begin_test, end_test);
    tcase_add_checked_fixture(file, make_folder, remove_folder);
    tcase_add_test(file, a_choice_from_the_file_is_used);
    tcase_add_test(file, tiles_from_the_file_are_used);
    tcase_add_test(file, a_kernel_from_the_file_is_used);
    tcase_add_test(file, the_same_file_gives_the_same_bits);
    tcase_add_test(file, a_threshold_for_joining_is_used);
    tcase_add_loop_test(file, absurd_choices_are_as_none, 0, ABSURD);
    tcase_add_loop_test(file, a_damaged_file_is_ignored, 0, DAMAGED);
    suite_add_tcase(suite, file);
    tcase_add_checked_fixture(measuring, begin_test, end_test);
    tcase_add_checked_fixture(measuring, make_folder, remove_folder);
    tcase_add_test(measuring, what_is_measured_is_kept);
    tcase_add_loop_test(measuring, a_damaged_file_is_rewritten, 0, 3);
    tcase_add_test(measuring, other_lines_stay);
    tcase_add_test(measuring, an_unwritable_file_does_no_harm);
    tcase_add_test(measuring, measuring_tiles);
    tcase_add_test(measuring, a_threshold_is_measured);
    tcase_add_test(measuring, memory_may_fail_while_measuring);
    tcase_add_test(measuring, a_minibatch_is_measured_once);
    suite_add_tcase(suite, measuring);
    return run_tests(suite);
}
