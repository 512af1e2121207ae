/* Random programs against the host interpreter: maps, moves, reductions and matrix products over tensors of several
 * dtypes, with reads, assignments and scopes in between. Each program runs twice with different numbers; the second
 * run must not plan anything anew. A failure names its seed: CLGRAD_RANDOM_SEED=<seed> runs that program alone and
 * prints it. */
#include "program.h"
#include "random_program.h"
#include "shared_device.h"

#include <clgrad/ops.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    BLOCKS = 8,    /* tests; each has a context and runs its share of the programs */
    PROGRAMS = 12, /* in a block; CLGRAD_RANDOM_PROGRAMS asks for more */
    ROUNDS = 2     /* runs of a program with different numbers */
};

/* ---- reads, variables, scopes ---- */

static void read_one(program *p)
{
    if (!p->value_count) return;
    value *v = &p->values[random_choose(p, p->value_count)];
    p->doing = "read";
    random_say(p, "read %d\n", (int)(v - p->values));
    random_check(p, v);
}

static void evaluate(program *p)
{
    if (!p->value_count) return;
    cg_tensor list[3];
    int count = 1 + random_choose(p, 3);
    p->doing = "eval";
    random_say(p, "eval");
    for (int i = 0; i < count; i++) {
        int which = random_choose(p, p->value_count);
        list[i] = p->values[which].tensor;
        random_say(p, " %d", which);
    }
    random_say(p, "\n");
    if (!cg_eval(list, count)) random_give_up(p, "cannot evaluate");
}

static void flush(program *p)
{
    p->doing = "flush";
    random_say(p, "flush\n");
    if (!(random_chance(p, 50) ? cg_flush(p->cg) : cg_wait(p->cg))) random_give_up(p, "cannot flush");
}

static bool same_shape(const cg_shape *a, const cg_shape *b)
{
    return a->rank == b->rank && !memcmp(a->size, b->size, (size_t)a->rank * sizeof *a->size);
}

static void assign_to(program *p, int which, const value *v)
{
    state *s = &p->states[which];
    random_say(p, "variable %d := %d\n", which, (int)(v - p->values));
    if (!cg_assign(s->variable, v->tensor)) random_give_up(p, "cannot assign");
    host_free(&s->host);
    s->host = host_copy(&v->host);
}

/* Gives a variable a value of its shape, or makes one. */
static void assign(program *p)
{
    value *v = random_pick(p, random_kind(p));
    p->doing = "assign";
    for (int attempt = 0; attempt < 6 && p->state_count; attempt++) {
        int which = random_choose(p, p->state_count);
        state *s = &p->states[which];
        if (s->kind != v->kind || !same_shape(&s->host.shape, &v->host.shape)) continue;
        assign_to(p, which, v);
        return;
    }
    if (p->state_count == MOST_VARIABLES) return;
    cg_variable *variable = cg_variable_new(p->cg, "state", random_dtype(p, v->kind), v->host.shape);
    if (!variable) random_give_up(p, "no variable");
    p->states[p->state_count++] = (state){.variable = variable, .kind = v->kind};
    assign_to(p, p->state_count - 1, v);
}

static void read_variable(program *p)
{
    if (!p->state_count) return;
    int which = random_choose(p, p->state_count);
    const state *s = &p->states[which];
    p->doing = "value";
    random_say(p, "value of variable %d\n", which);
    random_add(p, s->kind, cg_value(s->variable), host_copy(&s->host));
}

/* x := f(x), as an optimizer does it, element by element or with what the element's row is on average. */
static void update_variable(program *p)
{
    if (!p->state_count) return;
    int which = random_choose(p, p->state_count);
    const state *s = &p->states[which];
    if (s->kind != REAL || 4 * s->host.bound > RANDOM_MOST) return;
    p->doing = "update";
    const int last = s->host.shape.rank - 1;
    const bool of_rows = last >= 0 && s->host.size > 0 && random_chance(p, 50);
    random_say(p, "update of variable %d%s\n", which, of_rows ? " by its rows" : "");
    value *old = random_add(p, REAL, cg_value(s->variable), host_copy(&s->host));
    double rate = random_number(p, REAL) / 4, error = old->host.error;
    cg_tensor from = old->tensor;
    host_tensor host = host_copy(&old->host), mean = {0};
    if (of_rows) {
        const int64_t length = host.shape.size[last];
        from = cg_mean(from, .axes = CG_AXES(last), .keepdims = true);
        mean = host_reduce(&host, HOST_MEAN, 1U << last, true);
        for (int64_t i = 0; i < host.size; i++) host.data[i] -= rate * sin(mean.data[i / length]);
        error += 0.5 * (double)(length + 24) * p->epsilon * old->host.bound;
    } else {
        for (int64_t i = 0; i < host.size; i++) host.data[i] -= rate * sin(host.data[i]);
    }
    host_free(&mean);
    host = random_bounded(p, host, REAL, old->host.bound + 0.5, error + 0.5 * old->host.error);
    cg_tensor step = cg_mul(cg_scalar(p->cg, rate), cg_sin(from));
    assign_to(p, which, random_add(p, REAL, cg_sub(old->tensor, step), host));
}

static void begin_scope(program *p)
{
    if (p->depth == MOST_DEPTH) return;
    bool step = random_chance(p, 50);
    p->doing = "scope";
    random_say(p, "begin a %s scope\n", step ? "step" : "local");
    p->scopes[++p->depth] = step ? cg_scope_begin(p->cg) : cg_scope_local(p->cg);
}

/* Ends the innermost scope; a few of its values are kept. */
static void end_scope(program *p)
{
    int kept = 0, left = 0;
    p->doing = "end of scope";
    random_say(p, "end of scope; left:");
    for (int i = 0; i < p->value_count; i++) {
        value *v = &p->values[i];
        if (v->depth < p->depth) continue;
        if (kept == 3 || !random_chance(p, 25)) continue;
        kept++;
        if (cg_is_null(cg_keep(v->tensor))) random_give_up(p, "cannot keep");
        v->depth = p->depth - 1;
    }
    cg_scope_end(p->scopes[p->depth]);
    if (cg_status(p->cg) != CG_OK) random_give_up(p, "cannot end a scope");
    for (int i = 0; i < p->value_count; i++) {
        if (p->values[i].depth == p->depth) {
            host_free(&p->values[i].host);
            continue;
        }
        random_say(p, left == i ? " %d" : " %d (was %d)", left, i);
        p->values[left++] = p->values[i];
    }
    random_say(p, "\n");
    p->value_count = left;
    p->depth--;
}

/* ---- programs ---- */

static void take_step(program *p)
{
    static void (*const others[])(program *) = {read_one, read_one,      evaluate,        flush,      assign,
                                                assign,   read_variable, update_variable, begin_scope};
    if (p->depth > 1 && random_chance(p, 8))
        end_scope(p);
    else if (random_chance(p, 20))
        others[random_choose(p, sizeof others / sizeof *others)](p);
    else
        random_op(p);
}

/* Computes what nothing else was computed from in one plan, and compares it. What lies between is not stored and shows
 * in these. */
static void check_results(program *p)
{
    cg_tensor tensors[MOST_VALUES];
    int count = 0;
    for (int i = 0; i < p->value_count; i++)
        if (!p->values[i].used) tensors[count++] = p->values[i].tensor;
    if (!cg_eval(tensors, count)) random_give_up(p, "cannot evaluate");
    for (int i = 0; i < p->value_count; i++)
        if (!p->values[i].used) random_check(p, &p->values[i]);
}

static void finish(program *p)
{
    p->doing = "the end";
    random_say(p, "the end\n");
    check_results(p);
    while (p->depth) end_scope(p);
    for (int i = 0; i < p->value_count; i++) {
        random_check(p, &p->values[i]);
        cg_release(p->values[i].tensor);
        host_free(&p->values[i].host);
    }
    for (int i = 0; i < p->state_count; i++) {
        value current = {.tensor = cg_value(p->states[i].variable), .host = p->states[i].host};
        random_check(p, &current);
        cg_release(current.tensor);
        cg_variable_free(p->states[i].variable);
        host_free(&p->states[i].host);
    }
}

static void run_program(cg_context *cg, unsigned seed, unsigned round)
{
    static program p;
    p = (program){.cg = cg,
                  .seed = seed,
                  .round = round,
                  .structure = seed,
                  .numbers = seed * 1000 + round,
                  .verbose = round == 0 && getenv("CLGRAD_RANDOM_SEED")};
    bool wide = cg_device(cg)->has_f64 && random_chance(&p, 60);
    p.real = wide ? CG_F64 : CG_F32;
    p.epsilon = wide ? 0x1p-52 : 0x1p-23;
    int steps = 4 + random_choose(&p, 16);
    random_say(&p, "program %u: %d steps in %s\n", seed, steps, cg_dtype_name(p.real));
    begin_scope(&p);
    for (int i = 0; i < steps && p.value_count < MOST_VALUES - 8; i++) take_step(&p);
    finish(&p);
}

/* Runs a program in all rounds, and checks that it leaves nothing behind. */
static void run_rounds(cg_context *cg, unsigned seed)
{
    int64_t nodes = cg_counters_get(cg).nodes, plans = 0;
    for (unsigned round = 0; round < ROUNDS; round++) {
        plans = cg_counters_get(cg).plans_made;
        run_program(cg, seed, round);
        ck_assert_msg(cg_counters_get(cg).nodes == nodes, "program %u leaves nodes behind", seed);
    }
    ck_assert_msg(cg_counters_get(cg).plans_made == plans, "program %u: other numbers make new plans", seed);
}

static void run_block(cg_context *cg, int block)
{
    const char *only = getenv("CLGRAD_RANDOM_SEED"), *more = getenv("CLGRAD_RANDOM_PROGRAMS");
    const int programs = more ? atoi(more) : PROGRAMS;
    if (only) {
        if (block == 0) run_rounds(cg, (unsigned)strtoul(only, NULL, 10));
    } else {
        for (int i = 0; i < programs; i++) run_rounds(cg, (unsigned)(block + BLOCKS * i));
    }
    cg_close(cg);
}

START_TEST(fused)
{
    run_block(open_on_shared_device(), _i);
}
END_TEST

START_TEST(one_by_one)
{
    setenv("CLGRAD_EAGER", "1", 1);
    run_block(open_on_shared_device(), _i);
    unsetenv("CLGRAD_EAGER");
}
END_TEST

START_TEST(joined)
{
    setenv("CLGRAD_JOIN", "always", 1);
    run_block(open_on_shared_device(), _i);
    unsetenv("CLGRAD_JOIN");
}
END_TEST

/* Work-groups of many items, which share rows and the tiles of products, and no vectors. */
START_TEST(as_gpus_run_them)
{
    setenv("CLGRAD_DISABLE", "vectors", 1);
    cg_context *cg = open_on_shared_device();
    unsetenv("CLGRAD_DISABLE");
    run_block(cg, _i);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("random graphs");
    TCase *programs = tcase_create("programs");
    tcase_add_loop_test(programs, fused, 0, BLOCKS);
    tcase_add_loop_test(programs, one_by_one, 0, BLOCKS / 4);
    tcase_add_loop_test(programs, as_gpus_run_them, BLOCKS / 2, BLOCKS / 2 + 2);
    tcase_add_loop_test(programs, joined, BLOCKS / 4, BLOCKS / 4 + 1); /* each plan is a program: slow to build */
    suite_add_tcase(suite, programs);
    return run_suite(suite);
}
