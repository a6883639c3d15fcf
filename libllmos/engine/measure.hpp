// SPDX-License-Identifier: MIT
// What a model makes of a given text: how probable it finds it, and where it places it.
#pragma once

#include <span>
#include <string_view>
#include <vector>

#include "engine/engine.hpp"

namespace llmos::core {

// The natural logarithm of each token's probability given those before it; the first token, which nothing precedes, has
// 0. The text is read in windows of the engine's context, each beginning anew. Fails as Engine::step() does.
std::vector<float> score(const std::shared_ptr<Engine>& engine, std::span<const TokenId> tokens,
                         const Engine::Progress& progress = {});

enum class Pooling { mean, last };

// The final hidden states of a text in one vector, of length 1 when `normalize`. The text must fit the context.
std::vector<float> embed(const std::shared_ptr<Engine>& engine, std::span<const TokenId> tokens, Pooling pooling,
                         bool normalize = true);

}  // namespace llmos::core
