#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What nvcc made of the kernels, for every architecture: no spills, no narrow loads where weights stream, enough warps.

usage: image_gate.py IMAGE LOG KERNELS ARCHITECTURE...

IMAGE is the fat binary, LOG what ptxas said about it with -v, KERNELS how many there are. No device is needed, and
nothing here says how fast they are.
"""
import collections
import re
import struct
import sys

# Of each architecture: threads and bytes of shared memory that a multiprocessor holds. All have 64 Ki registers.
MULTIPROCESSORS = {75: (1024, 64), 80: (2048, 164), 86: (1536, 100), 87: (1536, 164), 88: (1536, 100), 89: (1536, 100),
                   90: (2048, 228), 100: (2048, 228), 103: (2048, 228), 110: (1536, 228), 120: (1536, 100), 121: (1536, 100)}
REGISTERS, RESERVED_SHARED, THREADS = 65536, 1024, 128  # threads: of a block of the kernels with a bound below

# Warps at least that a multiprocessor has of a kernel at a time: what keeps memory, or tensor cores, busy meanwhile.
LEAST_WARPS = {"multiply_one": 12, "multiply_many": 12, "attend": 24, "multiply_tiles": 4, "flash": 4}

# Narrow loads at most in a kernel whose weights should come in 16-byte pieces, and what they are: scales.
NARROW = {"f32": 0, "f16": 0, "bf16": 0, "q4_0": 4, "q5_0": 4, "q8_0": 4, "q4_k": 0, "q5_k": 0, "q6_k": 12}

# Machine instructions by their lowest 9 bits, and the width of an access, as in every architecture since 7.0.
LOAD_GLOBAL, LOAD_LOCAL, STORE_LOCAL, MATRIX = 0x181, 0x183, 0x187, 0x03C
LOAD_MATRICES, COPY_TO_SHARED = 0x03B, 0x1AE
WIDTHS = (8, 8, 16, 16, 32, 64, 128, 128)


def compiled(log):
    """{(kernel, architecture): (registers, shared bytes, spilled or stacked bytes)}"""
    found = {}
    pattern = (r"entry function 'llmos_(\w+)' for 'sm_(\d+)\w?'.*?(\d+) bytes stack frame, (\d+) bytes spill stores, "
               r"(\d+) bytes spill loads.*?Used (\d+) registers([^\n]*)")
    for name, architecture, *spills, registers, rest in re.findall(pattern, log, re.DOTALL):
        shared = re.search(r"(\d+) bytes smem", rest)
        found[name, int(architecture)] = (int(registers), int(shared[1]) if shared else 0, sum(map(int, spills)))
    return found


def warps(registers, shared, architecture):
    """How many of its warps a multiprocessor holds."""
    threads, kibibytes = MULTIPROCESSORS[architecture]
    of_warp = (registers * 32 + 255) // 256 * 256
    blocks = min(threads // THREADS, REGISTERS // (of_warp * THREADS // 32), kibibytes * 1024 // (shared + RESERVED_SHARED))
    return blocks * THREADS // 32


def sections(elf):
    table, = struct.unpack_from("<Q", elf, 0x28)
    count, names = struct.unpack_from("<HH", elf, 0x3C)
    headers = [struct.unpack_from("<IIQQQQIIQQ", elf, table + 64 * i) for i in range(count)]
    for name, kind, _, _, offset, size, *_ in headers:
        begin = headers[names][4] + name
        if kind == 1:
            yield elf[begin:elf.index(b"\0", begin)].decode(), elf[offset:offset + size]


def machine_code(image):
    """(architecture, kernel, its instructions by opcode and width) of everything in a fat binary."""
    offset, = struct.unpack_from("<H", image, 6)
    while offset < len(image):
        kind, _, header, size = struct.unpack_from("<HHIQ", image, offset)
        architecture, = struct.unpack_from("<I", image, offset + 28)
        entry = image[offset + header:offset + header + size]
        offset += header + size
        if kind != 2:  # PTX
            continue
        if entry[:4] != b"\x7fELF":
            sys.exit(f"the machine code for {architecture} is compressed, and cannot be read here")
        for name, code in sections(entry):
            if name.startswith(".text.llmos_"):
                words = (struct.unpack_from("<QQ", code, i) for i in range(0, len(code), 16))
                yield architecture, name.removeprefix(".text.llmos_"), collections.Counter(
                    (low & 0x1FF, WIDTHS[high >> 9 & 7]) for low, high in words)


def kind_of(kernel):
    return next((kind for kind in LEAST_WARPS if kernel.startswith(kind)), None)


def complaints_of_log(log):
    for (kernel, architecture), (registers, shared, spilled) in log.items():
        if spilled:
            yield f"{kernel} for {architecture} spills or keeps a stack: {spilled} bytes"
        kind = kind_of(kernel)
        if kind and warps(registers, shared, architecture) < LEAST_WARPS[kind]:
            yield (f"{kernel} for {architecture} has {warps(registers, shared, architecture)} warps on a multiprocessor "
                   f"({registers} registers, {shared} bytes shared); {LEAST_WARPS[kind]} are wanted")


def complaints_of_code(kernel, architecture, counts):
    if any(counts[opcode, width] for opcode in (LOAD_LOCAL, STORE_LOCAL) for width in WIDTHS):
        yield f"{kernel} for {architecture} uses local memory"
    if kernel.startswith("multiply_one_"):
        narrow = sum(counts[LOAD_GLOBAL, width] for width in (8, 16))
        if counts[LOAD_GLOBAL, 128] < 4:
            yield f"{kernel} for {architecture} has no 16-byte load for each of its 4 rows"
        if narrow > NARROW[kernel.removeprefix("multiply_one_")]:
            yield f"{kernel} for {architecture} has {narrow} narrow loads"
    has = {opcode for opcode, _ in counts}
    if kernel.startswith(("multiply_tiles_", "flash_")) and MATRIX not in has:
        yield f"{kernel} for {architecture} does not use the tensor cores"
    if kernel.startswith("flash_") and LOAD_MATRICES not in has:
        yield f"{kernel} for {architecture} reads its tiles without ldmatrix"
    if kernel.startswith("flash_f16_") and architecture >= 80 and COPY_TO_SHARED not in has:
        yield f"{kernel} for {architecture} copies its tiles through registers"


def main(image_path, log_path, kernels, *architectures):
    with open(image_path, "rb") as image, open(log_path, encoding="utf-8") as log:
        said, code = compiled(log.read()), list(machine_code(image.read()))
    expected = int(kernels) * len(architectures)
    complaints = [*complaints_of_log(said)]
    for architecture, kernel, counts in code:
        complaints += complaints_of_code(kernel, architecture, counts)
    if len(said) != expected or len(code) != expected:
        complaints.append(f"{len(said)} kernels in the log and {len(code)} in the image; there should be {expected}")
    if complaints:
        sys.exit("\n".join(complaints))
    print(f"{kernels} kernels, {len(architectures)} architectures: no spills, no stack, no narrow loads of weights;")
    for kind in LEAST_WARPS:
        least = min((warps(*said[key][:2], key[1]), *key) for key in said if key[0].startswith(kind))
        print(f"  {kind}: {least[0]} warps a multiprocessor at least ({least[1]} for {least[2]})")


main(*sys.argv[1:])
