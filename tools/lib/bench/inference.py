#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Decode, prefill, attach and memory of llmos beside llama.cpp and the read bandwidth, interleaved; see tools/bench inference."""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

LLAMA = ("llama.cpp repacked", "llama.cpp mapped")
HUGE = "llmos, 2 MiB pages"
COLUMNS = (("decode_tok_s", "decode tok/s", 2), ("prefill_tok_s", "prefill tok/s", 1), ("first_token_s", "first token s", 3))
# What is aimed at: (figure, the better is higher, ratio to llama.cpp's best mode) by type.
FOUR_BITS = ("Q4_0", "Q4_K")
DECODE_TARGET = {"Q4_0": 1.3, "Q4_K": 1.3, "Q8_0": 1.2, "F16": 1.2}
PREFILL_TARGET, ATTACH_TARGET = 1.4, 0.25


class Bench:
    """The programs to be measured, as commands for one model."""

    def __init__(self, options, path):
        self.options, self.path = options, str(path)

    def runs(self, tokens):
        """{name: command}, to which when it began has yet to be added."""
        o = self.options
        size = [f"threads={o.threads}", f"prompt={o.prompt}", f"tokens={tokens}"]
        commands = {"llmos": [o.program, "run", self.path, *size, "probe=1", "since={}"]}
        if tokens and not o.no_huge:
            commands[HUGE] = [o.program, "run", self.path, *size, "huge=1", "probe=1", "since={}"]
        if not tokens:
            commands["llmos without index"] = [o.program, "run", self.path, *size, "index=0", "since={}"]
        for name in LLAMA if o.peer else ():
            commands[name] = [o.peer, "run", self.path, str(o.threads), str(o.prompt), str(tokens), "{}", name.split()[1]]
        return commands

    def holds(self):
        commands = {"llmos": [self.options.program, "hold", self.path]}
        for name in LLAMA if self.options.peer else ():
            commands[name] = [self.options.peer, "hold", self.path, name.split()[1]]
        return commands


def run(command):
    begin = str(time.clock_gettime_ns(time.CLOCK_MONOTONIC))
    ready = [part.replace("{}", begin) for part in command]
    done = subprocess.run(ready, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(ready)}: {done.stderr.strip()}")
    return {**json.loads(done.stdout), "load": os.getloadavg()[0]}


def interleave(commands, rounds):
    """[{name: result}], one of each a round, and the next round begins with the next."""
    names, found = list(commands), []
    for i in range(rounds):
        order = names[i % len(names):] + names[:i % len(names)]
        results = {name: run(commands[name]) for name in order}
        found.append({name: results[name] for name in names})
    return found


def memory(command, count):
    """Means over that many processes that have the model at once."""
    users = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(count)]
    try:
        for user in users:
            if user.stdout.readline() != "ready\n":
                sys.exit(f"{' '.join(command)} did not start")
        uses = []
        for user in users:
            user.stdin.write("memory\n")
            user.stdin.flush()
            uses.append(json.loads(user.stdout.readline()))
    finally:
        for user in users:
            user.stdin.close()
            user.wait()
    return {**{key: statistics.mean(use[key] for use in uses) for key in uses[0]}, "pss_sum_kib": sum(u["pss_kib"] for u in uses)}


def spread(rounds, name, key):
    values = [r[name][key] for r in rounds if key in r[name]]
    return {"median": statistics.median(values), "min": min(values), "max": max(values)} if values else None


def summary(rounds):
    return {name: {key: spread(rounds, name, key) for key, value in rounds[0][name].items() if isinstance(value, (int, float))}
            for name in rounds[0]}


def ratio(rounds, key, lower=False):
    """Of llmos to the better mode of llama.cpp, round by round; the median."""
    best = min if lower else max
    return statistics.median(r["llmos"][key] / best(r[name][key] for name in LLAMA) for r in rounds)


def targets(kind, runs, attaches, memories):
    """[(what, found, bound, met)]"""
    found = []
    if runs:
        decode = ratio(runs, "decode_tok_s")
        found.append(("decode to llama.cpp's best", decode, f">= {DECODE_TARGET[kind]}", decode >= DECODE_TARGET[kind]))
        prefill = statistics.median(r["llmos"]["prefill_tok_s"] / r[LLAMA[0]]["prefill_tok_s"] for r in runs)
        wanted = f">= {PREFILL_TARGET}" if kind in FOUR_BITS else ""
        found.append(("prefill to llama.cpp repacked", prefill, wanted, not wanted or prefill >= PREFILL_TARGET))
    if attaches:
        attach = statistics.median(r["llmos"]["first_token_s"] / r[LLAMA[1]]["first_token_s"] for r in attaches)
        found.append(("start to first token to llama.cpp mapped", attach, f"<= {ATTACH_TARGET}", attach <= ATTACH_TARGET))
    if memories:
        private = max(use["llmos"]["private_of_file_kib"] for use in memories.values())
        found.append(("private KiB of weights", private, "<= 0", private == 0))
    return found


def cell(value, digits):
    return f"{value['median']:.{digits}f} ({value['min']:.{digits}f}\u2013{value['max']:.{digits}f})" if value else ""


def print_runs(kind, results, attaches):
    print(f"\n{kind:24} {'decode tok/s':>22} {'of bandwidth':>18} {'prefill tok/s':>26} {'start to first token s':>24} {'CPU':>6}")
    for name in {**results, **attaches}:
        r, a = results.get(name, {}), attaches.get(name, {})
        share = r.get("bandwidth_share") and {k: 100 * v for k, v in r["bandwidth_share"].items()}
        cpu = r.get("decode_cpu")
        print(f"  {name:22} {cell(r.get('decode_tok_s'), 2):>22} {cell(share, 0) + (' %' if share else ''):>18}"
              f" {cell(r.get('prefill_tok_s'), 1):>26} {cell(a.get('first_token_s'), 3):>24}"
              f" {str(round(100 * cpu['median'])) + ' %' if cpu else '':>6}")


def print_memory(memories):
    print(f"  {'MiB of a process':22}" + "".join(f"{f'private, of {n}':>18}{'shared':>10}{'sum PSS':>10}" for n in memories))
    for name in next(iter(memories.values())):
        print(f"  {name:22}" + "".join(f"{use[name]['private_kib'] / 1024:18.0f}{use[name]['shared_kib'] / 1024:10.0f}"
                                       f"{use[name]['pss_sum_kib'] / 1024:10.0f}" for use in memories.values()))


def warm(path):
    """Brings the file into the page cache, where a model that is used stays."""
    with open(path, "rb", buffering=0) as file:
        while file.read(16 << 20):
            pass


def measure(options, kind):
    path = options.folder / f"{kind}.gguf"
    if not path.exists() or not path.with_suffix(".gguf.index").exists():
        partial = path.with_suffix(".gguf.partial")
        subprocess.run([options.program, "make", kind, partial], check=True)
        pathlib.Path(f"{partial}.index").rename(f"{path}.index")
        partial.rename(path)
    warm(path)
    bench = Bench(options, path)
    runs = interleave(bench.runs(options.tokens), options.rounds)
    attaches = interleave(bench.runs(0), options.rounds)
    memories = {count: {name: memory(command, count) for name, command in bench.holds().items()}
                for count in options.processes}
    result = {"runs": summary(runs), "attach": summary(attaches), "memory": memories, "rounds": {"runs": runs, "attach": attaches}}
    if options.peer:
        result["targets"] = [dict(zip(("what", "found", "bound", "met"), t)) for t in targets(kind, runs, attaches, memories)]
    if not options.json:
        print_runs(kind, result["runs"], result["attach"])
        print_memory(memories)
        for target in result.get("targets", ()):
            verdict = "" if not target["bound"] else "met" if target["met"] else "MISSED"
            print(f"  {target['what']}: {target['found']:.2f} {target['bound'] and '(' + target['bound'] + ')'} {verdict}".rstrip())
        sys.stdout.flush()
    if not options.keep:
        path.unlink()
        pathlib.Path(f"{path}.index").unlink()
    return result


def machine():
    model = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "?")
    return {"cpu": model, "cpus": len(os.sched_getaffinity(0)), "kernel": os.uname().release}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--program", required=True)
    parser.add_argument("--peer", help="bench_llama_cpp")
    parser.add_argument("--folder", type=pathlib.Path, required=True)
    parser.add_argument("--types", default="Q4_0,Q4_K,Q8_0,F16")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--prompt", type=int, default=512)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--processes", type=lambda text: [int(n) for n in text.split(",")], default=[1, 2, 4])
    parser.add_argument("--no-huge", action="store_true")
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    before = os.getloadavg()[0]
    if not options.json:
        print(f"{machine()['cpu']}, {options.threads} threads; prompt of {options.prompt}, {options.tokens} tokens; medians of"
              f" {options.rounds} interleaved rounds (lowest\u2013highest); load average before: {before:.1f}")
    results = {kind: measure(options, kind) for kind in options.types.split(",")}
    loads = [run["load"] for result in results.values() for r in result["rounds"]["runs"] for run in r.values()]
    if options.json:
        print(json.dumps({"machine": machine(), "load_before": before, "types": results}, indent=1))
    else:
        print(f"\nload average during the runs: {min(loads):.1f}\u2013{max(loads):.1f} (their own {options.threads} threads included);"
              " CPU: how much of its processors a run got; of bandwidth: weights read a second, against the fastest\nof many"
              " reads of huge pages by all threads in the same process")
    missed = [t for result in results.values() for t in result.get("targets", ()) if not t["met"]]
    return 1 if options.check and missed else 0


if __name__ == "__main__":
    sys.exit(main())
