// Pure: names of scopes, and OCI's resources as systemd's properties.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "runtime/cgroup/systemd.h"
#include "runtime/spec/devices.h"

namespace runtime {
namespace {

using base::Kind;
using Properties = std::vector<DbusProperty>;

base::Error invalid_property(std::string subject, std::string reason, std::string hint = {}) {
  return base::make_error(Kind::kInvalid, "read", std::move(subject), std::move(reason), std::move(hint));
}
uint64_t limit(int64_t value) { return value < 0 ? UINT64_MAX : static_cast<uint64_t>(value); }

// "0-3,5" as systemd wants it: bit n of byte n/8.
base::Result<std::vector<uint8_t>> cpu_mask(const std::string& list, const char* field) {
  constexpr unsigned kMaxCpu = 8192;
  std::vector<uint8_t> mask;
  const char *at = list.data(), *end = at + list.size();
  while (at < end) {
    unsigned first = 0, last = 0;
    auto parsed = std::from_chars(at, end, first);
    last = first;
    if (parsed.ec == std::errc() && parsed.ptr < end && *parsed.ptr == '-')
      parsed = std::from_chars(parsed.ptr + 1, end, last);
    if (parsed.ec != std::errc() || first > last || last >= kMaxCpu ||
        (parsed.ptr < end && *parsed.ptr != ',' && *parsed.ptr != '\n'))
      return invalid_property(field, "'" + list + "' is no list of numbers and ranges");
    if (mask.size() <= last / 8) mask.resize(last / 8 + 1);
    for (unsigned n = first; n <= last; ++n) mask[n / 8] |= static_cast<uint8_t>(1u << (n % 8));
    at = parsed.ptr + 1;
  }
  return mask;
}
void add_cpu_quota(Properties& out, std::optional<int64_t> quota, std::optional<uint64_t> period) {
  constexpr uint64_t kDefaultPeriodUs = 100'000, kSecondUs = 1'000'000, kGranularityUs = 10'000;
  if (period && *period != 0) out.push_back({"CPUQuotaPeriodUSec", *period});
  if (!quota || *quota == 0) return;
  uint64_t per_second = UINT64_MAX;
  if (*quota > 0) {
    uint64_t length = period && *period != 0 ? *period : kDefaultPeriodUs;
    per_second = static_cast<uint64_t>(*quota) * kSecondUs / length;
    // systemd keeps whole hundredths of a processor.
    per_second = (per_second + kGranularityUs - 1) / kGranularityUs * kGranularityUs;
  }
  out.push_back({"CPUQuotaPerSecUSec", per_second});
}
base::Result<uint64_t> unified_number(const std::string& file, const std::string& text) {
  if (text == "max") return UINT64_MAX;
  uint64_t value = 0;
  auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (ec != std::errc() || end != text.data() + text.size())
    return invalid_property("linux.resources.unified." + file, "'" + text + "' is neither a number nor max");
  return value;
}
base::Status add_unified(Properties& out, const std::map<std::string, std::string>& unified) {
  struct Row {
    const char *file, *property;
  };
  constexpr Row kNumbers[] = {{"cpu.weight", "CPUWeight"}, {"memory.high", "MemoryHigh"},
                              {"memory.low", "MemoryLow"}, {"memory.min", "MemoryMin"},
                              {"memory.max", "MemoryMax"}, {"memory.swap.max", "MemorySwapMax"},
                              {"pids.max", "TasksMax"}};
  for (const auto& [file, value] : unified) {
    for (const Row& row : kNumbers)
      if (file == row.file) out.push_back({row.property, TRY(unified_number(file, value))});
    if (file == "cpu.max") {
      size_t space = value.find(' ');
      std::string quota = value.substr(0, space);
      std::optional<uint64_t> period;
      if (space != std::string::npos) period = TRY(unified_number(file, value.substr(space + 1)));
      uint64_t number = TRY(unified_number(file, quota));
      add_cpu_quota(out, number == UINT64_MAX ? -1 : static_cast<int64_t>(number), period);
    }
    if (file == "cpuset.cpus")
      out.push_back({"AllowedCPUs", TRY(cpu_mask(value, "linux.resources.unified.cpuset.cpus"))});
    if (file == "cpuset.mems")
      out.push_back({"AllowedMemoryNodes", TRY(cpu_mask(value, "linux.resources.unified.cpuset.mems"))});
  }
  return {};
}

}  // namespace

base::Result<std::string> slice_path(const std::string& slice) {
  constexpr std::string_view kSuffix = ".slice";
  bool good = slice.ends_with(kSuffix) && slice.find('/') == std::string::npos;
  if (!good)
    return invalid_property("linux.cgroupsPath", "'" + slice + "' is no slice",
                            "give slice:prefix:name, as in system.slice:sampan:web");
  std::string name = slice.substr(0, slice.size() - kSuffix.size());
  if (name == "-") return std::string("/");
  if (name.empty() || name.front() == '-' || name.back() == '-' || name.find("--") != std::string::npos)
    return invalid_property("linux.cgroupsPath", "'" + slice + "' is no slice");
  std::string out;
  for (size_t dash = name.find('-'); dash != std::string::npos; dash = name.find('-', dash + 1))
    out += "/" + name.substr(0, dash) + ".slice";
  return out + "/" + slice;
}

base::Result<SystemdScope> parse_systemd_path(const std::string& cgroups_path, const std::string& id,
                                              bool user) {
  SystemdScope out;
  out.user = user;
  std::string prefix = "sampan", name = id;
  if (!cgroups_path.empty()) {
    size_t first = cgroups_path.find(':'),
           second = first == std::string::npos ? first : cgroups_path.find(':', first + 1);
    if (second == std::string::npos || cgroups_path.find(':', second + 1) != std::string::npos)
      return invalid_property("linux.cgroupsPath", "'" + cgroups_path + "' is not slice:prefix:name",
                              "drop --systemd-cgroup, or give it in that form");
    out.slice = cgroups_path.substr(0, first);
    prefix = cgroups_path.substr(first + 1, second - first - 1);
    name = cgroups_path.substr(second + 1);
  }
  if (out.slice.empty()) out.slice = user ? "user.slice" : "system.slice";
  TRY(slice_path(out.slice));
  if (name.empty() || (prefix + name).find('/') != std::string::npos)
    return invalid_property("linux.cgroupsPath", "'" + cgroups_path + "' names no unit");
  out.unit = (prefix.empty() ? name : prefix + "-" + name) + ".scope";
  return out;
}

base::Result<Properties> systemd_resource_properties(const CgroupLayout& layout, const Resources& r) {
  Properties out;
  bool v2 = layout.pure_v2();
  if (r.memory_limit && *r.memory_limit != 0)
    out.push_back({v2 ? "MemoryMax" : "MemoryLimit", limit(*r.memory_limit)});
  if (v2 && r.memory_reservation) out.push_back({"MemoryLow", limit(*r.memory_reservation)});
  if (v2 && r.memory_swap && *r.memory_swap != 0) {
    // OCI counts memory and swap together; systemd, as cgroup v2, swap alone.
    if (*r.memory_swap > 0 && (!r.memory_limit || *r.memory_limit > *r.memory_swap))
      return invalid_property("linux.resources.memory.swap", "needs a limit that is not larger");
    out.push_back({"MemorySwapMax", *r.memory_swap < 0
                                        ? UINT64_MAX
                                        : static_cast<uint64_t>(*r.memory_swap - *r.memory_limit)});
  }
  if (r.cpu_shares && *r.cpu_shares != 0) {
    if (v2) out.push_back({"CPUWeight", cpu_weight(*r.cpu_shares)});
    else out.push_back({"CPUShares", *r.cpu_shares});
  }
  add_cpu_quota(out, r.cpu_quota, r.cpu_period);
  if (v2 && !r.cpus.empty())
    out.push_back({"AllowedCPUs", TRY(cpu_mask(r.cpus, "linux.resources.cpu.cpus"))});
  if (v2 && !r.mems.empty())
    out.push_back({"AllowedMemoryNodes", TRY(cpu_mask(r.mems, "linux.resources.cpu.mems"))});
  if (r.pids_limit && *r.pids_limit != 0) out.push_back({"TasksMax", limit(*r.pids_limit)});
  if (r.blkio_weight && *r.blkio_weight != 0 && !v2)
    out.push_back({"BlockIOWeight", uint64_t{*r.blkio_weight}});
  TRY(add_unified(out, r.unified));
  return out;
}

Properties systemd_device_properties(const std::vector<DeviceRule>& rules) {
  std::vector<std::pair<std::string, std::string>> allowed;
  for (const DeviceRule& rule : rules) {
    if (!rule.allow) {
      // Only the deny-all that everything begins with; systemd knows no later exceptions.
      if (rule.type == 'a' && rule.major < 0 && rule.minor < 0) {
        allowed.clear();
        continue;
      }
      return {};
    }
    if (rule.type == 'a' || (rule.major < 0 && rule.minor >= 0)) return {};
    if (rule.major < 0) {
      allowed.emplace_back(rule.type == 'b' ? "block-*" : "char-*", rule.access);
    } else if (rule.minor < 0) {
      // By major number, which kernels and systemd from 240 on take in this form.
      allowed.emplace_back(fmt::format("{}-{}", rule.type == 'b' ? "block" : "char", rule.major),
                           rule.access);
    } else {
      allowed.emplace_back(
          fmt::format("/dev/{}/{}:{}", rule.type == 'b' ? "block" : "char", rule.major, rule.minor),
          rule.access);
    }
  }
  return {{"DevicePolicy", std::string("strict")}, {"DeviceAllow", std::move(allowed)}};
}

namespace {
std::string_view trimmed(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}
// 'text' or "text"; moves `text` behind it.
bool quoted(std::string_view& text, std::string& out) {
  if (text.empty() || (text[0] != '\'' && text[0] != '"')) return false;
  char quote = text[0];
  for (size_t i = 1; i < text.size(); ++i) {
    if (text[i] == quote) {
      text.remove_prefix(i + 1);
      return true;
    }
    if (text[i] == '\\' && i + 1 < text.size()) ++i;
    out += text[i];
  }
  return false;
}
template <typename T>
bool whole(std::string_view text, T& value) {
  auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), value);
  return ec == std::errc() && end == text.data() + text.size();
}
template <typename T>
bool typed(std::string_view text, std::string_view prefix, std::optional<DbusValue>& out) {
  T value{};
  if (!text.starts_with(prefix) || !whole(trimmed(text.substr(prefix.size())), value)) return false;
  out = value;
  return true;
}
std::optional<DbusValue> gvariant(std::string_view text) {
  text = trimmed(text);
  if (text == "true" || text == "false") return DbusValue(text == "true");
  std::string string;
  if (std::string_view rest = text; quoted(rest, string))
    return rest.empty() ? std::optional<DbusValue>(string) : std::nullopt;
  if (text.starts_with('[') && text.ends_with(']')) {
    std::vector<std::string> list;
    text = trimmed(text.substr(1, text.size() - 2));
    while (!text.empty()) {
      std::string item;
      if (!quoted(text, item)) return std::nullopt;
      list.push_back(std::move(item));
      text = trimmed(text);
      if (text.empty()) break;
      if (text[0] != ',') return std::nullopt;
      text = trimmed(text.substr(1));
      if (text.empty()) return std::nullopt;
    }
    return list;
  }
  std::optional<DbusValue> out;
  if (typed<uint64_t>(text, "uint64 ", out) || typed<uint32_t>(text, "uint32 ", out) ||
      typed<int64_t>(text, "int64 ", out) || typed<int32_t>(text, "int32 ", out) ||
      typed<uint8_t>(text, "byte ", out) || typed<int32_t>(text, "", out) ||
      typed<double>(text, "double ", out) || typed<double>(text, "", out))
    return out;
  return std::nullopt;
}
}  // namespace

base::Result<Properties> systemd_annotation_properties(
    const std::map<std::string, std::string>& annotations) {
  constexpr std::string_view kPrefix = "org.systemd.property.";
  constexpr double kSecondUs = 1e6;
  Properties out;
  for (const auto& [key, text] : annotations) {
    if (!key.starts_with(kPrefix)) continue;
    std::string field = "annotations." + key, name = key.substr(kPrefix.size());
    bool good = name.size() >= 3 && std::all_of(name.begin(), name.end(), [](char c) {
                  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
                });
    if (!good) return invalid_property(field, "is no name of a property");
    auto value = gvariant(text);
    if (!value)
      return invalid_property(field, "'" + text + "' is no value",
                              "write true, 5, uint64 5, 'text' or ['a', 'b']");
    if (name.ends_with("Sec") && !name.ends_with("USec")) {
      double seconds = -1;
      if (auto* n = std::get_if<int32_t>(&*value)) seconds = *n;
      if (auto* n = std::get_if<uint32_t>(&*value)) seconds = *n;
      if (auto* n = std::get_if<int64_t>(&*value)) seconds = static_cast<double>(*n);
      if (auto* n = std::get_if<uint64_t>(&*value)) seconds = static_cast<double>(*n);
      if (auto* n = std::get_if<double>(&*value)) seconds = *n;
      if (!(seconds >= 0 && seconds < 1e12)) return invalid_property(field, "must be a number of seconds");
      name = name.substr(0, name.size() - 3) + "USec";
      value = static_cast<uint64_t>(seconds * kSecondUs);
    }
    out.push_back({std::move(name), std::move(*value)});
  }
  return out;
}

base::Result<Properties> plan_scope(const CgroupLayout& layout, const SystemdScope& scope,
                                    const std::string& id, const Config& config) {
  Properties out{{"Description", "sampan container " + id},
                 {"Slice", scope.slice},
                 {"Delegate", true},
                 {"DefaultDependencies", false},
                 {"CPUAccounting", true},
                 {"MemoryAccounting", true},
                 {"TasksAccounting", true},
                 {layout.pure_v2() ? "IOAccounting" : "BlockIOAccounting", true},
                 // Forgotten also when it ended badly: its name may be wanted again.
                 {"CollectMode", std::string("inactive-or-failed")}};
  for (DbusProperty& p : TRY(systemd_resource_properties(layout, config.resources)))
    out.push_back(std::move(p));
  std::vector<DeviceRule> rules{{false, 'a', -1, -1, "rwm"}};
  rules.insert(rules.end(), config.resources.devices.begin(), config.resources.devices.end());
  for (const DeviceRule& rule : default_device_rules()) rules.push_back(rule);
  for (DbusProperty& p : systemd_device_properties(rules)) out.push_back(std::move(p));
  // What the annotations say comes last and wins.
  for (DbusProperty& p : TRY(systemd_annotation_properties(config.annotations))) {
    std::erase_if(out, [&](const DbusProperty& before) { return before.name == p.name; });
    out.push_back(std::move(p));
  }
  return out;
}

}  // namespace runtime
