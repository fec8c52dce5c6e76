"""The side of a worker: a process that prepares one piece of work and does it whenever it is told to.

``python wire.py SCRIPT`` serves the function ``prepare`` of a script, which it finds beside this file or anywhere else:
``prepare(**task) -> Work``. Standard library alone, since it runs in the environments of the peers, where nothing of
this project is installed. A request and an answer are a line of JSON each:

    {"prepare": {...}}  ->  {"seconds": ..., ...}                what that took, compiling included, and what it is
    {"go": true}        ->  {"seconds": ..., "work": ..., "check": {...}}      as many calls as take a third of a second
    anything            ->  {"error": "one line"}                it goes on listening
"""

from __future__ import annotations

import json
import os
import runpy
import sys
import time

REPETITION = 0.33  # seconds of one answer to "go", at least


class Work:
    """What is done at each ``go``."""

    def __init__(self, call, work, check, about=None, once=False):
        """``call()`` does ``work`` units and returns when they are done; ``check()``, untimed, says what was done.

        ``once``: one call for each "go", however short, and none before, since no two are alike.
        """
        self.call, self.work, self.check, self.about, self.once = call, work, check, about or {}, once


def serve(script):
    """Answers requests until there are no more."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print, from their import on, is no answer
    sys.path.insert(0, os.path.dirname(os.path.abspath(script)))
    prepare = runpy.run_path(script)["prepare"]
    work, calls = None, 1
    for line in sys.stdin:
        try:
            request = json.loads(line)
            began = time.perf_counter()
            if "prepare" in request:
                work, calls = prepare(**request["prepare"]), 1
                if not work.once:
                    work.call()  # compiles, and is warm then
                answer = dict(work.about, seconds=time.perf_counter() - began)
                if not work.once:
                    began = time.perf_counter()
                    work.call()
                    calls = max(1, round(REPETITION / max(time.perf_counter() - began, 1e-6)))
            elif work is None:
                answer = {"error": "nothing is prepared"}
            else:
                for _ in range(calls):
                    work.call()
                seconds = time.perf_counter() - began
                answer = {"seconds": seconds, "work": calls * work.work, "check": work.check()}
        except Exception as error:
            text = " ".join(str(error).split())[:300]
            answer = {"error": f"{type(error).__name__}: {text}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    serve(sys.argv[1])
