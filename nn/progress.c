/* The progress display. It decides when to draw, and only then reads the averages, since every read waits for the
 * device. */
#include <clgrad/op.h>
#include <clgrad/progress.h>

#include <math.h>
#include <stdarg.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { BAR_WIDTH = 24, LINE_WIDTH = 240 };

struct cg_progress {
    cg_context *context;
    FILE *file;
    bool terminal;
    double interval;
    int epochs, epoch;                /* the epoch that runs, from 1 */
    int64_t items, done;              /* per epoch, and in this one */
    double first_begin, begin, drawn; /* times in seconds; of the first epoch, of this one, of the last drawing */
    double rate, seconds;
    int drawn_width;
    char unit[32];
};

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

cg_progress *cg_progress_new_with(cg_context *cg, int epochs, int64_t items, const cg_progress_options *options)
{
    options = options ? options : CG_OPTIONS(cg_progress_options, );
    if (!cg) return NULL;
    cg_progress *progress = cg_host_allocate(cg, sizeof *progress);
    if (!progress) return NULL;
    progress->context = cg;
    progress->file = options->file ? options->file : stderr;
    progress->terminal = isatty(fileno(progress->file)) == 1;
    progress->interval = cg_number_or(options->interval, progress->terminal ? 0.25 : 10);
    progress->epochs = epochs;
    progress->items = items;
    snprintf(progress->unit, sizeof progress->unit, "%s", options->unit ? options->unit : "images");
    return progress;
}

void cg_progress_free(cg_progress *progress)
{
    if (!progress) return;
    if (progress->drawn_width) fputc('\n', progress->file);
    cg_host_free(progress->context, progress);
}

void cg_progress_begin(cg_progress *progress)
{
    if (!progress) return;
    progress->begin = progress->drawn = now();
    if (!progress->epoch) progress->first_begin = progress->begin;
    progress->epoch++;
    progress->done = 0;
    progress->rate = 0;
}

/* Appends to a line that is cut where it is full. */
static void append(char *line, const char *format, ...) CG_FORMAT(2, 3);
static void append(char *line, const char *format, ...)
{
    size_t used = strlen(line);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line + used, LINE_WIDTH - used, format, arguments);
    va_end(arguments);
}

static void append_bar(char *line, double share)
{
    char bar[BAR_WIDTH + 1];
    int filled = (int)(share * BAR_WIDTH);
    for (int i = 0; i < BAR_WIDTH; i++) bar[i] = i < filled ? '=' : i == filled ? '>' : ' ';
    bar[BAR_WIDTH] = '\0';
    append(line, " [%s]", bar);
}

static void append_duration(char *line, double seconds)
{
    int64_t whole = (int64_t)ceil(seconds);
    if (whole >= 3600)
        append(line, "%lld:%02lld:%02lld", (long long)whole / 3600, (long long)whole / 60 % 60, (long long)whole % 60);
    else
        append(line, "%lld:%02lld", (long long)whole / 60, (long long)whole % 60);
}

/* Writes a line: over the last one on a terminal, below it elsewhere or when it is to stay. */
static void write_line(cg_progress *progress, const char *line, bool stays)
{
    int width = (int)strlen(line), blank = progress->drawn_width - width;
    if (progress->terminal)
        fprintf(progress->file, "\r%s%*s%s", line, blank > 0 ? blank : 0, "", stays ? "\n" : "");
    else
        fprintf(progress->file, "%s\n", line);
    fflush(progress->file);
    progress->drawn_width = progress->terminal && !stays ? width : 0;
}

/* Seconds until all epochs are done, at the speed so far, whatever the time between the steps was spent on. */
static double time_left(const cg_progress *progress)
{
    double done = (double)progress->items * (progress->epoch - 1) + (double)progress->done;
    double all = (double)progress->items * progress->epochs;
    return done > 0 ? (now() - progress->first_begin) / done * (all - done) : 0;
}

static void draw(cg_progress *progress, cg_average *loss, cg_average *accuracy)
{
    char line[LINE_WIDTH] = "";
    double share = progress->items > 0 ? (double)progress->done / (double)progress->items : 1;
    append(line, "epoch %2d/%d", progress->epoch, progress->epochs);
    if (progress->terminal) append_bar(line, share);
    append(line, " %3d %%", (int)(100 * share));
    if (loss) append(line, "  loss %.4f", cg_average_read(loss));
    if (accuracy) append(line, "  accuracy %.2f %%", 100 * cg_average_read(accuracy));
    append(line, "  %.0f %s/s  ", progress->rate, progress->unit);
    append_duration(line, time_left(progress));
    append(line, " left");
    write_line(progress, line, false);
}

static void update_rate(cg_progress *progress)
{
    double elapsed = now() - progress->begin;
    progress->rate = elapsed > 0 ? (double)progress->done / elapsed : 0;
}

void cg_progress_step(cg_progress *progress, int64_t count, cg_average *loss, cg_average *accuracy)
{
    if (!progress) return;
    progress->done += count;
    bool last = progress->done >= progress->items;
    double time = now();
    if (!last && time - progress->drawn < progress->interval) return;
    /* At an epoch's end the device is waited for in any case, so that the rate is that of finished work. */
    if (last) cg_wait(progress->context);
    update_rate(progress);
    if (!last || progress->terminal) draw(progress, loss, accuracy);
    progress->drawn = now();
}

void cg_progress_end(cg_progress *progress, const char *format, ...)
{
    if (!progress) return;
    double seconds = now() - progress->begin;
    progress->seconds += seconds;
    char line[LINE_WIDTH] = "", text[LINE_WIDTH / 2];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    append(line, "epoch %2d/%d  %s  %.0f %s/s  %.1f s", progress->epoch, progress->epochs, text, progress->rate,
           progress->unit, seconds);
    write_line(progress, line, true);
}

double cg_progress_rate(const cg_progress *progress)
{
    return progress ? progress->rate : 0;
}

double cg_progress_seconds(const cg_progress *progress)
{
    return progress ? progress->seconds : 0;
}
