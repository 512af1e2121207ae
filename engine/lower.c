/* Lowering: walks a group's expressions from what it stores to what it loads, carrying for each node how its
 * coordinates follow from the loop axes, and merges loop axes that every index allows. */
#include "engine/lower.h"

#include <string.h>

/* Coordinates of a node as linear forms of the loop axes. */
typedef struct access {
    int64_t offset[CG_MAX_RANK], factor[CG_MAX_RANK][CG_AXES];
    cg_axis_shifts shifts;
} access;

struct cg_memo {
    int item, guard;
    access at;
};

static int lower_item(cg_lowered *l, int position, const access *at, int guard, bool inner);

/* More than a kernel can hold or reach. */
static bool give_up(cg_lowered *l)
{
    l->failed = true;
    return false;
}

static bool is_over_rows(const cg_lowered *l)
{
    return l->group->kind == CG_GROUP_ROWS;
}

static cg_term *value_new(cg_lowered *l, cg_term_kind kind, cg_dtype dtype, bool inner)
{
    if (l->value_count == CG_MOST_TERMS) {
        give_up(l);
        l->value_count--; /* the last one is overwritten: the kernel is not used */
    }
    cg_term *v = &l->values[l->value_count];
    *v = (cg_term){.kind = kind, .dtype = dtype, .inner = inner, .item = -1, .tensor = -1, .guard = -1};
    v->pass = is_over_rows(l) && !inner ? -1 : l->pass;
    l->memo[l->value_count].item = -1;
    l->value_count++;
    return v;
}

int cg_lowered_tensor(cg_lowered *l, int item, cg_dtype dtype, bool written)
{
    if (item >= 0)
        for (int i = 0; i < l->tensor_count; i++)
            if (l->tensors[i].item == item) {
                l->tensors[i].written |= written;
                return i;
            }
    if (l->tensor_count == (int)(sizeof l->tensors / sizeof *l->tensors)) {
        give_up(l);
        return 0;
    }
    l->tensors[l->tensor_count] = (cg_kernel_tensor){.item = item, .dtype = dtype, .written = written};
    return l->tensor_count++;
}

/* --- accesses --- */

static cg_form linear(const cg_shape *shape, const access *at)
{
    cg_form form = {0};
    int64_t contiguous = 1;
    for (int j = shape->rank - 1; j >= 0; j--) {
        form.offset += contiguous * at->offset[j];
        for (int k = 0; k < CG_AXES; k++) form.stride[k] += contiguous * at->factor[j][k];
        for (int n = 0; n < at->shifts.count; n++) form.shifts[n].factor += contiguous * at->shifts.of[n].factor[j];
        contiguous *= shape->size[j];
    }
    form.shift_count = at->shifts.count;
    for (int n = 0; n < at->shifts.count; n++) {
        form.shifts[n].item = at->shifts.of[n].item;
        form.shifts[n].attribute = at->shifts.of[n].attribute;
    }
    return form;
}

/* Element by element in the group's space: axes of size 1 have no loop. */
static access identity(const cg_lowered *l, const cg_shape *shape)
{
    access at = {0};
    int axis = 0;
    for (int j = 0; j < shape->rank; j++)
        if (shape->size[j] != 1 && axis < l->outer_count + l->inner_count) at.factor[j][axis++] = 1;
    return at;
}

static access through_broadcast(const access *at, const cg_shape *from, const cg_shape *to)
{
    access result = {.shifts = at->shifts};
    const int shift = from->rank - to->rank;
    for (int n = 0; n < result.shifts.count; n++) {
        cg_axis_shift *s = &result.shifts.of[n];
        for (int j = 0; j < to->rank; j++) s->factor[j] = to->size[j] == 1 ? 0 : s->factor[j + shift];
        memset(&s->factor[to->rank], 0, (size_t)(CG_MAX_RANK - to->rank) * sizeof *s->factor);
    }
    for (int j = 0; j < to->rank; j++) {
        if (to->size[j] == 1) continue;
        result.offset[j] = at->offset[j + shift];
        memcpy(result.factor[j], at->factor[j + shift], sizeof result.factor[j]);
    }
    return result;
}

static access through_mapping(const access *at, const cg_mapping *mapping, const cg_node *node)
{
    const int from_rank = node->shape.rank, to_rank = node->inputs[0]->shape.rank;
    access result = {.shifts = at->shifts};
    cg_mapping offsets = {0};
    for (int j = 0; j < to_rank; j++) {
        result.offset[j] = mapping->offset[j];
        for (int i = 0; i < from_rank; i++) {
            result.offset[j] += mapping->factor[j][i] * at->offset[i];
            for (int k = 0; k < CG_AXES; k++) result.factor[j][k] += mapping->factor[j][i] * at->factor[i][k];
        }
    }
    memcpy(offsets.offset, result.offset, sizeof offsets.offset);
    cg_shift_coordinates(node, mapping, &offsets, &result.shifts);
    memcpy(result.offset, offsets.offset, sizeof offsets.offset);
    return result;
}

/* --- values --- */

/* A value costs what its operands do, and is there once they are. */
static void add_operands(cg_lowered *l, cg_term *v, const int *operands, int count)
{
    enum { MOST = 1 << 20 };
    v->operand_count = count;
    for (int i = 0; i < count; i++) {
        const cg_term *operand = &l->values[operands[i]];
        v->operands[i] = operands[i];
        v->cost = v->cost + operand->cost < MOST ? v->cost + operand->cost : MOST;
        if (operand->pass > v->pass) v->pass = operand->pass;
    }
}

static int convert(cg_lowered *l, int value, cg_dtype to, bool inner)
{
    if (l->values[value].dtype == to) return value;
    /* A weak number is passed in the dtype that it takes on: as a float first it would lose its double precision, and
     * beside f16 it need not be rounded. */
    const bool number = l->values[value].kind == CG_TERM_ARGUMENT && cg_is_floating(l->values[value].dtype);
    if (number && (to == CG_F64 || cg_is_narrow(to)) && l->schedule->items[l->values[value].item].node->weak) {
        const cg_term argument = l->values[value];
        cg_term *v = value_new(l, CG_TERM_ARGUMENT, to, inner);
        v->item = argument.item;
        v->number = argument.number;
        v->form = argument.form;
        return l->value_count - 1;
    }
    add_operands(l, value_new(l, CG_TERM_CONVERT, to, inner), &value, 1);
    return l->value_count - 1;
}

static int lower_load(cg_lowered *l, int position, const access *at, int guard, bool inner)
{
    const cg_entry *item = &l->schedule->items[position];
    const int storage = cg_entry_storage(l->schedule, position);
    const int tensor = cg_lowered_tensor(l, storage, (cg_dtype)item->node->dtype, false);
    cg_term *v = value_new(l, CG_TERM_LOAD, (cg_dtype)item->node->dtype, inner);
    v->tensor = tensor;
    v->guard = guard;
    v->form = linear(&item->node->shape, at);
    return l->value_count - 1;
}

static int lower_leaf(cg_lowered *l, int position, const access *at, bool inner)
{
    const cg_node *node = l->schedule->items[position].node;
    const bool argument = node->kind == CG_NODE_SCALAR || node->kind == CG_NODE_CALL;
    cg_term *v = value_new(l, CG_TERM_LITERAL, (cg_dtype)node->dtype, inner);
    if (argument) v->kind = CG_TERM_ARGUMENT;
    if (node->kind == CG_NODE_INDEX) v->kind = CG_TERM_INDEX;
    v->item = position;
    v->number = node->number;
    v->form = linear(&node->shape, at);
    return l->value_count - 1;
}

/* The guards that keep the coordinates of a padded input inside it; those that always hold are left out. */
static int add_guards(cg_lowered *l, const cg_shape *shape, const access *at, int guard)
{
    for (int j = 0; j < shape->rank; j++) {
        int64_t least = at->offset[j], most = at->offset[j];
        for (int k = 0; k < l->outer_count + l->inner_count; k++) {
            const int64_t reach = at->factor[j][k] * (l->extent[k] - 1);
            if (reach < 0)
                least += reach;
            else
                most += reach;
        }
        bool shifted = false;
        for (int n = 0; n < at->shifts.count; n++) shifted |= at->shifts.of[n].factor[j] != 0;
        if (!shifted && least >= 0 && most < shape->size[j]) continue;
        if (l->guard_count == CG_MOST_GUARDS) {
            give_up(l);
            return guard;
        }
        cg_guard *g = &l->guards[l->guard_count];
        *g = (cg_guard){.extent = shape->size[j], .parent = guard};
        g->form.offset = at->offset[j];
        memcpy(g->form.stride, at->factor[j], sizeof g->form.stride);
        g->form.shift_count = at->shifts.count;
        for (int n = 0; n < at->shifts.count; n++)
            g->form.shifts[n] = (cg_shift){at->shifts.of[n].item, at->shifts.of[n].attribute,
                                           at->shifts.of[n].factor[j]};
        guard = l->guard_count++;
    }
    return guard;
}

static int lower_view(cg_lowered *l, int position, const access *at, int guard, bool inner)
{
    cg_node *node = l->schedule->items[position].node;
    const cg_node *input = node->inputs[0];
    cg_call_view view;
    cg_mapping mapping = {0};
    cg_call_of(node, &view);
    node->op->move(&view.call, &mapping);
    const access through = through_mapping(at, &mapping, node);
    const int outside = mapping.guarded ? add_guards(l, &input->shape, &through, guard) : guard;
    const int value = lower_item(l, input->position, &through, outside, inner);
    if (outside == guard) return value;
    cg_term *v = value_new(l, CG_TERM_GUARD, l->values[value].dtype, inner);
    v->guard = outside;
    add_operands(l, v, &value, 1);
    return l->value_count - 1;
}

/* Arithmetic on bools: done on the numbers 0 and 1, as a register's "true" may be -1; the result is true unless 0. */
static bool is_bool_arithmetic(const cg_node *node)
{
    const cg_op *op = node->op;
    return node->dtype == CG_BOOL && !op->logical && !op->predicate && !op->condition && !op->has_result_dtype &&
           !op->infer;
}

/* What an operand is converted to before the expression sees it. */
static cg_dtype operand_dtype(const cg_node *node, int i, cg_dtype promoted)
{
    const cg_op *op = node->op;
    if (op->has_result_dtype) return (cg_dtype)node->inputs[i]->dtype;
    if (is_bool_arithmetic(node)) return CG_I32;
    if (op->logical || (op->condition && i == 0)) return CG_BOOL;
    return op->predicate ? promoted : (cg_dtype)node->dtype;
}

/* The common dtype of a predicate's operands, weak ones giving way as in inference. */
static cg_dtype promoted_dtype(const cg_node *node)
{
    bool any = false, weak_float = false;
    cg_dtype dtype = CG_BOOL;
    for (int i = 0; i < node->input_count; i++) {
        const cg_dtype d = (cg_dtype)node->inputs[i]->dtype;
        if (node->inputs[i]->weak) {
            weak_float |= cg_is_floating(d);
            continue;
        }
        dtype = any ? cg_promote(dtype, d) : d;
        any = true;
    }
    if (!any) return weak_float ? CG_F32 : CG_I32;
    return weak_float && !cg_is_floating(dtype) ? CG_F32 : dtype == CG_BOOL ? CG_I32 : dtype;
}

static int lower_map(cg_lowered *l, int position, const access *at, int guard, bool inner)
{
    const cg_node *node = l->schedule->items[position].node;
    const cg_dtype promoted = promoted_dtype(node);
    int operands[CG_MOST_OPERANDS];
    if (node->input_count > CG_MOST_OPERANDS) {
        give_up(l);
        return 0;
    }
    for (int i = 0; i < node->input_count; i++) {
        const access through = through_broadcast(at, &node->shape, &node->inputs[i]->shape);
        const int value = lower_item(l, node->inputs[i]->position, &through, guard, inner);
        operands[i] = convert(l, value, operand_dtype(node, i, promoted), inner);
    }
    const cg_dtype dtype = is_bool_arithmetic(node) ? CG_I32 : (cg_dtype)node->dtype;
    cg_term *v = value_new(l, CG_TERM_MAP, dtype, inner);
    v->op = node->op;
    v->item = position;
    v->operand_dtype = node->op->predicate ? promoted : dtype;
    v->cost = node->op->cost ? node->op->cost : 1;
    add_operands(l, v, operands, node->input_count);
    return convert(l, l->value_count - 1, (cg_dtype)node->dtype, inner);
}

/* The value made for the item before, inside the loops in pass `pass`. */
static int find_memo(const cg_lowered *l, int position, const access *at, int guard, bool inner, int pass)
{
    for (int i = 0; i < l->value_count; i++) {
        const struct cg_memo *m = &l->memo[i];
        if (m->item == position && m->guard == guard && l->values[i].inner == inner &&
            (!inner || l->values[i].pass == pass) && memcmp(&m->at, at, sizeof *at) == 0)
            return i;
    }
    return -1;
}

/* --- rows: what one pass over them leaves to the next; see chain.h --- */

static bool varies_along_row(const cg_lowered *l, const access *at)
{
    for (int j = 0; j < CG_MAX_RANK; j++)
        for (int k = l->outer_count; k < l->outer_count + l->inner_count; k++)
            if (at->factor[j][k] != 0) return true;
    return false;
}

static bool is_own(const cg_lowered *l, int position)
{
    const int group = l->schedule->items[position].group;
    return group >= 0 && &l->schedule->groups[group] == l->group;
}

/* What the kernel itself computes can be read where it was computed, at the same element or for the same row, and not
 * through memory. */
static bool is_out_of_reach(const cg_lowered *l, int position, const access *at, bool inner)
{
    const cg_entry *item = &l->schedule->items[position];
    if (!is_over_rows(l) && l->group->fold_count == 0) return false;
    if (item->kind == CG_ITEM_ALIAS)
        return is_own(l, cg_entry_storage(l->schedule, item->stored ? item->node->inputs[0]->position : position));
    if (!is_own(l, position)) return false;
    const access wanted = identity(l, &item->node->shape);
    return (inner && item->kind == CG_ITEM_REDUCE) || memcmp(at, &wanted, sizeof wanted) != 0;
}

/* The row-major number of an element of the row. */
static cg_form form_in_row(const cg_lowered *l)
{
    cg_form form = {0};
    int64_t contiguous = 1;
    for (int k = l->outer_count + l->inner_count; k-- > l->outer_count; contiguous *= l->extent[k])
        form.stride[k] = contiguous;
    return form;
}

/* The store of a value of an earlier pass, for which there may be none yet. */
static const cg_store *keep(cg_lowered *l, int value)
{
    for (int i = 0; i < l->store_count; i++)
        if (l->stores[i].value == value) return &l->stores[i];
    if (l->values[value].cost <= CG_CHEAP || l->kept_count == CG_MOST_KEPT) return NULL;
    const cg_dtype dtype = cg_register_dtype(l->values[value].dtype);
    const int tensor = cg_lowered_tensor(l, -1, dtype, true);
    l->kept_count++;
    l->stores[l->store_count] = (cg_store){.value = value,
                                           .tensor = tensor,
                                           .item = -1,
                                           .form = form_in_row(l),
                                           .inner = true,
                                           .pass = l->values[value].pass};
    return &l->stores[l->store_count++];
}

/* An element that an earlier pass computed and that is stored, or had better be; -1 if it is computed again. */
static int lower_kept(cg_lowered *l, int position, const access *at, int guard)
{
    int earlier = -1;
    for (int pass = 0; pass < l->pass && earlier < 0; pass++) earlier = find_memo(l, position, at, guard, true, pass);
    const cg_store *store = earlier >= 0 ? keep(l, earlier) : NULL;
    if (!store) return -1;
    cg_term *v = value_new(l, CG_TERM_LOAD, l->tensors[store->tensor].dtype, true);
    v->tensor = store->tensor;
    v->form = store->form;
    return l->value_count - 1;
}

/* A number of the whole row is computed outside the loops over its elements. */
static int lower_for_row(cg_lowered *l, int position, const access *at)
{
    const int value = lower_item(l, position, at, -1, false);
    cg_term *v = value_new(l, CG_TERM_ROW, l->values[value].dtype, true);
    v->operands[0] = value;
    v->operand_count = 1;
    return l->value_count - 1;
}

static int lower_core(cg_lowered *l, int position)
{
    cg_term *v = value_new(l, CG_TERM_CORE, (cg_dtype)l->schedule->items[position].node->dtype, false);
    v->item = position;
    while (v->fold < l->fold_count && l->folds[v->fold].item != position) v->fold++;
    if (v->fold < l->fold_count)
        v->pass = l->folds[v->fold].pass;
    else
        l->failed |= is_over_rows(l);
    return l->value_count - 1;
}

/* What the group need not compute from other values: its core, what is stored, numbers; -1 for the rest. */
static int lower_source(cg_lowered *l, int position, const access *at, int guard, bool inner)
{
    const cg_entry *item = &l->schedule->items[position];
    const bool own = is_own(l, position);
    if (own && !inner && (position == l->group->anchor || item->kind == CG_ITEM_REDUCE)) return lower_core(l, position);
    if (item->kind == CG_ITEM_BUFFER || (item->stored && !own) || item->kind == CG_ITEM_OUTPUT ||
        (item->kind == CG_ITEM_ALIAS && !item->stored))
        return lower_load(l, position, at, guard, inner);
    if (item->kind == CG_ITEM_ALIAS) {
        /* A reshape that is wanted as such: a copy, in row-major order on both sides. */
        const cg_form flat = linear(&item->node->shape, at);
        const int value = lower_load(l, item->node->inputs[0]->position, at, guard, inner);
        l->values[value].form = flat;
        return value;
    }
    return item->kind == CG_ITEM_VALUE ? lower_leaf(l, position, at, inner) : -1;
}

static int lower_item(cg_lowered *l, int position, const access *at, int guard, bool inner)
{
    const cg_entry *item = &l->schedule->items[position];
    const bool in_row = is_over_rows(l) && inner && item->kind != CG_ITEM_VALUE;
    int value = find_memo(l, position, at, guard, inner, l->pass);
    if (value >= 0 || l->failed) return value < 0 ? 0 : value;
    if (in_row && guard < 0 && !varies_along_row(l, at)) {
        value = lower_for_row(l, position, at);
    } else if (is_out_of_reach(l, position, at, inner)) {
        give_up(l);
        return 0;
    } else {
        if (in_row) value = lower_kept(l, position, at, guard);
        if (value < 0) value = lower_source(l, position, at, guard, inner);
        if (value < 0 && item->kind == CG_ITEM_VIEW) value = lower_view(l, position, at, guard, inner);
        if (value < 0) value = lower_map(l, position, at, guard, inner);
    }
    /* A view of a value may be that value: it is remembered under the first name only. */
    if (l->memo[value].item < 0) l->memo[value] = (struct cg_memo){.item = position, .guard = guard, .at = *at};
    return value;
}

/* --- loop axes --- */

static void add_axis(cg_lowered *l, int64_t extent)
{
    l->extent[l->outer_count + l->inner_count] = extent;
}

static void outer_axes(cg_lowered *l)
{
    const cg_shape *space = &l->group->space;
    for (int i = 0; i < space->rank; i++) {
        if (space->size[i] == 1) continue;
        add_axis(l, space->size[i]);
        l->outer_count++;
    }
}

/* The elements of rows: the axes that their shape has behind those of the rows. */
static void row_axes(cg_lowered *l)
{
    const cg_shape *shape = &l->group->row_elements;
    for (int i = 0, axis = 0; i < shape->rank; i++) {
        if (shape->size[i] == 1 || axis++ < l->outer_count) continue;
        add_axis(l, shape->size[i]);
        l->inner_count++;
    }
}

/* A reduction's input: kept axes follow the space, folded ones get axes of their own. */
static access reduction_access(cg_lowered *l, const cg_node *node)
{
    access at = {0};
    const cg_shape *in = &node->inputs[0]->shape;
    int kept = 0;
    for (int j = 0; j < in->rank; j++) {
        const bool folded = node->attributes[0] >> j & 1;
        if (in->size[j] == 1) continue;
        if (folded) {
            add_axis(l, in->size[j]);
            at.factor[j][l->outer_count + l->inner_count++] = 1;
        } else {
            at.factor[j][kept++] = 1;
        }
    }
    return at;
}

/* All forms must survive the merging. */
bool cg_can_merge(const cg_lowered *l, int axis)
{
    const int64_t inner = l->extent[axis + 1];
#define MERGES(f) ((f).stride[axis] == (f).stride[axis + 1] * inner)
    for (int i = 0; i < l->value_count; i++)
        if ((l->values[i].kind == CG_TERM_LOAD || l->values[i].kind == CG_TERM_INDEX) && !MERGES(l->values[i].form))
            return false;
    for (int i = 0; i < l->guard_count; i++)
        if (!MERGES(l->guards[i].form)) return false;
    for (int i = 0; i < l->store_count; i++)
        if (!MERGES(l->stores[i].form)) return false;
    for (int i = 0; i < 2 && l->group->kind == CG_GROUP_CONTRACT; i++)
        if (!MERGES(l->operand_form[i])) return false;
#undef MERGES
    return true;
}

static void drop_axis(cg_form *form, int axis)
{
    memmove(&form->stride[axis], &form->stride[axis + 1], (size_t)(CG_AXES - axis - 1) * sizeof *form->stride);
    form->stride[CG_AXES - 1] = 0;
}

static void merge(cg_lowered *l, int axis)
{
    for (int i = 0; i < l->value_count; i++) drop_axis(&l->values[i].form, axis);
    for (int i = 0; i < l->guard_count; i++) drop_axis(&l->guards[i].form, axis);
    for (int i = 0; i < l->store_count; i++) drop_axis(&l->stores[i].form, axis);
    for (int i = 0; i < 2; i++) drop_axis(&l->operand_form[i], axis);
    l->extent[axis + 1] *= l->extent[axis];
    memmove(&l->extent[axis], &l->extent[axis + 1], (size_t)(CG_AXES - axis - 1) * sizeof *l->extent);
}

/* Merges what it can of the axes from `first` to the one before `end`. Returns how many there are now. */
static int merge_between(cg_lowered *l, int first, int end)
{
    for (int i = end - 2; i >= first; i--) {
        if (i + 1 >= end || !cg_can_merge(l, i)) continue;
        merge(l, i);
        end--;
    }
    return end - first;
}

/* Rows and columns of a matrix product stay apart. */
static void merge_outer(cg_lowered *l)
{
    const bool product = l->group->kind == CG_GROUP_CONTRACT;
    const int starts[] = {0, product ? l->row_axis : 0, product ? l->column_axis : 0, l->outer_count};
    int first = 0;
    for (int part = product ? 0 : 2; part < 3; part++) {
        const int count = merge_between(l, first, first + starts[part + 1] - starts[part]);
        first += count;
        if (part == 0) l->row_axis = first;
        if (part == 1) l->column_axis = first;
    }
    l->outer_count = first;
}

static void merge_axes(cg_lowered *l)
{
    merge_outer(l);
    for (int i = l->outer_count + l->inner_count - 2; i >= l->outer_count; i--) {
        if (!cg_can_merge(l, i)) continue;
        merge(l, i);
        l->inner_count--;
    }
}

/* --- groups --- */

static void fold_add(cg_lowered *l, int item, const access *at)
{
    const cg_node *node = l->schedule->items[item].node;
    int value = lower_item(l, node->inputs[0]->position, at, -1, true);
    value = convert(l, value, node->op->logical ? CG_BOOL : (cg_dtype)node->dtype, true);
    l->folds[l->fold_count++] = (cg_fold){item, value, l->pass};
}

static void lower_reduction(cg_lowered *l)
{
    const cg_node *node = l->schedule->items[l->group->anchor].node;
    const access at = reduction_access(l, node);
    if (l->group->fold_count == 0) fold_add(l, l->group->anchor, &at);
    for (int i = 0; i < l->group->fold_count; i++) fold_add(l, l->group->folds[i], &at);
}

/* The axes of a product are those of the group's space: for its batch axes, its rows and its columns one or more each.
 * Rows and columns have one whatever their size. */
static void product_axes(cg_lowered *l, const cg_node *node, const int64_t batch_stride[2][CG_MAX_RANK])
{
    const cg_shape *space = &l->group->space, *shape = &node->shape;
    for (int i = 0, k = 0; i < shape->rank; i++) {
        const bool of_matrix = i >= shape->rank - 2;
        const int first = l->outer_count;
        if (i == shape->rank - 2) l->row_axis = first;
        if (i == shape->rank - 1) l->column_axis = first;
        for (int64_t covered = 1; covered != shape->size[i]; k++) {
            if (space->size[k] == 1) continue;
            l->axis_of_space[k] = l->outer_count;
            covered *= space->size[k];
            add_axis(l, space->size[k]);
            l->outer_count++;
        }
        if (of_matrix && l->outer_count == first) {
            add_axis(l, 1);
            l->outer_count++;
        }
        for (int which = 0; which < 2 && !of_matrix; which++) {
            int64_t stride = batch_stride[which][i];
            for (int axis = l->outer_count - 1; axis >= first; stride *= l->extent[axis--])
                l->operand_form[which].stride[axis] = stride;
        }
    }
}

static void lower_product(cg_lowered *l)
{
    const cg_schedule *s = l->schedule;
    cg_node *node = s->items[l->group->anchor].node;
    int64_t batch_stride[2][CG_MAX_RANK];
    l->operands = cg_operands_find(s, node, l->group->gathering);
    for (int i = 0; i < 2; i++) {
        const cg_operand *found = &l->operands.of[i];
        const int item = found->item >= 0 ? found->item : node->inputs[i]->position;
        l->operand_tensor[i] = cg_lowered_tensor(l, cg_entry_storage(s, item), (cg_dtype)node->dtype, false);
        memcpy(batch_stride[i], found->batch_stride, sizeof batch_stride[i]);
    }
    product_axes(l, node, batch_stride);
}

/* In a product's kernel rows and columns have axes even when they are 1; elsewhere such axes have none. */
static access member_access(const cg_lowered *l, const cg_shape *shape)
{
    if (l->group->kind != CG_GROUP_CONTRACT) return identity(l, shape);
    const cg_shape *space = &l->group->space;
    access at = {0};
    for (int j = 0, k = 0; j < shape->rank; j++) {
        if (shape->size[j] == 1) continue;
        while (space->size[k] == 1) k++;
        at.factor[j][l->axis_of_space[k++]] = 1;
    }
    return at;
}

static void lower_member(cg_lowered *l, int position, bool inner)
{
    const cg_node *node = l->schedule->items[position].node;
    const access at = member_access(l, &node->shape);
    const int value = lower_item(l, position, &at, -1, inner);
    const int tensor = cg_lowered_tensor(l, position, (cg_dtype)node->dtype, true);
    l->stores[l->store_count++] = (cg_store){
        value, tensor, position, linear(&node->shape, &at), inner, l->values[value].pass};
}

static void lower_members(cg_lowered *l)
{
    if (l->group->product.kernel == CG_GEMM_FOLDED) {
        /* The member folds what the kernel has computed by itself. */
        const int fold = l->group->members[0];
        cg_lowered_tensor(l, fold, (cg_dtype)l->schedule->items[fold].node->dtype, true);
        return;
    }
    for (int m = l->group->member_count; m-- > 0;) /* first recorded first */
        lower_member(l, l->group->members[m], false);
}

/* Does a member of a group over rows have a value for each of their elements, rather than for each row? */
static bool is_of_elements(const cg_lowered *l, int position)
{
    return cg_same_elements(&l->schedule->items[position].node->shape, &l->group->row_elements);
}

/* Passes come one after the other; in each, first what it folds, so that what it stores is at hand as far as it was
 * needed for that. Numbers of the row follow. */
static void lower_rows(cg_lowered *l)
{
    const cg_group *g = l->group;
    const cg_entry *items = l->schedule->items;
    for (l->pass = 0; l->pass < g->passes && !l->failed; l->pass++) {
        for (int i = 0; i < g->fold_count; i++) {
            const access at = identity(l, &items[g->folds[i]].node->inputs[0]->shape);
            if (g->fold_pass[i] == l->pass) fold_add(l, g->folds[i], &at);
        }
        for (int m = g->member_count; m-- > 0;)
            if (is_of_elements(l, g->members[m]) && g->member_pass[m] == l->pass) lower_member(l, g->members[m], true);
    }
    for (int m = g->member_count; m-- > 0;)
        if (!is_of_elements(l, g->members[m])) lower_member(l, g->members[m], false);
}

bool cg_lower(cg_lowered *l)
{
    l->memo = cg_host_allocate(l->schedule->context, CG_MOST_TERMS * sizeof *l->memo);
    if (!l->memo) return false;
    if (l->group->kind == CG_GROUP_CONTRACT) {
        lower_product(l);
    } else {
        outer_axes(l);
        if (l->group->kind == CG_GROUP_REDUCE) lower_reduction(l);
    }
    if (is_over_rows(l)) {
        row_axes(l);
        lower_rows(l);
    } else {
        lower_members(l);
    }
    if (!l->failed) merge_axes(l);
    return !l->failed;
}

void cg_lowered_free(cg_lowered *l)
{
    cg_host_free(l->schedule->context, l->memo);
}
