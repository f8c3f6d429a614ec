// Signatures read into types, once.
#include "api/cel/functions.h"

#include <re2/re2.h>

#include <map>

#include "base/result.h"

namespace api::cel {
namespace {

class Signature {
 public:
  explicit Signature(const char* text) : left_(text) {}

  Overload read(Function function) {
    Overload out;
    out.function = function;
    // "_[_](…)" has brackets of its own, never parentheses.
    size_t open = left_.find('('), dot = std::string_view::npos;
    std::string_view name = left_.substr(0, open);
    if (!name.starts_with('_')) dot = target_end(&open);
    if (dot != std::string_view::npos) {
      std::string_view target = left_.substr(0, dot);
      out.member = !is_namespace(target);
      if (out.member) out.args.push_back(type_from(target));
      name = out.member ? left_.substr(dot + 1, open - dot - 1) : left_.substr(0, open);
    }
    out.name = name;
    left_.remove_prefix(open + 1);
    while (!left_.starts_with(')')) {
      out.args.push_back(type());
      if (left_.starts_with(", ")) left_.remove_prefix(2);
    }
    left_.remove_prefix(2);
    out.result = type();
    SAMPAN_CHECK(left_.empty());
    return out;
  }

 private:
  // Functions that are called as members of a name: math.least(…), optional.of(…).
  static bool is_namespace(std::string_view name) {
    for (std::string_view known : {"optional", "sets", "lists", "format", "strings", "ip", "jsonpatch"})
      if (name == known) return true;
    return false;
  }
  // "list(A).slice(int, int) list(A)": the last dot before the name, and the name's parenthesis.
  size_t target_end(size_t* open) {
    size_t depth = 0, dot = std::string_view::npos;
    for (size_t i = 0; i < left_.size() && (left_[i] != ' ' || depth); ++i) {
      if (left_[i] == '(') ++depth;
      if (left_[i] == ')') --depth;
      if (left_[i] == '.' && !depth) dot = i;
    }
    if (dot != std::string_view::npos) *open = left_.find('(', dot);
    return dot;
  }
  static TypeRef type_from(std::string_view text) {
    Signature inner("");
    inner.left_ = text;
    return inner.type();
  }
  TypeRef type() {
    size_t end = left_.find_first_of("(), ");
    std::string_view name = left_.substr(0, end);
    left_.remove_prefix(name.size());
    auto inner = [&] {
      left_.remove_prefix(1);
      TypeRef out = type();
      left_.remove_prefix(left_.starts_with(", ") ? 2 : 1);
      return out;
    };
    if (name == "list") return list_of(inner());
    if (name == "optional") return optional_of(inner());
    if (name == "map") {
      left_.remove_prefix(1);
      TypeRef key = type();
      left_.remove_prefix(2);
      TypeRef element = type();
      left_.remove_prefix(1);
      return map_of(std::move(key), std::move(element));
    }
    static const std::map<std::string_view, Kind> kPlain = {
        {"bool", Kind::boolean},        {"int", Kind::integer},       {"uint", Kind::uinteger},
        {"double", Kind::real},         {"string", Kind::string},     {"bytes", Kind::bytes},
        {"timestamp", Kind::timestamp}, {"duration", Kind::duration}, {"null", Kind::null},
        {"type", Kind::type},           {"dyn", Kind::dyn},           {"object", Kind::object}};
    if (auto found = kPlain.find(name); found != kPlain.end()) return simple(found->second);
    auto made = std::make_shared<Type>();
    made->kind = name.size() == 1 ? Kind::parameter : Kind::opaque;
    made->name = name;
    return made;
  }
  std::string_view left_;
};

struct Registry {
  std::map<std::string, std::vector<Overload>, std::less<>> functions, members;
  Registry() {
    for (auto rows : {core_functions(), text_functions(), time_functions(), list_functions(), net_functions(),
                      kubernetes_functions(), authorizer_functions()})
      for (const Row& row : rows) {
        Overload made = Signature(row.signature).read(row.function);
        auto& of = made.member ? members : functions;
        of[made.name].push_back(std::move(made));
      }
  }
};
}  // namespace

std::span<const Overload> overloads_of(std::string_view name, bool member) {
  static const Registry registry;
  const auto& of = member ? registry.members : registry.functions;
  auto found = of.find(name);
  return found == of.end() ? std::span<const Overload>() : std::span<const Overload>(found->second);
}

bool accepts(const Type& wanted, const Value& value) {
  switch (wanted.kind) {
    case Kind::dyn:
    case Kind::parameter: return true;
    case Kind::object: return value.kind == Kind::map;
    case Kind::opaque:
      return value.kind == Kind::opaque && opaque_as<Opaque>(value)->type_name() == wanted.name;
    default: return wanted.kind == value.kind;
  }
}

std::shared_ptr<const re2::RE2> compile_pattern(std::string_view text) {
  re2::RE2::Options options(re2::RE2::Quiet);
  options.set_max_mem(8 << 20);
  return std::make_shared<re2::RE2>(re2::StringPiece(text.data(), text.size()), options);
}
std::shared_ptr<const re2::RE2> pattern_of(Context& context, const Node& call, std::string_view text) {
  auto pattern = call.pattern ? call.pattern : compile_pattern(text);
  if (pattern->ok()) return pattern;
  context.fail("error parsing regexp: " + pattern->error());
  return nullptr;
}

}  // namespace api::cel
