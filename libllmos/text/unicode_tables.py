#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes unicode_tables.inc: the class of every code point, as text/unicode.hpp names them.

    pip install unicodedata2==15.1.0 && python3 unicode_tables.py > unicode_tables.inc

Unicode 15.1 is what llama.cpp's tables hold: another version would cut texts with newer letters differently. The
version that was used is written into the table.
"""

import unicodedata2 as unicodedata

BLOCK = 256
CODE_POINTS = 0x110000

# The property White_Space, which no general category expresses.
WHITE_SPACE = {*range(0x09, 0x0E), 0x20, 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F, 0x205F,
               0x3000}
# In the order of enum class CharacterClass.
CLASSES = ["other", "space", "upper", "lower", "letter", "mark", "number", "punctuation", "symbol"]
BY_CATEGORY = {"Lu": "upper", "Lt": "upper", "Ll": "lower", "Lm": "letter", "Lo": "letter",
               "M": "mark", "N": "number", "P": "punctuation", "S": "symbol"}


def character_class(code_point):
    if code_point in WHITE_SPACE:
        return "space"
    category = unicodedata.category(chr(code_point))
    return BY_CATEGORY.get(category, BY_CATEGORY.get(category[0], "other"))


def rows(values):
    line = ""
    for value in values:
        item = f"{value},"
        if len(line) + len(item) > 116:
            yield "    " + line
            line = ""
        line += item
    yield "    " + line


def main():
    classes = bytes(CLASSES.index(character_class(code_point)) for code_point in range(CODE_POINTS))
    blocks, index = [], []
    for start in range(0, CODE_POINTS, BLOCK):
        block = classes[start:start + BLOCK]
        if block not in blocks:
            blocks.append(block)
        index.append(blocks.index(block))
    assert len(blocks) <= 256
    # Two classes to a byte, the even code point in the low half.
    packed = [low | high << 4 for block in blocks for low, high in zip(block[::2], block[1::2])]

    print("// SPDX-License-Identifier: MIT")
    print(f"// Made by unicode_tables.py from Unicode {unicodedata.unidata_version}; do not edit.")
    print(f"constexpr uint32_t block_size = {BLOCK};")
    print(f"constexpr uint8_t block_of[{len(index)}] = {{")
    print("\n".join(rows(index)))
    print("};")
    print(f"constexpr uint8_t packed_classes[{len(packed)}] = {{")
    print("\n".join(rows(packed)))
    print("};")


if __name__ == "__main__":
    main()
