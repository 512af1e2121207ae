/* Reads the lines that cases are written as, and says what a case moves. Lines may come from a user's file, so whatever
 * they hold that is no case is answered with a reason. */
#include "bench_case.h"

#include "bench_run.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_EXTENT = 1 << 30, MOST_OPS = 10 };

static const bench_kind *find_kind(const char *name)
{
    const bench_kind *(*const tables[])(int *) = {
        bench_elementwise_kinds, bench_reduce_kinds, bench_normalization_kinds, bench_scan_kinds,
        bench_move_kinds,        bench_gemm_kinds,   bench_convolution_kinds,   bench_step_kinds,
    };
    for (size_t t = 0; t < sizeof tables / sizeof *tables; t++) {
        int count;
        const bench_kind *kinds = tables[t](&count);
        for (int i = 0; i < count; i++)
            if (strcmp(kinds[i].name, name) == 0) return &kinds[i];
    }
    return NULL;
}

/* A whole number from low to high that ends the text, or has `stop` and more behind it; -1 otherwise. */
static long number_in(const char **text, long low, long high, char stop)
{
    char *end;
    errno = 0;
    const long value = strtol(*text, &end, 10);
    if (end == *text || errno || value < low || value > high || (*end && (*end != stop || !end[1]))) return -1;
    *text = *end ? end + 1 : end;
    return value;
}

static const char *parse_extents(bench_case *c, const char *text)
{
    const bench_kind *kind = c->kind;
    while (*text) {
        if (c->extents.rank == kind->most_rank) return "its shape has too many extents";
        const long extent = number_in(&text, 1, MOST_EXTENT, 'x');
        if (extent < 0) return "its shape must be whole numbers from 1 to 2^30, joined by x";
        c->extents.size[c->extents.rank++] = extent;
    }
    return c->extents.rank < kind->least_rank ? "its shape has too few extents" : NULL;
}

static const char *parse_form(bench_case *c, const char *word)
{
    if (strlen(word) != 2 || strspn(word, "NT") != 2) return "a form is NN, NT, TN or TT";
    for (int i = 0; i < 2; i++) c->transposed[i] = word[i] == 'T';
    return NULL;
}

static const char *parse_windows(bench_case *c, const char *word, const char *number)
{
    int *const places[] = {&c->stride, &c->padding, &c->groups};
    static const char *const names[] = {"stride=", "padding=", "groups="};
    for (int i = 0; i < 3; i++) {
        if (strncmp(word, names[i], strlen(names[i])) != 0) continue;
        *places[i] = (int)number_in(&number, i == 1 ? 0 : 1, MOST_EXTENT, '\0');
        return *places[i] < 0 ? "stride, padding and groups must be whole numbers" : NULL;
    }
    return "a convolution's words are stride=, padding= and groups=";
}

static const char *parse_word(bench_case *c, const char *word)
{
    const char *number = strchr(word, '=') ? strchr(word, '=') + 1 : "";
    if (strncmp(word, "axis=", 5) == 0 && c->kind->words & WORD_AXIS) {
        c->axis = (int)number_in(&number, 0, c->extents.rank - 1, '\0');
        return c->axis < 0 ? "its axis must be one of the shape's, counted from 0" : NULL;
    }
    if (strncmp(word, "ops=", 4) == 0 && c->kind->words & WORD_OPS) {
        c->ops = (int)number_in(&number, 1, MOST_OPS, '\0');
        return c->ops < 0 ? "ops must be from 1 to 10" : NULL;
    }
    if (strncmp(word, "groups=", 7) == 0 && c->kind->words & WORD_GROUPS) {
        c->groups = (int)number_in(&number, 1, MOST_EXTENT, '\0');
        return c->groups < 0 ? "groups must be a whole number" : NULL;
    }
    if (c->kind->words & WORD_WINDOWS) return parse_windows(c, word, number);
    if (c->kind->words & WORD_FORM) return parse_form(c, word);
    return "it ends with a word that means nothing here";
}

static void append_word(bench_case *c, const char *word)
{
    const size_t used = strlen(c->shape);
    snprintf(c->shape + used, sizeof c->shape - used, used ? " %s" : "%s", word);
}

static char *next_word(char **rest)
{
    return strtok_r(NULL, " \t\r\n", rest);
}

/* The kind that the line begins with, its family before it or not; sets the word behind it, which may be NULL. */
static const bench_kind *parse_kind(char *line, char **rest, char **word)
{
    const char *first = strtok_r(line, " \t\r\n", rest);
    if (!first) return NULL;
    *word = next_word(rest);
    const bench_kind *named = *word ? find_kind(*word) : NULL;
    if (!named || strcmp(named->family, first) != 0) return find_kind(first);
    *word = next_word(rest);
    return named;
}

/* The shape of a training step is fixed: it may be left out, but it may not be another. */
static const char *parse_step(bench_case *c, char **rest, char *word)
{
    const char *shape = bench_step_shape(c->kind->step);
    for (; word; word = next_word(rest)) append_word(c, word);
    if (c->shape[0] && strcmp(c->shape, shape) != 0) return "a training step has its own shape: no other may follow";
    snprintf(c->shape, sizeof c->shape, "%s", shape);
    return NULL;
}

static const char *parse_words(bench_case *c, char *line)
{
    char *rest, *word;
    c->kind = parse_kind(line, &rest, &word);
    if (!c->kind) return "there is no such case";
    if (c->kind->step) return parse_step(c, &rest, word);
    if (!word) return "a shape must follow the name";
    append_word(c, word);
    const char *why = parse_extents(c, word);
    while (!why && (word = next_word(&rest))) {
        append_word(c, word);
        why = parse_word(c, word);
    }
    if (!why && c->kind->words & WORD_FORM && !strchr(c->shape, ' ')) append_word(c, "NN");
    return why;
}

const char *bench_case_parse(bench_case *c, const char *line, cg_dtype dtype)
{
    char copy[CASE_TEXT_BYTES];
    if (strlen(line) >= sizeof copy) return "it is too long";
    snprintf(copy, sizeof copy, "%s", line);
    *c = (bench_case){.dtype = dtype, .axis = NO_AXIS, .ops = 1, .passes = 1, .stride = 1, .groups = 1};
    const char *why = parse_words(c, copy);
    return why || c->kind->step ? why : c->kind->describe(c);
}

void bench_case_text(const bench_case *c, char text[2 * CASE_TEXT_BYTES])
{
    const bench_kind *kind = c->kind;
    const bool same = strcmp(kind->family, kind->name) == 0;
    snprintf(text, 2 * CASE_TEXT_BYTES, "%s%s%s %s", same ? "" : kind->family, same ? "" : " ", kind->name, c->shape);
}

double elements_of(cg_shape shape)
{
    double elements = 1;
    for (int i = 0; i < shape.rank; i++) elements *= (double)shape.size[i];
    return elements;
}

double bench_case_bytes(const bench_case *c)
{
    double elements = c->result_size;
    for (int i = 0; i < c->input_count; i++) elements += elements_of(c->inputs[i]);
    return elements * (double)cg_dtype_bytes(c->dtype);
}

double bench_case_traffic(const bench_case *c)
{
    double elements = c->result_size;
    for (int i = 0; i < c->input_count; i++) elements += (double)c->passes * elements_of(c->inputs[i]);
    if (c->kind->record_all) elements = (double)c->passes * elements_of(c->inputs[0]);
    return elements * (double)cg_dtype_bytes(c->dtype);
}
