"""Checks that the names in docs/ops.md exist in Keras and PyTorch, as far as these are installed for the Python that
runs this: /usr/bin/python3 has Debian's PyTorch; Keras comes by pip, with a backend such as jax (KERAS_BACKEND=jax).

    python3 tests/oracle/names.py
"""
import importlib
import pathlib
import re
import sys

PAGE = pathlib.Path(__file__).resolve().parents[2] / "docs" / "ops.md"
# Younger than the PyTorch of Debian 12.
NEWER = {"torch.nn.RMSNorm"}


def names():
    """Keras's and PyTorch's names on the page, with their module in front."""
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        cells = re.split(r"(?<!\\)\|", line)
        if len(cells) != 8 or "`" not in cells[1]:
            continue
        for module, cell in (("keras", cells[5]), ("torch", cells[6])):
            for name in re.findall(r"`([^`]+)`", cell):
                yield name if name.startswith("torchvision.") else f"{module}.{name}"


def exists(name):
    """True or False; None if the library is not there."""
    parts = name.split(".")
    try:
        found = importlib.import_module(parts[0])
    except ImportError:
        return None
    for i, part in enumerate(parts[1:], 1):
        try:
            found = getattr(found, part)
        except AttributeError:
            try:
                found = importlib.import_module(".".join(parts[: i + 1]))
            except ImportError:
                return False
    return True


def main():
    results = {name: exists(name) for name in names()}
    wrong = [name for name, found in results.items() if found is False and name not in NEWER]
    for library in sorted({name.split(".")[0] for name in results}):
        mine = [found for name, found in results.items() if name.split(".")[0] == library]
        print(f"{library}: {sum(found is True for found in mine)} of {len(mine)} names found"
              + (", not installed" if None in mine else ""))
    print("\n".join(f"no such name: {name}" for name in wrong), end="\n" if wrong else "")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
