// Tokens into a tree, by precedence; comprehensions are nodes of their own, not loops spelled out.
// Nesting, size and number of nodes are bounded, so that no text can exhaust the stack or memory.
#include <algorithm>

#include "api/cel/ast.h"
#include "api/cel/lexer.h"

namespace api::cel {
namespace {

constexpr std::string_view kReserved[] = {"as",        "break",  "const",  "continue", "else", "for",
                                          "function",  "if",     "import", "let",      "loop", "package",
                                          "namespace", "return", "var",    "void",     "while"};

struct MacroRow {
  std::string_view name;
  size_t variables, args;  // behind the target: variables, then expressions
  Macro macro;
};
constexpr MacroRow kMacros[] = {
    {"all", 1, 1, Macro::all},
    {"all", 2, 1, Macro::all},
    {"exists", 1, 1, Macro::exists},
    {"exists", 2, 1, Macro::exists},
    {"exists_one", 1, 1, Macro::exists_one},
    {"existsOne", 1, 1, Macro::exists_one},
    {"existsOne", 2, 1, Macro::exists_one},
    {"map", 1, 1, Macro::map},
    {"map", 1, 2, Macro::map},
    {"filter", 1, 1, Macro::filter},
    {"transformList", 2, 1, Macro::transform_list},
    {"transformList", 2, 2, Macro::transform_list},
    {"transformMap", 2, 1, Macro::transform_map},
    {"transformMap", 2, 2, Macro::transform_map},
    {"transformMapEntry", 2, 1, Macro::transform_map_entry},
    {"transformMapEntry", 2, 2, Macro::transform_map_entry},
    {"optMap", 1, 1, Macro::opt_map},
    {"optFlatMap", 1, 1, Macro::opt_flat_map},
    {"sortBy", 1, 1, Macro::sort_by},
};

class Parser {
 public:
  explicit Parser(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}

  NodePtr run() {
    NodePtr out = expression();
    if (out && now().kind != Token::Kind::end) return unexpected();
    return out;
  }
  std::string error;
  uint32_t error_at = 0;

 private:
  const Token& now() const { return tokens_[at_]; }
  bool is(std::string_view symbol) const { return now().kind == Token::Kind::symbol && now().text == symbol; }
  bool take(std::string_view symbol) {
    if (!is(symbol)) return false;
    ++at_;
    return true;
  }
  NodePtr fail(std::string text, uint32_t at) {
    if (error.empty()) error = std::move(text), error_at = at;
    return nullptr;
  }
  NodePtr unexpected() {
    std::string found = now().kind == Token::Kind::end       ? "<EOF>"
                        : now().kind == Token::Kind::literal ? shown(now().literal)
                                                             : std::string(now().text);
    return fail("Syntax error: mismatched input '" + found + "'", now().at);
  }
  bool need(std::string_view symbol) { return take(symbol) || (unexpected(), false); }

  NodePtr node(Op op, uint32_t at) {
    if (++nodes_ > kMaxNodes) return fail("expression has too many parts", at);
    auto made = std::make_unique<Node>();
    made->op = op;
    made->at = at;
    return made;
  }
  // Adds what may be null (an error is set then).
  bool add(Node& to, NodePtr part) {
    if (!part) return false;
    to.depth = std::max(to.depth, part->depth + 1);
    if (to.depth > kMaxDepth)
      return fail("expression recursion limit exceeded. limit: " + std::to_string(kMaxDepth), to.at), false;
    to.args.push_back(std::move(part));
    return true;
  }
  NodePtr call(std::string_view name, uint32_t at, NodePtr a, NodePtr b = nullptr, bool two = false) {
    NodePtr made = node(Op::call, at);
    if (!made || !add(*made, std::move(a)) || (two && !add(*made, std::move(b)))) return nullptr;
    made->name = name;
    return made;
  }

  struct Nested {  // counts brackets and the like that are open
    explicit Nested(Parser& in) : parser(in) { ++parser.open_; }
    ~Nested() { --parser.open_; }
    Parser& parser;
  };

  NodePtr expression() {
    Nested nested(*this);
    if (open_ > kMaxDepth)
      return fail("expression recursion limit exceeded. limit: " + std::to_string(kMaxDepth), now().at);
    NodePtr condition = junction(Op::either, "||");
    if (!condition || !is("?")) return condition;
    uint32_t at = now().at;
    ++at_;
    NodePtr made = node(Op::choose, at);
    if (!made || !add(*made, std::move(condition)) || !add(*made, junction(Op::either, "||")) || !need(":") ||
        !add(*made, expression()))
      return nullptr;
    return made;
  }
  // a && b && c is one node, so that long chains are not deep.
  NodePtr junction(Op op, std::string_view symbol) {
    auto part = [&] { return op == Op::either ? junction(Op::both, "&&") : relation(); };
    NodePtr first = part();
    if (!first || !is(symbol)) return first;
    NodePtr made = node(op, now().at);
    if (!made || !add(*made, std::move(first))) return nullptr;
    while (take(symbol))
      if (!add(*made, part())) return nullptr;
    return made;
  }
  NodePtr relation() {
    NodePtr left = sum();
    for (;;) {
      if (!left) return nullptr;
      std::string_view symbol = now().text;
      uint32_t at = now().at;
      const char* name = nullptr;
      if (now().kind == Token::Kind::ident && symbol == "in") name = "@in";
      if (now().kind == Token::Kind::symbol)
        for (const char* known : {"_<_", "_<=_", "_>_", "_>=_", "_==_", "_!=_"})
          if (std::string_view(known).substr(1, std::string_view(known).size() - 2) == symbol) name = known;
      if (!name) return left;
      ++at_;
      NodePtr right = sum();
      left = right ? call(name, at, std::move(left), std::move(right), true) : nullptr;
    }
  }
  NodePtr chain(NodePtr (Parser::*part)(),
                std::initializer_list<std::pair<std::string_view, const char*>> operators) {
    NodePtr left = (this->*part)();
    for (;;) {
      if (!left) return nullptr;
      const char* name = nullptr;
      for (const auto& [symbol, function] : operators)
        if (is(symbol)) name = function;
      if (!name) return left;
      uint32_t at = now().at;
      ++at_;
      NodePtr right = (this->*part)();
      left = right ? call(name, at, std::move(left), std::move(right), true) : nullptr;
    }
  }
  NodePtr sum() { return chain(&Parser::product, {{"+", "_+_"}, {"-", "_-_"}}); }
  NodePtr product() { return chain(&Parser::unary, {{"*", "_*_"}, {"/", "_/_"}, {"%", "_%_"}}); }
  NodePtr unary() {
    uint32_t at = now().at;
    if (is("!")) {
      bool odd = false;
      while (take("!")) odd = !odd;
      NodePtr in = member();
      return !in || !odd ? std::move(in) : call("!_", at, std::move(in));
    }
    if (!is("-")) return member();
    bool odd = false;
    while (take("-")) odd = !odd;
    const Token& next = now();
    bool number = next.kind == Token::Kind::literal &&
                  (next.literal.kind == Kind::integer || next.literal.kind == Kind::real);
    if (number && odd) {
      // A literal of its own: the least int has no positive.
      Token& literal = tokens_[at_];
      if (literal.literal.kind == Kind::real) literal.literal.real = -literal.literal.real;
      else if (!literal.negatable) literal.literal.integer = -literal.literal.integer;
      literal.negatable = false;
      return member();
    }
    NodePtr in = member();
    return !in || !odd ? std::move(in) : call("-_", at, std::move(in));
  }

  NodePtr member() {
    NodePtr target = primary();
    for (;;) {
      if (!target) return nullptr;
      uint32_t at = now().at;
      if (take(".") || is(".?")) {
        bool optional = take(".?");
        if (now().kind != Token::Kind::ident) return unexpected();
        std::string_view name = now().text;
        uint32_t name_at = now().at;
        ++at_;
        if (!optional && is("(")) target = invoke(std::move(target), name, name_at);
        else target = selected(optional ? Op::optional_select : Op::select, std::move(target), name, at);
      } else if (is("[") || is("[?")) {
        bool optional = is("[?");
        ++at_;
        NodePtr index = expression();
        if (!index || !need("]")) return nullptr;
        target = call(optional ? "_[?_]" : "_[_]", at, std::move(target), std::move(index), true);
      } else if (is("{") && !path_of(*target).empty()) {
        target = construct(std::move(target));
      } else {
        return target;
      }
    }
  }
  // "a.b.c"; empty for what is no plain path of names.
  static std::string path_of(const Node& node) {
    if (node.op == Op::ident) return node.name;
    if (node.op != Op::select) return {};
    std::string left = path_of(*node.args[0]);
    return left.empty() ? left : left + "." + node.name;
  }
  NodePtr construct(NodePtr target) {
    NodePtr made = node(Op::construct, target->at);
    if (!made) return nullptr;
    made->name = path_of(*target);
    take("{");
    while (!is("}")) {
      made->optional.push_back(take("?"));
      if (now().kind != Token::Kind::ident) return unexpected();
      made->fields.emplace_back(now().text);
      ++at_;
      if (!need(":") || !add(*made, expression())) return nullptr;
      if (!take(",")) break;
    }
    return need("}") ? std::move(made) : nullptr;
  }
  NodePtr selected(Op op, NodePtr target, std::string_view name, uint32_t at) {
    NodePtr made = node(op, at);
    if (!made || !add(*made, std::move(target))) return nullptr;
    made->name = name;
    return made;
  }

  bool arguments(std::vector<NodePtr>& out) {
    if (!need("(")) return false;
    if (take(")")) return true;
    do {
      NodePtr one = expression();
      if (!one) return false;
      out.push_back(std::move(one));
    } while (take(","));
    return need(")");
  }
  // target.name(…): a macro, a function of a namespace (cel.bind), or a member function.
  NodePtr invoke(NodePtr target, std::string_view name, uint32_t at) {
    std::vector<NodePtr> args;
    if (!arguments(args)) return nullptr;
    if (target->op == Op::ident && target->name == "cel" && name == "bind" && args.size() == 3)
      return bind(std::move(args), at);
    for (const MacroRow& row : kMacros)
      if (row.name == name && args.size() == row.variables + row.args) {
        bool named = true;
        for (size_t i = 0; i < row.variables; ++i) named &= args[i]->op == Op::ident;
        if (named) return macro(row, std::move(target), std::move(args), at);
        if (args.size() != 2 || row.args != 1 || row.variables != 1) continue;
        return fail("argument must be a simple name", args[0]->at);
      }
    NodePtr made = node(Op::call, at);
    if (!made || !add(*made, std::move(target))) return nullptr;
    made->member = true;
    made->name = name;
    for (NodePtr& one : args)
      if (!add(*made, std::move(one))) return nullptr;
    return made;
  }
  NodePtr macro(const MacroRow& row, NodePtr target, std::vector<NodePtr> args, uint32_t at) {
    NodePtr made = node(Op::macro, at);
    if (!made || !add(*made, std::move(target))) return nullptr;
    made->macro = row.macro;
    made->name = row.name;
    made->two = row.variables == 2;
    made->first = args[0]->name;
    if (made->two) made->second = args[1]->name;
    for (size_t i = row.variables; i < args.size(); ++i)
      if (!add(*made, std::move(args[i]))) return nullptr;
    return made;
  }
  NodePtr bind(std::vector<NodePtr> args, uint32_t at) {
    if (args[0]->op != Op::ident)
      return fail("cel.bind() variable names must be simple identifiers", args[0]->at);
    NodePtr made = node(Op::macro, at);
    if (!made) return nullptr;
    made->macro = Macro::bind;
    made->name = "cel.bind";
    made->first = args[0]->name;
    return add(*made, std::move(args[1])) && add(*made, std::move(args[2])) ? std::move(made) : nullptr;
  }

  NodePtr primary() {
    uint32_t at = now().at;
    if (now().kind == Token::Kind::literal) {
      if (now().negatable) return fail("Syntax error: invalid int literal", at);
      NodePtr made = node(Op::literal, at);
      if (made) made->literal = now().literal;
      ++at_;
      return made;
    }
    if (take("(")) {
      NodePtr in = expression();
      return in && need(")") ? std::move(in) : nullptr;
    }
    if (is("[") || is("[?")) return list(at);
    if (take("{")) return map(at);
    take(".");  // an absolute name: there are no packages here
    if (now().kind != Token::Kind::ident) return unexpected();
    return named(at);
  }
  NodePtr named(uint32_t at) {
    std::string_view name = now().text;
    ++at_;
    NodePtr made = node(Op::literal, at);
    if (!made) return nullptr;
    if (name == "true" || name == "false") return made->literal = Value::of(name == "true"), std::move(made);
    if (name == "null") return made;
    if (name == "in" || std::find(std::begin(kReserved), std::end(kReserved), name) != std::end(kReserved))
      return fail("Syntax error: reserved identifier: " + std::string(name), at);
    made->name = name;
    made->op = Op::ident;
    if (!is("(")) return made;
    std::vector<NodePtr> args;
    if (!arguments(args)) return nullptr;
    if (name == "has") {
      if (args.size() != 1 || args[0]->op != Op::select) return fail("invalid argument to has() macro", at);
      args[0]->op = Op::test;
      args[0]->at = at;
      return std::move(args[0]);
    }
    made->op = Op::call;
    for (NodePtr& one : args)
      if (!add(*made, std::move(one))) return nullptr;
    return made;
  }
  NodePtr list(uint32_t at) {
    NodePtr made = node(Op::list, at);
    if (!made) return nullptr;
    bool first_optional = take("[?");
    if (!first_optional) take("[");
    while (first_optional || !is("]")) {
      made->optional.push_back(std::exchange(first_optional, false) || take("?"));
      if (!add(*made, expression())) return nullptr;
      if (!take(",")) break;
    }
    return need("]") ? std::move(made) : nullptr;
  }
  NodePtr map(uint32_t at) {
    NodePtr made = node(Op::map, at);
    if (!made) return nullptr;
    while (!is("}")) {
      made->optional.push_back(take("?"));
      if (!add(*made, expression()) || !need(":") || !add(*made, expression())) return nullptr;
      if (!take(",")) break;
    }
    return need("}") ? std::move(made) : nullptr;
  }

  std::vector<Token> tokens_;
  size_t at_ = 0, nodes_ = 0, open_ = 0;
};

}  // namespace

std::string located(std::string_view text, uint32_t at, const std::string& message) {
  std::string_view before = text.substr(0, at);
  size_t line = 1 + static_cast<size_t>(std::count(before.begin(), before.end(), '\n'));
  size_t begin = before.rfind('\n') == before.npos ? 0 : before.rfind('\n') + 1;
  std::string_view shown_line = text.substr(begin, text.find('\n', begin) - begin);
  size_t column = static_cast<size_t>(runes_in(text.substr(begin, at - begin)));
  return "ERROR: <input>:" + std::to_string(line) + ":" + std::to_string(column + 1) + ": " + message +
         "\n | " + std::string(shown_line) + "\n | " + std::string(column, '.') + "^";
}

base::Result<NodePtr> parse(std::string_view text) {
  auto refuse = [&](std::string why) {
    return base::make_error(base::Kind::kInvalid, "compile", "", std::move(why));
  };
  if (text.size() > kMaxTextBytes)
    return refuse("ERROR: <input>:-1:0: expression code point size exceeds limit: size: " +
                  std::to_string(text.size()) + ", limit " + std::to_string(kMaxTextBytes));
  std::vector<Token> tokens;
  std::string error;
  uint32_t at = 0;
  if (!tokenize(text, &tokens, &error, &at)) return refuse(located(text, at, error));
  Parser parser(std::move(tokens));
  NodePtr out = parser.run();
  if (!out) return refuse(located(text, parser.error_at, parser.error));
  return out;
}

}  // namespace api::cel
