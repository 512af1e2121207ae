/* What a training loop shows: a progress bar while it runs, and learning curves, as a table and as an SVG file. */
#ifndef CLGRAD_PROGRESS_H
#define CLGRAD_PROGRESS_H

#include <clgrad/losses.h>
#include <stdio.h>

CG_BEGIN

typedef struct cg_progress cg_progress;

typedef struct cg_progress_options {
    char unset_;
    FILE *file;       /* default stderr. A terminal gets a bar that redraws itself, anything else plain lines */
    const char *unit; /* what is counted; default "images" */
    double interval;  /* seconds between redraws; default 0.25 on a terminal, else 10 */
} cg_progress_options;

/* A display of `epochs` epochs of `items` items each. NULL after an error. Free it before the context is closed. */
#define cg_progress_new(cg, epochs, items, ...) \
    cg_progress_new_with(cg, epochs, items, CG_OPTIONS(cg_progress_options, __VA_ARGS__))
CG_API cg_progress *cg_progress_new_with(cg_context *cg, int epochs, int64_t items, const cg_progress_options *options);
CG_API void cg_progress_free(cg_progress *progress);

/* Begins the next epoch. */
CG_API void cg_progress_begin(cg_progress *progress);
/* `count` more items are done. `loss` and `accuracy` (either may be NULL) are read, which waits for the device, only
 * when it is time to draw: the line shows them, items per second in this epoch, and the time left for all epochs. */
CG_API void cg_progress_step(cg_progress *progress, int64_t count, cg_average *loss, cg_average *accuracy);
/* Ends the epoch with one line that stays: `text`, as printf writes it. */
CG_API void cg_progress_end(cg_progress *progress, const char *format, ...) CG_FORMAT(2, 3);
/* Items per second in the epoch so far or, once it has ended, in all of it. */
CG_API double cg_progress_rate(const cg_progress *progress);
/* Seconds spent between cg_progress_begin and cg_progress_end, in all epochs together. */
CG_API double cg_progress_seconds(const cg_progress *progress);

/* Learning curves: named series over a common x, as a rule the epoch. */
typedef struct cg_curves cg_curves;

enum { CG_MAX_SERIES = 16 };

typedef struct cg_series {
    const char *name;  /* in the legend and above the column */
    const char *panel; /* series with the same text share a panel, whose y axis it labels */
} cg_series;

/* Names are copied. NULL after an error. Free it before the context is closed. */
CG_API cg_curves *cg_curves_new(cg_context *cg, const char *x_name, const cg_series *series, int series_count);
CG_API void cg_curves_free(cg_curves *curves);
/* Adds one value per series at x; NaN leaves a gap. */
CG_API bool cg_curves_add(cg_curves *curves, double x, const double *values);
/* One row per x, columns aligned. */
CG_API void cg_curves_table(const cg_curves *curves, FILE *file);
/* Panels side by side, with axes, ticks and legend: lines through neighbours that both have a value, and a dot at each
 * value that has room for one. The file appears only once it is complete. */
CG_API bool cg_curves_svg(const cg_curves *curves, const char *path);

CG_END
#endif
