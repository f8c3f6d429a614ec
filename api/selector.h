// Label and field selectors: parsing, matching, printing. Pure.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"

namespace api {

namespace json = base::json;
struct LabelSelector;  // api/types.h

// All requirements must hold; none: everything matches.
struct Selector {
  enum class Op { kIn, kNotIn, kExists, kDoesNotExist, kGreater, kLess };
  struct Requirement {
    std::string key;
    Op op;
    std::vector<std::string> values;  // sorted
    bool operator==(const Requirement&) const = default;
  };
  std::vector<Requirement> requirements;
  bool nothing = false;  // matches no object, as an absent LabelSelector does

  bool matches(const std::map<std::string, std::string>& labels) const;
  bool matches(const json::value* labels) const;  // metadata.labels; null: no labels
  bool everything() const { return !nothing && requirements.empty(); }
  std::string text() const;  // "a=b,c in (d,e),!f"; parses to the same
  bool operator==(const Selector&) const = default;
};
base::Result<Selector> parse_selector(std::string_view text);
Selector selector_of(const std::map<std::string, std::string>& labels);  // all equal
base::Result<Selector> selector_of(const LabelSelector& selector);
// A LabelSelector as JSON; null or absent (nullptr): matches nothing.
base::Result<Selector> selector_of_json(const json::value* selector);
// A plain map of labels as JSON, as in a Service or ReplicationController; absent: everything.
Selector selector_of_map(const json::value* labels);

// "metadata.name=x,status.phase!=Failed"
struct FieldSelector {
  struct Term {
    std::string field, value;
    bool equal = true;
  };
  std::vector<Term> terms;
  bool matches(const std::map<std::string, std::string>& fields) const;  // absent fields are ""
  // The value that `field` must equal, or null: lets a list by name become a get.
  const std::string* required_value(std::string_view field) const;
};
base::Result<FieldSelector> parse_field_selector(std::string_view text);

}  // namespace api
