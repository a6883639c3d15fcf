// SPDX-License-Identifier: MIT
// What the opaque handles of the C API are.
#pragma once

#include <llmos/llmos.h>

#include <memory>
#include <string>
#include <vector>

#include "engine/engine.hpp"
#include "engine/session.hpp"
#include "store/store.hpp"

struct llmos_store {
  std::shared_ptr<llmos::core::Store> store;  // shared with the models opened from it
};

struct llmos_model {
  std::shared_ptr<llmos::core::Model> model;  // shared with the engines made of it
  std::shared_ptr<llmos::core::Store> store;  // where its index may be
};

struct llmos_writer {
  std::unique_ptr<llmos::core::Writer> writer;
  std::shared_ptr<llmos::core::Store> store;
  std::vector<std::byte> signature;
  llmos_model_options options;  // its pointers are set at the seal; only progress and context are the caller's
};

struct llmos_engine {
  std::shared_ptr<llmos::core::Engine> engine;
};

struct llmos_session {
  explicit llmos_session(std::shared_ptr<llmos::core::Engine> engine) : session(std::move(engine)) {}

  llmos::core::Session session;
  std::string text;  // of the last token given out
  std::vector<llmos_token_probability> alternatives;
};
