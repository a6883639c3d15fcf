# SPDX-License-Identifier: MIT
"""Process 1 of the machine: runs the command that tools/vm sends, relays its streams, reports its exit status.

Being process 1 it survives whatever the command kills, and it reaps every orphan. Should it die all the same the kernel
panics, no status is reported, and tools/vm counts that as a failure.
"""
import errno
import fcntl
import json
import os
import pty
import selectors
import signal
import struct
import subprocess
import sys
import termios
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from frames import CHUNK, EXIT, READY, RESIZE, RUN, STDERR, STDIN, STDOUT, Parser, frame  # noqa: E402

LINGER = 2  # seconds that output of what the command left running is still relayed
FINISH = "/mnt/.llmos/finish"


def open_port() -> int:
    folder = "/sys/class/virtio-ports"
    for port in os.listdir(folder):
        with open(f"{folder}/{port}/name", encoding="ascii") as name:
            if name.read().strip() == "llmos":
                return os.open(f"/dev/{port}", os.O_RDWR)
    raise SystemExit("no virtio port named llmos")


def write_all(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]


def set_size(terminal: int, size: dict) -> None:
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", size["rows"], size["columns"], 0, 0))


class Relay:
    """One command, its streams and the port."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.parser = Parser()
        self.selector = selectors.DefaultSelector()
        self.terminal = None
        self.stdin = None
        self.pending = bytearray()  # bytes for the command's standard input
        self.closing = False  # its end of file comes after them
        self.outputs = set()
        self.child = None
        self.status = None
        self.wake, waker = os.pipe()
        os.set_blocking(waker, False)
        os.set_blocking(self.wake, False)
        signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self.selector.register(port, selectors.EVENT_READ)
        self.selector.register(self.wake, selectors.EVENT_READ)
        write_all(port, frame(READY))

    def start(self, order: dict) -> None:
        environment = {**os.environ, **order["environment"]}
        try:
            streams = self.open_terminal(order) if order["terminal"] else self.open_pipes()
            child = subprocess.Popen(order["command"], env=environment, cwd="/root", start_new_session=True,
                                     preexec_fn=take_terminal if order["terminal"] else None, **streams)
            self.child = child.pid
        except OSError as error:
            write_all(self.port, frame(STDERR, f"{order['command'][0]}: {error.strerror}\n".encode()))
            self.status = 127 if error.errno == errno.ENOENT else 126
            self.outputs.clear()
            return
        for stream in set(streams.values()):
            os.close(stream)

    def open_terminal(self, order: dict) -> dict:
        self.terminal, slave = pty.openpty()
        set_size(self.terminal, order["size"])
        self.stdin = os.dup(self.terminal)
        os.set_blocking(self.stdin, False)
        self.add_output(self.terminal, STDOUT)
        return {"stdin": slave, "stdout": slave, "stderr": slave}

    def open_pipes(self) -> dict:
        stdin, self.stdin = os.pipe()
        out, stdout = os.pipe()
        err, stderr = os.pipe()
        self.add_output(out, STDOUT)
        self.add_output(err, STDERR)
        os.set_blocking(self.stdin, False)
        return {"stdin": stdin, "stdout": stdout, "stderr": stderr}

    def add_output(self, fd: int, kind: int) -> None:
        self.outputs.add(fd)
        self.selector.register(fd, selectors.EVENT_READ, kind)

    def receive(self) -> None:
        for kind, body in self.parser.feed(os.read(self.port, CHUNK)):
            if kind == RUN:
                self.start(json.loads(body))
            elif kind == RESIZE and self.terminal is not None:
                set_size(self.terminal, json.loads(body))
            elif kind == STDIN:
                self.pending += body
                self.closing = self.closing or not body
        self.feed_stdin()

    def feed_stdin(self) -> None:
        """Write what the command takes now; while some is left, nothing more is read from the port."""
        try:
            while self.pending and self.stdin is not None:
                del self.pending[: os.write(self.stdin, self.pending[:4096])]
        except BlockingIOError:
            pass
        except OSError:  # the command closed it, or is gone
            self.pending.clear()
            self.closing = True
        if self.closing and not self.pending:
            self.close_stdin()
        self.watch_stdin(bool(self.pending))

    def watch_stdin(self, waiting: bool) -> None:
        watched = self.selector.get_map()
        if waiting and self.stdin not in watched:
            self.selector.register(self.stdin, selectors.EVENT_WRITE)
            self.selector.unregister(self.port)
        elif not waiting and self.port not in watched:
            self.selector.register(self.port, selectors.EVENT_READ)
            if self.stdin is not None:
                self.selector.unregister(self.stdin)

    def close_stdin(self) -> None:
        if self.stdin is None:
            return
        if self.stdin in self.selector.get_map():
            self.selector.unregister(self.stdin)
        os.close(self.stdin)
        self.stdin = None

    def send(self, fd: int, kind: int) -> None:
        try:
            data = os.read(fd, CHUNK)
        except BlockingIOError:
            return
        except OSError:  # a terminal whose last user is gone
            data = b""
        if data:
            write_all(self.port, frame(kind, data))
        else:
            self.selector.unregister(fd)
            self.outputs.discard(fd)

    def reap(self) -> None:
        try:
            os.read(self.wake, 4096)
        except BlockingIOError:
            pass
        try:
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return
                if pid == self.child:
                    code = os.waitstatus_to_exitcode(status)
                    self.status = code if code >= 0 else 128 - code
        except ChildProcessError:
            pass

    def run(self) -> int:
        """Relay until the command has ended and its output is told."""
        deadline = None
        while self.status is None or (self.outputs and time.monotonic() < deadline):
            for key, _ in self.selector.select(1 if deadline else None):
                if key.fd == self.wake:
                    self.reap()
                elif key.fd == self.port:
                    self.receive()
                elif key.data is not None:
                    self.send(key.fd, key.data)
                else:
                    self.feed_stdin()
            if self.status is not None and deadline is None:
                deadline = time.monotonic() + LINGER
        return self.status


def take_terminal() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def finish(port: int) -> None:
    """Last checks, for their effect on the kernel log; their own words go to standard error."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    done = subprocess.run([FINISH], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    write_all(port, frame(STDERR, done.stdout))


def main() -> None:
    port = open_port()
    status = Relay(port).run()
    finish(port)
    write_all(port, frame(EXIT, json.dumps({"status": status}).encode()))
    time.sleep(60)  # the host ends the machine


main()
