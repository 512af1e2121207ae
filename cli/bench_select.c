/* Builds the list of cases from lines. In a file, blank lines and what follows a # count for nothing. */
#include "bench_select.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool append(case_list *list, const bench_case *c)
{
    if (list->count == list->capacity) {
        const int capacity = list->capacity ? 2 * list->capacity : 256;
        bench_case *cases = realloc(list->cases, (size_t)capacity * sizeof *cases);
        if (!cases) {
            fprintf(stderr, "clgrad: no host memory for the cases\n");
            return false;
        }
        list->cases = cases;
        list->capacity = capacity;
    }
    list->cases[list->count++] = *c;
    return true;
}

static bool append_line(case_list *list, const char *line, cg_dtype dtype, const char *place)
{
    bench_case c;
    const char *why = bench_case_parse(&c, line, dtype);
    if (why) {
        fprintf(stderr, "clgrad: %s: \"%s\": %s\n", place, line, why);
        return false;
    }
    return append(list, &c);
}

bool case_list_builtin(case_list *list, cg_dtype dtype)
{
    int count, deepbench_count;
    const char *const *lines = bench_builtin_lines(&count), *const *deepbench = bench_deepbench_lines(&deepbench_count);
    char line[CASE_TEXT_BYTES];
    for (int i = 0; i < count; i++)
        if (!append_line(list, lines[i], dtype, "a built-in case")) return false;
    for (int i = 0; i < deepbench_count; i++) {
        snprintf(line, sizeof line, "deepbench %s", deepbench[i]);
        if (!append_line(list, line, dtype, "a built-in case")) return false;
    }
    return true;
}

/* What a line of a file says: without comment, end and blanks around it. */
static char *content_of(char *line)
{
    line[strcspn(line, "#\r\n")] = '\0';
    line += strspn(line, " \t");
    size_t length = strlen(line);
    while (length > 0 && strchr(" \t", line[length - 1])) length--;
    line[length] = '\0';
    return line;
}

static bool read_lines(case_list *list, FILE *file, const char *path, cg_dtype dtype)
{
    char *line = NULL, place[1024];
    size_t capacity = 0;
    bool ok = true;
    for (int number = 1; ok && getline(&line, &capacity, file) >= 0; number++) {
        const char *content = content_of(line);
        if (!*content) continue;
        snprintf(place, sizeof place, "%s:%d", path, number);
        ok = append_line(list, content, dtype, place);
    }
    if (ok && !feof(file)) {
        fprintf(stderr, "clgrad: %s: cannot be read\n", path);
        ok = false;
    }
    free(line);
    return ok;
}

bool case_list_read(case_list *list, const char *path, cg_dtype dtype)
{
    FILE *file = fopen(path, "r");
    if (!file) {
        fprintf(stderr, "clgrad: %s: %s\n", path, strerror(errno));
        return false;
    }
    bool ok = read_lines(list, file, path, dtype);
    fclose(file);
    if (ok && list->count == 0) {
        fprintf(stderr, "clgrad: %s: there is no case in it\n", path);
        ok = false;
    }
    return ok;
}

void case_list_free(case_list *list)
{
    free(list->cases);
    *list = (case_list){0};
}

static bool matches(const bench_case *c, const char *filter)
{
    char text[2 * CASE_TEXT_BYTES];
    bench_case_text(c, text);
    return strstr(text, filter) != NULL;
}

static bool is_wanted(const bench_case *c, char *const *filters, int filter_count)
{
    for (int f = 0; f < filter_count; f++)
        if (matches(c, filters[f])) return true;
    return filter_count == 0 && strcmp(c->kind->family, "deepbench") != 0;
}

static bool matches_any(const case_list *list, const char *filter)
{
    for (int i = 0; i < list->count; i++)
        if (matches(&list->cases[i], filter)) return true;
    return false;
}

const char *case_list_filter(case_list *list, char *const *filters, int filter_count)
{
    int kept = 0;
    for (int f = 0; f < filter_count; f++)
        if (!matches_any(list, filters[f])) return filters[f];
    for (int i = 0; i < list->count; i++)
        if (is_wanted(&list->cases[i], filters, filter_count)) list->cases[kept++] = list->cases[i];
    list->count = kept;
    return NULL;
}

static void print_unknown(const case_list *list, const char *command, const char *filter)
{
    char text[2 * CASE_TEXT_BYTES];
    fprintf(stderr, "%s: no case has \"%s\" in it; the cases are:\n", command, filter);
    for (int i = 0; i < list->count; i++) {
        bench_case_text(&list->cases[i], text);
        fprintf(stderr, "  %s\n", text);
    }
}

bool case_list_choose(case_list *list, const case_options *options)
{
    const char *shapes = options->shapes;
    if (!(shapes ? case_list_read(list, shapes, options->dtype) : case_list_builtin(list, options->dtype)))
        return false;
    const char *unknown = case_list_filter(list, options->filters, options->filter_count);
    if (unknown) print_unknown(list, options->command, unknown);
    return !unknown;
}
