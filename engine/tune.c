/* The tuner. It measures products in contexts of their own, on the queue of the one that asks: of two ways, each runs
 * in turns with the other, and the better best time counts. Sizes are tried one after the other, each with the best
 * found so far for the others. */
#include "engine/tune.h"
#include "engine/profile.h"
#include "engine/tuning.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    ROUNDS = 9,
    ROUNDS_OF_SLOW = 3,
    MOST_REPETITIONS = 400,
    WORDS_BYTES = 96,
    MOST_NUMBER = 1 << 20,
    MOST_PANEL_VECTORS = 16,
    LARGE = 2048
};

/* A block of runs between two looks at the clock; from where on a run is slow; how much better a choice must be to
 * replace another; how much worse after two rounds to be given up. */
static const double block_seconds = 0.004, slow_seconds = 0.1, clearly_better = 0.97, hopeless = 1.25;

static const char *const kernel_names[] = {"packed", "tiled", "clblast"};

struct gemm_device cg_gemm_device(const cg_context *cg)
{
    const int width = cg->vector_width > 1 ? cg->vector_width : 4;
    return (struct gemm_device){.compute_units = cg->info.compute_units,
                                .lanes_f32 = width,
                                .lanes_f64 = width > 4 ? width / 2 : 4,
                                .registers = width == 16 ? 32 : 16};
}

struct gemm_limits cg_gemm_limits(const cg_context *cg)
{
    return (struct gemm_limits){
        .compute_units = cg->info.compute_units, .local_bytes = cg->local_memory, .group_size = cg->largest_group};
}

/* --- choices as words --- */

/* What is chosen between, and for what: a varying extent and the number of products, if there are many, are "*". */
static void describe_matter(const cg_context *cg, const struct gemm_shape *shape, char text[WORDS_BYTES])
{
    const struct {
        int64_t size;
        bool varies;
    } extents[] = {{shape->m, shape->m_varies}, {shape->n, shape->n_varies}, {shape->k, shape->k_varies}};
    int used = snprintf(text, WORDS_BYTES, "gemm");
    for (int i = 0; i < CG_GEMM_KERNELS; i++)
        if (cg->gemm_allowed & 1u << i)
            used += snprintf(text + used, WORDS_BYTES - (size_t)used, " %s", kernel_names[i]);
    used += snprintf(text + used, WORDS_BYTES - (size_t)used, " %s %c%c %s", shape->f64 ? "f64" : "f32",
                     "NT"[shape->transposed_a], "NT"[shape->transposed_b], shape -> batches > 1 ? "*x" : "");
    for (int i = 0; i < 3; i++)
        used += extents[i].varies ? snprintf(text + used, WORDS_BYTES - (size_t)used, i ? "x*" : "*")
                                  : snprintf(text + used, WORDS_BYTES - (size_t)used, i ? "x%lld" : "%lld",
                                             (long long)extents[i].size);
}

static void describe_choice(const cg_gemm_choice *choice, char text[WORDS_BYTES])
{
    const struct gemm_division *d = &choice->division;
    const struct gemm_tiles *t = &choice->tiles;
    if (choice->kernel == CG_GEMM_PACKED)
        snprintf(text, WORDS_BYTES, "packed %d %d %d %d", d->columns, d->depth, d->row_groups, d->column_groups);
    else if (choice->kernel == CG_GEMM_TILED)
        snprintf(text, WORDS_BYTES, "tiled %d %d %d %d %d", t->rows, t->columns, t->depth, t->item_rows,
                 t->item_columns);
    else
        snprintf(text, WORDS_BYTES, "clblast");
}

/* Reads `name` and so many positive numbers, and nothing after them. */
static bool read_numbers(const char *words, const char *name, int *numbers, int count)
{
    const size_t length = strlen(name);
    if (strncmp(words, name, length) != 0) return false;
    words += length;
    for (int i = 0; i < count; i++) {
        char *end;
        if (words[0] != ' ' || words[1] < '0' || words[1] > '9') return false;
        const long number = strtol(words + 1, &end, 10);
        if (end == words + 1 || number < 1 || number > MOST_NUMBER) return false;
        numbers[i] = (int)number;
        words = end;
    }
    return *words == '\0';
}

/* False for anything that this device, or this setting, cannot run: files may hold anything. */
static bool read_choice(const cg_context *cg, const struct gemm_shape *shape, const char *words, cg_gemm_choice *choice)
{
    const struct gemm_device device = cg_gemm_device(cg);
    const struct gemm_limits limits = cg_gemm_limits(cg);
    int n[5];
    *choice = (cg_gemm_choice){.kernel = CG_GEMM_CLBLAST};
    bool known = read_numbers(words, kernel_names[CG_GEMM_CLBLAST], n, 0);
    if (read_numbers(words, kernel_names[CG_GEMM_PACKED], n, 4)) {
        *choice = (cg_gemm_choice){.kernel = CG_GEMM_PACKED, .division = {n[0], n[1], n[2], n[3]}};
        known = cg_gemm_division_fits(&choice->division, shape->f64, &device);
    } else if (read_numbers(words, kernel_names[CG_GEMM_TILED], n, 5)) {
        *choice = (cg_gemm_choice){.kernel = CG_GEMM_TILED, .tiles = {n[0], n[1], n[2], n[3], n[4]}};
        known = cg_gemm_tiles_fit(&choice->tiles, shape, &limits);
    }
    return known && cg->gemm_allowed & 1u << choice->kernel;
}

/* --- a product on trial --- */

/* The last two axes of a matrix, or of a stack of them, exchanged. */
static bool swap_infer(const cg_call *call, cg_inferred *result)
{
    cg_shape *shape = &result->shape[0];
    *shape = call->input_shapes[0];
    const int64_t rows = shape->size[shape->rank - 2];
    shape->size[shape->rank - 2] = shape->size[shape->rank - 1];
    shape->size[shape->rank - 1] = rows;
    result->dtype[0] = call->input_dtypes[0];
    return true;
}

static void swap_move(const cg_call *call, cg_mapping *mapping)
{
    const int rank = call->input_shapes[0].rank;
    for (int i = 0; i < rank - 2; i++) mapping->factor[i][i] = 1;
    mapping->factor[rank - 2][rank - 1] = mapping->factor[rank - 1][rank - 2] = 1;
}

static const cg_op swap_op = {.name = "swap", .kind = CG_OP_MOVE, .inputs = 1, .infer = swap_infer, .move = swap_move};

/* One way to compute a product, in a context of its own. */
typedef struct trial {
    cg_context *cg; /* NULL: could not be made */
    cg_gemm_choice choice;
    const cg_op *product;
    cg_tensor operands[2];
    int repetitions;
    double best; /* seconds of one run, in the last comparison */
} trial;

static cg_tensor make_operand(cg_context *cg, const struct gemm_shape *shape, int64_t rows, int64_t columns,
                              bool transposed)
{
    const cg_input_options options = {0};
    const cg_dtype dtype = shape->f64 ? CG_F64 : CG_F32;
    const int64_t stored[2] = {transposed ? columns : rows, transposed ? rows : columns};
    cg_shape matrix = {2, {stored[0], stored[1]}}, stack = {3, {shape->batches, stored[0], stored[1]}};
    const cg_shape of = shape->batches > 1 ? stack : matrix;
    const int64_t count = cg_shape_size(of);
    void *data = cg_staging(cg, (size_t)count * cg_dtype_bytes(dtype));
    if (!data) return (cg_tensor){0};
    for (int64_t i = 0; i < count; i++)
        if (shape->f64)
            ((double *)data)[i] = (double)(i % 7 - 3);
        else
            ((float *)data)[i] = (float)(i % 7 - 3);
    const cg_tensor x = cg_input_staged(cg, dtype, of, data, &options);
    return transposed ? cg_apply(&swap_op, &x, 1, NULL, 0) : x;
}

/* Seconds of so many runs; infinity after an error. */
static double time_runs(trial *t, int repetitions)
{
    const int64_t start = cg_nanoseconds();
    for (int i = 0; i < repetitions; i++) {
        const cg_scope scope = cg_scope_local(t->cg);
        const cg_tensor result = cg_apply(t->product, t->operands, 2, NULL, 0);
        cg_eval(&result, 1);
        cg_scope_end(scope);
    }
    return cg_wait(t->cg) ? 1e-9 * (double)(cg_nanoseconds() - start) : INFINITY;
}

static void trial_close(trial *t)
{
    cg_close(t->cg);
    t->cg = NULL;
}

/* The first run builds the kernels, the second tells how many to time together. */
static bool trial_open(trial *t, cg_context *parent, const cg_op *product, const struct gemm_shape *shape,
                       const cg_gemm_choice *choice)
{
    *t = (trial){.cg = cg_open_trial(parent), .choice = *choice, .product = product};
    if (!t->cg || cg_status(t->cg) != CG_OK) {
        trial_close(t);
        return false;
    }
    t->cg->tuning->forced = &t->choice;
    t->operands[0] = make_operand(t->cg, shape, shape->m, shape->k, shape->transposed_a);
    t->operands[1] = make_operand(t->cg, shape, shape->k, shape->n, shape->transposed_b);
    const double first = time_runs(t, 1), again = time_runs(t, 1);
    if (!isfinite(first) || !isfinite(again) || cg_status(t->cg) != CG_OK) {
        trial_close(t);
        return false;
    }
    const double wanted = block_seconds / (again > 0 ? again : block_seconds);
    t->repetitions = wanted < 1 ? 1 : wanted < MOST_REPETITIONS ? (int)wanted : MOST_REPETITIONS;
    t->best = again;
    return true;
}

static void take_time(trial *t)
{
    const double seconds = time_runs(t, t->repetitions) / t->repetitions;
    if (seconds < t->best) t->best = seconds;
}

/* Whether the challenger is clearly better. Sets the best times of both. */
static bool is_better(trial *challenger, trial *champion)
{
    const int rounds = champion->best < slow_seconds ? ROUNDS : ROUNDS_OF_SLOW;
    champion->best = challenger->best = INFINITY;
    for (int i = 0; i < rounds; i++) {
        take_time(champion);
        take_time(challenger);
        if (i == 1 && challenger->best > hopeless * champion->best) return false;
    }
    return challenger->best < clearly_better * champion->best;
}

/* --- the search --- */

typedef struct search {
    cg_context *cg;
    const cg_op *product;
    const struct gemm_shape *shape;
    trial *champion;
} search;

static bool same_choice(const cg_gemm_choice *a, const cg_gemm_choice *b)
{
    char x[WORDS_BYTES], y[WORDS_BYTES];
    describe_choice(a, x);
    describe_choice(b, y);
    return strcmp(x, y) == 0;
}

/* Lets a choice take the champion's place if it is better. The trial's address is part of it: its contents move. */
static void challenge(search *s, const cg_gemm_choice *choice)
{
    trial challenger;
    if (same_choice(choice, &s->champion->choice) || !trial_open(&challenger, s->cg, s->product, s->shape, choice))
        return;
    if (is_better(&challenger, s->champion)) {
        trial_close(s->champion);
        *s->champion = challenger;
        s->champion->cg->tuning->forced = &s->champion->choice;
        return;
    }
    trial_close(&challenger);
}

/* What the model of costs makes of a division that leaves something to it. */
static struct gemm_division complete(const cg_context *cg, const struct gemm_shape *shape,
                                     struct gemm_division division)
{
    const struct gemm_device device = cg_gemm_device(cg);
    const struct gemm_launch launch = cg_gemm_plan_as(shape, &device, &division);
    const int rows = (int)launch.global[0], columns = (int)launch.global[1];
    return (struct gemm_division){launch.columns, launch.depth, rows > 0 ? rows : 1, columns > 0 ? columns : 1};
}

static void challenge_packed(search *s, struct gemm_division division)
{
    const struct gemm_device device = cg_gemm_device(s->cg);
    const cg_gemm_choice choice = {.kernel = CG_GEMM_PACKED, .division = complete(s->cg, s->shape, division)};
    if (cg_gemm_division_fits(&choice.division, s->shape->f64, &device)) challenge(s, &choice);
}

/* The columns of a panel, each dealt out as the model says; then how deep, then how the work is dealt out. */
static void search_packed(search *s)
{
    const struct gemm_device device = cg_gemm_device(s->cg);
    const int lanes = s->shape->f64 ? device.lanes_f64 : device.lanes_f32;
    const int groups = 4 * device.compute_units;
    struct gemm_division best;
    if (s->champion->choice.kernel != CG_GEMM_PACKED) challenge_packed(s, (struct gemm_division){0});
    for (int vectors = 1; vectors <= MOST_PANEL_VECTORS; vectors *= 2)
        challenge_packed(s, (struct gemm_division){.columns = vectors * lanes});
    if (s->champion->choice.kernel != CG_GEMM_PACKED) return;
    best = s->champion->choice.division;
    for (int depth = 256; depth <= 2048; depth *= 2) {
        best.depth = depth;
        if (depth / 2 < s->shape->k) challenge_packed(s, best);
    }
    best = s->champion->choice.division;
    for (int rows = 1; rows <= groups; rows *= 2)
        for (int columns = 1; rows * columns <= groups; columns *= 2) {
            best.row_groups = rows;
            best.column_groups = columns;
            /* All units at work, or one, so that no other need be woken. */
            if (rows * columns >= device.compute_units || rows * columns == 1) challenge_packed(s, best);
        }
}

static void search_tiled(search *s)
{
    static const struct gemm_tiles tried[] = {
        {128, 128, 16, 8, 8}, {128, 128, 8, 8, 8}, {128, 64, 16, 8, 4}, {64, 128, 16, 4, 8}, {64, 64, 16, 4, 4},
        {64, 64, 8, 4, 4},    {64, 64, 32, 4, 4},  {64, 64, 16, 8, 8},  {64, 32, 16, 4, 2},  {32, 64, 16, 2, 4},
        {32, 32, 16, 2, 2},   {32, 32, 32, 4, 4},  {16, 64, 32, 1, 4},  {64, 16, 32, 4, 1},  {16, 16, 32, 1, 1}};
    const struct gemm_limits limits = cg_gemm_limits(s->cg);
    cg_gemm_choice choice = {.kernel = CG_GEMM_TILED, .tiles = cg_gemm_tiles(s->shape, &limits)};
    challenge(s, &choice);
    for (size_t i = 0; i < sizeof tried / sizeof *tried; i++) {
        choice.tiles = tried[i];
        if (cg_gemm_tiles_fit(&choice.tiles, s->shape, &limits)) challenge(s, &choice);
    }
}

/* Products that CLBlast is fast at, where either may be used: large ones, which keep a GPU busy for so long that an
 * epilogue's launch and pass do not matter. */
static bool suits_clblast(const struct gemm_shape *shape)
{
    const struct gemm_shape typical = cg_gemm_typical(shape);
    return typical.batches == 1 && typical.m >= LARGE && typical.n >= LARGE && typical.k >= LARGE;
}

static cg_gemm_choice default_choice(const cg_context *cg, const struct gemm_shape *shape)
{
    const struct gemm_limits limits = cg_gemm_limits(cg);
    const struct gemm_device device = cg_gemm_device(cg);
    cg_gemm_choice choice = {.kernel = cg->gemm};
    if (cg->gemm == CG_GEMM_PACKED && cg_gemm_is_narrow(shape, &device)) choice.kernel = CG_GEMM_NARROW;
    if (cg->gemm == CG_GEMM_CLBLAST && cg->gemm_allowed & 1u << CG_GEMM_TILED && !suits_clblast(shape))
        choice.kernel = CG_GEMM_TILED;
    if (choice.kernel == CG_GEMM_TILED) choice.tiles = cg_gemm_tiles(shape, &limits);
    return choice;
}

/* The default again, beside the best found: a lucky moment must not decide. */
static void settle(search *s, const cg_gemm_choice *initial, double *default_seconds)
{
    trial fallback;
    *default_seconds = s->champion->best;
    if (same_choice(&s->champion->choice, initial) || !trial_open(&fallback, s->cg, s->product, s->shape, initial))
        return;
    const bool better = is_better(s->champion, &fallback);
    *default_seconds = fallback.best;
    if (!better) {
        s->champion->choice = *initial;
        s->champion->best = fallback.best;
    }
    trial_close(&fallback);
}

/* Measures, and notes what was found. False if nothing was. */
static bool measure(cg_context *cg, const cg_op *product, const struct gemm_shape *shape, const char *matter,
                    cg_gemm_choice *choice)
{
    cg_gemm_choice initial = default_choice(cg, shape);
    trial champion;
    search s = {.cg = cg, .product = product, .shape = shape, .champion = &champion};
    double default_seconds;
    char words[WORDS_BYTES], initial_words[WORDS_BYTES];
    if (initial.kernel == CG_GEMM_PACKED) initial.division = complete(cg, shape, initial.division);
    if (!trial_open(&champion, cg, product, shape, &initial)) return false;
    if (cg->gemm_allowed & 1u << CG_GEMM_PACKED) search_packed(&s);
    if (cg->gemm_allowed & 1u << CG_GEMM_TILED) search_tiled(&s);
    const cg_gemm_choice clblast = {.kernel = CG_GEMM_CLBLAST};
    if (cg->gemm_allowed & 1u << CG_GEMM_CLBLAST) challenge(&s, &clblast);
    settle(&s, &initial, &default_seconds);
    *choice = champion.choice;
    trial_close(&champion);
    describe_choice(choice, words);
    describe_choice(&initial, initial_words);
    if (cg->log_plan)
        fprintf(stderr, "clgrad: tuned %s: %s, %.1f us; by default %s, %.1f us\n", matter, words, 1e6 * champion.best,
                initial_words, 1e6 * default_seconds);
    return cg_tuning_add(cg, matter, words, champion.best, default_seconds);
}

cg_gemm_choice cg_gemm_choose(cg_context *cg, const cg_op *product, const struct gemm_shape *shape)
{
    cg_gemm_choice choice = default_choice(cg, shape);
    char matter[WORDS_BYTES];
    if (cg->tuning->forced) return *cg->tuning->forced;
    if (choice.kernel == CG_GEMM_NARROW || (!cg->tune && !cg->tuning->count)) return choice;
    describe_matter(cg, shape, matter);
    const cg_tuning_entry *entry = cg_tuning_find(cg, matter);
    cg_gemm_choice found;
    if (entry && cg_tuning_counts(cg, entry) && read_choice(cg, shape, entry->choice, &found)) return found;
    const bool empty = shape->m * shape->n * shape->k * shape->batches == 0;
    if (cg->tune && !empty && measure(cg, product, shape, matter, &found)) return found;
    return choice;
}
