/* Which cases a run measures: the built-in ones or those of a file, and of these what the filters ask for. */
#ifndef CLGRAD_CLI_BENCH_SELECT_H
#define CLGRAD_CLI_BENCH_SELECT_H

#include "arguments.h"
#include "bench_case.h"

typedef struct case_list {
    bench_case *cases;
    int count, capacity;
} case_list;

/* All built-in cases, DeepBench's at the end; the lines of a file. False after a message on stderr. */
bool case_list_builtin(case_list *list, cg_dtype dtype);
bool case_list_read(case_list *list, const char *path, cg_dtype dtype);
void case_list_free(case_list *list);
/* Keeps what some filter is a part of; without filters, all but DeepBench's. The first filter that is a part of nothing
 * is returned, and the list is then as it was; else NULL. */
const char *case_list_filter(case_list *list, char *const *filters, int filter_count);
/* The cases asked for: of the file `shapes`, or of the built-in ones where that is NULL, those that the filters leave.
 * False after a message on stderr that begins with the command's name; an unknown filter lists the cases. */
bool case_list_choose(case_list *list, const case_options *options);

#endif
