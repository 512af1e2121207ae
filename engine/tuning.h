/* The choices that were tuned for this device: a small table, read from a file when the context opens and written back
 * when something was measured. What the choices mean is tune.c's affair.
 *
 * The file is $XDG_CACHE_HOME/clgrad/tuning or ~/.cache/clgrad/tuning, or the one that CLGRAD_TUNING names; "off":
 * none. It is text, a line per device, matter and choice. A damaged file is as good as none, and replaced when
 * something is to be written; where it cannot be written, the choices last as long as the context. */
#ifndef CLGRAD_ENGINE_TUNING_H
#define CLGRAD_ENGINE_TUNING_H

#include "engine/context.h"

/* What was found for one matter, a product of some shape for one. */
typedef struct cg_tuning_entry {
    char *what, *choice;             /* words without tabs */
    double seconds, default_seconds; /* measured, of the choice and of what would have been done without it */
    bool measured;                   /* in this context, not read */
} cg_tuning_entry;

struct cg_tuning {
    char *path;   /* of the file; NULL: none */
    char *device; /* the words that its lines begin with on this device */
    cg_tuning_entry *entries;
    int count, capacity;
    const struct cg_gemm_choice *forced; /* in the contexts in which choices are measured: see tune.c */
};

/* Reads the file. False only where host memory is missing. */
bool cg_tuning_open(cg_context *cg);
void cg_tuning_close(cg_context *cg);

/* The entry for a matter, or NULL. */
cg_tuning_entry *cg_tuning_find(const cg_context *cg, const char *what);

/* Whether an entry is to be used, and not measured anew. */
bool cg_tuning_counts(const cg_context *cg, const cg_tuning_entry *entry);

/* Sets what was measured for a matter, and writes the file. False only where host memory is missing. */
bool cg_tuning_add(cg_context *cg, const char *what, const char *choice, double seconds, double default_seconds);

#endif
