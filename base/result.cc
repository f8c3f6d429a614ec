#include "base/result.h"

#include <cstring>

namespace base {

std::string_view kind_name(Kind kind) {
  switch (kind) {
    case Kind::kInvalid: return "invalid";
    case Kind::kNotFound: return "not found";
    case Kind::kExists: return "exists";
    case Kind::kConflict: return "conflict";
    case Kind::kDenied: return "denied";
    case Kind::kTimeout: return "timeout";
    case Kind::kUnavailable: return "unavailable";
    case Kind::kExhausted: return "exhausted";
    case Kind::kUnsupported: return "unsupported";
    case Kind::kCanceled: return "canceled";
    case Kind::kCorrupt: return "corrupt";
    case Kind::kInternal: return "internal";
  }
  return "unknown";
}

std::string Error::message() const {
  std::string out = operation;
  if (!subject.empty()) out += (out.empty() ? "" : " ") + subject;
  std::string why = reason;
  if (errno_value != 0) {
    const char* name = strerrorname_np(errno_value);
    if (why.empty()) why = strerrordesc_np(errno_value) ? strerrordesc_np(errno_value) : "error";
    why += std::string(" (") + (name ? name : "?") + ")";
  }
  if (why.empty() && !cause) why = std::string(kind_name(kind));
  if (!why.empty()) out += (out.empty() ? "" : ": ") + why;
  if (cause) out += (out.empty() ? "" : ": ") + cause->message();
  if (!hint.empty()) out += ": " + hint;
  return out;
}

Error wrap(Error cause, std::string operation, std::string subject) {
  Error outer;
  outer.kind = cause.kind;
  outer.operation = std::move(operation);
  outer.subject = std::move(subject);
  outer.cause = std::make_shared<const Error>(std::move(cause));
  return outer;
}

}  // namespace base
