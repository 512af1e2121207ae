/* The growing string of text.h. */
#include "engine/text.h"

#include <stdio.h>
#include <string.h>

static bool make_room(cg_text *text, size_t more)
{
    if (!text->failed) text->failed = !CG_GROW(text->context, text->data, text->capacity, text->length + (int)more + 1);
    return !text->failed;
}

void cg_text_append(cg_text *text, const char *string)
{
    const size_t length = strlen(string);
    if (!make_room(text, length)) return;
    memcpy(text->data + text->length, string, length + 1);
    text->length += (int)length;
}

void cg_text_add(cg_text *text, const char *format, ...)
{
    char small[512];
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    const int length = vsnprintf(small, sizeof small, format, arguments);
    va_end(arguments);
    if (length >= 0 && length < (int)sizeof small) {
        cg_text_append(text, small);
    } else if (length >= 0 && make_room(text, (size_t)length)) {
        vsnprintf(text->data + text->length, (size_t)length + 1, format, again);
        text->length += length;
    }
    va_end(again);
}

void cg_text_free(cg_text *text)
{
    cg_host_free(text->context, text->data);
    *text = (cg_text){.context = text->context};
}

void cg_names_add(cg_names *names, const char *name)
{
    const size_t room = sizeof names->text - names->used;
    const int added = snprintf(names->text + names->used, room, "%s%s", names->used ? "; " : "", name);
    names->used += added < 0 ? 0 : (size_t)added < room ? (size_t)added : room - 1;
}
