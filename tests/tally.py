#!/usr/bin/env python3
"""Adds up the closing lines of all test programs and prints `N passed, N failed`.

Usage: tally.py TESTLOG.json... - the logs that `meson test` leaves. A Check program counts with the numbers it
printed; one that ended badly without saying so (a crash, a time limit) counts as one more failure; a test that is no
Check program counts as one. Exits with 1 if anything failed or nothing ran.
"""
import json
import os
import re
import sys

CLOSING = re.compile(r"^\d+%: Checks: (\d+), Failures: (\d+), Errors: (\d+)$", re.MULTILINE)


def count(test):
    closing = [tuple(map(int, line)) for line in CLOSING.findall(test.get("stdout") or "")]
    ran = sum(line[0] for line in closing)
    failed = sum(line[1] + line[2] for line in closing)
    if test["result"] in ("SKIP", "IGNORED"):
        return 0, 0
    if test["result"] != "OK" and not failed:
        print(f"{test['name']}: ended with {test['result']} (exit status {test.get('returncode')})")
        return ran, 1
    return (ran - failed, failed) if closing else (1, 0)


def main(logs):
    totals = [0, 0]
    for log in filter(os.path.exists, logs):
        with open(log, encoding="utf-8") as lines:
            for test in map(json.loads, lines):
                passed, failed = count(test)
                totals[0] += passed
                totals[1] += failed
    print(f"{totals[0]} passed, {totals[1]} failed")
    return 1 if totals[1] or not totals[0] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
