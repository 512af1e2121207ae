#!/usr/bin/env python3
"""Turns OpenCL C files into C strings, so that the library carries its kernels inside itself.

Usage: embed.py HEADER SOURCE KERNEL.cl... - writes HEADER and SOURCE; gemm.cl becomes `const char cg_source_gemm[]`.
The strings carry no export mark: they stay inside the library.
"""
import pathlib
import re
import sys


def quoted(line):
    """One line of OpenCL C as a C string literal. Escaping '?' keeps trigraphs out."""
    escaped = line.replace("\\", "\\\\").replace('"', '\\"').replace("?", "\\?").replace("\t", "\\t")
    return f'    "{escaped}\\n"'


def main(header, source, kernels):
    note = "/* Made by cl_kernels/embed.py from the .cl files beside it; edit those. */\n"
    declarations, definitions = [], []
    for kernel in map(pathlib.Path, kernels):
        if not re.fullmatch(r"[a-z][a-z0-9_]*", kernel.stem):
            sys.exit(f"{kernel}: the file's name must be usable as a C name: a-z, 0-9 and _")
        text = kernel.read_text(encoding="ascii").rstrip()
        name = f"cg_source_{kernel.stem}"
        declarations.append(f"extern const char {name}[];")
        definitions.append(f"const char {name}[] =\n" + "\n".join(map(quoted, text.split("\n"))) + ";\n")
    guard = "CLGRAD_CL_KERNELS_H"
    pathlib.Path(header).write_text(
        note + f"#ifndef {guard}\n#define {guard}\n\n" + "\n".join(declarations) + "\n\n#endif\n", encoding="ascii")
    pathlib.Path(source).write_text(
        note + f'#include "{pathlib.Path(header).name}"\n\n' + "\n".join(definitions), encoding="ascii")


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
