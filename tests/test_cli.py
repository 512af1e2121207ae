#!/usr/bin/env python3
"""Tests of the command `clgrad`: what it prints and how it exits. Times are taken with --quick, so they mean nothing.

Usage: test_cli.py CLGRAD
"""
import json
import math
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

CLGRAD = ""
OP_FIELDS = {"case", "shape", "dtype", "device", "median_us", "best_us", "spread", "samples", "repetitions", "gflops",
             "gbps", "passes", "roofline", "peak_gflops", "peak_gbps"}
STEP_FIELDS = OP_FIELDS | {"host_us", "kernels", "memory_needed", "memory_bound", "device_bytes",
                            "first_step_us"}


def clgrad(*arguments):
    return subprocess.run([CLGRAD, *arguments], capture_output=True, text=True, check=False)


def bench(*arguments):
    """The results of a quick run, as objects."""
    done = clgrad("bench", "--json", "--quick", *arguments)
    if done.returncode:
        raise AssertionError(f"exit status {done.returncode}: {done.stderr}")
    return [json.loads(line) for line in done.stdout.splitlines()]


class Help(unittest.TestCase):
    def test_help_goes_to_stdout(self):
        for arguments in (["--help"], ["bench", "--help"], ["devices", "--help"], ["ops", "--help"],
                          ["profile", "--help"], ["tune", "--help"]):
            done = clgrad(*arguments)
            self.assertEqual(done.returncode, 0)
            self.assertIn("Usage: clgrad", done.stdout)

    def test_misuse_exits_with_2(self):
        for arguments in ([], ["nothing"], ["bench", "--nothing"], ["bench", "--dtype", "f8"], ["bench", "--shapes"],
                          ["devices", "0"], ["devices", "--nothing"], ["ops", "--nothing"], ["ops", "no such op"],
                          ["ops", "--markdown", "relu"],
                          ["profile"], ["profile", "--nothing", "x"], ["profile", "a", "b"], ["tune", "--nothing"],
                          ["tune", "--dtype", "f8"], ["tune", "--shapes"], ["tune", "no such case"]):
            done = clgrad(*arguments)
            self.assertEqual(done.returncode, 2, arguments)
            self.assertTrue(done.stderr, arguments)
            self.assertFalse(done.stdout, arguments)


class Devices(unittest.TestCase):
    ROW = re.compile(r"(\d+)  (gpu|cpu|other) +(\S.*) \(.*\), \d+ compute units, [0-9.]+ GiB(, default)?")

    def listed(self, **environment):
        done = subprocess.run([CLGRAD, "devices"], capture_output=True, text=True, check=False,
                              env={**os.environ, **environment})
        self.assertEqual(done.returncode, 0, done.stderr)
        return [self.ROW.fullmatch(line).groups() for line in done.stdout.splitlines()]

    def test_they_are_listed_and_the_default_is_marked(self):
        rows = self.listed()
        self.assertEqual([int(row[0]) for row in rows], list(range(len(rows))))
        ((_, _, name, _),) = [row for row in rows if row[3]]
        (result,) = bench("softmax 128x10")
        self.assertEqual(result["device"], name)
        for row in rows:  # the index is what CLGRAD_DEVICE takes
            self.assertEqual([other[0] for other in self.listed(CLGRAD_DEVICE=row[0]) if other[3]], [row[0]])
        self.assertFalse([row for row in self.listed(CLGRAD_DEVICE="no such device") if row[3]])

    def test_none_is_an_error(self):
        done = subprocess.run([CLGRAD, "devices"], capture_output=True, text=True, check=False,
                              env={**os.environ, "OCL_ICD_VENDORS": "/nonexistent"})
        self.assertEqual(done.returncode, 1)
        self.assertIn("no OpenCL device found", done.stderr)
        self.assertFalse(done.stdout)


class Cases(unittest.TestCase):
    def check_numbers(self, result, case, shape):
        self.assertEqual((result["case"], result["shape"], result["dtype"]), (case, shape, "f32"))
        self.assertTrue(0 < result["best_us"] <= result["median_us"])
        self.assertGreaterEqual(result["spread"], 0)
        for field in ("gflops", "gbps", "roofline", "peak_gflops", "peak_gbps"):
            self.assertTrue(math.isfinite(result[field]) and result[field] >= 0, field)

    def test_unknown_filter_lists_the_cases(self):
        done = clgrad("bench", "gemm", "no such case")
        self.assertEqual(done.returncode, 2)
        self.assertIn("no such case", done.stderr)
        for case in ("gemm 128x512x784 NN", "step mlp 784-512-512-10", "reduce sum 4096x4096 axis=0", "deepbench "):
            self.assertIn(case, done.stderr)

    def test_json_of_an_op(self):
        (result,) = bench("gemm 128x128x128 NN")
        self.assertEqual(set(result), OP_FIELDS)
        self.check_numbers(result, "gemm", "128x128x128 NN")
        self.assertAlmostEqual(result["gflops"], 2 * 128**3 / result["median_us"] / 1e3, delta=1e-2 * result["gflops"])
        self.assertAlmostEqual(result["gbps"], 12 * 128**2 / result["median_us"] / 1e3, delta=1e-2)

    def test_json_of_a_step(self):
        (result,) = bench("step logistic")
        self.assertEqual(set(result), STEP_FIELDS)
        self.check_numbers(result, "logistic", "784-10 batch=32")
        self.assertTrue(result["kernels"] > 0 and result["host_us"] > 0 and result["first_step_us"] > 0)
        self.assertGreater(result["device_bytes"], 3 * 4 * 7850)

    def test_table(self):
        done = clgrad("bench", "--quick", "softmax 128x10")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertRegex(done.stdout, r"case +shape +median us")
        self.assertRegex(done.stdout, r"\nsoftmax +128x10 +[0-9.]+ .*%\n$")

    def test_unknown_device(self):
        done = clgrad("bench", "--device", "no such device", "gemm 128")
        self.assertEqual(done.returncode, 1)
        self.assertIn("no such device", done.stderr)


class Shapes(unittest.TestCase):
    def setUp(self):
        # pylint: disable-next=consider-using-with
        self.file = tempfile.NamedTemporaryFile("w", suffix=".txt", encoding="utf-8")
        self.addCleanup(self.file.close)

    def write(self, text):
        self.file.seek(0)
        self.file.truncate()
        self.file.write(text)
        self.file.flush()
        return self.file.name

    def test_every_kind(self):
        lines = ["elementwise 33x5 ops=10", "exp 100", "tanh 7", "sum 64x32 axis=0", "max 64x32", "softmax 16x10",
                 "layer_norm 8x12", "batch_norm 32x8", "copy 9x4", "transpose 20x30", "uniform 50", "normal 50",
                 "bernoulli 50", "batch_norm_train 4x3x5", "group_norm_train 2x4x6 groups=2", "layer_norm_train 4x6",
                 "cumsum 30x20 axis=0", "sort 300", "topk 4x30", "forward 2x4x6x5x2x3x3 padding=1 groups=2",
                 "gemm 5x6x7 TT", "gemm 3x4x5x6 NT", "gemm 4x4x4"]
        results = bench("--shapes", self.write("# sizes of ours\n\n" + "  # more\n".join(lines) + "\n"))
        found = [f"{result['case']} {result['shape']}" for result in results]
        self.assertEqual(found, [*lines[:-1], "gemm 4x4x4 NN"])
        self.assertEqual([results[i]["passes"] for i in (0, 5, 13, 14)], [1, 2, 8, 5])

    def listed(self, *arguments):
        done = clgrad("bench", *arguments, "no such case")
        self.assertEqual(done.returncode, 2)
        head, *lines = done.stderr.splitlines()
        self.assertIn("no such case", head)
        return [line.strip() for line in lines]

    def test_what_is_listed_may_be_pasted_into_a_file(self):
        lines = self.listed()
        self.assertGreater(len(lines), 200)
        self.assertEqual(self.listed("--shapes", self.write("\n".join(lines))), lines)
        without_family = "mlp 784-512-512-10 batch=128\nmlp\nexp 7"  # as a table's first columns have them
        self.assertEqual(self.listed("--shapes", self.write(without_family)),
                         2 * ["step mlp 784-512-512-10 batch=128"] + ["elementwise exp 7"])

    def test_filters_apply_to_a_file(self):
        (result,) = bench("--shapes", self.write("sum 10x10 axis=1\ngemm 8x8x8\n"), "gemm")
        self.assertEqual(result["case"], "gemm")

    def test_lines_may_be_of_any_length(self):
        text = f"# {5000 * 'long, '}sum 4x4\n{2000 * ' '}exp 10{2000 * ' '}# {5000 * 'x'} exp 20\nexp 30"
        self.assertEqual([result["shape"] for result in bench("--shapes", self.write(text))], ["10", "30"])
        done = clgrad("bench", "--shapes", self.write(f"exp 10\nexp {3000 * '1'}\n"))
        self.assertEqual(done.returncode, 2)
        self.assertIn(f"{self.file.name}:2: ", done.stderr)

    def test_bad_line_is_named(self):
        bad = ["gemmm 1x2x3", "gemm", "gemm 1x2", "gemm 1x2x3 NX", "gemm 1x2x3x4x5", "gemm 1x-2x3", "gemm 1x2x3 axis=0",
               "sum 4x4 axis=2", "sum 4x4 axis=", "exp 10 ops=2", "elementwise 10 ops=11", "elementwise 10 ops=0",
               "softmax 9999999999", "softmax 3y4", "sum 128x", "sum 4x4 axis=0x", "mlp 128",
               "mlp 784-10 batch=32", "mlp 784-512-512-10 batch=128 NN", "reduce exp 10", "reduce 10", "step",
               "group_norm_train 2x4x6 groups=3", "layer_norm_train 4x6 groups=2", "sum " + 100 * "1x" + "1"]
        for line in bad:
            done = clgrad("bench", "--shapes", self.write(f"exp 10\n\n{line}\n"))
            self.assertEqual(done.returncode, 2, line)
            self.assertIn(f"{self.file.name}:3: ", done.stderr, line)
            self.assertFalse(done.stdout, line)

    def test_file_without_a_case(self):
        for text in ("", "\n  \n# gemm 1x2x3\n"):
            for command in ("bench", "tune"):
                done = clgrad(command, "--shapes", self.write(text))
                self.assertEqual(done.returncode, 2)
                self.assertIn(f"{self.file.name}: there is no case in it", done.stderr)
                self.assertFalse(done.stdout)

    def test_missing_file(self):
        done = clgrad("bench", "--shapes", self.file.name + ".missing")
        self.assertEqual(done.returncode, 2)
        self.assertIn(".missing", done.stderr)

    def test_too_large_is_skipped_with_its_size(self):
        done = clgrad("bench", "--json", "--quick", "--shapes", self.write("exp 1073741824x1024\nexp 10\n"))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(len(done.stdout.splitlines()), 1)
        self.assertRegex(done.stderr, r"skipped: elementwise exp 1073741824x1024 needs 17592\.\d+ GB")

    def test_more_elements_than_can_be_counted_are_skipped_too(self):
        cases = ["sum ", "softmax ", "transpose ", "elementwise ", "normal ", "gemm 1073741824x"]
        lines = [f"{case}1073741824x1073741824x1073741824\n" for case in cases]
        done = clgrad("bench", "--json", "--quick", "--shapes", self.write("".join(lines)))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(done.stderr.count("skipped: "), len(cases), done.stderr)


class Profile(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        # pylint: disable-next=consider-using-with
        cls.folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.folder.cleanup)
        cls.path = pathlib.Path(cls.folder.name) / "trace.json"
        subprocess.run([CLGRAD, "bench", "--quick", "step logistic"], check=True, capture_output=True,
                       env={**os.environ, "CLGRAD_PROFILE": str(cls.path)})
        cls.events = json.loads(cls.path.read_text(encoding="utf-8"))

    def write(self, text):
        path = pathlib.Path(self.folder.name) / "other.json"
        path.write_text(text, encoding="utf-8")
        return str(path)

    def test_sums_are_those_of_the_trace(self):
        done = clgrad("profile", str(self.path), "--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        found = json.loads(done.stdout)
        (head,) = [event["args"] for event in self.events if event["name"] == "clgrad_trace"]
        launches = [event for event in self.events if event.get("cat") == "kernel"]
        self.assertAlmostEqual(found["wall_us"], head["wall_us"], delta=1)
        self.assertEqual(found["dropped"], head["dropped"])
        self.assertEqual({kernel["kernel"] for kernel in found["kernels"]}, {event["name"] for event in launches})
        for kernel in found["kernels"]:
            mine = [event for event in launches if event["name"] == kernel["kernel"]]
            total = sum(event["dur"] for event in mine)
            self.assertEqual(kernel["count"], len(mine))
            self.assertAlmostEqual(kernel["total_us"], total, delta=1e-3 + 1e-6 * total)
            for field, per_launch in (("gflops", "flop"), ("gbps", "bytes")):
                amount = sum(event["args"][per_launch] for event in mine)
                if amount and total:
                    self.assertAlmostEqual(kernel[field], amount / total / 1e3, delta=1e-4 * kernel[field])
                else:
                    self.assertIsNone(kernel[field])
        times = [kernel["total_us"] for kernel in found["kernels"]]
        self.assertEqual(times, sorted(times, reverse=True))
        self.assertAlmostEqual(sum(kernel["share"] for kernel in found["kernels"]), 1, delta=1e-6)
        self.assertAlmostEqual(found["busy"], sum(times) / head["covered_us"], delta=1e-6)

    def test_table(self):
        done = clgrad("profile", str(self.path))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertRegex(done.stdout, r"^device busy [0-9.]+ % of [0-9.]+ s: \d+ launches")
        self.assertRegex(done.stdout, r"\n +[0-9.]+ +[0-9.]+% +\d+ +[0-9.]+ .*matmul")

    def test_what_is_no_trace_is_refused(self):
        whole = self.path.read_text(encoding="utf-8")
        broken = json.dumps([{**event, "dur": "long"} if event.get("cat") == "kernel" else event
                             for event in self.events])
        for text in ("", "[]", "{}", "7", '[{"name": 3}]', '[{"name": "clgrad_trace", "args": {"version": 99}}]',
                     "[" + 5000 * "[", whole[:len(whole) // 2], broken):
            done = clgrad("profile", self.write(text))
            self.assertEqual(done.returncode, 1, text[:80])
            self.assertIn("other.json", done.stderr)
            self.assertFalse(done.stdout)
        done = clgrad("profile", str(self.path) + ".missing")
        self.assertEqual(done.returncode, 1)
        self.assertIn(".missing", done.stderr)


class Ops(unittest.TestCase):
    """The table of ops, and docs/ops.md, beside the headers."""
    # Headers without ops.
    OTHERS = {"activation_layers", "api", "autodiff", "clgrad", "context", "convolution_layers", "data", "dot",
              "file", "formats", "initializers", "interop", "layers", "model", "normalization_layers", "op", "optimizers",
              "profile", "progress", "tensor", "tuning", "variable"}

    @classmethod
    def setUpClass(cls):
        cls.root = pathlib.Path(os.environ["CLGRAD_SOURCE_ROOT"])
        page = clgrad("ops", "--markdown")
        cls.page = page.stdout
        cls.calls = dict(re.findall(r"^\| `(\w+)\((.*?)\)` \|", cls.page.split("## What they are made of")[0],
                                    re.MULTILINE))
        headers = [path for path in (cls.root / "include/clgrad").glob("*.h") if path.stem not in cls.OTHERS]
        text = "".join(path.read_text(encoding="utf-8") for path in headers)
        cls.text = re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)

    def declared(self):
        """Each function or macro: its arguments; of options, their type instead."""
        result = {}
        for name, arguments in re.findall(r"^CG_API [\w ]+?\*?cg_(\w+)\(([^;]*?)\);", self.text, re.MULTILINE):
            names = [re.split(r"[ *]+", argument)[-1] for argument in arguments.split(",")]
            options = re.search(r"const (cg_\w+_options) \*options$", arguments)
            if not re.match(r"average_(new|free|add|read|reset)|loss_families", name):
                result[re.sub(r"_with$", "", name)] = (names[:-1] if options else names, options and options[1])
        return result

    def options(self, struct):
        body = re.search(r"typedef struct " + struct + r" \{(.*?)\}", self.text, re.DOTALL)[1]
        names = re.compile(r"(\w+)(?:\[\w+\])?(?:,|$)")
        return {"." + name for line in body.split(";") for name in names.findall(line.strip())}

    def test_the_page_is_what_is_written_now(self):
        page = (self.root / "docs/ops.md").read_text(encoding="utf-8")
        self.assertEqual(page.splitlines(), self.page.splitlines(), "./dev docs writes it")

    def test_every_function_is_there_with_its_arguments(self):
        declared = self.declared()
        self.assertEqual(set(declared), set(self.calls))
        for name, (wanted, options) in declared.items():
            found = self.calls[name].split(", ") if self.calls[name] else []
            optional = [argument for argument in found if argument.startswith(".")]
            self.assertEqual([argument.rstrip(".") for argument in found if argument not in optional], wanted, name)
            self.assertEqual(bool(options), bool(optional), name)
            if options:
                self.assertLessEqual(set(optional), self.options(options), name)

    def test_filters_know_the_names_of_others(self):
        for names, function in ((("MaxPooling2D",), "max_pool"), (("cg_relu6",), "relu6"), (("HUBER", "x"), "huber")):
            done = clgrad("ops", *names)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertRegex(done.stdout, rf"\n{function}\w* .*\n    cg_{function}\w*\(")

    def test_dtypes_and_derivatives_come_from_the_descriptors(self):
        lines = {line.split()[0]: line for line in clgrad("ops").stdout.splitlines()}
        for name, wanted in (("exp", r"any → floating +all +map"), ("less", r"any → bool +0 +map"),
                             ("sum", r"any; u8, bool → i32 +all +reduce"), ("argmax", r"any → i32 +0 +composed"),
                             ("dropout", r"floating +all +composed"), ("squeeze", r"any +all +reshape"),
                             ("uniform", r"→ floating +- +literals")):
            self.assertRegex(lines[name], rf"^{name} +{wanted} ")


class Tune(unittest.TestCase):
    def test_choices_are_shown_and_kept(self):
        with tempfile.TemporaryDirectory() as folder:
            path, shapes = pathlib.Path(folder) / "tuning", pathlib.Path(folder) / "shapes"
            shapes.write_text("gemm 20x30x40 NT\n", encoding="utf-8")
            done = subprocess.run([CLGRAD, "tune", "--shapes", str(shapes)], capture_output=True, text=True,
                                  check=False, env={**os.environ, "CLGRAD_TUNING": str(path), "CLGRAD_GEMM": "packed"})
            self.assertEqual(done.returncode, 0, done.stderr)
            (row,) = re.findall(r"^(gemm packed f32 NT 20x30x40) +(packed \d+ \d+ \d+ \d+) +([0-9.]+) +([0-9.]+) +"
                                r"[0-9.]+x$", done.stdout, re.MULTILINE)
            self.assertIn(f"kept in {path}\n", done.stdout)
            head, line = path.read_text(encoding="utf-8").splitlines()
            self.assertEqual(head, "clgrad tuning 1")
            fields = line.split("\t")
            self.assertEqual(fields[2:4], list(row[:2]))
            for shown, kept in zip(row[2:], fields[4:]):
                self.assertAlmostEqual(float(shown), int(kept) / 1e3, delta=0.06)


if __name__ == "__main__":
    CLGRAD = sys.argv.pop(1)
    unittest.main()
