/* Tuned choices: which kernel and which sizes serve a matrix product of some shape, and which plans run as one kernel;
 * measured on the device, with CLGRAD_TUNE=1 in the environment, and kept in a file. docs/tuning.md describes them. */
#ifndef CLGRAD_TUNING_H
#define CLGRAD_TUNING_H

#include <clgrad/context.h>

CG_BEGIN

/* One choice. `seconds` and `default_seconds`: what the matter took, when measured, with the choice and without. */
typedef struct cg_tuned_choice {
    const char *what, *choice;
    double seconds, default_seconds;
    bool measured; /* by this context, not read from the file */
} cg_tuned_choice;

/* The context's choices for its device, numbered from 0; false where there are no more. The words last until the next
 * choice is made, or the context is closed. */
CG_API bool cg_tuned(const cg_context *cg, int index, cg_tuned_choice *tuned);

/* Where choices are kept: CLGRAD_TUNING, or a file in the user's cache folder; "" for nowhere. */
CG_API const char *cg_tuning_path(const cg_context *cg);

CG_END
#endif
