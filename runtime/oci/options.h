// sampan-oci's command line: one row per option, the names that callers of runc use. No library:
// this program runs once per container and its start-up counts.
#pragma once

#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace runtime {

struct OptionRow {
  const char* name;  // "pid-file"
  char letter;       // 0: none
  bool takes_value;
  const char* help;
};
struct CommandRow {
  const char* name;
  const char* arguments;  // "ID [SIGNAL]"
  const char* help;
  std::span<const OptionRow> options;
  size_t min_arguments, max_arguments;
};

class Options {
 public:
  // Reads options up to the first word that is none (or "--"); that and the rest are arguments.
  // With `interleaved`, options may also stand behind arguments.
  static base::Result<Options> parse(std::span<const OptionRow> rows, std::span<char* const> words,
                                     bool interleaved);
  bool has(std::string_view name) const { return values_.count(std::string(name)) != 0; }
  std::string get(std::string_view name, std::string fallback = {}) const;  // the last one given
  std::vector<std::string> all(std::string_view name) const;
  std::vector<std::string> arguments;

 private:
  std::map<std::string, std::vector<std::string>> values_;
};

extern const std::span<const OptionRow> kGlobalOptions;
const CommandRow* find_command(std::string_view name);
// `program`: as we were called; tools that expect runc look for its name.
std::string usage_text(std::string_view program);
std::string usage_text(std::string_view program, const CommandRow& command);

}  // namespace runtime
