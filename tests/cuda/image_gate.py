#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What nvcc made of the kernels, for every architecture: no spills, no narrow loads where weights stream, no more
instructions for what is loaded than there have to be, enough warps.

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

# Instructions at most for each byte that a kernel's main loop loads in pieces of 8 bytes or more, for architectures up to
# 9.0 and from 10.0 on: what nvcc 13.0 made of them, and a twentieth more. See main_loop().
INSTRUCTIONS = {
    "multiply_one_f32": (1.6, 1.2), "multiply_many_f32": (6.1, 5.9),
    "multiply_one_f16": (2.3, 1.9), "multiply_many_f16": (8.1, 7.4),
    "multiply_one_bf16": (2.3, 1.9), "multiply_many_bf16": (8.1, 7.4),
    "multiply_one_q4_0": (12.2, 12.4), "multiply_many_q4_0": (31.1, 31.5),
    "multiply_one_q5_0": (17.4, 17.1), "multiply_many_q5_0": (36.3, 36.1),
    "multiply_one_q8_0": (7.0, 6.1), "multiply_many_q8_0": (17.1, 17.3),
    "multiply_one_q4_k": (9.6, 7.8), "multiply_many_q4_k": (24.3, 21.9),
    "multiply_one_q5_k": (8.9, 7.7), "multiply_many_q5_k": (18.7, 17.1),
    "multiply_one_q6_k": (9.9, 9.9), "multiply_many_q6_k": (19.5, 19.7),
    "attend_f16": (4.7, 4.6), "attend_q8_0": (10.0, 9.1),
}

# Machine instructions by their lowest 9 bits, and the width of an access, as in every architecture since 7.0.
LOAD, LOAD_GLOBAL, LOAD_LOCAL, STORE_LOCAL, MATRIX = 0x180, 0x181, 0x183, 0x187, 0x03C
LOAD_MATRICES, COPY_TO_SHARED, BRANCH, MULTIPLY_ADD = 0x03B, 0x1AE, 0x147, 0x023
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
    """(architecture, kernel, its instructions as pairs of words) of everything in a fat binary."""
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
                yield architecture, name.removeprefix(".text.llmos_"), list(struct.iter_unpack("<QQ", code))


def by_kind(instructions):
    """How many there are of each opcode and width."""
    return collections.Counter((low & 0x1FF, WIDTHS[high >> 9 & 7]) for low, high in instructions)


def target(instructions, index, architecture):
    """Where the branch at this index goes: its distance from the next instruction is in bits 34 to 81, in words of 4
    bytes; since 9.0 its lowest 8 bits are in bits 16 to 23."""
    low, high = instructions[index]
    distance = low >> 34 | (high & 0x3FFFF) << 30
    distance -= distance >> 47 << 48
    if architecture >= 90:
        distance = distance << 8 | low >> 16 & 0xFF
    return index + 1 + distance // 4


def main_loop(instructions, architecture):
    """(length, bytes of wide loads) of the loop that goes through the weights, of which a lane loads so many bytes each
    time. A loop is what a branch backwards jumps over. The one wanted is the shortest with wide loads from global memory
    and multiply-adds: those that stage activations do not multiply, those around it are longer. All that lies in it is
    counted, also what only some passes take."""
    loops = []
    for end, (low, _) in enumerate(instructions):
        begin = target(instructions, end, architecture) if low & 0x1FF == BRANCH else end
        if begin >= end:
            continue
        counts = by_kind(instructions[begin:end + 1])
        wide = sum(counts[opcode, width] * width // 8 for opcode in (LOAD, LOAD_GLOBAL) for width in (64, 128))
        if wide and any(opcode == MULTIPLY_ADD for opcode, _ in counts):
            loops.append((end + 1 - begin, wide))
    return min(loops, default=(0, 0))


def instructions_a_byte(instructions, architecture):
    """None: there is no such loop."""
    length, wide = main_loop(instructions, architecture)
    return length / wide if wide else None


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


def complaints_of_loop(kernel, architecture, found):
    if kernel not in INSTRUCTIONS:
        yield f"{kernel} has no bound on its instructions"
        return
    allowed = INSTRUCTIONS[kernel][architecture >= 100]
    if found is None:
        yield f"{kernel} for {architecture} has no loop with wide loads and multiply-adds"
    elif found > allowed:
        yield f"{kernel} for {architecture} takes {found:.2f} instructions for a byte that is loaded; {allowed} are allowed"


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
    complaints, needed = [*complaints_of_log(said)], collections.defaultdict(list)
    for architecture, kernel, instructions in code:
        complaints += complaints_of_code(kernel, architecture, by_kind(instructions))
        if kernel.startswith(("multiply_one_", "multiply_many_", "attend_")):
            needed[kernel].append((instructions_a_byte(instructions, architecture), architecture))
            complaints += complaints_of_loop(kernel, architecture, needed[kernel][-1][0])
    if len(said) != expected or len(code) != expected:
        complaints.append(f"{len(said)} kernels in the log and {len(code)} in the image; there should be {expected}")
    if complaints:
        sys.exit("\n".join(complaints))
    print(f"{kernels} kernels, {len(architectures)} architectures: no spills, no stack, no narrow loads of weights;")
    for kind in LEAST_WARPS:
        least = min((warps(*said[key][:2], key[1]), *key) for key in said if key[0].startswith(kind))
        print(f"  {kind}: {least[0]} warps a multiprocessor at least ({least[1]} for {least[2]})")
    print("instructions in the main loop for a byte that it loads, at most:")
    for kernel in INSTRUCTIONS:
        print("  {}: {:.2f} (for {})".format(kernel, *max(needed[kernel])))


main(*sys.argv[1:])
