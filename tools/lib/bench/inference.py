#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Decode, prefill and attach of llmos beside llama.cpp and the read bandwidth, interleaved; see tools/bench inference."""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
ORACLE = HERE.parents[2] / "tests/oracle"


def peer(path, threads, prompt, tokens, repack):
    """Runs in the environment of tests/oracle, one process a measurement, as llmos is measured."""
    sys.path.insert(0, str(ORACLE))
    start = time.monotonic()
    from peer import Peer
    start = time.monotonic()
    model = Peer(path, context=prompt + tokens + 8, threads=threads, repack=repack)
    attach = time.monotonic() - start
    ids = [1000 + i * 37 % 50000 for i in range(prompt)]
    model.decode(ids[:1], want="last")
    first = time.monotonic() - start
    model.forget()
    start = time.monotonic()
    model.decode(ids, want="last")
    prefill = time.monotonic() - start
    start = time.monotonic()
    for i in range(tokens):
        model.decode(ids[:1], prompt + i, want="last")
    decode = time.monotonic() - start
    anonymous = next(int(line.split()[1]) for line in open("/proc/self/smaps_rollup") if line.startswith("Anonymous:"))
    print(json.dumps({"attach_s": attach, "first_token_s": first, "prefill_tok_s": prompt / prefill,
                      "decode_tok_s": tokens / decode, "private_kib": anonymous}))


def measure(options, path):
    """One round: llmos, then llama.cpp in both its modes where it can be had."""
    size = [str(options.threads), str(options.prompt), str(options.tokens)]
    commands = {"llmos": [options.program, "measure", path, *size]}
    if options.python:
        for name, repack in (("llama.cpp repacked", "1"), ("llama.cpp shared", "0")):
            commands[name] = [options.python, "-B", __file__, "--peer", path, *size, repack]
    return {name: json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            for name, command in commands.items()}


def medians(rounds):
    return {name: {key: statistics.median(r[name][key] for r in rounds) for key, value in rounds[0][name].items()
                   if isinstance(value, (int, float))} for name in rounds[0]}


def table(kind, results):
    print(f"{kind:6} {'':20} {'decode tok/s':>13} {'share':>6} {'prefill tok/s':>14} {'attach s':>9} {'first token s':>14}"
          f" {'private MiB':>12}")
    for name, r in results.items():
        share = f"{100 * r['decode_share']:.0f} %" if "decode_share" in r else ""
        print(f"{'':6} {name:20} {r['decode_tok_s']:13.2f} {share:>6} {r['prefill_tok_s']:14.1f} {r['attach_s']:9.3f}"
              f" {r['first_token_s']:14.3f} {r['private_kib'] / 1024:12.0f}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--program", required=True)
    parser.add_argument("--python", help="of an environment with llama.cpp")
    parser.add_argument("--folder", type=pathlib.Path, required=True)
    parser.add_argument("--types", default="Q4_0,Q4_K,Q8_0,F16")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--prompt", type=int, default=512)
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    results = {}
    for kind in options.types.split(","):
        path = options.folder / f"{kind}.gguf"
        if not path.exists():
            subprocess.run([options.program, "make", kind, path.with_suffix(".partial")], check=True)
            path.with_suffix(".partial").rename(path)
        results[kind] = medians([measure(options, str(path)) for _ in range(options.rounds)])
        if not options.json:
            table(kind, results[kind])
    if options.json:
        print(json.dumps(results, indent=1))
    else:
        print(f"medians of {options.rounds} interleaved rounds, {options.threads} threads, load average"
              f" {os.getloadavg()[0]:.1f}; share: of the read bandwidth measured in the same process")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--peer"]:
        peer(sys.argv[2], *map(int, sys.argv[3:6]), sys.argv[6] == "1")
    else:
        main()
