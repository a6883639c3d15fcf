// SPDX-License-Identifier: MIT
// The border of the C API: exceptions become negative errno and a message; structs of another length become ours.
#pragma once

#include <cxxabi.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <exception>
#include <new>
#include <type_traits>

#include "system/error.hpp"

namespace llmos::core {

// What llmos_last_error() returns to this thread from now on.
void set_last_error(const char* message) noexcept;

// Runs `body`; returns its result, 0 if it has none, or a negative errno when it throws. A thread that is cancelled
// (pthread_cancel) goes on unwinding.
template <typename Body>
int guarded(Body body) {
  try {
    if constexpr (std::is_void_v<std::invoke_result_t<Body>>) {
      body();
      return 0;
    } else {
      return body();
    }
  } catch (const Failure& failure) {
    set_last_error(failure.what());
    return -failure.code();
  } catch (const std::bad_alloc&) {
    set_last_error("out of memory");
    return -ENOMEM;
  } catch (const std::exception& exception) {
    set_last_error(exception.what());
    return -EIO;
  } catch (const abi::__forced_unwind&) {
    throw;
  } catch (...) {
    set_last_error("a callback threw something that is no std::exception");
    return -EIO;
  }
}

// Refuses a null pointer where one is needed; `what` names the argument.
inline void need(const void* pointer, const char* what) {
  if (!pointer) fail(EINVAL, "the argument \"{}\" is NULL", what);
}

// A struct that begins with its size, as this library knows it: zero-extended when the caller's is older, refused when
// it is newer and says something this library does not know.
template <typename Struct>
Struct sized(const Struct* given, const char* what) {
  need(given, what);
  Struct ours{};
  if (given->size < sizeof(given->size))
    fail(EINVAL, "the field \"size\" of \"{}\" is {}; set it to sizeof(*{})", what, given->size, what);
  const auto* bytes = reinterpret_cast<const unsigned char*>(given);
  std::memcpy(&ours, given, std::min<size_t>(given->size, sizeof(ours)));
  for (size_t i = sizeof(ours); i < given->size; ++i)
    if (bytes[i])
      fail(E2BIG, "\"{}\" says more than this library knows: it is older than the program, update it", what);
  ours.size = sizeof(ours);
  return ours;
}

// Gives back as much as the caller has room for.
template <typename Struct>
void give(Struct* to, const Struct& ours, const char* what) {
  need(to, what);
  const auto size = to->size;
  if (size < sizeof(to->size))
    fail(EINVAL, "the field \"size\" of \"{}\" is {}; set it to sizeof(*{})", what, size, what);
  std::memcpy(to, &ours, std::min<size_t>(size, sizeof(ours)));
  to->size = size;
}

}  // namespace llmos::core
