// Result<T>: a value or an Error that says what was tried, on what, why it failed and what to do.
// Owns the error vocabulary of every program; never throws, never logs.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

namespace base {

// What a caller can decide on. errno is mapped to a kind in base/sys.cc alone.
enum class Kind {
  kInvalid,  // the input is wrong; trying again cannot help
  kNotFound,
  kExists,
  kConflict,  // somebody changed it first; observe again
  kDenied,    // EPERM, EACCES, 401, 403
  kTimeout,
  kUnavailable,  // the peer or device does not answer now; try again later
  kExhausted,    // disk, memory, fds, pids, a limit
  kUnsupported,  // the kernel or the peer lacks the feature
  kCanceled,
  kCorrupt,  // stored bytes do not check out
  kInternal,
};
std::string_view kind_name(Kind kind);

struct Error {
  Kind kind = Kind::kInternal;
  int errno_value = 0;    // 0 when no system call failed
  std::string operation;  // "mount overlay"
  std::string subject;    // "/var/lib/sampan/…/merged"; may be empty
  std::string reason;     // "lowerdir missing"; empty: errno's text
  std::string hint;       // "pull the image again"; may be empty
  std::shared_ptr<const Error> cause;

  // "operation on subject: reason (ERRNO): hint: cause's message", on one line.
  std::string message() const;
};

inline Error make_error(Kind kind, std::string operation, std::string subject = {}, std::string reason = {},
                        std::string hint = {}) {
  return Error{kind,   0, std::move(operation), std::move(subject), std::move(reason), std::move(hint),
               nullptr};
}
// Wraps `cause`, keeping its kind and errno, with what the caller was trying to do.
Error wrap(Error cause, std::string operation, std::string subject = {});

[[noreturn]] inline void fatal(const char* what, const char* file, int line) {
  std::fprintf(stderr, "%s:%d: broken invariant: %s\n", file, line, what);
  std::abort();
}
// An invariant of ours. Bad input must never reach one. On in release builds too.
#define SAMPAN_CHECK(condition) ((condition) ? (void)0 : ::base::fatal(#condition, __FILE__, __LINE__))

template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}      // NOLINT: implicit
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}  // NOLINT: implicit

  bool ok() const { return state_.index() == 0; }
  explicit operator bool() const { return ok(); }
  T& value() & {
    SAMPAN_CHECK(ok());
    return std::get<0>(state_);
  }
  const T& value() const& {
    SAMPAN_CHECK(ok());
    return std::get<0>(state_);
  }
  T&& value() && {
    SAMPAN_CHECK(ok());
    return std::get<0>(std::move(state_));
  }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }
  const Error& error() const& {
    SAMPAN_CHECK(!ok());
    return std::get<1>(state_);
  }
  Error&& error() && {
    SAMPAN_CHECK(!ok());
    return std::get<1>(std::move(state_));
  }
  T value_or(T fallback) && { return ok() ? std::get<0>(std::move(state_)) : std::move(fallback); }

 private:
  std::variant<T, Error> state_;
};

template <>
class [[nodiscard]] Result<void> {
 public:
  Result() = default;
  Result(Error error) : error_(std::move(error)) {}  // NOLINT: implicit
  bool ok() const { return !error_.has_value(); }
  explicit operator bool() const { return ok(); }
  void value() const { SAMPAN_CHECK(ok()); }
  const Error& error() const& {
    SAMPAN_CHECK(!ok());
    return *error_;
  }
  Error&& error() && {
    SAMPAN_CHECK(!ok());
    return std::move(*error_);
  }

 private:
  std::optional<Error> error_;
};
using Status = Result<void>;

// auto fd = TRY(sys::open(...)); returns the Error to the caller on failure.
#define TRY(expression)                                           \
  ({                                                              \
    auto try_result_ = (expression);                              \
    if (!try_result_.ok()) return std::move(try_result_).error(); \
    std::move(try_result_).value();                               \
  })
// The same, saying what the caller was doing: TRY_WRAP(read(fd), "read image index", path).
#define TRY_WRAP(expression, operation, subject)                                                        \
  ({                                                                                                    \
    auto try_result_ = (expression);                                                                    \
    if (!try_result_.ok()) return ::base::wrap(std::move(try_result_).error(), (operation), (subject)); \
    std::move(try_result_).value();                                                                     \
  })
// A failure that changes nothing for the caller; `why` is for the reader.
template <typename T>
void ignore(const Result<T>&, const char* why) {
  (void)why;
}

}  // namespace base
