#include "api/json_path.h"

#include <algorithm>
#include <charconv>

namespace api {

namespace json = base::json;

namespace {

constexpr size_t kMaxText = 1024;

base::Error bad_path(std::string_view text, std::string why) {
  return base::make_error(base::Kind::kInvalid, "parse JSONPath", std::string(text), std::move(why));
}
std::string_view trim(std::string_view text) {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
  return text;
}
bool read_number(std::string_view text, int64_t* out) {
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *out);
  return error == std::errc() && end == text.data() + text.size();
}
// Where the bracket that opens at text[0] closes; quotes and inner brackets are skipped.
size_t closing(std::string_view text) {
  int depth = 0;
  char quote = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (quote) {
      if (c == '\\') ++i;
      else if (c == quote) quote = 0;
    } else if (c == '\'' || c == '"') {
      quote = c;
    } else if (c == '[') {
      ++depth;
    } else if (c == ']' && --depth == 0) {
      return i;
    }
  }
  return std::string_view::npos;
}

}  // namespace

base::Result<JsonPath> JsonPath::parse(std::string_view text) {
  if (text.size() > kMaxText) return bad_path(text.substr(0, 32), "longer than 1024 bytes");  // filters nest
  std::string_view inner = trim(text);
  if (inner.starts_with('{') && inner.ends_with('}')) inner = inner.substr(1, inner.size() - 2);
  if (inner.starts_with('$')) inner.remove_prefix(1);
  JsonPath out;
  out.steps_ = TRY(parse_steps(inner));
  return out;
}

base::Result<std::vector<JsonPath::Step>> JsonPath::parse_steps(std::string_view text) {
  std::vector<Step> steps;
  std::string_view all = text;
  while (!text.empty()) {
    if (steps.size() > 64) return bad_path(all, "more than 64 steps");
    if (text.starts_with("..")) {
      for (const Step& step : steps)  // two would visit every pair of values
        if (step.kind == Step::Kind::kDescend) return bad_path(all, "\"..\" stands twice");
      steps.push_back({Step::Kind::kDescend, {}, 0, 0, false, {}, {}});
      text.remove_prefix(1);  // a name follows
    }
    if (text.front() == '[') {
      size_t end = closing(text);
      if (end == std::string_view::npos) return bad_path(all, "unterminated array");
      std::string_view inner = trim(text.substr(1, end - 1));
      text.remove_prefix(end + 1);
      Step step;
      if (inner == "*") {
        step.kind = Step::Kind::kEvery;
      } else if (inner.size() >= 2 && (inner.front() == '\'' || inner.front() == '"') &&
                 inner.back() == inner.front()) {
        step.name = inner.substr(1, inner.size() - 2);
      } else if (inner.starts_with("?(") && inner.ends_with(')')) {
        step.kind = Step::Kind::kFilter;
        std::string_view filter = trim(inner.substr(2, inner.size() - 3)), left = filter;
        for (std::string_view op : {"==", "!=", "<=", ">=", "<", ">"}) {
          size_t at = filter.find(op);
          if (at == std::string_view::npos) continue;
          left = trim(filter.substr(0, at));
          step.name = op;
          std::string right(trim(filter.substr(at + op.size())));
          if (right.size() >= 2 && right.front() == '\'' && right.back() == '\'')
            right.front() = right.back() = '"';
          auto value = base::parse_json(right);
          if (!value.ok())
            return bad_path(all, "the right side of " + std::string(op) + " is not a constant");
          step.right = std::move(*value);
          break;
        }
        if (!left.starts_with('@')) return bad_path(all, "a filter begins with @");
        step.left = TRY(parse_steps(left.substr(1)));
      } else if (size_t colon = inner.find(':'); colon != std::string_view::npos) {
        step.kind = Step::Kind::kSlice;
        std::string_view from = trim(inner.substr(0, colon)), to = trim(inner.substr(colon + 1));
        step.has_to = !to.empty();
        if ((!from.empty() && !read_number(from, &step.from)) || (step.has_to && !read_number(to, &step.to)))
          return bad_path(all, "invalid array index " + std::string(inner));
      } else {
        step.kind = Step::Kind::kIndex;
        if (!read_number(inner, &step.from))
          return bad_path(all, "invalid array index " + std::string(inner));
      }
      steps.push_back(std::move(step));
      continue;
    }
    if (text.front() != '.')
      return bad_path(all, "unexpected " + std::string(text.substr(0, 1)) + ": a path begins with '.'");
    text.remove_prefix(1);
    Step step;
    size_t i = 0;
    for (; i < text.size() && text[i] != '.' && text[i] != '['; ++i) {
      if (text[i] == '\\' && i + 1 < text.size()) ++i;  // "\." is part of the name
      step.name.push_back(text[i]);
    }
    text.remove_prefix(i);
    if (step.name.empty()) {
      if (text.empty() || text.front() == '[') continue;  // ".": the object itself; ".[0]"
      return bad_path(all, "an empty name");
    }
    if (step.name == "*") step.kind = Step::Kind::kEvery;
    steps.push_back(std::move(step));
  }
  return steps;
}

bool JsonPath::holds(const Step& filter, const json::value& item) {
  std::vector<const json::value*> found;
  follow(filter.left, 0, item, found);
  if (found.empty()) return false;
  if (filter.name.empty()) return true;
  const json::value& left = *found[0];
  if (filter.name == "==") return left == filter.right;
  if (filter.name == "!=") return left != filter.right;
  int order;
  if (left.is_number() && filter.right.is_number()) {
    double a = left.to_number<double>(), b = filter.right.to_number<double>();
    order = a < b ? -1 : a > b;
  } else if (left.is_string() && filter.right.is_string()) {
    order = left.get_string().compare(filter.right.get_string());
  } else {
    return false;
  }
  if (filter.name == "<") return order < 0;
  if (filter.name == "<=") return order <= 0;
  if (filter.name == ">") return order > 0;
  return order >= 0;
}

void JsonPath::follow(const std::vector<Step>& steps, size_t at, const json::value& value,
                      std::vector<const json::value*>& out) {
  if (at == steps.size()) {
    out.push_back(&value);
    return;
  }
  const Step& step = steps[at];
  const json::object* object = value.if_object();
  const json::array* list = value.if_array();
  switch (step.kind) {
    case Step::Kind::kName:
      if (const json::value* member = object ? object->if_contains(step.name) : nullptr)
        follow(steps, at + 1, *member, out);
      return;
    case Step::Kind::kEvery:
      if (list)
        for (const json::value& item : *list) follow(steps, at + 1, item, out);
      if (object)
        for (const auto& item : *object) follow(steps, at + 1, item.value(), out);
      return;
    case Step::Kind::kFilter:
      if (list)
        for (const json::value& item : *list)
          if (holds(step, item)) follow(steps, at + 1, item, out);
      return;
    case Step::Kind::kDescend:
      follow(steps, at + 1, value, out);
      if (list)
        for (const json::value& item : *list) follow(steps, at, item, out);
      if (object)
        for (const auto& item : *object) follow(steps, at, item.value(), out);
      return;
    case Step::Kind::kIndex:
    case Step::Kind::kSlice: {
      if (!list) return;
      int64_t size = static_cast<int64_t>(list->size());
      auto bounded = [&](int64_t i) { return std::clamp<int64_t>(i < 0 ? i + size : i, 0, size); };
      if (step.kind == Step::Kind::kIndex) {
        int64_t i = step.from < 0 ? step.from + size : step.from;
        if (i >= 0 && i < size) follow(steps, at + 1, (*list)[static_cast<size_t>(i)], out);
        return;
      }
      for (int64_t i = bounded(step.from), end = step.has_to ? bounded(step.to) : size; i < end; ++i)
        follow(steps, at + 1, (*list)[static_cast<size_t>(i)], out);
      return;
    }
  }
}

std::vector<const json::value*> JsonPath::find(const json::value& root) const {
  std::vector<const json::value*> out;
  follow(steps_, 0, root, out);
  return out;
}
const json::value* JsonPath::first(const json::value& root) const {
  auto found = find(root);
  return found.empty() ? nullptr : found[0];
}
std::vector<std::string> JsonPath::plain_names() const {
  std::vector<std::string> out;
  for (const Step& step : steps_) {
    if (step.kind != Step::Kind::kName) return {};
    out.push_back(step.name);
  }
  return out;
}

}  // namespace api
