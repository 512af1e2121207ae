/* The options that the training programs share. A program fills in its defaults before it reads them. */
#ifndef OPTIONS_H
#define OPTIONS_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct settings {
    const char *data, *device; /* data NULL: the program has none */
    int epochs, batch, seed;
} settings;

/* False when the options are not understood. */
static inline bool read_options(int argc, char **argv, settings *s)
{
    for (int i = 1; i < argc; i += 2) {
        const char *name = argv[i], *value = argv[i + 1]; /* NULL after the last */
        const char **text = s->data && !strcmp(name, "--data") ? &s->data : NULL;
        int *number = !strcmp(name, "--epochs") ? &s->epochs : !strcmp(name, "--batch") ? &s->batch : NULL;
        if (!strcmp(name, "--device")) text = &s->device;
        if (!strcmp(name, "--seed")) number = &s->seed;
        if (!value || (!text && !number)) return false;
        if (text) *text = value;
        if (number) *number = atoi(value);
    }
    return s->epochs > 0 && s->batch > 0;
}

static inline int print_usage(const char *program)
{
    printf("usage: %s [--data DIR] [--epochs N] [--batch N] [--seed N] [--device NAME]\n", program);
    return 2;
}

#endif
