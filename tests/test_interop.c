/* OpenCL beside clgrad: a kernel of the program's own on the context's queue, a context opened on objects that the
 * program made, and tensors in its memory. */
#include "program.h"
#include <clgrad/clgrad.h>
#include <clgrad/interop.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { COUNT = 1000 };

static cg_context *cg;

static void open_context(void)
{
    cg = cg_open(NULL);
    ck_assert_msg(cg && cg_status(cg) == CG_OK, "%s", cg_message(cg));
}

static void close_context(void)
{
    cg_close(cg);
}

/* Squares 0..COUNT-1 with a kernel of its own on the context's queue. */
static void run_own_kernel(cg_context *context)
{
    static const char *source = "__kernel void square(__global int *x) { x[get_global_id(0)] *= get_global_id(0); }";
    cl_context cl = cg_opencl_context(context);
    cl_command_queue queue = cg_opencl_queue(context);
    cl_device_id device = cg_opencl_device(context);
    const size_t items = COUNT;
    int numbers[COUNT];
    for (int i = 0; i < COUNT; i++) numbers[i] = i;
    cl_program program = clCreateProgramWithSource(cl, 1, &source, NULL, NULL);
    ck_assert_int_eq(clBuildProgram(program, 1, &device, "", NULL, NULL), CL_SUCCESS);
    cl_kernel kernel = clCreateKernel(program, "square", NULL);
    cl_mem memory = clCreateBuffer(cl, CL_MEM_COPY_HOST_PTR, sizeof numbers, numbers, NULL);
    ck_assert_ptr_nonnull(memory);
    ck_assert_int_eq(clSetKernelArg(kernel, 0, sizeof memory, (const void *)&memory), CL_SUCCESS);
    ck_assert_int_eq(clEnqueueNDRangeKernel(queue, kernel, 1, NULL, &items, NULL, 0, NULL, NULL), CL_SUCCESS);
    ck_assert_int_eq(clEnqueueReadBuffer(queue, memory, CL_TRUE, 0, sizeof numbers, numbers, 0, NULL, NULL),
                     CL_SUCCESS);
    for (int i = 0; i < COUNT; i++) ck_assert_int_eq(numbers[i], i * i);
    clReleaseMemObject(memory);
    clReleaseKernel(kernel);
    clReleaseProgram(program);
}

static void check_sum(cg_context *context)
{
    cg_scope scope = cg_scope_local(context);
    ck_assert_double_eq(cg_item(cg_sum(cg_iota(context, COUNT))), COUNT * (COUNT - 1) / 2.0);
    cg_scope_end(scope);
    ck_assert_msg(cg_status(context) == CG_OK, "%s", cg_message(context));
}

START_TEST(own_kernel_on_the_queue)
{
    check_sum(cg);
    run_own_kernel(cg);
    check_sum(cg);
}
END_TEST

START_TEST(objects_of_a_failed_context)
{
    cg_context *failed = cg_open("no such device");
    ck_assert(cg_status(failed) != CG_OK);
    ck_assert(!cg_opencl_context(failed) && !cg_opencl_device(failed) && !cg_opencl_queue(failed));
    ck_assert(!cg_opencl_context(NULL) && !cg_opencl_device(NULL) && !cg_opencl_queue(NULL));
    cg_close(failed);
}
END_TEST

START_TEST(open_on_own_objects)
{
    cl_device_id device = cg_opencl_device(cg);
    cl_context context = clCreateContext(NULL, 1, &device, NULL, NULL, NULL);
    cl_command_queue queue = clCreateCommandQueue(context, device, 0, NULL);
    cg_context *on = cg_open_on(context, device, queue, NULL);
    ck_assert_msg(cg_status(on) == CG_OK, "%s", cg_message(on));
    ck_assert_str_eq(cg_device(on)->name, cg_device(cg)->name);
    ck_assert_ptr_eq(cg_opencl_queue(on), queue);
    check_sum(on);
    cg_close(on);
    /* The program's own references are still there. */
    ck_assert_int_eq(clFinish(queue), CL_SUCCESS);
    clReleaseCommandQueue(queue);
    clReleaseContext(context);
}
END_TEST

static void check_refused(cl_context context, cl_device_id device, cl_command_queue queue, const char *part)
{
    cg_context *refused = cg_open_on(context, device, queue, NULL);
    ck_assert_int_eq(cg_status(refused), CG_ERROR_ARGUMENT);
    ck_assert_msg(strstr(cg_message(refused), part) != NULL, "\"%s\" lacks \"%s\"", cg_message(refused), part);
    cg_close(refused);
}

START_TEST(objects_that_do_not_fit)
{
    cl_device_id device = cg_opencl_device(cg);
    cl_context other = clCreateContext(NULL, 1, &device, NULL, NULL, NULL);
    check_refused(other, device, cg_opencl_queue(cg), "another device or context");
    check_refused(other, device, NULL, "must be given");
    cl_command_queue loose = clCreateCommandQueue(other, device, CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE, NULL);
    if (loose) {
        check_refused(other, device, loose, "out of order");
        clReleaseCommandQueue(loose);
    }
    clReleaseContext(other);
}
END_TEST

/* ---- Tensors in a program's memory ---------------------------------------------------------------------------------
 */

static cl_mem buffer_of_floats(int count)
{
    float values[COUNT];
    for (int i = 0; i < count; i++) values[i] = (float)i;
    cl_mem memory = clCreateBuffer(cg_opencl_context(cg), CL_MEM_COPY_HOST_PTR, (size_t)count * sizeof *values, values,
                                   NULL);
    ck_assert_ptr_nonnull(memory);
    return memory;
}

static cl_uint references(cl_mem memory)
{
    cl_uint count = 0;
    ck_assert_int_eq(clGetMemObjectInfo(memory, CL_MEM_REFERENCE_COUNT, sizeof count, &count, NULL), CL_SUCCESS);
    return count;
}

/* An implementation may let go of what a command has used a moment after the command is over. */
static void expect_references(cl_mem memory, cl_uint count)
{
    for (int tries = 0; references(memory) != count && tries < 1000; tries++)
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    ck_assert_int_eq(references(memory), count);
}

static size_t alignment(void)
{
    cl_uint bits = 0;
    clGetDeviceInfo(cg_opencl_device(cg), CL_DEVICE_MEM_BASE_ADDR_ALIGN, sizeof bits, &bits, NULL);
    return bits / 8 > 64 ? bits / 8 : 64;
}

START_TEST(a_buffer_as_a_tensor)
{
    float out[COUNT];
    cl_mem memory = buffer_of_floats(COUNT);
    const size_t at = alignment();
    const int first = (int)(at / sizeof *out), count = COUNT - first;
    const int64_t used = cg_counters_get(cg).used_bytes;
    cg_tensor x = cg_wrap_buffer(cg, CG_F32, CG_SHAPE(count), memory, at, NULL);
    ck_assert_msg(!cg_is_null(x), "%s", cg_message(cg));
    ck_assert_int_eq(cg_counters_get(cg).used_bytes, used);
    expect_references(memory, 2);
    cg_tensor twice = cg_add(x, x);
    ck_assert(cg_read_floats(twice, out, count));
    for (int i = 0; i < count; i++) ck_assert_float_eq(out[i], (float)(2 * (first + i)));
    cg_release(twice);
    cg_release(x);
    ck_assert(cg_wait(cg));
    ck_assert_int_eq(cg_counters_get(cg).buffers, 0);
    clReleaseMemObject(memory);
}
END_TEST

/* A variable that begins with such a tensor leaves the program's memory as it is. */
START_TEST(a_programs_memory_is_never_written)
{
    float now[8], there[8];
    cl_mem memory = buffer_of_floats(8);
    cg_variable *v = cg_variable_new(cg, "v", CG_F32, CG_SHAPE(8));
    cg_scope first = cg_scope_begin(cg);
    ck_assert(cg_assign(v, cg_wrap_buffer(cg, CG_F32, CG_SHAPE(8), memory, 0, NULL)));
    cg_scope_end(first);
    for (int step = 0; step < 3; step++) {
        cg_scope scope = cg_scope_begin(cg);
        cg_assign(v, cg_add(cg_value(v), cg_scalar(cg, 1)));
        cg_scope_end(scope);
    }
    ck_assert_msg(cg_read_floats(cg_value(v), now, 8), "%s", cg_message(cg));
    expect_references(memory, 1);
    ck_assert_int_eq(clEnqueueReadBuffer(cg_opencl_queue(cg), memory, CL_TRUE, 0, sizeof there, there, 0, NULL, NULL),
                     CL_SUCCESS);
    for (int i = 0; i < 8; i++) ck_assert(now[i] == (float)(i + 3) && there[i] == (float)i);
    cg_variable_free(v);
    clReleaseMemObject(memory);
}
END_TEST

START_TEST(host_memory_as_a_tensor)
{
    enum { SIDE = 32 };
    float out[SIDE], *data = NULL;
    ck_assert_int_eq(posix_memalign((void **)&data, 4096, SIDE * SIDE * sizeof *data), 0);
    for (int i = 0; i < SIDE * SIDE; i++) data[i] = (float)(i % SIDE);
    cg_tensor x = cg_wrap_host(cg, CG_F32, CG_SHAPE(SIDE, SIDE), data, NULL);
    if (cg_device(cg)->is_gpu) {
        ck_assert(cg_is_null(x) && strstr(cg_message(cg), "memory of its own"));
    } else {
        cg_tensor sums = cg_sum(x, .axes = CG_AXES(0));
        ck_assert_msg(cg_read_floats(sums, out, SIDE), "%s", cg_message(cg));
        for (int i = 0; i < SIDE; i++) ck_assert_float_eq(out[i], (float)(i * SIDE));
        cg_release(sums);
        cg_release(x);
        ck_assert(cg_wait(cg));
    }
    free(data);
}
END_TEST

START_TEST(the_buffer_of_a_result)
{
    float out[3];
    size_t at = 0;
    cg_tensor x = cg_add(cg_input(cg, CG_F32, CG_SHAPE(3), ((float[]){1, 2, 3})), cg_scalar(cg, 4));
    cl_mem memory = cg_buffer_of(x, &at);
    ck_assert_msg(memory != NULL, "%s", cg_message(cg));
    ck_assert_int_eq(clEnqueueReadBuffer(cg_opencl_queue(cg), memory, CL_TRUE, at, sizeof out, out, 0, NULL, NULL),
                     CL_SUCCESS);
    ck_assert(out[0] == 5 && out[1] == 6 && out[2] == 7);
    ck_assert_ptr_null(cg_buffer_of((cg_tensor){0}, &at));
    ck_assert_int_eq(cg_status(cg), CG_OK);
}
END_TEST

static void check_not_wrapped(cg_tensor t, const char *part)
{
    ck_assert(cg_is_null(t));
    ck_assert_int_eq(cg_status(cg), CG_ERROR_ARGUMENT);
    ck_assert_msg(strstr(cg_message(cg), part) != NULL, "\"%s\" lacks \"%s\"", cg_message(cg), part);
    cg_clear_error(cg);
}

START_TEST(memory_that_does_not_fit)
{
    static float data[256];
    const char *off = (const char *)data + ((uintptr_t)data % 64 ? 0 : 4);
    cl_device_id device = cg_opencl_device(cg);
    cl_context other = clCreateContext(NULL, 1, &device, NULL, NULL, NULL);
    cl_mem foreign = clCreateBuffer(other, 0, 64, NULL, NULL), memory = buffer_of_floats(16);
    cl_mem write_only = clCreateBuffer(cg_opencl_context(cg), CL_MEM_WRITE_ONLY, 64, NULL, NULL);
    const cg_input_options named = {.name = "image"};
    check_not_wrapped(cg_wrap_buffer(cg, CG_F32, CG_SHAPE(16), NULL, 0, NULL), "the buffer is NULL");
    check_not_wrapped(cg_wrap_buffer(cg, CG_F32, CG_SHAPE(16), foreign, 0, NULL), "another OpenCL context");
    check_not_wrapped(cg_wrap_buffer(cg, CG_F32, CG_SHAPE(16), write_only, 0, NULL), "not read it");
    check_not_wrapped(cg_wrap_buffer(cg, CG_F32, CG_SHAPE(17), memory, 0, &named),
                      "image: 68 bytes from byte 0 on are needed, the buffer has 64");
    check_not_wrapped(cg_wrap_buffer(cg, CG_F32, CG_SHAPE(1), memory, 1 << 20, NULL), "the buffer has 64");
    check_not_wrapped(cg_wrap_buffer(cg, CG_F32, CG_SHAPE(4), memory, 4, NULL), "the offset is not a multiple of");
    check_not_wrapped(cg_wrap_buffer(cg, CG_F32, CG_SHAPE(-4), memory, 0, NULL), "input");
    expect_references(memory, 1);
    if (!cg_device(cg)->is_gpu) {
        check_not_wrapped(cg_wrap_host(cg, CG_F32, CG_SHAPE(16), NULL, NULL), "the memory is NULL");
        check_not_wrapped(cg_wrap_host(cg, CG_F32, CG_SHAPE(16), (void *)off, NULL),
                          "the address is not a multiple of");
    }
    clReleaseMemObject(foreign);
    clReleaseMemObject(write_only);
    clReleaseMemObject(memory);
    clReleaseContext(other);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("interop");
    tcase_add_checked_fixture(tests, open_context, close_context);
    tcase_add_test(tests, own_kernel_on_the_queue);
    tcase_add_test(tests, objects_of_a_failed_context);
    tcase_add_test(tests, open_on_own_objects);
    tcase_add_test(tests, objects_that_do_not_fit);
    tcase_add_test(tests, a_buffer_as_a_tensor);
    tcase_add_test(tests, a_programs_memory_is_never_written);
    tcase_add_test(tests, host_memory_as_a_tensor);
    tcase_add_test(tests, the_buffer_of_a_result);
    tcase_add_test(tests, memory_that_does_not_fit);
    Suite *suite = suite_create("interop");
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
