/* The transforms of Winograd's algorithm along one axis (Lavin, Gray: Fast algorithms for convolutional neural
 * networks; arXiv 1509.09308), for vectors of channels or outputs. What is convolved are polynomials; they are
 * multiplied at POINTS points: 0, 1, -1 and infinity; or 0, infinity, and the roots of 1/2 and 2 of either sign, which
 * round to a quarter of the error of 1 and 2 (docs/decisions/0019-winograd-within-a-product.md).
 *
 * The text in front of this file is prelude.cl and what defines KERNEL_NAME, LANES, EXTENT, EDGE and, for those that
 * are wanted, TAPS: how many elements of a kernel, or cotangents, are transformed; RESULTS: how many are transformed
 * back. TAPS and RESULTS together are POINTS + 1. */
#define OWN(name) CG_JOIN(KERNEL_NAME, name)
#define transform_taps OWN(_transform_taps)
#define transform_back OWN(_transform_back)
#define transform_tile_back OWN(_transform_tile_back)

#define VECTOR CG_JOIN(float, LANES)
#define LOAD CG_JOIN(vload, LANES)
#define STORE CG_JOIN(vstore, LANES)
#define POINTS (EDGE + EXTENT - 1)
#define PLANES (POINTS * POINTS)
#define EACH(i, count) _Pragma("unroll") for (int i = 0; i < (count); i++)
#define ROOT_2 1.41421356f

#ifdef TAPS
static void transform_taps(const VECTOR *x, VECTOR *y)
{
#if POINTS == 4
    const VECTOR even = 0.5f * (x[0] + x[2]), odd = 0.5f * x[1];
    y[0] = x[0];
    y[1] = even + odd;
    y[2] = even - odd;
#else
    VECTOR even1 = (-2.0f / 3) * x[0], odd1 = (-ROOT_2 / 3) * x[1];
    VECTOR even2 = (1.0f / 6) * x[0], odd2 = (ROOT_2 / 6) * x[1];
#if TAPS > 2
    even1 -= (1.0f / 3) * x[2], even2 += (1.0f / 3) * x[2];
#endif
#if TAPS > 3
    odd1 -= (ROOT_2 / 6) * x[3], odd2 += (ROOT_2 / 3) * x[3];
#endif
#if TAPS > 4
    even1 -= (1.0f / 6) * x[4], even2 += (2.0f / 3) * x[4];
#endif
    y[0] = x[0];
    y[1] = even1 + odd1;
    y[2] = even1 - odd1;
    y[3] = even2 + odd2;
    y[4] = even2 - odd2;
#endif
    y[POINTS - 1] = x[TAPS - 1];
}
#endif

#ifdef RESULTS
static void transform_back(const VECTOR *x, VECTOR *y)
{
#if POINTS == 4
    y[0] = x[0] + (x[1] + x[2]);
    y[1] = x[1] - x[2];
#else
    const VECTOR a = x[1] + x[2], b = x[1] - x[2], c = x[3] + x[4], d = x[3] - x[4];
    y[0] = x[0] + a + c;
    y[1] = (0.5f * ROOT_2) * b + ROOT_2 * d;
#if RESULTS > 2
    y[2] = 0.5f * a + 2 * c;
#endif
#if RESULTS > 3
    y[3] = (0.25f * ROOT_2) * b + (2 * ROOT_2) * d;
#endif
#if RESULTS > 4
    y[4] = 0.25f * a + 4 * c;
#endif
#endif
    y[RESULTS - 1] += x[POINTS - 1];
}

/* All points of a tile, which lie `plane` elements apart. */
static void transform_tile_back(__global const float *points, long plane, VECTOR tile[RESULTS][RESULTS])
{
    VECTOR down[RESULTS][POINTS];
    EACH(x, POINTS)
    {
        VECTOR of_column[POINTS], column[RESULTS];
        EACH(y, POINTS) of_column[y] = LOAD(0, points + (y * POINTS + x) * plane);
        transform_back(of_column, column);
        EACH(y, RESULTS) down[y][x] = column[y];
    }
    EACH(y, RESULTS) transform_back(down[y], tile[y]);
}
#endif
