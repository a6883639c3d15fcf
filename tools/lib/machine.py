#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""machine.py [options] --qemu QEMU... --command COMMAND...: run one machine and judge it.

Starts QEMU, relays the command's streams as they come, and exits with the command's status, but
  124  where it did not end in time,
  125  where the machine broke: the kernel complained, or no status arrived,
whatever the command returned. Runs inside the build root; tools/vm is its only user.
"""
import argparse
import json
import os
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import termios
import time
import tty

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "guest"))
from complaints import complains  # noqa: E402
from frames import CHUNK, EXIT, READY, RESIZE, RUN, STDERR, STDIN, STDOUT, Parser, frame  # noqa: E402

TIMED_OUT, BROKEN = 124, 125
BOOT_TIME = 600  # seconds; the debug kernel, emulated on a busy host, needs minutes
STDIN_AHEAD = 1 << 20  # bytes read from our standard input before the machine took them

class Broken(Exception):
    """The machine did not do its part; the text says how."""


class Terminal:
    """Our terminal, in raw mode from start() to the end of the `with`."""

    def __init__(self) -> None:
        self.saved = None

    def start(self) -> None:
        self.saved = termios.tcgetattr(0)
        tty.setraw(0)

    def __enter__(self):
        return self

    def __exit__(self, *_) -> None:
        if self.saved:
            termios.tcsetattr(0, termios.TCSADRAIN, self.saved)


def terminal_size() -> dict:
    size = os.get_terminal_size(0)
    return {"rows": size.lines, "columns": size.columns}


class Host:
    """Our end of the port."""

    def __init__(self, options, port: socket.socket, qemu: subprocess.Popen, terminal: Terminal) -> None:
        self.options = options
        self.port = port
        self.qemu = qemu
        self.terminal = terminal
        self.parser = Parser()
        self.sending = bytearray()
        self.ready = False
        self.stdin_ended = False
        self.status = None
        self.started = time.monotonic()
        self.selector = selectors.PollSelector()  # unlike epoll, poll takes files too
        self.selector.register(port, selectors.EVENT_READ)

    def resize(self) -> None:
        self.send(frame(RESIZE, json.dumps(terminal_size()).encode()))

    def send(self, data: bytes) -> None:
        self.sending += data
        self.flush()

    def flush(self) -> None:
        """Send what the machine takes now; read our standard input only while little is waiting."""
        try:
            while self.sending:
                del self.sending[: self.port.send(self.sending[:CHUNK])]
        except BlockingIOError:
            pass
        self.selector.modify(self.port, selectors.EVENT_READ | (selectors.EVENT_WRITE if self.sending else 0))
        wanted = self.ready and not self.stdin_ended and len(self.sending) < STDIN_AHEAD
        if wanted and 0 not in self.selector.get_map():
            self.selector.register(0, selectors.EVENT_READ)
        elif not wanted and 0 in self.selector.get_map():
            self.selector.unregister(0)

    def forward_stdin(self) -> None:
        try:
            data = os.read(0, CHUNK)
        except OSError:  # closed, or a terminal that is gone
            data = b""
        self.stdin_ended = not data
        self.send(frame(STDIN, data))

    def start_command(self) -> None:
        order = {"command": self.options.command, "terminal": self.options.tty,
                 "environment": dict(pair.split("=", 1) for pair in self.options.env)}
        if self.options.tty:
            order["size"] = terminal_size()
            order["environment"]["TERM"] = os.environ.get("TERM", "dumb")
            signal.signal(signal.SIGWINCH, lambda *_: self.resize())
            self.terminal.start()
        self.ready = True
        self.say(f"booted in {time.monotonic() - self.started:.1f} s")
        self.send(frame(RUN, json.dumps(order).encode()))

    def say(self, text: str) -> None:
        if self.options.verbose:
            print(f"vm: {text}", file=sys.stderr, flush=True)

    def receive(self) -> bool:
        data = self.port.recv(CHUNK)
        for kind, body in self.parser.feed(data):
            if kind == READY:
                self.start_command()
            elif kind in (STDOUT, STDERR):
                write_all(1 if kind == STDOUT else 2, body)
            elif kind == EXIT:
                self.status = json.loads(body)["status"]
        return bool(data)

    def run(self) -> int:
        """Relay until the status arrives."""
        limit = self.started + self.options.timeout
        while self.status is None:
            now = time.monotonic()
            if now > limit:
                raise TimeoutError
            if not self.ready and now > self.started + BOOT_TIME:
                raise Broken(f"the machine did not boot within {BOOT_TIME} s")
            for key, events in self.selector.select(min(1, limit - now + 0.01)):
                if key.fd == 0:
                    self.forward_stdin()
                elif events & selectors.EVENT_WRITE:
                    self.flush()
                elif not self.receive():
                    raise Broken(f"QEMU ended with status {self.qemu.wait()} before the command's status arrived")
        self.say(f"the command ended after {time.monotonic() - self.started:.1f} s")
        return self.status


def write_all(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]


def complaints(log: str) -> str:
    """The parts of the kernel's log that show what it complained about; empty if it did not."""
    lines = log.splitlines()
    shown = set()
    for number, line in enumerate(lines):
        if complains(line):
            shown.update(range(max(0, number - 3), min(len(lines), number + 45)))
    return "\n".join(lines[number] for number in sorted(shown))


def read_log(path: str) -> str:
    with open(path, encoding="utf-8", errors="replace") as log:
        return log.read()


def tail(path: str) -> str:
    return "\n".join(read_log(path).splitlines()[-25:])


def run(options) -> int:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with Terminal() as terminal:
        command = options.qemu + ["-chardev", f"socket,id=port,fd={theirs.fileno()}"]
        with subprocess.Popen(command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL,
                              start_new_session=True) as qemu:
            theirs.close()
            try:
                return Host(options, ours, qemu, terminal).run()
            finally:
                qemu.kill()


def stalled_early(log: str) -> bool:
    """Did the kernel stall before its first program ran? On a busy host, emulation loses a timer interrupt now and then."""
    return "rcu: INFO:" in log and "as init process" not in log


def fail(text: str, code: int, log: str) -> int:
    print(f"vm: FAILED: {text}", file=sys.stderr)
    if log:
        print(f"vm: from the kernel's log:\n{log}", file=sys.stderr)
    return code


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--run", required=True)
    parser.add_argument("--log-fd", type=int)
    parser.add_argument("--timeout", type=float, default=3600)
    parser.add_argument("--tty", action="store_true")
    parser.add_argument("--verbose", action="store_true")
    parser.add_argument("--env", action="append", default=[])
    parser.add_argument("--qemu", nargs="+")
    arguments, command = sys.argv[1:], []
    if "--command" in arguments:
        split = arguments.index("--command")
        arguments, command = arguments[:split], arguments[split + 1 :]
    qemu = arguments.index("--qemu")
    options = parser.parse_args(arguments[:qemu])
    options.qemu, options.command = arguments[qemu + 1 :], command
    return options


def main() -> int:
    options = parse()
    options.log = f"{options.run}/log"
    try:
        return judge(options)
    finally:
        clean_up(options)


def clean_up(options) -> None:
    """Give the log to who asked for it; remove this machine's folder."""
    if options.log_fd is not None:
        with open(options.log, "rb") as log, open(options.log_fd, "wb") as copy:
            shutil.copyfileobj(log, copy)
    shutil.rmtree(options.run)


def judge(options) -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        try:
            status = run(options)
        except Broken as broken:
            if not stalled_early(read_log(options.log)):
                raise
            print(f"vm: {broken}: the emulated machine lost a timer interrupt while booting; once more", file=sys.stderr)
            status = run(options)
    except TimeoutError:
        return fail(f"the command did not end within {options.timeout:.0f} s", TIMED_OUT,
                    complaints(read_log(options.log)) or tail(options.log))
    except Broken as broken:
        return fail(str(broken), BROKEN, complaints(read_log(options.log)) or tail(options.log))
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except BrokenPipeError:
        return 128 + signal.SIGPIPE
    trouble = complaints(read_log(options.log))
    if trouble:
        return fail(f"the kernel complained (the command itself returned {status})", BROKEN, trouble)
    return status


sys.exit(main())
