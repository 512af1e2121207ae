/* The two forms of the results: a table for people, JSON lines for programs. */
#ifndef CLGRAD_CLI_BENCH_REPORT_H
#define CLGRAD_CLI_BENCH_REPORT_H

#include "bench_run.h"
#include "device_limits.h"

void bench_table_head(const cg_context *cg, cg_dtype dtype, const device_limits *limits);
void bench_table_row(const bench_case *c, const bench_result *result, const device_limits *limits);
/* One object on one line. */
void bench_json_line(const cg_context *cg, const bench_case *c, const bench_result *result,
                     const device_limits *limits);

#endif
