#include "api/cel/lexer.h"

#include <charconv>
#include <cstdlib>

namespace api::cel {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_hex(char c) { return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); }
bool starts_name(char c) { return c == '_' || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

void append_utf8(std::string& out, uint32_t rune) {
  if (rune < 0x80) {
    out += static_cast<char>(rune);
  } else if (rune < 0x800) {
    out += static_cast<char>(0xc0 | rune >> 6);
    out += static_cast<char>(0x80 | (rune & 63));
  } else if (rune < 0x10000) {
    out += static_cast<char>(0xe0 | rune >> 12);
    out += static_cast<char>(0x80 | (rune >> 6 & 63));
    out += static_cast<char>(0x80 | (rune & 63));
  } else {
    out += static_cast<char>(0xf0 | rune >> 18);
    out += static_cast<char>(0x80 | (rune >> 12 & 63));
    out += static_cast<char>(0x80 | (rune >> 6 & 63));
    out += static_cast<char>(0x80 | (rune & 63));
  }
}

class Lexer {
 public:
  Lexer(std::string_view text, std::vector<Token>* out) : text_(text), out_(*out) {}

  bool run() {
    for (;;) {
      skip_blank();
      Token token;
      token.at = static_cast<uint32_t>(at_);
      if (at_ >= text_.size()) {
        out_.push_back(token);
        return true;
      }
      if (!next(token)) return false;
      out_.push_back(std::move(token));
    }
  }
  std::string error;
  size_t at() const { return at_; }

 private:
  char peek(size_t ahead = 0) const { return at_ + ahead < text_.size() ? text_[at_ + ahead] : '\0'; }
  void skip_blank() {
    while (at_ < text_.size()) {
      if (text_.substr(at_, 2) == "//") at_ = std::min(text_.find('\n', at_), text_.size());
      else if (std::string_view(" \t\r\n\f").find(text_[at_]) != std::string_view::npos) ++at_;
      else return;
    }
  }
  bool next(Token& token) {
    char c = peek();
    if (is_digit(c) || (c == '.' && is_digit(peek(1)))) return number(token);
    if (c == '"' || c == '\'') return quoted(token, false, false);
    if (starts_name(c)) {
      size_t prefix = 0;
      bool raw = false, bytes = false;
      while (prefix < 2 &&
             (peek(prefix) == 'r' || peek(prefix) == 'R' || peek(prefix) == 'b' || peek(prefix) == 'B')) {
        (peek(prefix) == 'r' || peek(prefix) == 'R' ? raw : bytes) = true;
        ++prefix;
      }
      if (prefix && (peek(prefix) == '"' || peek(prefix) == '\'')) {
        at_ += prefix;
        return quoted(token, raw, bytes);
      }
      size_t begin = at_;
      while (starts_name(peek()) || is_digit(peek())) ++at_;
      token.kind = Token::Kind::ident;
      token.text = text_.substr(begin, at_ - begin);
      return true;
    }
    static constexpr std::string_view kTwo[] = {"&&", "||", "==", "!=", "<=", ">=", "[?", ".?"};
    token.kind = Token::Kind::symbol;
    for (std::string_view symbol : kTwo)
      if (text_.substr(at_, 2) == symbol) {
        token.text = text_.substr(at_, 2);
        at_ += 2;
        return true;
      }
    if (std::string_view("()[]{}.,:?+-*/%<>!").find(c) == std::string_view::npos) {
      error = "Syntax error: token recognition error at: '" + std::string(1, c) + "'";
      return false;
    }
    token.text = text_.substr(at_++, 1);
    return true;
  }

  bool number(Token& token) {
    token.kind = Token::Kind::literal;
    size_t begin = at_;
    bool hex = peek() == '0' && (peek(1) == 'x' || peek(1) == 'X') && is_hex(peek(2)), real = false;
    if (hex) {
      at_ += 2;
      while (is_hex(peek())) ++at_;
    } else {
      while (is_digit(peek())) ++at_;
      if (peek() == '.' && is_digit(peek(1))) {
        real = true;
        for (++at_; is_digit(peek());) ++at_;
      }
      size_t sign = peek(1) == '+' || peek(1) == '-' ? 2 : 1;
      if ((peek() == 'e' || peek() == 'E') && is_digit(peek(sign))) {
        real = true;
        for (at_ += sign; is_digit(peek());) ++at_;
      }
    }
    std::string digits(text_.substr(begin, at_ - begin));
    if (real) {
      token.literal = Value::of(std::strtod(digits.c_str(), nullptr));
      return true;
    }
    const char* first = digits.data() + (hex ? 2 : 0);
    uint64_t value = 0;
    bool fits = std::from_chars(first, digits.data() + digits.size(), value, hex ? 16 : 10).ec == std::errc();
    if (peek() == 'u' || peek() == 'U') {
      ++at_;
      token.literal = Value::of(value);
      if (!fits) error = "Syntax error: invalid uint literal";
      return fits;
    }
    token.negatable = fits && value == uint64_t{1} << 63;
    token.literal = Value::of(static_cast<int64_t>(value));
    fits = fits && (value < uint64_t{1} << 63 || token.negatable);
    if (!fits) error = "Syntax error: invalid int literal";
    return fits;
  }

  bool quoted(Token& token, bool raw, bool bytes) {
    token.kind = Token::Kind::literal;
    char quote = peek();
    std::string fence(text_.substr(at_, 3) == std::string(3, quote) ? 3 : 1, quote);
    at_ += fence.size();
    std::string out;
    for (;;) {
      if (at_ >= text_.size() || (fence.size() == 1 && (peek() == '\n' || peek() == '\r'))) {
        error = "Syntax error: token recognition error: the string has no end";
        return false;
      }
      if (text_.substr(at_, fence.size()) == fence) break;
      if (peek() != '\\' || raw) {
        // In raw text a backslash stands for itself, and so does the quote behind it.
        if (raw && peek() == '\\' && at_ + 1 < text_.size() && peek(1) == quote) out += text_[at_++];
        out += text_[at_++];
        continue;
      }
      if (!escape(out, bytes)) return false;
    }
    at_ += fence.size();
    token.literal = bytes ? Value::of_bytes(std::move(out)) : Value::of_text(std::move(out));
    return true;
  }
  bool escape(std::string& out, bool bytes) {
    static constexpr std::string_view kFrom = "abfnrtv\\?\"'`", kTo = "\a\b\f\n\r\t\v\\?\"'`";
    char c = peek(1);
    if (size_t known = kFrom.find(c); c && known != kFrom.npos) {
      out += kTo[known];
      at_ += 2;
      return true;
    }
    size_t digits = 0, base = 16, skip = 2;
    if (c == 'x' || c == 'X') digits = 2;
    else if (c == 'u') digits = 4;
    else if (c == 'U') digits = 8;
    else if (c >= '0' && c <= '3') digits = 3, base = 8, skip = 1;
    std::string_view code = text_.substr(std::min(at_ + skip, text_.size()), digits);
    uint32_t rune = 0;
    auto parsed = std::from_chars(code.data(), code.data() + code.size(), rune, static_cast<int>(base));
    bool bad = !digits || code.size() != digits || parsed.ptr != code.data() + code.size() ||
               rune > 0x10ffff || (rune >= 0xd800 && rune < 0xe000) || (bytes && digits > 3);
    if (bad) {
      error = "Syntax error: token recognition error at: '" + std::string(text_.substr(at_, 2)) + "'";
      return false;
    }
    if (bytes) out += static_cast<char>(rune);
    else append_utf8(out, rune);
    at_ += skip + digits;
    return true;
  }

  std::string_view text_;
  std::vector<Token>& out_;
  size_t at_ = 0;
};

}  // namespace

bool tokenize(std::string_view text, std::vector<Token>* out, std::string* error, uint32_t* at) {
  Lexer lexer(text, out);
  if (lexer.run()) return true;
  *error = lexer.error;
  *at = static_cast<uint32_t>(lexer.at());
  return false;
}

}  // namespace api::cel
