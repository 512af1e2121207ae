/* Packs a part of a matrix that is spread over memory: its rows and its columns are made of parts, as the windows of a
 * convolution are, and outside some range of coordinates it is 0. The address of an element is the sum of what its row
 * and its column add to it, and so are its coordinates.
 *
 * Included once for each such operand, after what defines PARAMETERS, REAL, REAL_IS_DOUBLE, LANES and
 *   GATHER                      the function's name
 *   GATHER_MOST                 columns at a time
 *   GATHER_ROW_PARTS, GATHER_COLUMN_PARTS, GATHER_COORDINATES
 *   GATHER_NUMBERS              of each part of the rows, innermost first, its extent, what the address and what the
 *                               coordinates grow by; the same of the columns; of each coordinate the first and the
 *                               extent of the range
 *   GATHER_CHANGING             the coordinate that the columns' innermost part changes, or -1
 *   GATHER_STRIDE               what this part adds to the address and to that coordinate if it is 1 or 2, else 0
 *   GATHER_START, GATHER_ELEMENTS   where the storage begins, and its size
 *   GATHER_SLIDES               how many of the rows' innermost parts slide (engine/operand.h). With any, GATHER
 *                               gathers planes; SLIDES has of each of these parts its extent, along what it slides,
 *                               by how much and in how many phases; UNIT and PHASES are the products of these
 * Their definitions end with this text. */
#define GATHER_VECTOR CG_JOIN(REAL, LANES)
#define GATHER_LOAD CG_JOIN(vload, LANES)
/* Under PoCL, vstore of what was chosen lane by lane becomes several stores. */
#define GATHER_UNALIGNED CG_JOIN(GATHER, _unaligned)
#define GATHER_SEGMENT CG_JOIN(GATHER, _segment)
/* Coordinates in lanes as wide as the elements, below 0 beyond any range. */
#if REAL_IS_DOUBLE
#define GATHER_PLACE ulong
#else
#define GATHER_PLACE uint
#endif
#define GATHER_PLACES CG_JOIN(GATHER_PLACE, LANES)
#define GATHER_LINE (64 / (int)sizeof(REAL)) /* elements of a cache's line */
#define GATHER_NUMBERS_OF_PART (2 + GATHER_COORDINATES)
#define GATHER_EACH(i, count) _Pragma("unroll") for (int i = 0; i < (count); i++)

typedef GATHER_VECTOR GATHER_UNALIGNED __attribute__((aligned(sizeof(REAL))));

/* One segment of a row: `length` elements from address `from` on; `place` is the changing coordinate of the first. */
static void GATHER_SEGMENT(PARAMETERS, const int *numbers, bool inside, long from, int place, int length,
                           __global REAL *restrict out)
{
    const int *inner = numbers + GATHER_ROW_PARTS * GATHER_NUMBERS_OF_PART;
    const int stride = GATHER_STRIDE ? GATHER_STRIDE : inner[1];
#if GATHER_CHANGING >= 0
    const int step = GATHER_STRIDE ? GATHER_STRIDE : inner[2 + GATHER_CHANGING];
    const int end = (inner + GATHER_COLUMN_PARTS * GATHER_NUMBERS_OF_PART)[2 * GATHER_CHANGING + 1];
#endif
    for (int i = 0; i < length; i += LANES) {
        const long begin = from + (long)i * stride;
        if (!inside) {
            *(__global GATHER_UNALIGNED *)(out + i) = 0;
        } else if (GATHER_STRIDE && begin >= 0 && begin <= GATHER_ELEMENTS - LANES * stride) {
            __global const REAL *source = GATHER_START + begin;
#if GATHER_STRIDE == 2
            GATHER_VECTOR value;
            value.lo = GATHER_LOAD(0, source).even;
            value.hi = GATHER_LOAD(1, source).even;
#else
            GATHER_VECTOR value = GATHER_LOAD(0, source);
#endif
#if GATHER_CHANGING >= 0
            const GATHER_PLACES places = CG_LANE_NUMBERS(GATHER_PLACE, LANES) * (GATHER_PLACE)step + (GATHER_PLACE)(place + i * step);
            value = select((GATHER_VECTOR)0, value, places < (GATHER_PLACE)end);
#endif
            *(__global GATHER_UNALIGNED *)(out + i) = value;
        } else {
            /* What slides may reach an element further than it has to. */
            for (int j = i; j < min(i + LANES, length); j++) {
                const long at = from + (long)j * stride;
                bool there = at >= 0 && at < GATHER_ELEMENTS;
#if GATHER_CHANGING >= 0
                there &= (uint)(place + j * step) < (uint)end;
#endif
                out[j] = there ? GATHER_START[at] : 0;
            }
        }
    }
}

#if GATHER_SLIDES
/* Where row `i` begins in the planes, for each of so many units of rows. */
static void CG_JOIN(GATHER, _places)(PARAMETERS, int units, int plane, int pitch, int *restrict place_of_row)
{
    const int slides[] = {SLIDES};
    for (int i = 0; i < units * UNIT; i++) {
        int rest = i % UNIT, phase = 0, phases = 1, place = 0;
        GATHER_EACH(p, GATHER_SLIDES)
        {
            const int at = rest % slides[4 * p], count = slides[4 * p + 3];
            rest /= slides[4 * p];
            place += at / count * slides[4 * p + 2] * (slides[4 * p + 1] ? pitch : 1);
            phase += at % count * phases;
            phases *= count;
        }
        place_of_row[i] = (i / UNIT * PHASES + phase) * plane + place;
    }
}

/* The planes of so many units of rows, of what belongs to `lines` lines of `places` from place `place` of line `line`
 * of an image on. Lines begin `pitch` elements after one another, planes `plane`. Up to LANES - 1 elements behind a
 * line are written to, before the next line is. */
__attribute__((noinline)) static void GATHER(PARAMETERS, long origin, int first_unit, int units, int image, int line,
                                             int lines, int place, int places, int pitch, int plane,
                                             __global REAL *restrict to)
{
    const int numbers[] = {GATHER_NUMBERS}, slides[] = {SLIDES};
    const int *column_part = numbers + GATHER_ROW_PARTS * GATHER_NUMBERS_OF_PART;
    const int *range = column_part + GATHER_COLUMN_PARTS * GATHER_NUMBERS_OF_PART;

    int corner = place * column_part[1], corner_coordinate[GATHER_COORDINATES + 1];
    GATHER_EACH(c, GATHER_COORDINATES) corner_coordinate[c] = range[2 * c] + place * column_part[2 + c];
    for (int p = 1; p < GATHER_COLUMN_PARTS; p++) {
        const int *part = column_part + p * GATHER_NUMBERS_OF_PART;
        const int at = p == 1 ? line : p < GATHER_COLUMN_PARTS - 1 ? image % part[0] : image;
        if (p > 1) image /= part[0];
        corner += at * part[1];
        GATHER_EACH(c, GATHER_COORDINATES) corner_coordinate[c] += at * part[2 + c];
    }

    /* Memory is asked for the same line of the next unit: lines are too short for it to foresee that. */
    const int next_unit = GATHER_SLIDES < GATHER_ROW_PARTS ? numbers[GATHER_SLIDES * GATHER_NUMBERS_OF_PART + 1] : 0;
    const int reach = places * column_part[1];
    for (int i = first_unit * PHASES; i < (first_unit + units) * PHASES; i++, to += plane) {
        int phase = i % PHASES, rest = i / PHASES, address = corner, coordinate[GATHER_COORDINATES + 1];
        GATHER_EACH(c, GATHER_COORDINATES) coordinate[c] = corner_coordinate[c];
        GATHER_EACH(p, GATHER_ROW_PARTS)
        {
            const int *part = numbers + p * GATHER_NUMBERS_OF_PART;
            int at;
            if (p < GATHER_SLIDES) {
                at = phase % slides[p < GATHER_SLIDES ? 4 * p + 3 : 0];
                phase /= slides[p < GATHER_SLIDES ? 4 * p + 3 : 0];
            } else {
                at = p < GATHER_ROW_PARTS - 1 ? rest % part[0] : rest;
                rest /= part[0];
            }
            address += at * part[1];
            GATHER_EACH(c, GATHER_COORDINATES) coordinate[c] += at * part[2 + c];
        }
        for (int j = 0; j < lines; j++) {
            bool inside = true;
            GATHER_EACH(c, GATHER_COORDINATES)
            if (c != GATHER_CHANGING) inside &= (uint)coordinate[c] < (uint)range[2 * c + 1];
#if GATHER_CHANGING >= 0
            const int changing = coordinate[GATHER_CHANGING];
#else
            const int changing = 0;
#endif
            for (int x = 0; x < reach; x += GATHER_LINE) CG_FETCH(GATHER_START + (origin + address + next_unit + x));
            GATHER_SEGMENT(ARGUMENTS, numbers, inside, origin + address, changing, places, to + j * pitch);
#if GATHER_COLUMN_PARTS > 1
            address += column_part[GATHER_NUMBERS_OF_PART + 1];
            GATHER_EACH(c, GATHER_COORDINATES) coordinate[c] += column_part[GATHER_NUMBERS_OF_PART + 2 + c];
#endif
        }
    }
}
#else
/* Elements (first_row + i, first_column + j) at to[i * to_stride + j]; up to LANES - 1 elements behind a row are written
 * to, before the next row is. `origin` is the address of element (0, 0). */
__attribute__((noinline)) static void GATHER(PARAMETERS, long origin, int first_row, int rows, int first_column,
                                             int columns, __global REAL *restrict to, int to_stride)
{
    const int numbers[] = {GATHER_NUMBERS};
    const int *row_part = numbers, *column_part = row_part + GATHER_ROW_PARTS * GATHER_NUMBERS_OF_PART;
    const int *range = column_part + GATHER_COLUMN_PARTS * GATHER_NUMBERS_OF_PART;

    /* Columns are taken in segments, over which only their innermost part goes on. */
    int length[GATHER_MOST], address[GATHER_MOST], coordinate[GATHER_COORDINATES + 1][GATHER_MOST], segments = 0;
    for (int column = 0; column < columns; column += length[segments++]) {
        int rest = first_column + column;
        address[segments] = 0;
        GATHER_EACH(c, GATHER_COORDINATES) coordinate[c][segments] = range[2 * c];
        GATHER_EACH(p, GATHER_COLUMN_PARTS)
        {
            const int *part = column_part + p * GATHER_NUMBERS_OF_PART;
            const int at = p < GATHER_COLUMN_PARTS - 1 ? rest % part[0] : rest;
            if (p == 0) length[segments] = min(part[0] - at, columns - column);
            rest /= part[0];
            address[segments] += at * part[1];
            GATHER_EACH(c, GATHER_COORDINATES) coordinate[c][segments] += at * part[2 + c];
        }
    }

    int at[GATHER_ROW_PARTS], row_address = 0, row_coordinate[GATHER_COORDINATES + 1] = {0}, rest = first_row;
    GATHER_EACH(p, GATHER_ROW_PARTS)
    {
        const int *part = row_part + p * GATHER_NUMBERS_OF_PART;
        at[p] = p < GATHER_ROW_PARTS - 1 ? rest % part[0] : rest;
        rest /= part[0];
        row_address += at[p] * part[1];
        GATHER_EACH(c, GATHER_COORDINATES) row_coordinate[c] += at[p] * part[2 + c];
    }

    const int *inner = row_part;
    for (int row = 0; row < rows;) {
        const int together = GATHER_ROW_PARTS > 1 ? min(inner[0] - at[0], rows - row) : rows;
        for (int i = 0; i < together; i++, to += to_stride) {
            __global REAL *out = to;
            for (int s = 0; s < segments; out += length[s++]) {
                bool inside = true;
                GATHER_EACH(c, GATHER_COORDINATES)
                if (c != GATHER_CHANGING)
                    inside &= (uint)(row_coordinate[c] + coordinate[c][s]) < (uint)range[2 * c + 1];
#if GATHER_CHANGING >= 0
                const int place = row_coordinate[GATHER_CHANGING] + coordinate[GATHER_CHANGING][s];
#else
                const int place = 0;
#endif
                GATHER_SEGMENT(ARGUMENTS, numbers, inside, origin + row_address + address[s], place, length[s], out);
            }
            row_address += inner[1];
            GATHER_EACH(c, GATHER_COORDINATES) row_coordinate[c] += inner[2 + c];
        }
        row += together;
        at[0] += together;
        /* To the next row of the outer parts. */
        GATHER_EACH(p, GATHER_ROW_PARTS - 1)
        {
            const int *part = row_part + p * GATHER_NUMBERS_OF_PART, *next = part + GATHER_NUMBERS_OF_PART;
            if (at[p] < part[0]) break;
            at[p] = 0;
            at[p + 1]++;
            row_address += next[1] - part[0] * part[1];
            GATHER_EACH(c, GATHER_COORDINATES) row_coordinate[c] += next[2 + c] - part[0] * part[2 + c];
        }
    }
}
#endif

#undef GATHER
#undef GATHER_SLIDES
#undef GATHER_MOST
#undef GATHER_ROW_PARTS
#undef GATHER_COLUMN_PARTS
#undef GATHER_COORDINATES
#undef GATHER_NUMBERS
#undef GATHER_CHANGING
#undef GATHER_STRIDE
#undef GATHER_START
#undef GATHER_ELEMENTS
#undef GATHER_VECTOR
#undef GATHER_LOAD
#undef GATHER_UNALIGNED
#undef GATHER_SEGMENT
#undef GATHER_PLACE
#undef GATHER_PLACES
#undef GATHER_NUMBERS_OF_PART
#undef GATHER_LINE
#undef GATHER_EACH
