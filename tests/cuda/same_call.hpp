// SPDX-License-Identifier: MIT
// Whether our declarations of a library's calls are those of its own header. Compiled, never run.
#pragma once

#include <type_traits>

namespace llmos::test {

// Of the same size and kind: our handles are pointers of other types, and their enumerations are whole numbers here.
template <typename A, typename B>
constexpr bool alike = sizeof(A) == sizeof(B) && std::is_pointer_v<A> == std::is_pointer_v<B> &&
                       (std::is_enum_v<A> ? std::is_integral_v<B> : std::is_integral_v<A> == std::is_integral_v<B>);

template <typename Theirs, typename Ours>
struct SameCall : std::false_type {};
template <typename Status, typename... A, typename... B>
requires(sizeof...(A) == sizeof...(B)) struct SameCall<Status(A...), int(B...)>
    : std::bool_constant<alike<Status, int> && (alike<A, B> && ...)> {
};

}  // namespace llmos::test

// To be used where the types of our parameters are known.
#define CHECK_CALL(name, symbol, parameters) \
  static_assert(::llmos::test::SameCall<std::remove_pointer_t<decltype(&symbol)>, int parameters>::value, #symbol);
