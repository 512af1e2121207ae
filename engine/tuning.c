/* The table of tuned choices and its file. A line is: device, driver, matter, choice, nanoseconds of the choice and of
 * the default, with tabs between. */
#include "engine/tuning.h"
#include "engine/text.h"

#include <clgrad/tuning.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { PATH_BYTES = 4096, LARGEST_FILE = 4 << 20, FIELDS = 6, WORDS_BYTES = 200 };
enum { DEVICE, DRIVER, WHAT, CHOICE, NANOSECONDS, DEFAULT_NANOSECONDS };

static const char HEADER[] = "clgrad tuning 1\n";

/* --- where --- */

static bool choose_path(cg_context *cg)
{
    const char *chosen = getenv("CLGRAD_TUNING"), *caches = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    cg_text path = {.context = cg};
    if (chosen && strcmp(chosen, "off") == 0) return true;
    if (chosen && *chosen)
        cg_text_append(&path, chosen);
    else if (caches && *caches == '/')
        cg_text_add(&path, "%s/clgrad/tuning", caches);
    else if (home && *home == '/')
        cg_text_add(&path, "%s/.cache/clgrad/tuning", home);
    cg->tuning->path = path.data;
    return !path.failed;
}

/* Names come from drivers; what separates fields must not be in them. */
static void replace_separators(char *text)
{
    for (; text && *text; text++)
        if (*text == '\t' || *text == '\n' || *text == '\r') *text = ' ';
}

static bool describe_device(cg_context *cg)
{
    cg_text text = {.context = cg}, driver = {.context = cg};
    cg_text_add(&text, "%s (%s), %d units", cg->info.name, cg->info.platform, cg->info.compute_units);
    cg_text_append(&driver, cg->info.driver);
    replace_separators(text.data);
    replace_separators(driver.data);
    cg_text_append(&text, "\t");
    if (driver.data) cg_text_append(&text, driver.data);
    cg->tuning->device = text.data;
    const bool ok = !text.failed && !driver.failed;
    cg_text_free(&driver);
    return ok;
}

/* --- reading --- */

/* The file's text, or NULL: there is none, or nothing that could be it. */
static char *read_text(cg_context *cg, const char *path)
{
    struct stat info;
    if (stat(path, &info) != 0 || !S_ISREG(info.st_mode) || info.st_size > LARGEST_FILE) return NULL;
    FILE *file = fopen(path, "rb");
    if (!file) return NULL;
    const size_t bytes = (size_t)info.st_size;
    char *text = cg_host_allocate(cg, bytes + 1);
    const bool ok = text && fread(text, 1, bytes, file) == bytes && strlen(text) == bytes;
    fclose(file);
    if (ok) return text;
    cg_host_free(cg, text);
    return NULL;
}

/* Cuts a line, which ends in a line break, into its fields. */
static bool cut_line(char *line, char *fields[FIELDS])
{
    for (int i = 0; i < FIELDS; i++) {
        fields[i] = line;
        line += strcspn(line, "\t\n");
        if (*line != (i + 1 < FIELDS ? '\t' : '\n') || (line == fields[i] && i >= WHAT)) return false;
        *line++ = '\0';
    }
    return true;
}

static bool read_seconds(const char *text, double *seconds)
{
    char *end;
    const long long nanoseconds = strtoll(text, &end, 10); /* a whole number: locales write fractions in their ways */
    *seconds = 1e-9 * (double)nanoseconds;
    return end != text && !*end && nanoseconds >= 0;
}

static bool is_ours(const cg_context *cg, char *const fields[FIELDS])
{
    const char *device = cg->tuning->device;
    const size_t length = strlen(fields[DEVICE]);
    return strncmp(device, fields[DEVICE], length) == 0 && device[length] == '\t' &&
           strcmp(device + length + 1, fields[DRIVER]) == 0;
}

static cg_tuning_entry *entry_for(cg_context *cg, const char *what, const char *choice)
{
    cg_tuning *t = cg->tuning;
    cg_tuning_entry *entry = cg_tuning_find(cg, what);
    char *words = cg_copy_text(cg, choice);
    if (words && !entry && CG_GROW(cg, t->entries, t->capacity, t->count + 1)) {
        t->entries[t->count] = (cg_tuning_entry){.what = cg_copy_text(cg, what)};
        if (t->entries[t->count].what) entry = &t->entries[t->count++];
    }
    if (!words || !entry) {
        cg_host_free(cg, words);
        return NULL;
    }
    cg_host_free(cg, entry->choice);
    entry->choice = words;
    return entry;
}

/* Takes one line over, if it is of this device. `damaged` where it is no line at all. */
static bool take_line(cg_context *cg, char *line, bool *damaged)
{
    char *fields[FIELDS];
    double seconds, default_seconds;
    *damaged = !cut_line(line, fields) || !read_seconds(fields[NANOSECONDS], &seconds) ||
               !read_seconds(fields[DEFAULT_NANOSECONDS], &default_seconds) || strlen(fields[WHAT]) >= WORDS_BYTES ||
               strlen(fields[CHOICE]) >= WORDS_BYTES;
    if (*damaged || !is_ours(cg, fields)) return true;
    cg_tuning_entry *entry = entry_for(cg, fields[WHAT], fields[CHOICE]);
    if (!entry) return false;
    entry->seconds = seconds;
    entry->default_seconds = default_seconds;
    return true;
}

static void forget_entries(cg_context *cg)
{
    cg_tuning *t = cg->tuning;
    for (int i = 0; i < t->count; i++) {
        cg_host_free(cg, t->entries[i].what);
        cg_host_free(cg, t->entries[i].choice);
    }
    t->count = 0;
}

/* One damaged line, and nothing in the file is believed. */
static bool read_entries(cg_context *cg, char *text)
{
    bool damaged = strncmp(text, HEADER, sizeof HEADER - 1) != 0;
    for (char *line = text + sizeof HEADER - 1, *next; !damaged && *line; line = next) {
        char *end = strchr(line, '\n');
        next = end ? end + 1 : line;
        if (!end)
            damaged = true;
        else if (!take_line(cg, line, &damaged))
            return false;
    }
    if (damaged) {
        forget_entries(cg);
        if (cg->log_plan) fprintf(stderr, "clgrad: the tuning file %s is damaged: ignored\n", cg->tuning->path);
    }
    return true;
}

bool cg_tuning_open(cg_context *cg)
{
    if (!(cg->tuning = cg_host_allocate(cg, sizeof *cg->tuning)) || !choose_path(cg) || !describe_device(cg))
        return false;
    const int64_t failures = cg->failures;
    char *text = cg->tuning->path ? read_text(cg, cg->tuning->path) : NULL;
    const bool ok = text ? read_entries(cg, text) : cg->failures == failures;
    cg_host_free(cg, text);
    return ok;
}

void cg_tuning_close(cg_context *cg)
{
    if (!cg->tuning) return;
    forget_entries(cg);
    cg_host_free(cg, cg->tuning->entries);
    cg_host_free(cg, cg->tuning->path);
    cg_host_free(cg, cg->tuning->device);
    cg_host_free(cg, cg->tuning);
    cg->tuning = NULL;
}

/* --- finding and adding --- */

cg_tuning_entry *cg_tuning_find(const cg_context *cg, const char *what)
{
    for (int i = 0; cg->tuning && i < cg->tuning->count; i++)
        if (strcmp(cg->tuning->entries[i].what, what) == 0) return &cg->tuning->entries[i];
    return NULL;
}

bool cg_tuning_counts(const cg_context *cg, const cg_tuning_entry *entry)
{
    return cg->tune != CG_TUNE_AGAIN || entry->measured;
}

/* Whether a line in the file is to stay as it is: other devices' lines, and those that this context knows nothing of.
 */
static bool stays(const cg_context *cg, const char *line, size_t length)
{
    char copy[4 * WORDS_BYTES + PATH_BYTES], *fields[FIELDS];
    double seconds;
    if (length >= sizeof copy) return false;
    memcpy(copy, line, length);
    copy[length] = '\0';
    if (!cut_line(copy, fields) || !read_seconds(fields[NANOSECONDS], &seconds) ||
        !read_seconds(fields[DEFAULT_NANOSECONDS], &seconds))
        return false;
    return !is_ours(cg, fields) || !cg_tuning_find(cg, fields[WHAT]);
}

/* What other programs have written meanwhile is kept; of a damaged file the lines that are none go. */
static void write_kept_lines(cg_context *cg, const char *text, cg_output_file *file)
{
    if (strncmp(text, HEADER, sizeof HEADER - 1) != 0) return;
    for (const char *line = text + sizeof HEADER - 1, *end; (end = strchr(line, '\n')); line = end + 1) {
        const size_t length = (size_t)(end + 1 - line);
        if (stays(cg, line, length)) cg_output_file_write(file, line, length);
    }
}

static bool write_file(cg_context *cg)
{
    const int64_t failures = cg->failures;
    if (!cg->tuning->path) return true;
    cg_make_folders(cg->tuning->path);
    char *text = read_text(cg, cg->tuning->path);
    cg_output_file *file = cg_output_file_quiet(cg, cg->tuning->path);
    if (file) {
        cg_output_file_print(file, "%s", HEADER);
        if (text) write_kept_lines(cg, text, file);
        for (int i = 0; i < cg->tuning->count; i++) {
            const cg_tuning_entry *e = &cg->tuning->entries[i];
            cg_output_file_print(file, "%s\t%s\t%s\t%.0f\t%.0f\n", cg->tuning->device, e->what, e->choice,
                                 1e9 * e->seconds, 1e9 * e->default_seconds);
        }
        cg_output_file_commit(file);
    }
    cg_host_free(cg, text);
    return cg->failures == failures;
}

bool cg_tuning_add(cg_context *cg, const char *what, const char *choice, double seconds, double default_seconds)
{
    cg_tuning_entry *entry = entry_for(cg, what, choice);
    if (!entry) return false;
    entry->seconds = seconds;
    entry->default_seconds = default_seconds;
    entry->measured = true;
    return write_file(cg);
}

bool cg_tuned(const cg_context *cg, int index, cg_tuned_choice *tuned)
{
    if (!cg || !cg->tuning || index < 0 || index >= cg->tuning->count) return false;
    const cg_tuning_entry *e = &cg->tuning->entries[index];
    *tuned = (cg_tuned_choice){e->what, e->choice, e->seconds, e->default_seconds, e->measured};
    return true;
}

const char *cg_tuning_path(const cg_context *cg)
{
    return cg && cg->tuning && cg->tuning->path ? cg->tuning->path : "";
}
