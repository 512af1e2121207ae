/* Learning curves: a growing table of numbers, printed as text or drawn as SVG. Coordinates in the SVG are whole tenths
 * of a pixel, so that no locale can put a comma into them. */
#include <clgrad/formats.h>
#include <clgrad/op.h>
#include <clgrad/progress.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { NAME_LENGTH = 48, COLUMN = 10 };

typedef struct curve {
    char name[NAME_LENGTH], panel[NAME_LENGTH];
} curve;

struct cg_curves {
    cg_context *context;
    char x_name[NAME_LENGTH];
    curve series[CG_MAX_SERIES];
    int series_count;
    double *values; /* rows of x and one value per series */
    int rows, capacity;
};

cg_curves *cg_curves_new(cg_context *cg, const char *x_name, const cg_series *series, int series_count)
{
    if (!cg) return NULL;
    if (series_count < 1 || series_count > CG_MAX_SERIES) {
        cg_report(cg, CG_ERROR_ARGUMENT, "curves", "%d series, not 1 to %d", series_count, CG_MAX_SERIES);
        return NULL;
    }
    cg_curves *curves = cg_host_allocate(cg, sizeof *curves);
    if (!curves) return NULL;
    curves->context = cg;
    curves->series_count = series_count;
    snprintf(curves->x_name, NAME_LENGTH, "%s", x_name ? x_name : "x");
    for (int i = 0; i < series_count; i++) {
        snprintf(curves->series[i].name, NAME_LENGTH, "%s", series[i].name);
        snprintf(curves->series[i].panel, NAME_LENGTH, "%s", series[i].panel ? series[i].panel : "");
    }
    return curves;
}

void cg_curves_free(cg_curves *curves)
{
    if (!curves) return;
    cg_host_free(curves->context, curves->values);
    cg_host_free(curves->context, curves);
}

static double *row_of(const cg_curves *curves, int row)
{
    return curves->values + (size_t)row * ((size_t)curves->series_count + 1);
}

static bool reserve_row(cg_curves *curves)
{
    if (curves->rows < curves->capacity) return true;
    size_t width = (size_t)curves->series_count + 1;
    int capacity = curves->capacity ? 2 * curves->capacity : 64;
    double *values = cg_host_allocate(curves->context, (size_t)capacity * width * sizeof *values);
    if (!values) return false;
    if (curves->rows) memcpy(values, curves->values, (size_t)curves->rows * width * sizeof *values);
    cg_host_free(curves->context, curves->values);
    curves->values = values;
    curves->capacity = capacity;
    return true;
}

bool cg_curves_add(cg_curves *curves, double x, const double *values)
{
    if (!curves || !reserve_row(curves)) return false;
    double *row = row_of(curves, curves->rows++);
    row[0] = x;
    memcpy(row + 1, values, (size_t)curves->series_count * sizeof *values);
    return true;
}

static int column_width(const char *name)
{
    int width = (int)strlen(name);
    return width < COLUMN ? COLUMN : width;
}

void cg_curves_table(const cg_curves *curves, FILE *file)
{
    if (!curves || !file) return;
    fprintf(file, "%*s", column_width(curves->x_name), curves->x_name);
    for (int i = 0; i < curves->series_count; i++)
        fprintf(file, "  %*s", column_width(curves->series[i].name), curves->series[i].name);
    fputc('\n', file);
    for (int r = 0; r < curves->rows; r++) {
        const double *row = row_of(curves, r);
        fprintf(file, "%*g", column_width(curves->x_name), row[0]);
        for (int i = 0; i < curves->series_count; i++)
            fprintf(file, "  %*.5g", column_width(curves->series[i].name), row[i + 1]);
        fputc('\n', file);
    }
}

/* The drawing. Lengths are in tenths of a pixel. */
enum {
    PANEL = 4600,
    PLOT = 3600,
    HEIGHT = 2600,
    LEFT = 700,
    TOP = 300,
    BOTTOM = 600,
    LEGEND_LINE = 180,
    LEGEND = 1500,
    NEAR = 100
};

/* Okabe and Ito's colours, which colour-blind readers can tell apart. */
static const char *const colours[] = {"#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"};
enum { COLOURS = sizeof colours / sizeof colours[0] };

/* A range of numbers on an axis, widened to whole ticks. */
typedef struct scale {
    double low, high, step;
} scale;

/* 1, 2 or 5 times a power of ten: the distance of about five ticks over a range. */
static double tick_step(double range)
{
    double step = pow(10, floor(log10(range / 5)));
    double wanted = range / 5 / step;
    return step * (wanted > 5 ? 10 : wanted > 2 ? 5 : wanted > 1 ? 2 : 1);
}

static scale scale_of(double low, double high)
{
    if (!(low <= high)) return (scale){0, 1, 0.2};
    if (high - low < 1e-12 * (fabs(low) + fabs(high)) || high == low) {
        double margin = high != 0 ? fabs(high) / 2 : 0.5;
        low -= margin;
        high += margin;
    }
    double step = tick_step(high - low);
    return (scale){floor(low / step + 1e-9) * step, ceil(high / step - 1e-9) * step, step};
}

/* A series is drawn in the panel of the first series with the same panel text. */
static bool in_panel(const cg_curves *curves, int series, int first)
{
    return !strcmp(curves->series[series].panel, curves->series[first].panel);
}

static bool begins_panel(const cg_curves *curves, int series)
{
    for (int i = 0; i < series; i++)
        if (in_panel(curves, series, i)) return false;
    return true;
}

static scale x_scale(const cg_curves *curves)
{
    double low = INFINITY, high = -INFINITY;
    for (int r = 0; r < curves->rows; r++) {
        low = fmin(low, row_of(curves, r)[0]);
        high = fmax(high, row_of(curves, r)[0]);
    }
    return scale_of(low, high);
}

static scale y_scale(const cg_curves *curves, int first)
{
    double low = INFINITY, high = -INFINITY;
    for (int r = 0; r < curves->rows; r++)
        for (int i = first; i < curves->series_count; i++) {
            double value = row_of(curves, r)[i + 1];
            if (!in_panel(curves, i, first) || !isfinite(value)) continue;
            low = fmin(low, value);
            high = fmax(high, value);
        }
    return scale_of(low, high);
}

static int place_x(scale scale, int left, double x)
{
    return left + (int)lround(PLOT * (x - scale.low) / (scale.high - scale.low));
}

static int place_y(scale scale, double y)
{
    return TOP + HEIGHT - (int)lround(HEIGHT * (y - scale.low) / (scale.high - scale.low));
}

static void write_escaped(cg_output_file *file, const char *text)
{
    for (; *text; text++) {
        if (*text == '<')
            cg_output_file_print(file, "&lt;");
        else if (*text == '&')
            cg_output_file_print(file, "&amp;");
        else
            cg_output_file_write(file, text, 1);
    }
}

static void write_text(cg_output_file *file, int x, int y, const char *anchor, const char *text)
{
    cg_output_file_print(file, "<text x=\"%d\" y=\"%d\" text-anchor=\"%s\">", x, y, anchor);
    write_escaped(file, text);
    cg_output_file_print(file, "</text>\n");
}

static void write_line(cg_output_file *file, int x1, int y1, int x2, int y2, const char *colour, int width)
{
    cg_output_file_print(file, "<line x1=\"%d\" y1=\"%d\" x2=\"%d\" y2=\"%d\" stroke=\"%s\" stroke-width=\"%d\"/>\n",
                         x1, y1, x2, y2, colour, width);
}

static void write_axes(cg_output_file *file, const cg_curves *curves, int first, int left, scale x, scale y)
{
    char label[32];
    for (int i = 0; x.low + i * x.step <= x.high + x.step / 2; i++) {
        int place = place_x(x, left, x.low + i * x.step);
        write_line(file, place, TOP + HEIGHT, place, TOP + HEIGHT + 50, "#444", 8);
        snprintf(label, sizeof label, "%.6g", x.low + i * x.step);
        write_text(file, place, TOP + HEIGHT + 190, "middle", label);
    }
    for (int i = 0; y.low + i * y.step <= y.high + y.step / 2; i++) {
        int place = place_y(y, y.low + i * y.step);
        write_line(file, left, place, left + PLOT, place, "#ddd", 8);
        snprintf(label, sizeof label, "%.6g", fabs(y.low + i * y.step) < y.step / 1e6 ? 0 : y.low + i * y.step);
        write_text(file, left - 60, place + 40, "end", label);
    }
    write_line(file, left, TOP, left, TOP + HEIGHT, "#444", 8);
    write_line(file, left, TOP + HEIGHT, left + PLOT, TOP + HEIGHT, "#444", 8);
    write_text(file, left + PLOT / 2, TOP + HEIGHT + 400, "middle", curves->x_name);
    write_text(file, left, TOP - 100, "start", curves->series[first].panel);
}

/* Whether a series has a value in a row, and where it is drawn. */
static bool place(const cg_curves *curves, int series, int row, int left, scale x, scale y, int *across, int *down)
{
    if (row < 0 || row >= curves->rows) return false;
    const double *values = row_of(curves, row);
    if (!isfinite(values[series + 1]) || !isfinite(values[0])) return false;
    *across = place_x(x, left, values[0]), *down = place_y(y, values[series + 1]);
    return true;
}

/* Whether a value stands so close to one beside it that a dot would only thicken the line. */
static bool crowded(const cg_curves *curves, int series, int row, int left, scale x, scale y)
{
    int across, down, there, unused;
    if (!place(curves, series, row, left, x, y, &across, &down)) return true;
    for (int beside = row - 1; beside <= row + 1; beside += 2)
        if (place(curves, series, beside, left, x, y, &there, &unused) && abs(there - across) < NEAR) return true;
    return false;
}

/* One series as lines between neighbours that both have a value, with a dot at each value that stands by itself. */
static void write_series(cg_output_file *file, const cg_curves *curves, int series, int left, scale x, scale y,
                         const char *colour)
{
    int across, down;
    bool drawing = false;
    cg_output_file_print(file, "<path fill=\"none\" stroke=\"%s\" stroke-width=\"20\" d=\"", colour);
    for (int r = 0; r < curves->rows; r++) {
        const bool there = place(curves, series, r, left, x, y, &across, &down);
        if (there) cg_output_file_print(file, "%c%d %d", drawing ? 'L' : 'M', across, down);
        drawing = there;
    }
    cg_output_file_print(file, "\"/>\n");
    for (int r = 0; r < curves->rows; r++) {
        if (crowded(curves, series, r, left, x, y)) continue;
        place(curves, series, r, left, x, y, &across, &down);
        cg_output_file_print(file, "<circle cx=\"%d\" cy=\"%d\" r=\"26\" fill=\"%s\"/>\n", across, down, colour);
    }
}

/* Where the legend's first line goes, at the right: at the top, or at the bottom if it hides fewer values there. */
static int legend_top(const cg_curves *curves, int first, int left, scale x, scale y)
{
    int members = 0, hidden[2] = {0}, across, down;
    for (int i = first; i < curves->series_count; i++) members += in_panel(curves, i, first);
    const int top[] = {TOP + 120, TOP + HEIGHT - 120 - LEGEND_LINE * (members - 1)};
    for (int i = first; i < curves->series_count; i++) {
        for (int r = 0; r < curves->rows && in_panel(curves, i, first); r++) {
            if (!place(curves, i, r, left, x, y, &across, &down) || across < left + PLOT - LEGEND) continue;
            for (int j = 0; j < 2; j++)
                hidden[j] += down > top[j] - LEGEND_LINE && down < top[j] + LEGEND_LINE * members;
        }
    }
    return top[hidden[1] < hidden[0]];
}

static void write_panel(cg_output_file *file, const cg_curves *curves, int first, int left)
{
    scale x = x_scale(curves), y = y_scale(curves, first);
    write_axes(file, curves, first, left, x, y);
    int drawn = 0, legend = legend_top(curves, first, left, x, y);
    for (int i = first; i < curves->series_count; i++) {
        if (!in_panel(curves, i, first)) continue;
        const char *colour = colours[drawn++ % COLOURS];
        write_series(file, curves, i, left, x, y, colour);
        write_line(file, left + PLOT - 330, legend, left + PLOT - 60, legend, colour, 20);
        write_text(file, left + PLOT - 380, legend + 40, "end", curves->series[i].name);
        legend += LEGEND_LINE;
    }
}

bool cg_curves_svg(const cg_curves *curves, const char *path)
{
    if (!curves) return false;
    int panels = 0;
    for (int i = 0; i < curves->series_count; i++) panels += begins_panel(curves, i);
    cg_output_file *file = cg_output_file_new(curves->context, path);
    if (!file) return false;
    int width = panels * PANEL, height = TOP + HEIGHT + BOTTOM;
    cg_output_file_print(file,
                         "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" viewBox=\"0 0 %d %d\" "
                         "font-family=\"sans-serif\" font-size=\"120\" fill=\"#222\">\n"
                         "<rect width=\"%d\" height=\"%d\" fill=\"#fff\"/>\n",
                         width / 10, height / 10, width, height, width, height);
    int left = LEFT;
    for (int i = 0; i < curves->series_count; i++) {
        if (!begins_panel(curves, i)) continue;
        write_panel(file, curves, i, left);
        left += PANEL;
    }
    cg_output_file_print(file, "</svg>\n");
    return cg_output_file_commit(file);
}
