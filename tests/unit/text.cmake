# SPDX-License-Identifier: MIT
llmos_test(NAME tokenizer LABEL unit SOURCES
  tokenizer_bpe.cpp tokenizer_image.cpp tokenizer_pairs.cpp tokenizer_round_trip.cpp tokenizer_source.cpp
  tokenizer_special.cpp tokenizer_spm.cpp tokenizer_stream.cpp tokenizer_unicode.cpp tokenizer_words.cpp)
llmos_test(NAME sampler LABEL unit SOURCES sampler_draw.cpp sampler_steps.cpp sampler_stop.cpp)
