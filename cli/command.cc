#include "cli/command.h"

#include <algorithm>
#include <cerrno>

namespace cli {

void Outcome::set(const base::Status& status) {
  if (status.ok()) return;
  std::fprintf(stderr, "sampan: %s\n", status.error().message().c_str());
  exit_code = status.error().kind == base::Kind::kInvalid ? 2 : 1;
}

// Columns on a terminal: a character of several bytes takes one.
static size_t width(const std::string& text) {
  return static_cast<size_t>(std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

std::string format_table(const std::vector<std::vector<std::string>>& rows) {
  std::vector<size_t> widths;
  for (const auto& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], width(row[i]));
  }
  std::string out;
  for (const auto& row : rows) {
    for (size_t i = 0; i < row.size(); ++i) {
      out += row[i];
      if (i + 1 < row.size()) out.append(widths[i] - width(row[i]) + 2, ' ');
    }
    out += '\n';
  }
  return out;
}

std::string format_size(uint64_t bytes) {
  if (bytes < 1000) return std::to_string(bytes) + " B";
  static constexpr const char* kUnits[] = {"kB", "MB", "GB", "TB", "PB", "EB"};
  double value = static_cast<double>(bytes) / 1000;
  size_t unit = 0;
  while (value >= 999.95 && unit + 1 < std::size(kUnits)) value /= 1000, ++unit;
  return fmt::format("{:.1f} {}", value, kUnits[unit]);
}

std::string error_word(const base::Error& error) {
  for (const base::Error* at = &error; at; at = at->cause.get()) {
    switch (at->errno_value) {
      case ENOSPC: case EDQUOT: return "disk-full";
      case ECONNREFUSED: return "connection-refused";
      case 0: continue;
      default: break;
    }
  }
  return kind_word(error.kind);
}

std::string kind_word(base::Kind kind) {
  std::string word(base::kind_name(kind));
  for (char& c : word) if (c == ' ') c = '-';
  return word;
}

}  // namespace cli
