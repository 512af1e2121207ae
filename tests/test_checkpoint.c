/* cg_checkpoint: values, gradients and second derivatives are those of the same network without it, with random ops,
 * assignments and kernels inside; and the memory that a step needs falls, as cg_memory_needed and the plan's log say.
 * Where kernels are cut differs, and with it where a multiply and an add are rounded as one: hence the tolerance. */
#include "semantics_support.h"

enum { MOST_LAYERS = 32 };

/* Layers of one width, each tanh(h w), with dropout if there is a rate. */
typedef struct deep {
    int layers, width, batch;
    double rate;
    cg_variable *weights[MOST_LAYERS];
} deep;

/* Layers from, from + 1, ..., to - 1 of a network; of a tree, halved until they are `leaf`. */
typedef struct part {
    const deep *net;
    int from, to, leaf;
} part;

static void make_deep(deep *net)
{
    for (int l = 0; l < net->layers; l++) {
        char name[16];
        snprintf(name, sizeof name, "w%d", l);
        cg_tensor w = cg_mul(numbers(CG_SHAPE(net->width, net->width), l), cg_scalar(cg, 1.5 / sqrt(net->width)));
        net->weights[l] = variable_with(name, w);
    }
}

static void free_deep(const deep *net)
{
    for (int l = 0; l < net->layers; l++) cg_variable_free(net->weights[l]);
}

static void run_layers(void *user, const cg_tensor *inputs, cg_tensor *outputs)
{
    const part *p = user;
    cg_tensor h = inputs[0];
    for (int l = p->from; l < p->to; l++) {
        h = cg_tanh(cg_matmul(h, cg_value(p->net->weights[l])));
        if (p->net->rate > 0) h = cg_dropout(h, .rate = p->net->rate, .mode = CG_MODE_TRAINING);
    }
    outputs[0] = h;
}

static cg_tensor checkpointed(cg_segment_function function, const part *p, cg_tensor x)
{
    cg_tensor out;
    ck_assert_msg(cg_checkpoint(function, (void *)p, &x, 1, &out, 1), "%s", cg_message(cg));
    return out;
}

/* `each` layers in a segment; 0: no segments. */
static cg_tensor run_deep(const deep *net, cg_tensor x, int each)
{
    cg_tensor h = x;
    part all = {.net = net, .to = net->layers};
    if (!each) run_layers(&all, &x, &h);
    for (int from = 0; each && from < net->layers; from += each)
        h = checkpointed(run_layers, &(part){.net = net, .from = from, .to = from + each}, h);
    return h;
}

/* Segments in segments: two halves, each of which is again two halves. */
static void run_halves(void *user, const cg_tensor *inputs, cg_tensor *outputs)
{
    const part *p = user;
    if (p->to - p->from == p->leaf) {
        run_layers(user, inputs, outputs);
        return;
    }
    part half = *p;
    half.to = (p->from + p->to) / 2;
    cg_tensor h = checkpointed(run_halves, &half, inputs[0]);
    half.from = half.to;
    half.to = p->to;
    outputs[0] = checkpointed(run_halves, &half, h);
}

/* The loss, then the gradients of x and of all weights, read. Of a network whose result is `y`. */
static void differentiate(const deep *net, cg_tensor x, cg_tensor y, float *found)
{
    cg_tensor wrt[MOST_LAYERS + 1] = {x}, gradients[MOST_LAYERS + 1], loss = cg_mean(cg_square(y));
    for (int l = 0; l < net->layers; l++) wrt[l + 1] = cg_value(net->weights[l]);
    ck_assert_msg(cg_grad(&loss, 1, wrt, net->layers + 1, gradients), "%s", cg_message(cg));
    ck_assert_msg(cg_eval(gradients, net->layers + 1), "%s", cg_message(cg));
    *found++ = (float)cg_item(loss);
    ck_assert(cg_read_floats(gradients[0], found, net->batch * net->width));
    found += net->batch * net->width;
    for (int l = 1; l <= net->layers; l++, found += net->width * net->width)
        ck_assert(cg_read_floats(gradients[l], found, net->width * net->width));
}

enum { SMALL = 8, SMALL_BATCH = 6, SMALL_LAYERS = 4, FOUND = 1 + SMALL_BATCH * SMALL + SMALL_LAYERS * SMALL * SMALL };

static void expect_same(const float *found, const float *wanted, int count, double tolerance)
{
    float largest = 0;
    for (int i = 0; i < count; i++) largest = fmaxf(largest, fabsf(wanted[i]));
    ck_assert_float_gt(largest, 0);
    for (int i = 0; i < count; i++)
        ck_assert_msg(fabsf(found[i] - wanted[i]) <= tolerance * largest, "[%d] is %.9g, not %.9g", i, (double)found[i],
                      (double)wanted[i]);
}

static void compare(double rate)
{
    static float wanted[FOUND], found[FOUND];
    deep net = {.layers = SMALL_LAYERS, .width = SMALL, .batch = SMALL_BATCH, .rate = rate};
    make_deep(&net);
    const uint64_t random = cg_random_get(cg);
    cg_tensor x = numbers(CG_SHAPE(SMALL_BATCH, SMALL), 7);
    differentiate(&net, x, run_deep(&net, x, 0), wanted);
    for (int each = 1; each <= SMALL_LAYERS; each *= 2) {
        cg_random_set(cg, random);
        differentiate(&net, x, run_deep(&net, x, each), found);
        expect_same(found, wanted, FOUND, 1e-6);
    }
    cg_random_set(cg, random);
    part all = {.net = &net, .to = SMALL_LAYERS, .leaf = 1};
    differentiate(&net, x, checkpointed(run_halves, &all, x), found);
    expect_same(found, wanted, FOUND, 1e-6);
    free_deep(&net);
}

START_TEST(gradients_are_the_same)
{
    compare(0);
}
END_TEST

static void block(void *user, const cg_tensor *inputs, cg_tensor *outputs)
{
    cg_variable **weights = user;
    cg_tensor h = cg_tanh(cg_matmul(inputs[0], cg_value(weights[0])));
    outputs[0] = cg_tanh(cg_matmul(h, cg_value(weights[1])));
}

/* As docs/memory.md has it: a segment's output in the place of its input. */
START_TEST(the_page_on_memory)
{
    enum { BLOCKS = SMALL_LAYERS / 2 };
    static float wanted[FOUND], found[FOUND];
    deep net = {.layers = SMALL_LAYERS, .width = SMALL, .batch = SMALL_BATCH};
    make_deep(&net);
    cg_tensor x = numbers(CG_SHAPE(SMALL_BATCH, SMALL), 7), h = x;
    for (int i = 0; i < BLOCKS; i++) cg_checkpoint(block, &net.weights[2 * i], &h, 1, &h, 1);
    differentiate(&net, x, h, found);
    differentiate(&net, x, run_deep(&net, x, 0), wanted);
    expect_same(found, wanted, FOUND, 1e-6);
    free_deep(&net);
}
END_TEST

/* The derivative of x + x r(x), r random, is 1 + r only if both passes draw the same r. */
START_TEST(random_ops_give_the_same_numbers_again)
{
    compare(0.5);
}
END_TEST

/* ---- Memory ------------------------------------------------------------------------------------------------------ */

static int64_t temporaries(const deep *net, cg_tensor y)
{
    cg_tensor wrt[MOST_LAYERS], gradients[MOST_LAYERS], loss = cg_mean(cg_square(y));
    for (int l = 0; l < net->layers; l++) wrt[l] = cg_value(net->weights[l]);
    ck_assert_msg(cg_grad(&loss, 1, wrt, net->layers, gradients), "%s", cg_message(cg));
    const cg_memory told = cg_memory_needed(cg, gradients, net->layers);
    ck_assert_msg(cg_eval(gradients, net->layers), "%s", cg_message(cg));
    ck_assert_int_eq(cg_counters_get(cg).last_plan_peak_bytes, told.temporaries);
    return told.temporaries;
}

/* Sixteen layers' values, and cotangents beside them, against four segments' and those in one of them: a third. In
 * segments within segments, fewer still. */
START_TEST(a_deep_network_needs_less)
{
    deep net = {.layers = 16, .width = 16, .batch = 2048};
    make_deep(&net);
    const int64_t layer = 4 * net.width * net.batch;
    cg_tensor x = numbers(CG_SHAPE(net.batch, net.width), 3);
    const int64_t plain = temporaries(&net, run_deep(&net, x, 0));
    ck_assert_int_gt(plain, 16 * layer);
    const int64_t fours = temporaries(&net, run_deep(&net, x, 4));
    ck_assert_msg(3 * fours < plain, "%lld, without %lld", (long long)fours, (long long)plain);
    const int64_t ones = temporaries(&net, run_deep(&net, x, 1));
    ck_assert_int_gt(ones, fours);
    ck_assert_int_lt(ones, plain);
    free_deep(&net);
}
END_TEST

START_TEST(segments_in_segments_need_less_still)
{
    deep net = {.layers = 32, .width = 16, .batch = 2048};
    make_deep(&net);
    const part all = {.net = &net, .to = net.layers, .leaf = 1};
    cg_tensor x = numbers(CG_SHAPE(net.batch, net.width), 3);
    const int64_t plain = temporaries(&net, run_deep(&net, x, 0));
    const int64_t flat = temporaries(&net, run_deep(&net, x, 4));
    const int64_t nested = temporaries(&net, checkpointed(run_halves, &all, x));
    ck_assert_msg(nested < flat && 4 * nested < plain, "%lld, in fours %lld, without %lld", (long long)nested,
                  (long long)flat, (long long)plain);
    free_deep(&net);
}
END_TEST

static void log_deep(void)
{
    deep net = {.layers = 16, .width = 16, .batch = 2048};
    make_deep(&net);
    temporaries(&net, run_deep(&net, numbers(CG_SHAPE(net.batch, net.width), 3), 4));
    free_deep(&net);
}

START_TEST(the_log_tells_what_is_saved)
{
    static char text[1 << 16];
    long long with, without;
    read_plan_log(log_deep, text, sizeof text);
    const char *line = strstr(text, "checkpoints: ");
    ck_assert_ptr_nonnull(line);
    ck_assert_int_eq(sscanf(line,
                            "checkpoints: %lld bytes of temporaries alive at once, scratch aside, instead of %lld",
                            &with, &without),
                     2);
    ck_assert_int_gt(with, 0);
    ck_assert_int_lt(3 * with, without);
    ck_assert_ptr_null(strstr(line + 1, "checkpoints: "));
}
END_TEST

/* ---- Derivatives ------------------------------------------------------------------------------------------------- */

/* user: the factor of a weak number. */
static void bend(void *user, const cg_tensor *inputs, cg_tensor *outputs)
{
    outputs[0] = cg_sin(cg_mul(inputs[0], inputs[1]));
    outputs[1] = cg_mul(cg_exp(cg_mul(cg_scalar(cg, *(double *)user), inputs[0])), outputs[0]);
}

static void bend_twice(void *user, const cg_tensor *inputs, cg_tensor *outputs)
{
    cg_tensor inner[2], again[] = {inputs[1], cg_cos(inputs[0])};
    cg_checkpoint(bend, user, inputs, 2, inner, 2);
    cg_checkpoint(bend, user, again, 2, outputs, 2);
    outputs[1] = cg_mul(outputs[1], cg_add(inner[0], cg_square(inner[1])));
}

static cg_tensor bent(void *user, const cg_tensor *inputs)
{
    cg_tensor outputs[2];
    cg_checkpoint(bend_twice, user, inputs, 2, outputs, 2);
    return cg_sum(cg_mul(outputs[0], outputs[1]));
}

/* Two results of a segment, each in turn needed by itself, in segments within a segment. */
START_TEST(derivatives_of_both_orders)
{
    double factor = 0.7, a[] = {0.3, -1.1, 0.8}, b[] = {1.2, 0.4, -0.5};
    const cg_dtype dtype = cg_device(cg)->has_f64 ? CG_F64 : CG_F32;
    const double tolerance = dtype == CG_F64 ? 1e-6 : 2e-2;
    cg_tensor inputs[] = {cg_cast(cg_input(cg, CG_F64, CG_SHAPE(3), a), dtype),
                          cg_cast(cg_input(cg, CG_F64, CG_SHAPE(3), b), dtype)};
    for (int order = 1; order <= 2; order++) {
        const double error = cg_gradient_error(bent, &factor, inputs, 2, order);
        ck_assert_msg(error >= 0 && error < tolerance, "order %d: %g: %s", order, error, cg_message(cg));
    }
}
END_TEST

/* Forward mode and Hessians are reverse mode twice. */
START_TEST(products_with_jacobians_and_hessians)
{
    deep net = {.layers = 4, .width = SMALL, .batch = SMALL_BATCH};
    float found[2][SMALL_BATCH * SMALL];
    make_deep(&net);
    cg_tensor x = numbers(CG_SHAPE(SMALL_BATCH, SMALL), 7), v = numbers(CG_SHAPE(SMALL_BATCH, SMALL), 8), product;
    for (int each = 0; each <= 2; each += 2) {
        cg_tensor y = run_deep(&net, x, each);
        ck_assert(cg_jvp(&y, 1, &x, &v, 1, &product));
        ck_assert(cg_read_floats(product, found[each / 2], SMALL_BATCH * SMALL));
    }
    expect_same(found[1], found[0], SMALL_BATCH * SMALL, 1e-5);
    for (int each = 0; each <= 2; each += 2) {
        ck_assert(cg_hvp(cg_sum(cg_square(run_deep(&net, x, each))), &x, &v, 1, &product));
        ck_assert(cg_read_floats(product, found[each / 2], SMALL_BATCH * SMALL));
    }
    expect_same(found[1], found[0], SMALL_BATCH * SMALL, 1e-5);
    free_deep(&net);
}
END_TEST

/* ---- Plans and shortcuts ----------------------------------------------------------------------------------------- */

/* Trains in segments of `each` layers, and returns how many nodes a step with a known plan records. */
static uint64_t train(int each, float *weights)
{
    deep net = {.layers = SMALL_LAYERS, .width = SMALL, .batch = SMALL_BATCH};
    uint64_t recorded = 0;
    make_deep(&net);
    cg_model *model = cg_model_new(cg);
    cg_optimizer *optimizer = cg_sgd_new(model, .learning_rate = 0.5, .variables = net.weights, .variable_count = 4);
    cg_tensor x = numbers(CG_SHAPE(SMALL_BATCH, SMALL), 7);
    for (int step = 0; step < 4; step++) {
        cg_scope scope = cg_scope_begin(cg);
        const uint64_t before = cg->next_node;
        cg_minimize(optimizer, cg_mean(cg_square(run_deep(&net, x, each))));
        mark();
        cg_scope_end(scope);
        recorded = cg->next_node - before;
        ck_assert_msg(cg_status(cg) == CG_OK, "%s", cg_message(cg));
        ck_assert_int_eq(plans_made(), step == 0);
        ck_assert_int_eq(plan_hits(), step > 0);
    }
    for (int l = 0; l < net.layers; l++) {
        cg_scope scope = cg_scope_local(cg);
        ck_assert(cg_read_floats(cg_value(net.weights[l]), weights + l * SMALL * SMALL, SMALL * SMALL));
        cg_scope_end(scope);
    }
    cg_model_free(model);
    free_deep(&net);
    return recorded;
}

/* A step with a known plan records one node for each result of a segment, takes two serials to tell what belongs to
 * it, and expands nothing. */
START_TEST(a_known_step_costs_the_host_no_more)
{
    static float wanted[4 * SMALL * SMALL], found[4 * SMALL * SMALL];
    const uint64_t plain = train(0, wanted);
    for (int each = 1; each <= 2; each++) {
        ck_assert_uint_eq(train(each, found), plain + 3 * (uint64_t)(SMALL_LAYERS / each));
        expect_same(found, wanted, 4 * SMALL * SMALL, 1e-6);
    }
}
END_TEST

/* Two graphs that look alike but for where the segment begins are two plans: one keeps h, the other x. */
START_TEST(where_a_segment_begins_counts)
{
    deep net = {.layers = 3, .width = SMALL, .batch = SMALL_BATCH};
    make_deep(&net);
    cg_model *model = cg_model_new(cg);
    cg_optimizer *optimizer = cg_sgd_new(model, .variables = net.weights, .variable_count = 3);
    cg_tensor x = numbers(CG_SHAPE(SMALL_BATCH, SMALL), 7);
    for (int round = 0; round < 4; round++) {
        cg_scope scope = cg_scope_begin(cg);
        const part before = {.net = &net, .to = round % 2}, in = {.net = &net, .from = round % 2, .to = 3};
        cg_tensor h;
        run_layers((void *)&before, &x, &h);
        cg_minimize(optimizer, cg_mean(cg_square(checkpointed(run_layers, &in, h))));
        mark();
        cg_scope_end(scope);
        ck_assert_msg(cg_status(cg) == CG_OK, "%s", cg_message(cg));
        ck_assert_int_eq(plans_made(), round < 2);
    }
    cg_model_free(model);
    free_deep(&net);
}
END_TEST

/* ---- What may be inside ------------------------------------------------------------------------------------------ */

typedef struct counting {
    cg_variable *sum, *w;
    cg_tensor inside; /* a handle to what the segment computes on the way */
} counting;

static void count_and_scale(void *user, const cg_tensor *inputs, cg_tensor *outputs)
{
    counting *c = user;
    c->inside = cg_exp(cg_mul(inputs[0], cg_value(c->w)));
    cg_assign(c->sum, cg_add(cg_value(c->sum), cg_sum(c->inside)));
    outputs[0] = cg_square(c->inside);
}

/* What a segment assigns is assigned once; what it computes on the way is a tensor like any other. The loss is
 * sum e^(2 x w) + e^(x w). */
START_TEST(assignments_happen_once)
{
    counting c = {.sum = variable_with("sum", cg_scalar(cg, 10)), .w = variable_with("w", VECTOR(0.5f, -1, 2))};
    cg_tensor x = VECTOR(1, 2, -0.5f), y, slopes[2], wrt[] = {x, cg_value(c.w)};
    ck_assert(cg_checkpoint(count_and_scale, &c, &x, 1, &y, 1));
    cg_tensor loss = cg_add(cg_sum(y), cg_sum(c.inside));
    ck_assert(cg_grad(&loss, 1, wrt, 2, slopes));
    double e[] = {exp(0.5), exp(-2), exp(-1)}, w[] = {0.5, -1, 2}, at[] = {1, 2, -0.5};
    float found[3];
    for (int k = 0; k < 2; k++) {
        ck_assert_msg(cg_read_floats(slopes[k], found, 3), "%s", cg_message(cg));
        for (int i = 0; i < 3; i++)
            ck_assert_double_eq_tol(found[i], (2 * e[i] * e[i] + e[i]) * (k ? at[i] : w[i]), 1e-5);
    }
    ck_assert_double_eq_tol(item_of(c.sum), 10 + e[0] + e[1] + e[2], 1e-5);
    cg_variable_free(c.sum);
    cg_variable_free(c.w);
}
END_TEST

typedef struct images {
    cg_conv *conv[2];
    cg_batch_norm_layer *norm[2];
    int from, to;
} images;

static void convolve(void *user, const cg_tensor *inputs, cg_tensor *outputs)
{
    const images *net = user;
    cg_tensor h = inputs[0];
    for (int l = net->from; l < net->to; l++)
        h = cg_max_pool(cg_relu(cg_batch_norm_call(net->norm[l], cg_conv_call(net->conv[l], h))), CG_SHAPE(3, 3),
                        .stride = {1}, .padding = CG_PADDING_SAME);
    outputs[0] = h;
}

static cg_tensor run_images(images *net, cg_tensor x, bool segments)
{
    for (net->from = 0; net->from < 2; net->from = net->to) {
        cg_tensor h;
        net->to = net->from + 1;
        if (segments)
            cg_checkpoint(convolve, net, &x, 1, &h, 1);
        else
            convolve(net, &x, &h);
        x = h;
    }
    return x;
}

/* Convolutions have a rule of their own, pooling a kernel with two outputs, batch norm statistics: the weights and
 * moving averages of a small network after a few steps, and what its step needs. */
START_TEST(convolutions_pooling_and_statistics)
{
    enum { CHANNELS = 4, MOST = 1024 };
    static float values[2][MOST];
    int64_t needed[2];
    int count = 0;
    for (int segments = 0; segments < 2; segments++) {
        cg_seed(cg, 3);
        cg_random_set(cg, 0);
        cg_training(cg, true);
        cg_model *model = cg_model_new(cg);
        cg_scope building = cg_scope_begin(cg);
        images net = {{0}, {0}, 0, 0};
        for (int l = 0; l < 2; l++) {
            net.conv[l] = cg_conv_new(model, l ? "c1" : "c0", CHANNELS, CHANNELS, CG_SHAPE(3, 3),
                                      .padding = CG_PADDING_SAME, .no_bias = true);
            net.norm[l] = cg_batch_norm_new(model, l ? "n1" : "n0", CHANNELS, .axis = 1);
        }
        cg_scope_end(building);
        cg_optimizer *optimizer = cg_sgd_new(model, .learning_rate = 0.1);
        cg_tensor x = numbers(CG_SHAPE(8, CHANNELS, 12, 12), 5);
        for (int step = 0; step < 2; step++) {
            cg_scope scope = cg_scope_begin(cg);
            cg_minimize(optimizer, cg_mean(cg_square(cg_sub(run_images(&net, x, segments), x))));
            needed[segments] = cg_memory_needed(cg, NULL, 0).temporaries;
            mark();
            cg_scope_end(scope);
            ck_assert_msg(cg_status(cg) == CG_OK, "%s", cg_message(cg));
            ck_assert_int_eq(plans_made(), 0);
        }
        count = 0;
        for (int i = 0; i < cg_model_count(model); i++) {
            const int size = (int)cg_shape_size(cg_variable_shape(cg_model_at(model, i)));
            ck_assert_int_le(count + size, MOST);
            ck_assert(cg_read_floats(cg_value(cg_model_at(model, i)), values[segments] + count, size));
            count += size;
        }
        cg_model_free(model);
        cg_release(x);
    }
    expect_same(values[1], values[0], count, 1e-5);
    ck_assert_int_lt(needed[1], needed[0]);
}
END_TEST

/* ---- Without gradients, and bad input ---------------------------------------------------------------------------- */

static void copy_input(void *user, const cg_tensor *inputs, cg_tensor *outputs)
{
    (void)user;
    outputs[0] = inputs[0];
}

START_TEST(an_input_may_be_an_output)
{
    cg_tensor x = VECTOR(1, 2, 3), y, slope;
    ck_assert(cg_checkpoint(copy_input, NULL, &x, 1, &y, 1));
    EXPECT(y, 1, 2, 3);
    cg_tensor loss = cg_sum(cg_square(y));
    ck_assert(cg_grad(&loss, 1, &x, 1, &slope));
    EXPECT(slope, 2, 4, 6);
}
END_TEST

static void tanh_of_square(void *user, const cg_tensor *inputs, cg_tensor *outputs)
{
    (void)user;
    outputs[0] = cg_tanh(cg_square(inputs[0]));
}

/* Each step of the cotangent is a sum of two equal products: 2^24 ways lead through it. */
START_TEST(what_a_segment_waits_for_is_walked_once)
{
    cg_tensor x = VECTOR(0.5, 0.6, 0.7), y, slope;
    ck_assert(cg_checkpoint(tanh_of_square, NULL, &x, 1, &y, 1));
    for (int i = 0; i < 24; i++) y = cg_mul(y, y);
    cg_tensor loss = cg_sum(y);
    ck_assert(cg_grad(&loss, 1, &x, 1, &slope));
    EXPECT(slope, 0, 0, 0);
}
END_TEST

static void leave_null(void *user, const cg_tensor *inputs, cg_tensor *outputs)
{
    (void)user, (void)inputs, (void)outputs;
}

static void add_wrongly(void *user, const cg_tensor *inputs, cg_tensor *outputs)
{
    (void)user;
    outputs[0] = inputs[0];
    outputs[1] = cg_add(inputs[0], VECTOR(1, 2));
}

static void make_vector(void *user, const cg_tensor *inputs, cg_tensor *outputs)
{
    (void)user, (void)inputs;
    outputs[0] = VECTOR(1, 2);
}

START_TEST(errors)
{
    cg_tensor x = VECTOR(1, 2, 3), outputs[2], null = {0};
    ck_assert(!cg_checkpoint(leave_null, NULL, &x, 1, outputs, 1));
    expect_error(CG_ERROR_ARGUMENT, "checkpoint: the function has left output 0 null");
    ck_assert(!cg_checkpoint(add_wrongly, NULL, &x, 1, outputs, 2));
    ck_assert(cg_is_null(outputs[0]) && cg_is_null(outputs[1]));
    expect_error(CG_ERROR_ARGUMENT, "add: shapes [3] and [2] do not broadcast");
    ck_assert(!cg_checkpoint(leave_null, NULL, &null, 1, outputs, 1));
    ck_assert_int_eq(cg_status(cg), CG_OK);
    cg_scope scope = cg_scope_local(cg);
    cg_tensor dead = VECTOR(1);
    cg_scope_end(scope);
    ck_assert(!cg_checkpoint(copy_input, NULL, &dead, 1, outputs, 1));
    expect_error(CG_ERROR_ARGUMENT, "checkpoint: a tensor is used after the end of its scope");
    ck_assert(!cg_checkpoint(make_vector, NULL, NULL, 0, outputs, 1) && cg_is_null(outputs[0]));
    expect_error(CG_ERROR_ARGUMENT, "checkpoint: a segment without inputs");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("checkpoint");
    TCase *cases = tcase_create("checkpoint");
    tcase_add_checked_fixture(cases, begin_test, end_test);
    tcase_add_test(cases, gradients_are_the_same);
    tcase_add_test(cases, the_page_on_memory);
    tcase_add_test(cases, random_ops_give_the_same_numbers_again);
    tcase_add_test(cases, a_deep_network_needs_less);
    tcase_add_test(cases, segments_in_segments_need_less_still);
    tcase_add_test(cases, the_log_tells_what_is_saved);
    tcase_add_test(cases, derivatives_of_both_orders);
    tcase_add_test(cases, products_with_jacobians_and_hessians);
    tcase_add_test(cases, a_known_step_costs_the_host_no_more);
    tcase_add_test(cases, where_a_segment_begins_counts);
    tcase_add_test(cases, assignments_happen_once);
    tcase_add_test(cases, convolutions_pooling_and_statistics);
    tcase_add_test(cases, an_input_may_be_an_output);
    tcase_add_test(cases, what_a_segment_waits_for_is_walked_once);
    tcase_add_test(cases, errors);
    suite_add_tcase(suite, cases);
    return run_tests(suite);
}
