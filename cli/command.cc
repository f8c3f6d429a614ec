#include "cli/command.h"

#include <algorithm>
#include <cerrno>
#include <numeric>

#include "base/printable.h"

namespace cli {

void Outcome::set(const base::Status& status) {
  if (status.ok()) return;
  std::fprintf(stderr, "sampan: %s\n", base::printable_line(status.error().message()).c_str());
  exit_code = status.error().kind == base::Kind::kInvalid ? 2 : 1;
}

// Columns on a terminal: a character of several bytes takes one.
static size_t width(const std::string& text) {
  return static_cast<size_t>(std::count_if(
      text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
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

std::string nearest_word(std::string_view typed, const std::vector<std::string>& words) {
  // Levenshtein's distance; farther than a third of the word is no slip of a finger.
  std::string best;
  size_t least = std::max<size_t>(1, typed.size() / 3) + 1;
  for (const std::string& word : words) {
    std::vector<size_t> row(word.size() + 1);
    std::iota(row.begin(), row.end(), size_t{0});
    for (size_t i = 1; i <= typed.size(); ++i) {
      size_t diagonal = std::exchange(row[0], i);
      for (size_t j = 1; j <= word.size(); ++j) {
        const size_t replaced = diagonal + (typed[i - 1] != word[j - 1]);
        diagonal = row[j];
        row[j] = std::min({row[j] + 1, row[j - 1] + 1, replaced});
      }
    }
    if (row.back() < least) {
      least = row.back();
      best = word;
    }
  }
  return best;
}

int no_command(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::App* command :
       app.get_subcommands([](const CLI::App* one) { return !one->get_group().empty(); }))
    names.push_back(command->get_name());
  auto extras = app.remaining();
  auto typed = std::find_if(extras.begin(), extras.end(),
                            [](const std::string& word) { return !word.starts_with("-"); });
  std::string text = typed != extras.end() ? "\"" + *typed + "\" is not a command"
                     : extras.empty()      ? std::string("give a command")
                                           : extras.front() + " is not an option";
  if (std::string near = typed != extras.end() ? nearest_word(*typed, names) : ""; !near.empty())
    text += ": did you mean \"" + near + "\"?";
  std::fprintf(stderr, "sampan: %s\nsampan --help lists the commands\n", base::printable_line(text).c_str());
  return 2;
}

std::string error_word(const base::Error& error) {
  for (const base::Error* at = &error; at; at = at->cause.get()) {
    switch (at->errno_value) {
      case ENOSPC:
      case EDQUOT: return "disk-full";
      case ECONNREFUSED: return "connection-refused";
      case 0: continue;
      default: break;
    }
  }
  return kind_word(error.kind);
}

std::string kind_word(base::Kind kind) {
  std::string word(base::kind_name(kind));
  for (char& c : word)
    if (c == ' ') c = '-';
  return word;
}

}  // namespace cli
