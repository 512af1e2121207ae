/* Choices, values and comparisons of the random programs. */
#include "random_program.h"

#include <check.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- random choices ---- */

uint64_t random_next(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* One of 0 .. count - 1. */
int random_choose(program *p, int count)
{
    return (int)(random_next(&p->structure) % (uint64_t)count);
}

bool random_chance(program *p, int percent)
{
    return random_choose(p, 100) < percent;
}

/* A number in [-2, 2] that f32 holds exactly, or a small integer. */
double random_number(program *p, kind kind)
{
    uint64_t bits = random_next(&p->numbers);
    if (kind == REAL) return (double)(bits >> 44) / 262144.0 - 2;
    return kind == INTEGER ? (double)(bits % 19) - 9 : (double)(bits & 1);
}

void random_say(const program *p, const char *format, ...)
{
    if (!p->verbose) return;
    va_list arguments;
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
}

static const char *shape_text(cg_shape shape)
{
    static char text[4][128];
    static int next;
    char *out = text[next++ % 4];
    int used = sprintf(out, "[");
    for (int i = 0; i < shape.rank; i++) used += sprintf(out + used, i ? ",%d" : "%d", (int)shape.size[i]);
    sprintf(out + used, "]");
    return out;
}

/* ---- comparing ---- */

void random_give_up(const program *p, const char *what)
{
    ck_abort_msg("program %u (CLGRAD_RANDOM_SEED=%u), round %u, %s: %s; %s", p->seed, p->seed, p->round, p->doing, what,
                 cg_message(p->cg));
}

static void compare(const program *p, const value *v, const double *found)
{
    for (int64_t i = 0; i < v->host.size; i++) {
        double expected = v->host.data[i];
        if (fabs(found[i] - expected) <= v->host.error) continue;
        char text[256];
        snprintf(text, sizeof text, "element %lld of value %d %s is %.17g, not %.17g, with an error of at most %g",
                 (long long)i, (int)(v - p->values), shape_text(v->host.shape), found[i], expected, v->host.error);
        random_give_up(p, text);
    }
}

void random_check(const program *p, const value *v)
{
    double *found = malloc(((size_t)v->host.size + 1) * sizeof *found);
    if (!cg_read_doubles(v->tensor, found, v->host.size)) random_give_up(p, "cannot read");
    compare(p, v, found);
    free(found);
}

/* ---- values ---- */

cg_dtype random_dtype(const program *p, kind kind)
{
    return kind == REAL ? p->real : kind == INTEGER ? CG_I32 : CG_BOOL;
}

/* The value that already has this handle: a move that changes nothing returns its operand. */
static value *find(program *p, cg_tensor tensor)
{
    for (int i = 0; i < p->value_count; i++)
        if (p->values[i].tensor.node == tensor.node) return &p->values[i];
    return NULL;
}

/* Adds a value to the program; takes the host tensor. Numbers that grew too large are squashed, errors too large cannot
 * be, so such a value is only read. */
value *random_add(program *p, kind kind, cg_tensor tensor, host_tensor host)
{
    if (cg_is_null(tensor)) random_give_up(p, "null");
    cg_shape shape = cg_shape_of(tensor);
    bool same = shape.rank == host.shape.rank && cg_dtype_of(tensor) == random_dtype(p, kind);
    for (int i = 0; same && i < shape.rank; i++) same = shape.size[i] == host.shape.size[i];
    if (!same) random_give_up(p, "another shape or dtype");
    value *known = find(p, tensor);
    if (known) {
        host_free(&host);
        return known;
    }
    ck_assert_int_lt(p->value_count, MOST_VALUES);
    value *v = &p->values[p->value_count++];
    *v = (value){.tensor = tensor, .host = host, .kind = kind, .depth = p->depth};
    random_say(p, "    %d = %s %s error %.1e\n", p->value_count - 1, cg_dtype_name(random_dtype(p, kind)),
               shape_text(shape), host.error);
    return v;
}

/* Fills in the bounds of a host result. Rounding is a few units in the last place of the result. */
host_tensor random_bounded(const program *p, host_tensor host, kind kind, double bound, double error)
{
    host.bound = bound;
    host.error = kind == REAL ? error + 24 * p->epsilon * fmax(bound, 1e-3) : 0;
    return host;
}

/* The same elements elsewhere: neither bound changes. */
host_tensor random_moved(host_tensor host, const host_tensor *from)
{
    host.bound = from->bound;
    host.error = from->error;
    return host;
}

static cg_shape random_shape(program *p)
{
    static const int sizes[] = {1, 2, 3, 4, 5, 7, 8, 16, 17, 33};
    cg_shape shape = {.rank = random_choose(p, 5)};
    int64_t size = 1;
    for (int i = 0; i < shape.rank; i++) {
        shape.size[i] = random_chance(p, 2) ? 0 : sizes[random_choose(p, 10)];
        if (size * shape.size[i] > MOST_ELEMENTS / 8) shape.size[i] = 1;
        size *= shape.size[i];
    }
    return shape;
}

cg_tensor random_upload(program *p, kind kind, const host_tensor *host)
{
    double *room = malloc(((size_t)host->size + 1) * sizeof *room);
    char *bytes = (char *)room;
    for (int64_t i = 0; i < host->size; i++) {
        switch (random_dtype(p, kind)) {
        case CG_F32:
            ((float *)(void *)room)[i] = (float)host->data[i];
            break;
        case CG_F64:
            room[i] = host->data[i];
            break;
        case CG_I32:
            ((int32_t *)(void *)room)[i] = (int32_t)host->data[i];
            break;
        default:
            bytes[i] = (char)host->data[i];
            break;
        }
    }
    cg_tensor result = cg_input(p->cg, random_dtype(p, kind), host->shape, room);
    free(room);
    return result;
}

value *random_leaf(program *p, kind kind, cg_shape shape)
{
    host_tensor host = host_new(shape);
    for (int64_t i = 0; i < host.size; i++) host.data[i] = random_number(p, kind);
    host.bound = kind == REAL ? 2 : kind == INTEGER ? 9 : 1;
    return random_add(p, kind, random_upload(p, kind, &host), host);
}

/* Whether an op may read the value: its error has not grown out of hand. */
static bool usable(const program *p, const value *v)
{
    return v->kind != REAL || v->host.error < (p->real == CG_F64 ? 1e-4 : 1e-3);
}

static value *mark_used(value *v)
{
    v->used = true;
    return v;
}

value *random_pick(program *p, kind kind)
{
    for (int attempt = 0; attempt < 8 && p->value_count; attempt++) {
        value *v = &p->values[random_choose(p, p->value_count)];
        if (v->kind == kind && usable(p, v)) return mark_used(v);
    }
    return mark_used(random_leaf(p, kind, random_shape(p)));
}

kind random_kind(program *p)
{
    int choice = random_choose(p, 10);
    return choice < 6 ? REAL : choice < 8 ? INTEGER : TRUTH;
}

int64_t random_size(cg_shape shape)
{
    int64_t size = 1;
    for (int i = 0; i < shape.rank; i++) size *= shape.size[i];
    return size;
}

/* Something that broadcasts with `v`: another value, or a new one with some axes of 1 and some left out. */
value *random_partner(program *p, kind kind, const value *v)
{
    cg_shape own = v->host.shape, shape;
    for (int attempt = 0; attempt < 12; attempt++) {
        value *other = &p->values[random_choose(p, p->value_count)];
        if (other->kind != kind || !usable(p, other)) continue;
        if (host_broadcasts(&own, &other->host.shape, &shape) && random_size(shape) <= MOST_ELEMENTS)
            return mark_used(other);
    }
    int skipped = own.rank ? random_choose(p, own.rank + 1) : 0;
    shape = (cg_shape){.rank = own.rank - skipped};
    for (int i = 0; i < shape.rank; i++) shape.size[i] = random_chance(p, 30) ? 1 : own.size[i + skipped];
    return mark_used(random_leaf(p, kind, shape));
}
