/* One kernel being written, and the pieces that the code generator is made of: print.c writes terms and their indices,
 * loops.c the loops around them, columns.c those of reductions over rows, tiles.c
 * those of maps that transpose, rows.c passes over rows, assemble.c the kernel's frame and its step,
 * product.c matrix products; codegen.c puts these together. Used by those files only. */
#ifndef CLGRAD_ENGINE_GENERATOR_H
#define CLGRAD_ENGINE_GENERATOR_H

#include "engine/codegen.h"
#include "engine/integers.h"

enum {
    CG_MOST_FIELDS = 512,
    CG_MOST_SUMS = 64,
    CG_INDENT = 96,
    CG_SUM_BLOCK = 128,           /* terms added up before the sum joins the larger one, against rounding */
    CG_STREAMED_BYTES = 16 << 20, /* results from this size on are stored past the caches */
    CG_BAND = 256,            /* rows and columns that a map that transposes walks over before it goes on to others */
    CG_COLUMNS_AT_ONCE = 2048 /* whose sums a work-item keeps at hand */
};

/* A field of the argument block. */
typedef struct cg_field {
    char name[16];
    char type; /* 'l' long, 'd' double, 'i' int, 'f' float */
    int64_t integer;
    bool patched;
    cg_patch patch;
    int at;
} cg_field;

typedef struct cg_generator {
    cg_build *build;
    cg_context *context;
    cg_lowered *lowered;
    cg_group *group;
    cg_text body;
    cg_field fields[CG_MOST_FIELDS];
    int field_count;
    cg_kernel_tensor tensors[CG_MOST_TENSORS + CG_MOST_MEMBERS + 8];
    int tensor_count;
    cg_shift_sum sums[CG_MOST_SUMS];
    int sum_count;
    int lanes;       /* of vectors in this kernel: 1 means none */
    int vector_axis; /* that they run along, or -1 */
    int pass;        /* over a row: the one being written */
    int fold;        /* the reduction being written */
    int fetches;     /* the pass over a row that asks memory for the next row, or -1 */
    bool by_columns; /* a reduction folds whole rows at a time: see columns.c */
    bool by_turning; /* a reduction folds rows into vectors, which are turned to fold the lanes of many at a time */
    int tile_axis;   /* a map walks in tiles of this axis and the last one, or -1: see tiles.c */
    bool in_tile;    /* what a tile has loaded and turned is at hand */
    int sharing;     /* work-items that take the elements of a row, or of what is folded, in turns */
    bool cut;        /* this kernel folds one part of the first folded axis */
    int64_t grain;   /* a work-item's share of the last axis is a multiple of this */
    bool wide;       /* indices need 64 bits */
    bool status;     /* has the status words as an argument */
    bool failed;
    int form_fields[CG_MOST_TERMS + CG_MOST_STORES + CG_MOST_GUARDS]; /* per form: its first field, or -1 */
    size_t global[3];
    cl_uint dimensions;
    cg_scratch scratch[CG_MAX_OUTPUTS];
    int scratch_count, scratch_tensor;
    int64_t bytes;
    double work; /* additions, or what costs as much */
    double flop; /* floating-point operations; 0: not known */
} cg_generator;

/* Writes what is done at each element, or at `lanes` neighbouring ones. */
typedef void (*cg_print_body)(cg_generator *g, cg_text *out, int lanes, const char *indent);

/* print.c */
cg_field *cg_field_new(cg_generator *g, char type, const char *prefix, int number);
void cg_field_integer(cg_generator *g, char type, const char *prefix, int number, int64_t value);
void cg_patch_with_sum(cg_generator *g, const cg_shift_sum *sum);
const char *cg_index_type(const cg_generator *g);
char cg_index_field(const cg_generator *g);
int cg_field_bytes(char type);
int cg_lay_out(cg_generator *g);
int cg_add_scratch(cg_generator *g, cg_dtype dtype, int64_t bytes);
const char *cg_storage_type(cg_dtype dtype);
const char *cg_register_type(cg_dtype dtype);
const char *cg_fold_name(const char *what, int fold, char text[16]);
const char *cg_vector_type(cg_dtype dtype, int lanes, char text[16]);
bool cg_is_word(char c);
void cg_print_expression(cg_generator *g, cg_text *out, const char *expression, char operands[][16], int count,
                         cg_dtype result, cg_dtype real, int lanes, int code_field);
int cg_report_field(cg_generator *g, int item);
void cg_print_form(cg_generator *g, cg_text *out, const cg_form *form, int slot);
/* Ask memory, ahead of time, for what a load will read or a store replace. */
void cg_print_fetch_of_load(cg_generator *g, cg_text *out, int number, const char *indent);
void cg_print_fetch_of_store(cg_generator *g, cg_text *out, int number, const char *indent);
/* For all that vectors read, and maps write, with `value` in the place of one of the loops' variables, `ahead` elements
 * further on. */
void cg_print_fetches(cg_generator *g, cg_text *out, int64_t ahead, const char *variable, const char *value,
                      const char *indent);
void cg_print_terms(cg_generator *g, cg_text *out, bool inner, int lanes, const char *indent);
void cg_print_stores(cg_generator *g, cg_text *out, bool inner, int lanes, const char *indent);
bool cg_is_streamed(const cg_generator *g, const cg_store *store);
void cg_print_outer(cg_generator *g, cg_text *out, int lanes, const char *indent);

/* loops.c */
bool cg_has_f64(const cg_lowered *l);
bool cg_has_reports(const cg_lowered *l);
bool cg_allows_vectors(const cg_lowered *l, int axis);
bool cg_folds_along(const cg_lowered *l);
void cg_choose_vectors(cg_generator *g);
int64_t cg_extent_product(const int64_t *extent, int count);
bool cg_needs_wide_index(const cg_lowered *l);
int64_t cg_items_for(const cg_generator *g, int64_t units, int64_t cost);
void cg_print_decode(cg_generator *g, cg_text *out, int count, const char *indent);
int cg_cost_of_terms(const cg_lowered *l);
void cg_print_turns(cg_generator *g, cg_print_body body, int64_t cost);
void cg_print_blocks(cg_generator *g, cg_print_body body, int64_t cost);
cg_dtype cg_reduction_dtype(const cg_generator *g);
void cg_print_vector_loop(cg_generator *g, cg_text *out, cg_print_body body, const char *from, const char *to,
                          const char *indent);
/* For `for`: the reductions of the pass being written, each one in turn as g->fold. */
#define CG_EACH_FOLD(g) \
    bool more = cg_next_fold(g, 0); \
    more; \
    more = cg_next_fold(g, (g)->fold + 1)
bool cg_next_fold(cg_generator *g, int fold);
/* Where work-items share: each has folded its part into `core`, which becomes that of all. */
void cg_print_joining(cg_generator *g, cg_text *out, const char *indent);
int64_t cg_print_turns_of_groups(cg_generator *g, cg_print_body body, int64_t cost, int per_unit);
void cg_print_identity(cg_generator *g, cg_text *out, const char *name, int lanes, const char *indent);
void cg_print_combine(cg_generator *g, cg_text *out, const char *into, const char *what, int lanes, const char *indent);
int cg_print_folded_axes(cg_generator *g, cg_text *out, char indent[CG_INDENT]);
void cg_close_folded_axes(cg_text *out, int count, char indent[CG_INDENT]);
void cg_print_fetches_ahead(cg_generator *g, cg_text *out, int lanes, const char *indent);
void cg_print_folding(cg_generator *g, cg_text *out, int lanes, const char *indent);
void cg_print_reduction(cg_generator *g, cg_text *out, int lanes, const char *indent);
void cg_print_part(cg_generator *g, cg_text *out, int lanes, const char *indent);
void cg_print_partial(cg_generator *g, cg_text *out, int lanes, const char *indent);
void cg_print_join(cg_generator *g, cg_text *out, int lanes, const char *indent);

/* columns.c */
void cg_print_column_result(cg_generator *g, cg_text *out, int lanes, const char *indent);
void cg_print_column_part(cg_generator *g, cg_text *out, int lanes, const char *indent);
void cg_print_columns(cg_generator *g, cg_text *out, cg_print_body body, const char *indent);

/* rows.c */
bool cg_runs_across_rows(const cg_generator *g);
bool cg_generate_rows(cg_generator *g);

/* tiles.c */
bool cg_is_turned(const cg_generator *g, const cg_term *term);
void cg_choose_tiles(cg_generator *g);
int64_t cg_bands(const cg_generator *g);
void cg_print_tiles(cg_generator *g, cg_text *out, cg_print_body body, const char *indent);

/* assemble.c */
void cg_print_signature(cg_generator *g, cg_text *out);
void cg_print_parameters(cg_generator *g, cg_text *out);
void cg_print_pointers(cg_generator *g, cg_text *out);
bool cg_is_guarded(const cg_generator *g);
void cg_add_common_fields(cg_generator *g);
void cg_add_axis_fields(cg_generator *g);
cg_step *cg_step_new(cg_build *b);
bool cg_fill_step(cg_generator *g, cg_step *step, int block_bytes);
bool cg_add_scratch_request(cg_generator *g);
bool cg_finish_kernel(cg_generator *g);
bool cg_exceeds_arguments(const cg_generator *g, int block_bytes);
int64_t cg_tensor_bytes(const cg_generator *g, bool inner, bool outer);
double cg_flop_of_terms(const cg_lowered *l, bool inner, bool outer);
void cg_count_bytes(cg_generator *g);
/* Kernels are joined to programs: what the text of one defines must not reach the next. */
void cg_undefine_macros(cg_generator *g, cg_text *source);
void cg_start_kernel(cg_generator *g);

/* product.c */
bool cg_generate_product(cg_generator *g, const cg_node *node);

#endif
