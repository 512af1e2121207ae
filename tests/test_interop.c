/* OpenCL beside clgrad: a kernel of the program's own on the context's queue, and a context opened on objects that the
 * program made. */
#include <check.h>
#include <clgrad/clgrad.h>
#include <clgrad/interop.h>
#include <stdlib.h>
#include <string.h>

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
static void run_own_kernel(const cg_context *context)
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

int main(void)
{
    TCase *tests = tcase_create("interop");
    tcase_add_checked_fixture(tests, open_context, close_context);
    tcase_add_test(tests, own_kernel_on_the_queue);
    tcase_add_test(tests, objects_of_a_failed_context);
    tcase_add_test(tests, open_on_own_objects);
    tcase_add_test(tests, objects_that_do_not_fit);
    Suite *suite = suite_create("interop");
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_set_fork_status(runner, CK_NOFORK); /* the device's compiler starts once */
    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
