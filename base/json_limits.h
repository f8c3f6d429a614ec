// How deep JSON may nest, and the parsers for what stands inside something else or was read before.
#pragma once

#include "base/json.h"

namespace base {

// kMaxJsonDepth, so many arrays and objects inside each other, is the one limit: of what is sent
// (JSON, YAML, protocol buffers), of what patches, apply, admission and conversion make of it, and
// of what is stored, so that whatever was taken can be read back. All walks over values are
// recursive and rely on it. (Kubernetes: 10,000.)
constexpr const char* kTooDeep = "exceeded max depth";  // as Go's decoder says it
// Of what carries such objects: a list, an event of a watch, a review.
constexpr size_t kMaxCarrierDepth = kMaxJsonDepth + 8;

Result<json::value> parse_json_carrier(std::string_view text);
// What was parsed or made by one of us before: spares the look for numbers that no reader takes.
Result<json::value> parse_checked_json(std::string_view text, json::storage_ptr storage = {},
                                       size_t max_depth = kMaxJsonDepth);
// Whether at most so many arrays and objects of `value` stand inside each other. Looks no deeper.
bool nests_within(const json::value& value, size_t levels = kMaxJsonDepth);

}  // namespace base
