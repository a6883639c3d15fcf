#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The part of tools/demo that runs in the virtual machine: demo-guest.py MODEL-FILE.

Shows, step by step and with what it measures, a model that is in kernel memory
once and used by several ordinary programs. Exits 1 when anything shown is not so.
"""
import contextlib
import json
import mmap
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

MODELS = pathlib.Path("/sys/fs/llmos/models")
MIB = 1 << 20
rows = []  # of the closing table: (what, measured, held)

# Maps the file given, touches every page, says so, and goes on touching until its standard input ends.
TOUCHER = """
import mmap, sys, select
file = open(sys.argv[1], "rb")
view = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
while True:
    total = sum(view[i] for i in range(0, len(view), 4096))
    print(total, flush=True)
    if select.select([sys.stdin], [], [], 0.2)[0]:
        break
"""
# The same on a private copy, as a program that reads its model into its own memory has it.
COPIER = TOUCHER.replace("view = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)", "view = file.read()")


def say(text):
    print(f"\n\033[1m== {text}\033[0m" if sys.stdout.isatty() else f"\n== {text}", flush=True)


def show(what, measured, held):
    rows.append((what, measured, held))
    print(f"   {what}: {measured}{'' if held else '   <-- NOT AS PROMISED'}", flush=True)


def run(*command, **options):
    return subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE, **options).stdout


def llmosctl(*arguments):
    return json.loads(run("llmosctl", "--json", *arguments) or "null")


def memory_used():
    fields = dict(re.findall(r"^(\w+): +(\d+) kB", pathlib.Path("/proc/meminfo").read_text(), re.M))
    return (int(fields["MemTotal"]) - int(fields["MemAvailable"])) * 1024


def in_models():
    return int(pathlib.Path("/sys/fs/llmos/memory.current").read_text())


def pss(pid, path):
    """Bytes of a process's proportional share of its mappings of path; of all memory when path is None."""
    total, inside = 0, path is None
    for line in pathlib.Path(f"/proc/{pid}/smaps").read_text().splitlines():
        if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
            inside = path is None or line.endswith(str(path))
        elif inside and line.startswith("Pss:"):
            total += int(line.split()[1]) * 1024
    return total


def page_tables(pid):
    return int(re.search(r"VmPTE:\s+(\d+) kB", pathlib.Path(f"/proc/{pid}/status").read_text())[1]) * 1024


@contextlib.contextmanager
def four(program, path):
    """Four processes that have touched all of path."""
    children = [subprocess.Popen([sys.executable, "-c", program, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                 text=True) for _ in range(4)]
    try:
        for child in children:
            child.stdout.readline()
        yield children
    finally:
        for child in children:
            child.stdin.close()
        for child in children:
            child.stdout.read()
            child.wait()


def load(source, name):
    say(f"A model is loaded once: llmosctl load --name {name} {source}")
    before = in_models()
    start = time.monotonic()
    subprocess.run(["llmosctl", "load", "--name", name, source], check=True)
    seconds = time.monotonic() - start
    size = os.path.getsize(source)
    print(run("llmosctl", "ls"), end="")
    show("loaded into kernel memory, digested, sealed", f"{size / MIB:.0f} MiB in {seconds:.1f} s", True)
    taken, index = in_models() - before, llmosctl("stat", name + ".index")["bytes"]
    least = size + index
    show("memory it takes, with its prepared index", f"{taken / MIB:.1f} MiB", least <= taken < least + 2 * 4096)
    digest = llmosctl("stat", name)["digest"].split(":")[-1]
    expected = run("fsverity", "digest", "--compact", source).strip()
    show("digest is what fsverity says of the file", digest[:16] + "…", digest == expected)


def use(name, source):
    path = MODELS / name
    say(f"Four ordinary programs use it at once, by its path {path}")
    commands = {
        "cmp": ["cmp", path, source],
        "sha256sum": ["sha256sum", path],
        "Python mmap": [sys.executable, "-c",
                        "import mmap,sys,hashlib; f=open(sys.argv[1],'rb'); m=mmap.mmap(f.fileno(),0,prot=1); "
                        "print(hashlib.sha256(m).hexdigest())", path],
        "dd with O_DIRECT": ["dd", f"if={path}", "of=/dev/null", "bs=4M", "iflag=direct", "status=none"],
    }
    running = {what: subprocess.Popen(command, stdout=subprocess.PIPE, text=True, user="bob", group="bob", extra_groups=[])
               for what, command in commands.items()}
    grants = len(llmosctl("grants", name))
    outputs = {what: process.communicate()[0].split() for what, process in running.items()}
    for what, process in running.items():
        show(what, "ok" if process.returncode == 0 else f"exit status {process.returncode}", process.returncode == 0)
    show("two of them agree on its SHA-256", outputs["sha256sum"][0][:16] + "…",
         outputs["sha256sum"][0] == outputs["Python mmap"][0])
    print(f"   ({grants} grants were open at the same time)")


def share(name, source):
    path = MODELS / name
    size = os.path.getsize(source)
    say("Memory: four processes on the one model, then four with private copies")
    base = memory_used()
    with four(TOUCHER, path) as children:
        shared = memory_used() - base
        once = sum(pss(child.pid, path) for child in children)
        tables = max(page_tables(child.pid) for child in children)
    with four(COPIER, source) as children:
        private = memory_used() - base
        copies = sum(pss(child.pid, None) for child in children)
        copy_tables = max(page_tables(child.pid) for child in children)
    show("four processes, the sum of their shares (PSS) of the model", f"{once / MIB:.0f} MiB",
         abs(once - size) < 0.02 * size)
    show("four private copies, the sum of their PSS", f"{copies / MIB:.0f} MiB", copies > 3.9 * size)
    show("memory used more than before, shared against copies", f"{shared / MIB:.0f} against {private / MIB:.0f} MiB",
         shared < 0.5 * size and private > 3.5 * size)
    show("page tables of one process, shared against copy", f"{tables >> 10} against {copy_tables >> 10} KiB",
         tables < copy_tables)


def revoke(name):
    path = MODELS / name
    say("One of four is revoked while it runs; the others go on")
    with four(TOUCHER, path) as children:
        victim, others = children[0], children[1:]
        print(run("llmosctl", "grants", name), end="")
        print(run("llmosctl", "revoke", name, "--pid", str(victim.pid)), end="")
        status = victim.wait(timeout=120)
        show("the revoked process", signal.Signals(-status).name if status < 0 else f"exit status {status}",
             status == -signal.SIGBUS)
        for child in others:
            child.stdout.readline()  # of a pass that may have begun before
            child.stdout.readline()
        alive = [child for child in others if child.poll() is None]
        show("the other three", f"{len(alive)} still reading", len(alive) == 3)


def speak(name, expected):
    say("Four processes generate text from the one copy")
    if not expected:
        print("   (left out: this file is not a language model that llmosctl run knows)")
        return
    command = ["llmosctl", "run", name, "--prompt", os.environ["LLMOS_PROMPT"], "--predict", "6", "--temp", "0", "--raw"]
    writers = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) for _ in range(4)]
    texts = [writer.communicate()[0] for writer in writers]
    print(f"   {os.environ['LLMOS_PROMPT']}\033[1m{texts[0].rstrip()}\033[0m")
    show("four texts, and the one generated outside the machine", "identical" if set(texts) == {expected} else
         f"{texts} against {expected!r}", set(texts) == {expected})


def kill_loader(source):
    say("A loader is killed half-way: nothing is left behind")
    before = in_models()
    data, size = open(source, "rb"), os.path.getsize(source)
    loader = subprocess.Popen(["llmosctl", "load", "--quiet", "--name", "half", "--bytes", str(size), "-"],
                              stdin=subprocess.PIPE)
    for _ in range(size // 2 // MIB):
        loader.stdin.write(data.read(MIB))
    during = in_models() - before
    loader.kill()
    loader.wait()
    deadline = time.monotonic() + 10
    while in_models() != before and time.monotonic() < deadline:
        time.sleep(0.1)
    show("memory of the half-loaded model, before and after the kill",
         f"{during / MIB:.0f} MiB, {(in_models() - before) / MIB:.0f} MiB", during >= size and in_models() == before)
    show("its name", "absent", not (MODELS / "half").exists())


def map_writable(path):
    with open(path, "rb") as file:
        return mmap.mmap(file.fileno(), 0, prot=mmap.PROT_WRITE)


def unchangeable(name):
    path = MODELS / name
    say("Nobody changes a byte, root included")
    refusals = []
    for what, attempt in {
        "open for writing": lambda: open(path, "r+b"),
        "truncate": lambda: os.truncate(path, 0),
        "unlink": lambda: os.unlink(path),
        "chmod": lambda: os.chmod(path, 0o666),
        "mmap shared writable": lambda: map_writable(path),
    }.items():
        try:
            attempt()
        except OSError as error:
            refusals.append(f"{what}: {error.strerror}")
        else:
            refusals.append(f"{what}: ALLOWED")
    show("writing, truncating, unlinking, chmod, mapping writable", "all refused" if "ALLOWED" not in str(refusals)
         else str(refusals), "ALLOWED" not in str(refusals))


def main():
    source, name = sys.argv[1], os.path.basename(sys.argv[1])
    print(f"Linux {os.uname().release}, llmos {pathlib.Path('/sys/fs/llmos/version').read_text().strip()}, "
          f"{os.cpu_count()} processors (an emulated machine: times mean nothing)")
    load(source, name)
    use(name, source)
    unchangeable(name)
    share(name, source)
    speak(name, os.environ.get("LLMOS_TEXT"))
    revoke(name)
    kill_loader(source)
    say("What was shown")
    width = max(len(what) for what, _, _ in rows)
    for what, measured, held in rows:
        print(f"  {'ok  ' if held else 'FAIL'}  {what:<{width}}  {measured}")
    sys.exit(not all(held for _, _, held in rows))


if __name__ == "__main__":
    main()
