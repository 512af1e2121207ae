/* Graphs as pictures: every value of a graph is a node with an identifier of its own, edges join nodes that exist, the
 * text is well-formed whatever tensors are called, and a file is written whole or not at all. */
#include "program.h"
#include <clgrad/clgrad.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MOST_BYTES = 1 << 20, MOST_NODES = 4096 };

static cg_context *cg;
static char folder[64], path[96], text[MOST_BYTES];

static void set_up(void)
{
    make_temporary_folder(folder, sizeof folder);
    snprintf(path, sizeof path, "%s/graph.dot", folder);
    cg = cg_open(NULL);
    ck_assert_msg(cg && cg_status(cg) == CG_OK, "%s", cg_message(cg));
}

/* Fails if anything else was left in the folder. */
static void tear_down(void)
{
    cg_close(cg);
    unlink(path);
    ck_assert_int_eq(rmdir(folder), 0);
}

static void load(void)
{
    FILE *file = fopen(path, "rb");
    ck_assert_ptr_nonnull(file);
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    fclose(file);
}

/* Braces and brackets close what was opened, outside strings, and strings end. */
static void check_balance(void)
{
    char open[8];
    int depth = 0;
    bool quoted = false;
    for (const char *c = text; *c; c++) {
        if (quoted && *c == '\\') {
            ck_assert(*++c != '\0');
            continue;
        }
        quoted ^= *c == '"';
        if (quoted) continue;
        if (*c == '{' || *c == '[') {
            ck_assert_int_lt(depth, 8);
            open[depth++] = *c == '{' ? '}' : ']';
        }
        if (*c == '}' || *c == ']') ck_assert(depth > 0 && open[--depth] == *c);
    }
    ck_assert(!quoted && depth == 0);
}

/* One statement a line: `n1 [shape=...]`, an identifier not seen before; or `n1 -> n2`. Returns how many nodes. */
static int check_statements(int *edges)
{
    static bool seen[MOST_NODES], used[MOST_NODES];
    int nodes = 0, a, b;
    memset(seen, 0, sizeof seen);
    memset(used, 0, sizeof used);
    *edges = 0;
    ck_assert(strncmp(text, "digraph clgrad {\n", 17) == 0);
    for (const char *line = text; *line; line += strcspn(line, "\n") + 1) {
        if (sscanf(line, " n%d -> n%d", &a, &b) == 2) {
            ck_assert(a >= 0 && a < MOST_NODES && b >= 0 && b < MOST_NODES);
            used[a] = used[b] = true;
            ++*edges;
        } else if (sscanf(line, " n%d [shape=", &a) == 1) {
            ck_assert(a >= 0 && a < MOST_NODES && !seen[a]);
            seen[a] = true;
            nodes++;
        }
    }
    for (int i = 0; i < MOST_NODES; i++) ck_assert(seen[i] || !used[i]);
    return nodes;
}

static int write_and_check(const cg_tensor *tensors, int count, int *edges)
{
    ck_assert_msg(cg_graph_dot(tensors, count, path), "%s", cg_message(cg));
    load();
    check_balance();
    return check_statements(edges);
}

static int occurrences(const char *part)
{
    int count = 0;
    for (const char *at = text; (at = strstr(at, part)); at++) count++;
    return count;
}

START_TEST(nodes_edges_and_leaves)
{
    int edges;
    float data[6] = {0};
    cg_model *model = cg_model_new(cg);
    cg_scope scope = cg_scope_begin(cg);
    cg_variable *w = cg_model_add(model, "layer/kernel", cg_ones(cg, CG_SHAPE(3, 4)));
    cg_scope_end(scope); /* where the history of its value ends */
    cg_tensor x = cg_input(cg, CG_F32, CG_SHAPE(2, 3), data, .name = "pixels");
    cg_tensor h = cg_matmul(x, cg_value(w)), y = cg_mul(cg_exp(h), cg_scalar(cg, 0.25));
    ck_assert_int_eq(write_and_check(&y, 1, &edges), 6);
    ck_assert_int_eq(edges, 5);
    ck_assert_int_eq(occurrences("shape=cylinder, style=filled, label=\"variable\\nf32[3,4]\\nlayer/kernel\""), 1);
    ck_assert_int_eq(occurrences("shape=ellipse, style=filled, label=\"data\\nf32[2,3]\\npixels\""), 1);
    ck_assert_int_eq(occurrences("label=\"scalar 0.25\\nf32[]\""), 1);
    ck_assert_int_eq(occurrences("shape=box, label=\"matmul\\nf32[2,4]\""), 1);
    cg_model_free(model);
}
END_TEST

/* A backward pass shares nodes with the forward one: none of them is written twice. */
START_TEST(gradients_share_nodes)
{
    int forward, both, edges;
    cg_tensor x = cg_ones(cg, CG_SHAPE(4)), y = cg_sum(cg_softmax(cg_sin(cg_add(x, x)), -1)), roots[2] = {y};
    forward = write_and_check(roots, 1, &edges);
    ck_assert(cg_grad(&y, 1, &x, 1, &roots[1]));
    both = write_and_check(roots, 2, &edges);
    ck_assert_int_gt(both, forward);
    ck_assert_int_eq(occurrences("label=\"sin\\n"), 1);
}
END_TEST

START_TEST(any_name_is_well_formed)
{
    int edges;
    cg_tensor t = cg_named(cg_exp(cg_ones(cg, CG_SHAPE(2))), "a \"quoted\" {name]\\ over\ntwo lines");
    write_and_check(&t, 1, &edges);
    ck_assert_int_eq(occurrences("a \\\"quoted\\\" {name]\\\\ over two lines"), 1);
}
END_TEST

START_TEST(deep_graphs_are_written)
{
    int edges;
    cg_tensor t = cg_input(cg, CG_F32, CG_SHAPE(2), ((float[]){1, 2}));
    for (int i = 0; i < 3000; i++) t = cg_sin(t);
    ck_assert_int_eq(write_and_check(&t, 1, &edges), 3001);
    ck_assert_int_eq(edges, 3000);
    cg_release(t);
}
END_TEST

static void expect_error(cg_error error, const char *part)
{
    ck_assert_int_eq(cg_status(cg), error);
    ck_assert_msg(strstr(cg_message(cg), part), "%s", cg_message(cg));
    cg_clear_error(cg);
}

START_TEST(what_cannot_be_written_is_a_clear_error)
{
    char missing[128];
    cg_context *other = cg_open(NULL);
    cg_tensor t = cg_exp(cg_ones(cg, CG_SHAPE(2))), two[2] = {t, cg_ones(other, CG_SHAPE(2))};
    snprintf(missing, sizeof missing, "%s/none/graph.dot", folder);
    ck_assert(!cg_graph_dot(&t, 1, missing));
    expect_error(CG_ERROR_FILE, missing);
    ck_assert(!cg_graph_dot(two, 2, path));
    expect_error(CG_ERROR_ARGUMENT, "different contexts");
    ck_assert(!cg_graph_dot(NULL, 0, path) && !cg_graph_dot(&(cg_tensor){0}, 1, path));
    ck_assert_int_eq(cg_status(cg), CG_OK);
    cg_scope scope = cg_scope_local(cg);
    two[1] = cg_exp(t);
    cg_scope_end(scope);
    ck_assert(!cg_graph_dot(two, 2, path));
    ck_assert_int_eq(cg_status(cg), CG_ERROR_ARGUMENT);
    ck_assert_int_ne(access(path, F_OK), 0);
    cg_clear_error(cg);
    cg_close(other);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("dot");
    TCase *tests = tcase_create("dot");
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_test(tests, nodes_edges_and_leaves);
    tcase_add_test(tests, gradients_share_nodes);
    tcase_add_test(tests, any_name_is_well_formed);
    tcase_add_test(tests, deep_graphs_are_written);
    tcase_add_test(tests, what_cannot_be_written_is_a_clear_error);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
