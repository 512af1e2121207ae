/* Pictures for the examples, by libjpeg-turbo and libpng. */
#include "picture.h"

#include <math.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <jerror.h>
#include <jpeglib.h>
#include <png.h>

picture picture_new(int channels, int height, int width)
{
    float *pixels = calloc((size_t)channels * (size_t)height * (size_t)width, sizeof *pixels);
    if (!pixels) fputs("no memory for a picture\n", stderr);
    return (picture){channels, height, width, pixels};
}

void picture_free(picture *p)
{
    free(p->pixels);
    *p = (picture){0};
}

static float *pixel(picture p, int channel, int row, int column)
{
    return p.pixels + ((int64_t)channel * p.height + row) * p.width + column;
}

void picture_paste(picture whole, picture part, int top, int left)
{
    if (!whole.pixels || !part.pixels) return;
    for (int c = 0; c < whole.channels; c++) {
        for (int i = 0; i < whole.height; i++) {
            for (int j = 0; j < whole.width; j++) {
                const bool inside = i >= top && i - top < part.height && j >= left && j - left < part.width;
                if (inside) *pixel(whole, c, i, j) = *pixel(part, part.channels == 1 ? 0 : c, i - top, j - left);
            }
        }
    }
}

/* A decompressor that comes back here on an error; libjpeg's own way is to end the program. Its manager is the first
 * member, so that what libjpeg hands over is the whole. */
typedef struct reader {
    struct jpeg_error_mgr errors;
    struct jpeg_decompress_struct jpeg;
    jmp_buf failed;
    FILE *file;
    picture result;
} reader;

static void give_up(j_common_ptr jpeg)
{
    longjmp(((reader *)jpeg->err)->failed, 1);
}

/* Warnings are counted by the caller, not printed one by one. */
static void say_nothing(j_common_ptr jpeg)
{
    (void)jpeg;
}

/* False after an error. */
static bool read_rows(reader *r, int channels)
{
    struct jpeg_decompress_struct *jpeg = &r->jpeg;
    if (setjmp(r->failed)) return false;
    jpeg_create_decompress(jpeg);
    jpeg_stdio_src(jpeg, r->file);
    jpeg_read_header(jpeg, TRUE);
    jpeg->out_color_space = channels == 1 ? JCS_GRAYSCALE : JCS_RGB;
    jpeg_start_decompress(jpeg);
    r->result = picture_new(channels, (int)jpeg->output_height, (int)jpeg->output_width);
    if (!r->result.pixels) ERREXIT1(jpeg, JERR_OUT_OF_MEMORY, 0);
    JSAMPARRAY row = jpeg->mem->alloc_sarray((j_common_ptr)jpeg, JPOOL_IMAGE, jpeg->output_width * (unsigned)channels,
                                             1);
    for (int i = 0; i < r->result.height; i++) {
        jpeg_read_scanlines(jpeg, row, 1);
        for (int j = 0; j < r->result.width; j++)
            for (int c = 0; c < channels; c++) *pixel(r->result, c, i, j) = (float)row[0][j * channels + c] / 255;
    }
    jpeg_finish_decompress(jpeg);
    return true;
}

picture picture_read(const char *path, int channels)
{
    reader r = {.file = fopen(path, "rb")};
    if (!r.file) {
        perror(path);
        return r.result;
    }
    r.jpeg.err = jpeg_std_error(&r.errors);
    r.errors.error_exit = give_up;
    r.errors.output_message = say_nothing;
    const bool complete = read_rows(&r, channels);
    if (!complete || r.errors.num_warnings) {
        char message[JMSG_LENGTH_MAX] = "damaged or truncated";
        if (!complete) r.errors.format_message((j_common_ptr)&r.jpeg, message);
        fprintf(stderr, "%s: %s\n", path, message);
        picture_free(&r.result);
    }
    jpeg_destroy_decompress(&r.jpeg);
    fclose(r.file);
    return r.result;
}

bool photographs_read(const char *folder, picture photographs[2])
{
    static const char *const names[] = {"china", "flower"};
    for (int i = 0; i < 2; i++) {
        char path[4096];
        snprintf(path, sizeof path, "%s/%s.jpg", folder, names[i]);
        photographs[i] = picture_read(path, 3);
    }
    if (photographs[0].pixels && photographs[1].pixels) return true;
    for (int i = 0; i < 2; i++) picture_free(&photographs[i]);
    return false;
}

bool picture_write(picture p, const char *path)
{
    png_image png = {.version = PNG_IMAGE_VERSION,
                     .width = (png_uint_32)p.width,
                     .height = (png_uint_32)p.height,
                     .format = p.channels == 1 ? PNG_FORMAT_GRAY : PNG_FORMAT_RGB};
    unsigned char *bytes = p.pixels ? malloc(PNG_IMAGE_SIZE(png)) : NULL;
    if (!bytes) {
        fprintf(stderr, "%s: no picture to write\n", path);
        return false;
    }
    for (int i = 0; i < p.height; i++) {
        for (int j = 0; j < p.width; j++) {
            for (int c = 0; c < p.channels; c++) {
                const float value = fmaxf(0, fminf(1, *pixel(p, c, i, j)));
                bytes[((int64_t)i * p.width + j) * p.channels + c] = (unsigned char)lrintf(255 * value);
            }
        }
    }
    const bool written = png_image_write_to_file(&png, path, 0, bytes, 0, NULL);
    if (!written) fprintf(stderr, "%s: %s\n", path, png.message);
    free(bytes);
    return written;
}
