/* Pictures for the examples: read from JPEG files, written as PNG files, and in between planes of floats that
 * cg_input takes as they are. What goes wrong is said on stderr. */
#ifndef PICTURE_H
#define PICTURE_H

#include <stdbool.h>

typedef struct picture {
    int channels, height, width; /* channels: 1 is grey, 3 red, green and blue */
    float *pixels;               /* [channels, height, width], 0 to 1; NULL: there is no picture */
} picture;

/* A black picture. */
picture picture_new(int channels, int height, int width);
void picture_free(picture *p);
/* The picture of a JPEG file, grey or coloured as `channels` says. */
picture picture_read(const char *path, int channels);
/* The two photographs of a folder, china.jpg and flower.jpg, in colour. False, and neither, where one cannot be read.
 */
bool photographs_read(const char *folder, picture photographs[2]);
/* Writes a PNG file of 8 bits per channel; pixels under 0 are black, above 1 white. */
bool picture_write(picture p, const char *path);
/* Copies `part` into `whole` with its upper left corner at (top, left), which may be negative: what does not fit is cut
 * off, so pasting a large picture into a small one crops it. A grey part serves all channels. */
void picture_paste(picture whole, picture part, int top, int left);

#endif
