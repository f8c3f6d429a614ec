// A command line asks one thing at a time: waits for an answer of the callback kind on its loop.
#pragma once

#include <functional>
#include <optional>

#include "base/loop.h"
#include "base/result.h"

namespace cli {

// `begin` is given the callback to pass on; it is called exactly once, also when the peer is lost.
template <typename T>
base::Result<T> await(base::Loop& loop,
                      const std::function<void(std::function<void(base::Result<T>)>)>& begin) {
  auto answer = std::make_shared<std::optional<base::Result<T>>>();
  begin([answer](base::Result<T> result) { answer->emplace(std::move(result)); });
  while (!*answer) loop.run_once(std::chrono::hours(1));
  return std::move(**answer);
}

}  // namespace cli
