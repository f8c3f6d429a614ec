// The small languages of flags: sizes, ports, mounts, limits. Pure.
#include <fmt/format.h>
#include <signal.h>
#include <string.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <sstream>

#include "base/number.h"
#include "base/signals.h"
#include "cli/run_options.h"

namespace cli {

namespace json = base::json;

namespace {

base::Error bad_text(const char* what, std::string_view text, std::string reason) {
  return base::make_error(base::Kind::kInvalid, std::string("read ") + what, std::string(text),
                          std::move(reason));
}

std::vector<std::string> split_at(const std::string& text, char at) {
  std::vector<std::string> out;
  std::istringstream in(text);
  for (std::string part; std::getline(in, part, at);) out.push_back(part);
  return out;
}

bool number(std::string_view text, int64_t* out) {
  auto parsed = base::parse_number<int64_t>(text);
  if (parsed) *out = *parsed;
  return parsed.has_value();
}

base::Result<std::pair<int, int>> port_range(const std::string& text, const std::string& whole) {
  size_t dash = text.find('-');
  int64_t from = 0, to = 0;
  bool good = number(std::string_view(text).substr(0, dash), &from);
  to = from;
  if (dash != std::string::npos) good = good && number(std::string_view(text).substr(dash + 1), &to);
  if (!good || from < 1 || to > 65535 || to < from)
    return bad_text("port", whole, "ports are numbers from 1 to 65535, or FIRST-LAST");
  return std::pair<int, int>(static_cast<int>(from), static_cast<int>(to));
}

constexpr const char* kBindOptions[] = {"ro",       "rw",     "rro",     "bind",  "rbind",  "private",
                                        "rprivate", "shared", "rshared", "slave", "rslave", "exec",
                                        "noexec",   "dev",    "nodev",   "suid",  "nosuid"};

}  // namespace

base::Result<int64_t> parse_size(std::string_view text) {
  std::string number_text(text);
  double factor = 1;
  auto lower = [](char c) { return static_cast<char>(std::tolower(static_cast<unsigned char>(c))); };
  if (!number_text.empty() && lower(number_text.back()) == 'b') number_text.pop_back();
  if (number_text.size() > 1 && lower(number_text.back()) == 'i') number_text.pop_back();
  if (!number_text.empty()) {
    size_t unit = std::string_view("kmgtp").find(lower(number_text.back()));
    if (unit != std::string_view::npos) {
      factor = std::pow(1024, static_cast<double>(unit + 1));
      number_text.pop_back();
    }
  }
  char* end = nullptr;
  double value = std::strtod(number_text.c_str(), &end);
  bool plain = !number_text.empty() && number_text.find_first_not_of("0123456789.-") == std::string::npos;
  if (!plain || *end != 0 || std::abs(value * factor) > 9e18)
    return bad_text("size", text, "sizes are numbers with b, k, m or g");
  return static_cast<int64_t>(value * factor);
}

base::Result<std::vector<Port>> parse_port(const std::string& text) {
  Port port;
  std::string left = text;
  if (size_t slash = left.rfind('/'); slash != std::string::npos) {
    port.protocol = left.substr(slash + 1);
    left.resize(slash);
    std::transform(port.protocol.begin(), port.protocol.end(), port.protocol.begin(), ::tolower);
    if (port.protocol != "tcp" && port.protocol != "udp")
      return bad_text("port", text, "the protocol is tcp or udp");
  }
  if (left.starts_with("[")) return bad_text("port", text, "IPv6 addresses are not published");
  auto parts = split_at(left, ':');
  if (parts.empty() || parts.size() > 3) return bad_text("port", text, "write it as [IP:]HOST:CONTAINER");
  if (parts.size() == 3) port.host_ip = parts[0];
  auto inside = TRY(port_range(parts.back(), text));
  std::string host_text = parts.size() > 1 ? parts[parts.size() - 2] : "";
  std::pair<int, int> outside{0, 0};
  if (!host_text.empty() && host_text != "0") outside = TRY(port_range(host_text, text));
  if (outside.first && outside.second - outside.first != inside.second - inside.first)
    return bad_text("port", text, "both ranges must have the same length");
  std::vector<Port> out;
  for (int i = 0; i <= inside.second - inside.first; ++i) {
    port.container = static_cast<uint16_t>(inside.first + i);
    port.host = static_cast<uint16_t>(outside.first ? outside.first + i : 0);
    out.push_back(port);
  }
  return out;
}

base::Result<RestartPolicy> parse_restart(const std::string& text) {
  RestartPolicy out;
  size_t colon = text.find(':');
  out.name = text.substr(0, colon);
  if (out.name.empty()) out.name = "no";
  if (out.name != "no" && out.name != "on-failure" && out.name != "always" && out.name != "unless-stopped")
    return bad_text("--restart", text, "the policies are no, on-failure[:N], always, unless-stopped");
  if (colon == std::string::npos) return out;
  int64_t retries = 0;
  if (out.name != "on-failure" || !number(std::string_view(text).substr(colon + 1), &retries) ||
      retries < 0 || retries > 1'000'000)
    return bad_text("--restart", text, "only on-failure takes a number");
  out.max_retries = static_cast<int>(retries);
  return out;
}

base::Result<int> parse_signal(std::string_view text) {
  if (auto number = base::signal_number(text)) return *number;
  return bad_text("signal", text, "no such signal");
}

base::Result<std::string> parse_detach_keys(const std::string& text) {
  std::string out;
  for (const std::string& key : split_at(text, ',')) {
    if (key.size() == 1) {
      out += key;
    } else if (key.size() == 6 && key.starts_with("ctrl-")) {
      char c = static_cast<char>(std::toupper(static_cast<unsigned char>(key[5])));
      if (c < '@' || c > '_')
        return bad_text("--detach-keys", text, "ctrl- goes with a letter or one of @ [ \\ ] ^ _");
      out += static_cast<char>(c - '@');
    } else {
      return bad_text("--detach-keys", text, "keys are single characters or ctrl-X, with commas between");
    }
  }
  return out;
}

base::Result<Volume> parse_volume(const std::string& text, const std::string& cwd) {
  auto parts = split_at(text, ':');
  Volume out;
  if (parts.empty() || parts.size() > 3) return bad_text("volume", text, "write it as SRC:DST[:OPTIONS]");
  if (parts.size() == 1) out.destination = parts[0];
  else out.source = parts[0], out.destination = parts[1];
  if (parts.size() > 1 && out.source.empty()) return bad_text("volume", text, "the source is empty");
  if (out.destination.empty() || out.destination[0] != '/')
    return bad_text("volume", text, "the destination must be an absolute path");
  if (out.destination == "/") return bad_text("volume", text, "the destination can't be /");
  if (!out.source.empty() && out.source[0] == '.') out.source = cwd + "/" + out.source;
  if (out.named() && !out.source.empty() && out.source.find('/') != std::string::npos)
    return bad_text("volume", text, "a relative path begins with ./, a volume's name has no /");
  bool has_bind = false, has_propagation = false;
  for (const std::string& option : parts.size() == 3 ? split_at(parts[2], ',') : std::vector<std::string>()) {
    if (option == "z" || option == "Z" || option.empty()) continue;  // SELinux's, where it is off
    if (std::find(std::begin(kBindOptions), std::end(kBindOptions), option) == std::end(kBindOptions))
      return bad_text("volume", text, "unknown option '" + option + "'");
    has_bind |= option == "bind" || option == "rbind";
    has_propagation |= option.find("private") != std::string::npos ||
                       option.find("shared") != std::string::npos ||
                       option.find("slave") != std::string::npos;
    out.options.push_back(option);
  }
  if (!has_bind) out.options.insert(out.options.begin(), "rbind");
  if (!has_propagation) out.options.push_back("rprivate");
  return out;
}

base::Result<json::object> parse_tmpfs(const std::string& text) {
  size_t colon = text.find(':');
  std::string destination = text.substr(0, colon);
  if (destination.empty() || destination[0] != '/')
    return bad_text("--tmpfs", text, "the destination must be an absolute path");
  json::array options{"nosuid", "nodev"};
  std::vector<std::string> given =
      colon == std::string::npos ? std::vector<std::string>() : split_at(text.substr(colon + 1), ',');
  if (std::find(given.begin(), given.end(), "exec") == given.end()) options.emplace_back("noexec");
  for (const std::string& option : given) options.emplace_back(option);
  return json::object{
      {"destination", destination}, {"type", "tmpfs"}, {"source", "tmpfs"}, {"options", std::move(options)}};
}

base::Result<json::object> parse_mount(const std::string& text, const std::string& cwd, Volume* volume) {
  std::string type = "volume", source, target, extra;
  bool read_only = false;
  for (const std::string& field : split_at(text, ',')) {
    size_t equals = field.find('=');
    std::string key = field.substr(0, equals),
                value = equals == std::string::npos ? "" : field.substr(equals + 1);
    if (key == "type") type = value;
    else if (key == "source" || key == "src") source = value;
    else if (key == "target" || key == "destination" || key == "dst") target = value;
    else if (key == "readonly" || key == "ro") read_only = value.empty() || value == "true" || value == "1";
    else if (key == "bind-propagation") extra += "," + value;
    else if (key == "tmpfs-size") extra += ",size=" + value;
    else if (key == "tmpfs-mode") extra += ",mode=" + value;
    else return bad_text("--mount", text, "unknown field '" + key + "'");
  }
  if (type == "tmpfs") return parse_tmpfs(target + ":" + (read_only ? "ro" : "rw") + extra);
  if (type != "bind" && type != "volume")
    return bad_text("--mount", text, "the types are bind, volume and tmpfs");
  if (type == "bind" && (source.empty() || (source[0] != '/' && source[0] != '.')))
    return bad_text("--mount", text, "the source of a bind mount is a path");
  if (type == "volume" && source.find('/') != std::string::npos)
    return bad_text("--mount", text, "a volume's name has no /");
  std::string options = (read_only ? "ro" : "rw") + extra;
  *volume = TRY(parse_volume(source.empty() ? target : source + ":" + target + ":" + options, cwd));
  if (source.empty() && read_only) volume->options.emplace_back("ro");
  return json::object();
}

base::Result<json::object> parse_ulimit(const std::string& text) {
  static constexpr const char* kLimits[] = {"as",      "core",     "cpu",        "data",   "fsize", "locks",
                                            "memlock", "msgqueue", "nice",       "nofile", "nproc", "rss",
                                            "rtprio",  "rttime",   "sigpending", "stack"};
  size_t equals = text.find('=');
  std::string name = text.substr(0, equals);
  std::transform(name.begin(), name.end(), name.begin(), ::tolower);
  if (name.starts_with("rlimit_")) name.erase(0, 7);
  if (equals == std::string::npos || std::find_if(std::begin(kLimits), std::end(kLimits), [&](const char* k) {
                                       return name == k;
                                     }) == std::end(kLimits))
    return bad_text("--ulimit", text, "write it as nofile=SOFT[:HARD]");
  auto values = split_at(text.substr(equals + 1), ':');
  std::vector<uint64_t> limits;
  for (const std::string& value : values) {
    int64_t n = 0;
    if (value == "unlimited" || value == "-1") limits.push_back(~0ull);
    else if (number(value, &n) && n >= 0) limits.push_back(static_cast<uint64_t>(n));
    else return bad_text("--ulimit", text, "limits are numbers or unlimited");
  }
  if (limits.empty() || limits.size() > 2 || limits[0] > limits.back())
    return bad_text("--ulimit", text, "the soft limit can't be above the hard one");
  std::transform(name.begin(), name.end(), name.begin(), ::toupper);
  return json::object{{"type", "RLIMIT_" + name}, {"soft", limits[0]}, {"hard", limits.back()}};
}

}  // namespace cli
