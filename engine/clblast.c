/* The calls to CLBlast. Every form of product is one of its GEMM, called once per batch with a temporary buffer that
 * the plan has accounted for. */
#include "engine/clblast.h"

#include <clblast_c.h>

static CLBlastTranspose transposition(bool transposed)
{
    return transposed ? CLBlastTransposeYes : CLBlastTransposeNo;
}

static bool check(cg_context *cg, CLBlastStatusCode status)
{
    return status == CLBlastSuccess
               ? true
               : cg_fail(cg, CG_ERROR_DEVICE, "matmul: CLBlast failed with status %d", (int)status);
}

bool cg_clblast_temporary(cg_context *cg, cg_blas_call *call)
{
    size_t bytes = 0;
    if (call->k == 0 || call->m == 0 || call->n == 0 || call->batches == 0) return true;
    CLBlastStatusCode (*size_of)(CLBlastLayout, CLBlastTranspose, CLBlastTranspose, size_t, size_t, size_t, size_t,
                                 size_t, size_t, size_t, size_t, size_t, cl_command_queue *,
                                 size_t *) = call->f64 ? CLBlastDGemmTempBufferSize : CLBlastSGemmTempBufferSize;
    const CLBlastStatusCode status = CL(cg, size_of, CLBlastLayoutRowMajor, transposition(call->transposed_a),
                                        transposition(call->transposed_b), (size_t)call->m, (size_t)call->n,
                                        (size_t)call->k, 0, (size_t)call->leading_a, 0, (size_t)call->leading_b, 0,
                                        (size_t)call->n, &cg->queue, &bytes);
    call->temporary_bytes = (int64_t)bytes;
    return check(cg, status);
}

static CLBlastStatusCode product(cg_context *cg, const cg_blas_call *call, const cl_mem memory[3], const int64_t at[3],
                                 cl_event *event)
{
    const CLBlastTranspose a = transposition(call->transposed_a), b = transposition(call->transposed_b);
    const size_t m = (size_t)call->m, n = (size_t)call->n, k = (size_t)call->k;
    if (call->f64)
        return CL(cg, CLBlastDgemmWithTempBuffer, CLBlastLayoutRowMajor, a, b, m, n, k, 1.0, memory[0], (size_t)at[0],
                  (size_t)call->leading_a, memory[1], (size_t)at[1], (size_t)call->leading_b, 0.0, memory[2],
                  (size_t)at[2], n, &cg->queue, event, call->temporary);
    return CL(cg, CLBlastSgemmWithTempBuffer, CLBlastLayoutRowMajor, a, b, m, n, k, 1.0f, memory[0], (size_t)at[0],
              (size_t)call->leading_a, memory[1], (size_t)at[1], (size_t)call->leading_b, 0.0f, memory[2],
              (size_t)at[2], n, &cg->queue, event, call->temporary);
}

/* A product over nothing is zero, which CLBlast takes for an error. */
static bool zero_result(cg_context *cg, const cg_blas_call *call, const cl_mem memory[3], const int64_t first[3],
                        cl_event *event)
{
    const size_t element = call->f64 ? 8 : 4, count = (size_t)(call->m * call->n * call->batches);
    const cl_uint zero = 0;
    const cl_int status = CL(cg, clEnqueueFillBuffer, cg->queue, memory[2], &zero, sizeof zero,
                             (size_t)first[2] * element, count * element, 0, NULL, event);
    return status == CL_SUCCESS ? true : cg_fail_cl(cg, "clEnqueueFillBuffer", status);
}

bool cg_clblast_run(cg_context *cg, const cg_blas_call *call, const cl_mem memory[3], const int64_t first[3],
                    cl_event *event)
{
    if (call->k == 0) return zero_result(cg, call, memory, first, event);
    for (int64_t batch = 0; batch < call->batches; batch++) {
        int64_t at[3];
        for (int i = 0; i < 3; i++) at[i] = first[i] + call->offsets[3 * batch + i];
        if (!check(cg, product(cg, call, memory, at, batch + 1 == call->batches ? event : NULL))) return false;
    }
    return true;
}

bool cg_clblast_warm(cg_context *cg, const cg_blas_call *call)
{
    static const int64_t start[3] = {0, 0, 0};
    if (call->k == 0) return true;
    const size_t element = call->f64 ? 8 : 4;
    const int64_t rows[3] = {call->transposed_a ? call->k : call->m, call->transposed_b ? call->n : call->k, call->m};
    const int64_t leading[3] = {call->leading_a, call->leading_b, call->n};
    cl_mem memory[3] = {0};
    cl_int status = CL_SUCCESS;
    cg_blas_call warm = *call;
    for (int i = 0; i < 3 && status == CL_SUCCESS; i++)
        memory[i] = CL_NEW(cg, &status, clCreateBuffer, cg->cl, CL_MEM_READ_WRITE,
                           (size_t)(rows[i] * leading[i]) * element, NULL);
    if (status == CL_SUCCESS && call->temporary_bytes)
        warm.temporary = CL_NEW(cg, &status, clCreateBuffer, cg->cl, CL_MEM_READ_WRITE, (size_t)call->temporary_bytes,
                                NULL);
    bool ok = status == CL_SUCCESS ? check(cg, product(cg, &warm, memory, start, NULL))
                                   : cg_fail_cl(cg, "clCreateBuffer", status);
    for (int i = 0; i < 3; i++)
        if (memory[i]) clReleaseMemObject(memory[i]);
    if (call->temporary_bytes && warm.temporary) clReleaseMemObject(warm.temporary);
    return ok;
}
