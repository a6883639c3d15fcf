#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""In the machine: llama-cpp-guest.py MODEL-FILE...: llama.cpp answers the same from a model in the kernel's store as from
the file it was loaded from, and maps it: two processes share its pages, and neither has a copy of a weight.
"""
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

MODELS = pathlib.Path("/sys/fs/llmos/models")
PROMPT = "Once upon a time"
HUGE = 2 << 20
failures = 0


def check(what, held, found=""):
    global failures
    failures += not held
    print(f"{'ok' if held else 'FAILED'}: {what}{': ' if found != '' else ''}{found}", flush=True)


# ---- the program under test: one process of llama.cpp ----


def generate(path, tokens):
    """Greedily; prints the text as JSON and stays, with the model open, until standard input ends."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = path
    params.n_ctx, params.n_parallel, params.warmup = 256, 1, False
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    params.fit_params = False  # do not look for GPUs
    params.no_extra_bufts = True  # by default it keeps some quantised weights a second time, in another order
    params.port = 0
    server = xllamacpp.Server(params)
    answers = []
    server.handle_completions({"prompt": PROMPT, "n_predict": tokens, "temperature": 0, "top_k": 1, "seed": 1,
                               "ignore_eos": True, "cache_prompt": False}, answers.append)
    print(json.dumps(answers[0]), flush=True)
    sys.stdin.read()


class LlamaCpp:
    """Such a process."""

    def __init__(self, path, tokens):
        self.path = str(path)
        self.log = tempfile.TemporaryFile("w+", errors="replace")
        self.process = subprocess.Popen([sys.executable, "-B", __file__, "--generate", self.path, str(tokens)],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, text=True)
        self.pid = self.process.pid

    def text(self):
        line = self.process.stdout.readline()
        while line and not line.startswith("{"):
            line = self.process.stdout.readline()
        answer = json.loads(line or "{}")
        if "choices" not in answer:
            self.give_up(answer)
        return answer["choices"][0]["text"]

    def give_up(self, answer):
        self.process.kill()
        self.log.seek(0)
        sys.exit(f"FAILED: llama.cpp does not answer from {self.path}: {answer}; it ended with {self.process.wait()} and said"
                 f" {self.log.read()[-2000:]}")

    def mappings(self):
        """Of the model: [(rights, {field: bytes})]."""
        found, inside = [], None
        for line in pathlib.Path(f"/proc/{self.pid}/smaps").read_text().splitlines():
            if head := re.match(r"[0-9a-f]+-[0-9a-f]+ (\S+) ", line):
                inside = line.endswith(" " + self.path)
                if inside:
                    found.append((head[1], {}))
            elif inside and (field := re.match(r"(\w+): +(\d+) kB", line)):
                found[-1][1][field[1]] = int(field[2]) * 1024
        return found

    def status(self, field):
        status = pathlib.Path(f"/proc/{self.pid}/status").read_text()
        return int(re.search(rf"^{field}:\s+(\d+) kB", status, re.M)[1]) * 1024

    def end(self):
        self.process.stdin.close()
        check("llama.cpp ends well", self.process.wait() == 0)


# ---- what is promised ----


def check_mapping(user, size):
    """The model is mapped, shared and read-only; nothing of it is this process's own."""
    mappings = user.mappings()
    total = {field: sum(fields[field] for _, fields in mappings)
             for field in ("Size", "Rss", "Pss", "Private_Dirty", "Anonymous", "FilePmdMapped")} if mappings else {}
    check("the model is mapped shared and read-only", mappings and all(rights == "r--s" for rights, _ in mappings),
          [rights for rights, _ in mappings])
    if not mappings:
        return
    check("nearly all of it is there", total["Rss"] > 0.8 * size, f"{total['Rss']} of {size} bytes")
    check("not a byte of it is private", total["Private_Dirty"] == total["Anonymous"] == 0)
    check("two processes share its pages", total["Pss"] <= 0.51 * total["Rss"] + 4096,
          f"PSS {total['Pss']} of RSS {total['Rss']} bytes")
    if size > 16 * HUGE:
        check("in pages of 2 MiB", total["FilePmdMapped"] > 0.95 * total["Rss"] - HUGE,
              f"{total['FilePmdMapped']} of {total['Rss']} bytes")


def check_model(source, tokens):
    size, name = os.path.getsize(source), "llama-test"
    print(f"== {os.path.basename(source)}, {size} bytes", flush=True)
    plain = LlamaCpp(source, tokens)
    expected = plain.text()
    anonymous, tables = plain.status("RssAnon"), plain.status("VmPTE")
    plain.end()
    check("llama.cpp answers from the ordinary file", bool(expected), repr(expected))

    subprocess.run(["llmosctl", "load", "--name", name, source], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    users = [LlamaCpp(MODELS / name, tokens) for _ in range(2)]
    for user in users:
        text = user.text()
        check("it answers the same from the model in the store", text == expected, repr(text) if text != expected else "")
    for user in users:
        check_mapping(user, size)
        check("and uses no more memory of its own than with the file", user.status("RssAnon") <= anonymous + (4 << 20),
              f"{user.status('RssAnon')} against {anonymous} bytes; page tables {user.status('VmPTE')} against {tables}")
    grants = json.loads(subprocess.run(["llmosctl", "--json", "grants", name], check=True, stdout=subprocess.PIPE).stdout)
    check("both show as its users", {grant["pid"] for grant in grants} == {user.pid for user in users})
    for user in users:
        user.end()
    subprocess.run(["llmosctl", "rm", name], check=True)


def main():
    if sys.argv[1] == "--generate":
        generate(sys.argv[2], int(sys.argv[3]))
        return
    for source in sys.argv[1:]:
        check_model(source, 24 if os.path.getsize(source) < HUGE else 4)
    check("nothing is left", os.listdir(MODELS) == [] and pathlib.Path("/sys/fs/llmos/memory.current").read_text() == "0\n")
    sys.exit(failures > 0)


main()
