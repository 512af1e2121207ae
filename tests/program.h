/* What every test program has: the way its tests run, and a folder for files that they write. */
#ifndef CLGRAD_TESTS_PROGRAM_H
#define CLGRAD_TESTS_PROGRAM_H

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

/* Runs the tests in this process, so that the device's compiler starts once; CK_FORK=yes in the environment gives each
 * a process of its own, which tells the one that crashes. Returns what `main` is to return. */
static inline int run_suite(Suite *suite)
{
    setenv("CK_FORK", "no", 0);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}

/* Makes an empty folder below TMPDIR, or else /tmp; `folder` receives its path. */
static inline void make_temporary_folder(char *folder, size_t bytes)
{
    const char *temporary = getenv("TMPDIR");
    const int length = snprintf(folder, bytes, "%s/clgrad-test-XXXXXX", temporary ? temporary : "/tmp");
    ck_assert(length > 0 && (size_t)length < bytes);
    ck_assert_ptr_nonnull(mkdtemp(folder));
}

#endif
