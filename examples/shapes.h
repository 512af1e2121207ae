/* A data set of photographs with shapes drawn over them: x is a square cut out of a photograph [3, SIDE, SIDE] that one
 * to three shapes cover in part, y is 1 where they do [1, SIDE, SIDE]. Each picture is a function of its number and the
 * seed. */
#ifndef SHAPES_H
#define SHAPES_H

#include "picture.h"

#include <clgrad/clgrad.h>
#include <math.h>
#include <string.h>

enum { SIDE = 64 };

static const double PI = 3.14159265358979323846;

typedef struct part {
    const picture *photographs;
    double left, right; /* as shares of the width */
    uint64_t seed;
} part;

/* The next number of a sequence, evenly from [low, high): Steele, Lea, Flood, "Fast splittable pseudorandom number
 * generators", 2014. */
static inline double draw(uint64_t *state, double low, double high)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return low + (high - low) * (double)((z ^ z >> 31) >> 11) / 9007199254740992.0;
}

/* A triangle, a square, or a circle of many sides, turned and stretched, striped in two colours. */
static inline void draw_shape(uint64_t *state, float *image, float *mask)
{
    const double row = draw(state, 0, SIDE), column = draw(state, 0, SIDE), radius = draw(state, 8, 20);
    const double turn = draw(state, 0, 2 * PI), stretch = draw(state, 0.6, 1), stripes = draw(state, 0.1, 1.5);
    const double wedge = 2 * PI / (const int[]){3, 4, 64}[(int)draw(state, 0, 3)];
    double colours[2][3];
    for (int i = 0; i < 6; i++) colours[i / 3][i % 3] = draw(state, 0, 1);
    for (int i = 0; i < SIDE * SIDE; i++) {
        const int line = i / SIDE, place = i % SIDE;
        const double y = line - row, x = place - column;
        const double u = x * cos(turn) + y * sin(turn), v = (y * cos(turn) - x * sin(turn)) / stretch;
        const double from_corner = fmod(atan2(v, u) + 2 * PI, wedge);
        if (hypot(u, v) * cos(from_corner - wedge / 2) > radius * cos(wedge / 2)) continue;
        const double share = 0.5 + 0.5 * sin(stripes * u);
        for (int c = 0; c < 3; c++)
            image[c * SIDE * SIDE + i] = (float)(share * colours[0][c] + (1 - share) * colours[1][c]);
        mask[i] = 1;
    }
}

static inline bool fetch_shapes(const cg_dataset *dataset, int64_t index, void *x, void *y)
{
    const part *p = dataset->user;
    uint64_t state = p->seed * 1000003 + (uint64_t)index;
    const picture photograph = p->photographs[index % 2];
    const int top = (int)draw(&state, 0, photograph.height - SIDE);
    const int left = (int)draw(&state, p->left * photograph.width, p->right * photograph.width - SIDE);
    picture_paste((picture){3, SIDE, SIDE, x}, photograph, -top, -left);
    memset(y, 0, SIDE * SIDE * sizeof(float));
    for (int count = (int)draw(&state, 1, 4); count > 0; count--) draw_shape(&state, x, y);
    return true;
}

static inline cg_dataset shapes_dataset(cg_context *cg, part *p, int64_t length)
{
    return (cg_dataset){.context = cg,
                        .length = length,
                        .x_shape = CG_SHAPE(3, SIDE, SIDE),
                        .y_shape = CG_SHAPE(1, SIDE, SIDE),
                        .has_y = true,
                        .user = p,
                        .fetch = fetch_shapes};
}

#endif
