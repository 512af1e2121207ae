#!/usr/bin/env python3
"""Checks what holds the repository together and no compiler sees: the folders include each other in one direction
only, every C file is listed in its folder's meson.build, programs quoted in the documents are quoted from files that
are compiled, and no text names a path of somebody's machine.

Run from anywhere; prints one line per finding and exits with 1 if there is one.
"""
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]

# Folder -> the other folders whose headers it may include. A folder may always include its own. The arrows are
# cli, examples -> nn, data, formats -> ops, autodiff -> engine -> OpenCL, and all but engine's go through the public
# headers. Tests and benchmarks may look inside everything.
MAY_INCLUDE = {
    "include": set(),
    "engine": {"include", "cl_kernels"},
    "ops": {"include"},
    "autodiff": {"include"},
    "nn": {"include"},
    "data": {"include"},
    "formats": {"include"},
    "cli": {"include"},
    "examples": {"include"},
}
FREE = ("tests", "bench")

# Headers of the engine that ops/ and autodiff/ need beyond the public interface. Keep it short.
ENGINE_FOR_OPS = {"ops": set(), "autodiff": {"engine/graph.h"}}

# The public headers that a folder may include, where not all: the engine knows ops through struct cg_op alone, and
# neither ops nor differentiation know the layers and files built on them.
ENGINE_PUBLIC = {"api.h", "context.h", "dot.h", "file.h", "interop.h", "op.h", "profile.h", "tensor.h", "tuning.h",
                 "variable.h"}
PUBLIC = {
    "engine": ENGINE_PUBLIC,
    "ops": ENGINE_PUBLIC | {"activations.h", "autodiff.h", "convolution.h", "dropout.h", "geometry.h", "normalization.h",
                             "ops.h", "pooling.h", "scans.h"},
    "autodiff": ENGINE_PUBLIC | {"autodiff.h", "ops.h"},
}

# Headers of other libraries, and one of ours -> the folders or files that may include them.
FOREIGN = {
    re.compile(r"CL/|clblast"): ("engine/", "include/clgrad/interop.h"),
    # The public header that brings OpenCL along: the command measures the device itself in one file.
    re.compile(r"clgrad/interop\.h$"): ("engine/", "cli/device_limits.c", "examples/"),
    re.compile(r"jansson"): ("formats/", "cli/profile_read.c", "cli/profile.c"),
    re.compile(r"zlib"): ("data/", "formats/"),
    re.compile(r"jpeglib|png\.h$"): ("examples/picture.c",),
    re.compile(r"check\.h$"): (),
}

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*[<"]([^>"]+)[>"]', re.MULTILINE)
BUILT = {"cl_kernels.h": "cl_kernels", "cl_kernels/cl_kernels.h": "cl_kernels"}


def owner(path, included):
    """The folder that an included file belongs to and its path from the root, or None for other libraries' headers."""
    if included in BUILT:
        return BUILT[included], included
    for base in (path.parent, ROOT, ROOT / "include"):
        found = (base / included).resolve()
        if found.is_file() and found.is_relative_to(ROOT):
            relative = found.relative_to(ROOT)
            return relative.parts[0], relative.as_posix()
    return None


def wrong_include(name, path, included):
    """Why the file must not include this, or None."""
    for pattern, allowed in FOREIGN.items():
        if pattern.match(included) and not name.startswith(allowed):
            return "allowed in " + (", ".join(allowed) or "tests") + " only"
    folder = name.split("/")[0]
    target = owner(path, included)
    if target is None:
        return None
    to, header = target
    if to == folder or header in ENGINE_FOR_OPS.get(folder, ()):
        return None
    if to not in MAY_INCLUDE[folder]:
        return f"{folder}/ must not include from {to}/"
    if to == "include" and pathlib.PurePath(header).name not in PUBLIC.get(folder, {pathlib.PurePath(header).name}):
        return f"{folder}/ must not know what is built on it"
    return None


def check_arrows():
    for folder in MAY_INCLUDE:
        for path in sorted((ROOT / folder).rglob("*.[ch]")):
            name, text = path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")
            for match in INCLUDE.finditer(text):
                why = wrong_include(name, path, match[1])
                if why:
                    yield f"{name}:{text.count(chr(10), 0, match.start()) + 1}: includes {match[1]}: {why}"


def check_lists():
    """A file that no list names would be left out of the library, or a test never run, without a word."""
    for folder in (*MAY_INCLUDE, *FREE, "cl_kernels"):
        for path in sorted((ROOT / folder).rglob("*")):
            kinds = {"include": (".h",), "cl_kernels": (".cl",)}.get(folder, (".c",))
            if path.suffix not in kinds:
                continue
            build = path.parent / "meson.build"
            text = re.sub(r"#.*", "", build.read_text(encoding="utf-8")) if build.exists() else ""
            listed = set(re.findall(r"'([^']+)'", text))
            if not listed & {path.name, path.stem}:
                yield f"{path.relative_to(ROOT)}: not listed in {build.relative_to(ROOT)}"


def check_quotes():
    """A block marked as C in a document must stand, word for word, in an example or a test."""
    sources = [path.read_text(encoding="utf-8")
               for folder in ("examples", "tests") for path in sorted((ROOT / folder).glob("*.[ch]"))]
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))):
        text = path.read_text(encoding="utf-8")
        for match in re.finditer(r"^```c\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
            if not any(match[1] in source for source in sources):
                line = text.count(chr(10), 0, match.start()) + 1
                yield f"{path.relative_to(ROOT)}:{line}: a program that no example or test holds"


def text_files():
    """What git tracks or would track; all files outside build folders where git cannot say."""
    git = ["git", "-c", f"safe.directory={ROOT}", "-C", str(ROOT), "ls-files", "-z", "-co", "--exclude-standard"]
    try:
        names = subprocess.run(git, check=True, capture_output=True, text=True).stdout.split("\0")
        paths = [ROOT / name for name in names if name]
    except (OSError, subprocess.CalledProcessError):
        paths = [path for path in ROOT.rglob("*")
                 if not re.match(r"\.git/|build(-[^/]*)?/", path.relative_to(ROOT).as_posix())]
    for path in sorted(paths):
        if path.is_file():
            content = path.read_bytes()
            if b"\0" not in content:
                yield path.relative_to(ROOT), content.decode(errors="replace")


def check_paths():
    """The repository stands alone: it names neither this checkout's place nor anybody's home nor folders beside it."""
    places = "|".join(re.escape(str(place)) for place in {ROOT, pathlib.Path.home()} if str(place) != "/")
    beside = re.escape("../" + "shared")
    pattern = re.compile(rf"(?<![\w./-])((?:{places or '/home'})(?![\w-])|/home/[a-z]|/Users/[A-Za-z])|{beside}")
    for name, text in text_files():
        for match in pattern.finditer(text):
            yield f"{name}:{text.count(chr(10), 0, match.start()) + 1}: names a path of a machine: {match[0]}"


def main():
    findings = [*check_arrows(), *check_lists(), *check_quotes(), *check_paths()]
    print("\n".join(findings), end="\n" if findings else "")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
