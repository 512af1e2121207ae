/* A recorded graph in the language of Graphviz. Walks from the tensors given to the leaves, breadth first, so that deep
 * graphs need no deep stack, and writes a node per value and an edge per input. */
#include "engine/context.h"
#include <clgrad/dot.h>
#include <clgrad/file.h>

#include <stdio.h>

typedef struct picture {
    cg_context *context;
    cg_node **nodes; /* in the order in which they were found; a node's position is its number here */
    const char **names;
    int count, capacity;
    uint64_t walk;
} picture;

/* --- finding the nodes --- */

static bool add_node(picture *p, cg_node *node)
{
    if (node->visit == p->walk) return true;
    if (!CG_GROW(p->context, p->nodes, p->capacity, p->count + 1)) return false;
    node->visit = p->walk;
    node->position = p->count;
    p->nodes[p->count++] = node;
    return true;
}

static bool find_nodes(picture *p, const cg_tensor *tensors, int count)
{
    for (int i = 0; i < count; i++) {
        cg_node *node = cg_node_of(tensors[i], "graph_dot");
        if (!node) return false;
        if (node->context != p->context)
            return cg_fail(p->context, CG_ERROR_ARGUMENT, "graph_dot: the tensors belong to different contexts");
        if (!add_node(p, node)) return false;
    }
    for (int i = 0; i < p->count; i++)
        for (int k = 0; k < p->nodes[i]->input_count; k++)
            if (!add_node(p, p->nodes[i]->inputs[k])) return false;
    return true;
}

/* Names given to tensors, and those of the variables whose values they are. */
static bool find_names(picture *p)
{
    p->names = cg_host_allocate(p->context, (size_t)(p->count + 1) * sizeof *p->names);
    if (!p->names) return false;
    for (int i = 0; i < p->count; i++) p->names[i] = p->nodes[i]->label;
    for (const cg_variable *v = p->context->variables; v; v = v->next) {
        if (v->current && v->current->visit == p->walk) p->names[v->current->position] = v->name;
        if (v->committed && v->committed->visit == p->walk) p->names[v->committed->position] = v->name;
    }
    return true;
}

static bool is_variable(const picture *p, const cg_node *node)
{
    return p->names[node->position] && p->names[node->position] != node->label;
}

/* --- writing --- */

/* Text inside a string of the language: quotes and backslashes escaped, control characters blank. */
static void write_text(cg_output_file *file, const char *text)
{
    for (; *text; text++) {
        const char c = (unsigned char)*text < ' ' ? ' ' : *text;
        if (c == '"' || c == '\\') cg_output_file_write(file, "\\", 1);
        cg_output_file_write(file, &c, 1);
    }
}

static void write_what(const picture *p, cg_output_file *file, const cg_node *node)
{
    switch ((cg_node_kind)node->kind) {
    case CG_NODE_CALL:
        write_text(file, node->op->name);
        break;
    case CG_NODE_OUTPUT:
        cg_output_file_print(file, "output %lld", (long long)node->attributes[0]);
        break;
    case CG_NODE_DATA:
        cg_output_file_print(file, is_variable(p, node) ? "variable" : "data");
        break;
    case CG_NODE_CONSTANT:
        cg_output_file_print(file, "constant %g", node->number);
        break;
    case CG_NODE_SCALAR:
        cg_output_file_print(file, "scalar %g", node->number);
        break;
    case CG_NODE_INDEX:
        cg_output_file_print(file, "index");
        break;
    }
}

static const char *outline_of(const picture *p, const cg_node *node)
{
    if (node->kind == CG_NODE_CALL || node->kind == CG_NODE_OUTPUT) return "box";
    if (node->kind != CG_NODE_DATA) return "plaintext";
    return is_variable(p, node) ? "cylinder" : "ellipse";
}

static void write_node(const picture *p, cg_output_file *file, const cg_node *node)
{
    cg_output_file_print(file, "    n%d [shape=%s%s, label=\"", node->position, outline_of(p, node),
                         node->buffer ? ", style=filled" : "");
    write_what(p, file, node);
    cg_output_file_print(file, "\\n%s%s", cg_dtype_name((cg_dtype)node->dtype), cg_shape_text(p->context, node->shape));
    if (p->names[node->position]) {
        cg_output_file_print(file, "\\n");
        write_text(file, p->names[node->position]);
    }
    cg_output_file_print(file, "\"];\n");
    for (int i = 0; i < node->input_count; i++)
        cg_output_file_print(file, "    n%d -> n%d%s;\n", node->inputs[i]->position, node->position,
                             i < cg_reads(node) ? "" : " [style=dashed]");
}

static bool write_file(const picture *p, const char *path)
{
    cg_output_file *file = cg_output_file_new(p->context, path);
    if (!file) return false;
    cg_output_file_print(file, "digraph clgrad {\n    node [fontname=\"monospace\"];\n");
    for (int i = 0; i < p->count; i++) write_node(p, file, p->nodes[i]);
    cg_output_file_print(file, "}\n");
    return cg_output_file_commit(file);
}

bool cg_graph_dot(const cg_tensor *tensors, int count, const char *path)
{
    cg_context *cg = tensors && count > 0 ? cg_context_of(tensors[0]) : NULL;
    if (!cg) return false;
    picture p = {.context = cg, .walk = cg_walk_new(cg)};
    const bool done = find_nodes(&p, tensors, count) && find_names(&p) && write_file(&p, path);
    cg_host_free(cg, (void *)p.names);
    cg_host_free(cg, (void *)p.nodes);
    return done;
}
