/* What the files of the random-program test share: a program being made, its values on the device and on the host, and
 * the random choices that make it. Choices come from a sequence of their own, so that a program is the same whatever
 * its numbers are. */
#ifndef CLGRAD_TESTS_RANDOM_PROGRAM_H
#define CLGRAD_TESTS_RANDOM_PROGRAM_H

#include "host_tensor.h"

#include <clgrad/variable.h>

enum {
    MOST_VALUES = 96, /* alive in a program */
    MOST_VARIABLES = 4,
    MOST_DEPTH = 3,       /* of scopes */
    MOST_ELEMENTS = 3000, /* of a tensor */
    RANDOM_MOST = 64      /* numbers grow no larger, so that errors can be bounded */
};

typedef enum kind { REAL, INTEGER, TRUTH } kind;

/* A tensor and what the host says it holds. */
typedef struct value {
    cg_tensor tensor;
    host_tensor host;
    kind kind;
    int depth; /* of the scope that owns it */
    bool used; /* by an op */
} value;

typedef struct state {
    cg_variable *variable;
    host_tensor host;
    kind kind;
} state;

typedef struct program {
    cg_context *cg;
    unsigned seed, round;
    bool verbose;
    uint64_t structure, numbers; /* random sequences: of what the program does, and of its data */
    cg_dtype real;               /* dtype of its real numbers... */
    double epsilon;              /* ...and their rounding */
    value values[MOST_VALUES];
    int value_count;
    state states[MOST_VARIABLES];
    int state_count;
    cg_scope scopes[MOST_DEPTH + 1];
    int depth;
    const char *doing; /* for messages */
} program;

uint64_t random_next(uint64_t *state);
/* One of 0 .. count - 1; true in so many cases of a hundred. */
int random_choose(program *p, int count);
bool random_chance(program *p, int percent);
kind random_kind(program *p);
/* An element, from the sequence of numbers. */
double random_number(program *p, kind kind);

/* Prints what the program does, when asked for. */
void random_say(const program *p, const char *format, ...) CG_FORMAT(2, 3);
/* Fails the test, naming the program. */
void random_give_up(const program *p, const char *what);
/* Reads a value and compares it with the host's. */
void random_check(const program *p, const value *v);

cg_dtype random_dtype(const program *p, kind kind);
int64_t random_size(cg_shape shape);
/* Adds a value to the program; takes the host tensor. */
value *random_add(program *p, kind kind, cg_tensor tensor, host_tensor host);
cg_tensor random_upload(program *p, kind kind, const host_tensor *host);
value *random_leaf(program *p, kind kind, cg_shape shape);
/* A value of a kind to compute with, then marked as used; a new one where there is none. */
value *random_pick(program *p, kind kind);
/* The same, of a shape that broadcasts with that of `v`. */
value *random_partner(program *p, kind kind, const value *v);

/* Fills in a host result's bounds: `error` from its operands, and rounding. */
host_tensor random_bounded(const program *p, host_tensor host, kind kind, double bound, double error);
/* The bounds of an operand whose elements were only moved. */
host_tensor random_moved(host_tensor host, const host_tensor *from);

/* Records an op, chosen at random, and interprets it. */
void random_op(program *p);

#endif
