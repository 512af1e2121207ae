/* Recorded graphs as pictures, in the language of Graphviz: dot -Tsvg graph.dot -o graph.svg. */
#ifndef CLGRAD_DOT_H
#define CLGRAD_DOT_H

#include <clgrad/tensor.h>

CG_BEGIN

/* Writes what the tensors were recorded from, back to where history ends: a node per value with its op, dtype, shape
 * and name; leaves by kind (variables with their names, data, numbers); stored values filled; dashed what only a rule
 * of differentiation reads. Nothing is run. The file takes the place of `path` once it is whole. False with a message
 * on an error: a dead handle, tensors of different contexts, a file that cannot be written. False for null tensors. */
CG_API bool cg_graph_dot(const cg_tensor *tensors, int count, const char *path);

CG_END
#endif
