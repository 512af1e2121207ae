/* What the files of this folder share: reverse mode with the caller's name for messages, and tensors of one value.
 * They read graph nodes and record new ones through public ops; they run nothing but in the gradient checker. */
#ifndef CLGRAD_AUTODIFF_GRAD_H
#define CLGRAD_AUTODIFF_GRAD_H

#include <clgrad/autodiff.h>

/* Who differentiates, for messages, and whether outputs that are leaves with a cut history are fine: those that the
 * user passes are not, but a gradient that is differentiated again may well be such a leaf, and then it is constant. */
typedef struct cg_pullback {
    const char *who;
    bool cut_outputs;
    const cg_tensor *outputs, *cotangents;
    int output_count;
    const cg_tensor *wrt;
    int wrt_count;
    bool *reaches; /* NULL, or room for one per output: whether a gradient goes from it to any of `wrt` */
} cg_pullback;
bool cg_pull_back(const cg_pullback *pullback, cg_tensor *gradients);

/* The context of what is differentiated, or NULL after reporting what is wrong with the arguments. */
cg_context *cg_check_pullback(const cg_pullback *pullback);

/* A literal in every element. */
cg_tensor cg_filled(cg_context *cg, cg_dtype dtype, cg_shape shape, double value);

/* Whether `given` has the shape and dtype of `model`; reports "<who>: <what> <index> is ..." where not. A null tensor
 * fails in silence: its error has been reported. */
bool cg_check_like(const char *who, const char *what, int index, cg_tensor given, cg_tensor model);

#endif
