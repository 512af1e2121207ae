/* A growing string, for generated source and logs. Errors (no memory) stick and are reported once by the context. */
#ifndef CLGRAD_ENGINE_TEXT_H
#define CLGRAD_ENGINE_TEXT_H

#include "engine/context.h"

typedef struct cg_text {
    cg_context *context;
    char *data; /* NUL-terminated once anything was added */
    int length, capacity;
    bool failed;
} cg_text;

void cg_text_add(cg_text *text, const char *format, ...) CG_FORMAT(2, 3);
void cg_text_append(cg_text *text, const char *string);
void cg_text_free(cg_text *text);

/* A list of names for a message, "a; b; c": as far as there is room. Zeroed to begin with. */
typedef struct cg_names {
    char text[400];
    size_t used;
} cg_names;
void cg_names_add(cg_names *names, const char *name);

#endif
