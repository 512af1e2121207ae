/* Windows that slide along the last axes of a tensor, and what sums them up again: what convolutions are made of. */
#ifndef CLGRAD_OPS_WINDOWS_H
#define CLGRAD_OPS_WINDOWS_H

#include "ops/family.h"
#include <clgrad/convolution.h>

/* How windows lie along one axis: element k of window p is element p * stride + k * dilation - before of `size`;
 * `extent` elements per window, `count` windows. A stride below 0 walks backwards. */
typedef struct cg_window {
    int64_t size, extent, count, stride, dilation, before;
} cg_window;
enum { CG_WINDOW_NUMBERS = 6 };

/* Elements from the first to the last that a window covers. */
static inline int64_t cg_window_reach(const cg_window *w)
{
    return (w->extent - 1) * w->dilation + 1;
}
/* Count and padding of CG_PADDING_SAME. */
void cg_window_pad_same(cg_window *w, int64_t *after);

/* Windows as attributes, all numbers of the first axis, then all of the next. `cg_write_windows` returns their number.
 */
int cg_write_windows(const cg_window *windows, int rank, int64_t *attributes);
int cg_window_rank(const cg_call *call);
cg_window cg_window_of(const cg_call *call, int axis);
/* Sets a kernel's parameters: always three axes, those that there are not of extent 1: p0-p5 are the numbers of the
 * first, and so on. */
void cg_window_parameters(const cg_call *call, cg_launch *launch);

/* x [lead..., size...] as [lead..., extent..., count...]: a view; 0 outside x. `rank` axes have windows. */
cg_tensor cg_windows(cg_tensor x, const cg_window *windows, int rank);
/* The same with one element per window: [lead..., count...]. What a slice would be; but of a slice the start is an
 * argument, and an op that makes one when it is expanded has no shortcut to its plan. */
cg_tensor cg_pick(cg_tensor x, const cg_window *windows, int rank);
/* Its transpose: [lead..., extent..., count...] to [lead..., size...], each element the sum of what was taken from it.
 */
cg_tensor cg_fold_windows(cg_tensor windows_of_x, const cg_window *windows, int rank);

/* Of each channel by itself (depthwise.c), windows of positive strides: x [batch, channels, size...] with kernel
 * [channels, extent...], to [batch, channels, count...]; and the gradient in that kernel, each example's share:
 * [batch, channels, extent...]. */
cg_tensor cg_convolve_channels(cg_tensor x, cg_tensor kernel, const cg_window *windows, int rank);
cg_tensor cg_correlate_channels(cg_tensor x, cg_tensor cotangent, const cg_window *windows, int rank);

#endif
