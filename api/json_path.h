// The JSONPath that printer columns, selectable fields and kubectl use: ".spec.a[0].b",
// ".items[*].c", "['a.b']", "..name", "[?(@.type=="Ready")].status". Pure, immutable once parsed.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"

namespace api {

class JsonPath {
 public:
  static base::Result<JsonPath> parse(std::string_view text);  // with or without the outer braces
  // Every value the path leads to, in document order; none where a member is absent.
  std::vector<const base::json::value*> find(const base::json::value& root) const;
  const base::json::value* first(const base::json::value& root) const;
  // ".a.b.c" as its names; empty when the path is of another form.
  std::vector<std::string> plain_names() const;

 private:
  struct Step {
    enum class Kind : uint8_t { kName, kIndex, kSlice, kEvery, kDescend, kFilter } kind = Kind::kName;
    std::string name;          // kName; kFilter: the operator, "" tests for existence
    int64_t from = 0, to = 0;  // kIndex: from; kSlice
    bool has_to = false;
    std::vector<Step> left;  // kFilter, relative to the item
    base::json::value right;
  };
  static base::Result<std::vector<Step>> parse_steps(std::string_view text);
  static void follow(const std::vector<Step>& steps, size_t at, const base::json::value& value,
                     std::vector<const base::json::value*>& out);
  static bool holds(const Step& filter, const base::json::value& item);
  std::vector<Step> steps_;
};

}  // namespace api
