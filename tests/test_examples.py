#!/usr/bin/env python3
"""Tests of the examples that train networks: short runs that learn something and leave their figures behind. What they
reach when they are run as they are, they check themselves.

Usage: test_examples.py SOURCES PROGRAM...
"""
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

SOURCES, PROGRAMS = pathlib.Path(), {}


class Examples(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def start(self, name, *arguments):
        return subprocess.run([PROGRAMS[name], *arguments], cwd=self.folder, capture_output=True, text=True, check=False)

    def learn(self, name, wanted, figure, beginning, *arguments):
        """The number that the program prints last, after a run too short for the figure that it is to reach."""
        if name not in PROGRAMS:
            self.skipTest(f"{name} was not built")
        done = self.start(name, *arguments)
        self.assertIn(done.returncode, (0, 1), done.stderr)
        found = re.search(wanted + r"(-?[0-9.]+).*: (passed|FAILED)$", done.stdout.splitlines()[-1])
        self.assertTrue(found, done.stdout + done.stderr)
        self.assertEqual(found[2] == "passed", done.returncode == 0)
        self.assertTrue((self.folder / figure).read_bytes().startswith(beginning))
        return float(found[1])

    def test_heat(self):
        error = self.learn("heat", "relative error ", "heat.svg", b"<svg", "--epochs", "2")
        self.assertLess(error, 30)

    def test_unet(self):
        dice = self.learn("unet", "held-out Dice: ", "unet.png", b"\x89PNG", "--epochs", "1", "--data",
                          str(SOURCES / "examples" / "photographs"))
        self.assertGreater(dice, 0.6)

    def test_vae(self):
        bound = self.learn("vae", "test bound: ", "vae.png", b"\x89PNG", "--epochs", "1", "--batch", "500", "--data",
                           str(SOURCES / "examples" / "mnist"))
        self.assertLess(bound, 200)

    def test_denoise(self):
        gain = self.learn("denoise", "denoise: ", "denoise.png", b"\x89PNG", "--epochs", "1", "--batch", "64",
                          "--data", str(SOURCES / "examples" / "photographs"))
        self.assertGreater(gain, -7)  # the noise itself is 8.4 dB worse than the best filter

    def test_data_that_is_not_there(self):
        for name in PROGRAMS.keys() - {"heat"}:
            with self.subTest(name):
                done = self.start(name, "--data", "nowhere")
                self.assertEqual(done.returncode, 1)
                self.assertIn("nowhere/", done.stderr)

    def test_misuse(self):
        for name in PROGRAMS:
            with self.subTest(name):
                for arguments in (["--epochs"], ["--epochs", "0"], ["--nothing", "1"]):
                    done = self.start(name, *arguments)
                    self.assertEqual(done.returncode, 2)
                    self.assertIn(f"usage: {name} ", done.stdout)


if __name__ == "__main__":
    SOURCES = pathlib.Path(sys.argv[1])
    PROGRAMS = {pathlib.Path(program).name: str(pathlib.Path(program).resolve()) for program in sys.argv[2:]}
    unittest.main(argv=sys.argv[:1])
