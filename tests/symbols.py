#!/usr/bin/env python3
"""Checks that the libraries define no name that could clash with a program's own.

Usage: symbols.py SHARED STATIC. The shared library exports names that begin with cg_ and nothing else; in the static
one, where hiding has no effect, every global name begins with cg_ too.
"""
import subprocess
import sys

# What the sanitizers add to every object file.
NOT_OURS = ("__asan_", "__odr_asan", "__ubsan_", "_init", "_fini")


def defined(library, *options):
    lines = subprocess.run(["nm", "--defined-only", "--extern-only", *options, library],
                           check=True, capture_output=True, text=True).stdout.splitlines()
    # A line is "address type name"; headings and blank lines of an archive have fewer words.
    return {words[2].split("@")[0] for words in map(str.split, lines) if len(words) == 3}


def main(shared, static):
    exported, linkable = defined(shared, "-D"), defined(static)
    if not exported:
        sys.exit(f"{shared} exports nothing")
    foreign = sorted(name for name in exported | linkable
                     if not name.startswith("cg_") and not name.startswith(NOT_OURS))
    for name in foreign:
        print(f"not a cg_ name: {name}")
    print(f"{len(exported)} names exported, {len(linkable)} in the static library, {len(foreign)} foreign")
    return 1 if foreign else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
