#include "runtime/launch/seccomp.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <list>

#include "base/sys.h"

namespace runtime {
namespace {

namespace json = base::json;

struct Name {
  std::string_view name;
  uint32_t value;
};
constexpr Name kArchitectures[] = {{"SCMP_ARCH_X86", SCMP_ARCH_X86},
                                   {"SCMP_ARCH_X86_64", SCMP_ARCH_X86_64},
                                   {"SCMP_ARCH_X32", SCMP_ARCH_X32},
                                   {"SCMP_ARCH_ARM", SCMP_ARCH_ARM},
                                   {"SCMP_ARCH_AARCH64", SCMP_ARCH_AARCH64},
                                   {"SCMP_ARCH_MIPS", SCMP_ARCH_MIPS},
                                   {"SCMP_ARCH_MIPS64", SCMP_ARCH_MIPS64},
                                   {"SCMP_ARCH_MIPS64N32", SCMP_ARCH_MIPS64N32},
                                   {"SCMP_ARCH_MIPSEL", SCMP_ARCH_MIPSEL},
                                   {"SCMP_ARCH_MIPSEL64", SCMP_ARCH_MIPSEL64},
                                   {"SCMP_ARCH_MIPSEL64N32", SCMP_ARCH_MIPSEL64N32},
                                   {"SCMP_ARCH_PPC", SCMP_ARCH_PPC},
                                   {"SCMP_ARCH_PPC64", SCMP_ARCH_PPC64},
                                   {"SCMP_ARCH_PPC64LE", SCMP_ARCH_PPC64LE},
                                   {"SCMP_ARCH_S390", SCMP_ARCH_S390},
                                   {"SCMP_ARCH_S390X", SCMP_ARCH_S390X},
                                   {"SCMP_ARCH_PARISC", SCMP_ARCH_PARISC},
                                   {"SCMP_ARCH_PARISC64", SCMP_ARCH_PARISC64},
                                   {"SCMP_ARCH_RISCV64", SCMP_ARCH_RISCV64}};
constexpr Name kOperators[] = {{"SCMP_CMP_NE", SCMP_CMP_NE},
                               {"SCMP_CMP_LT", SCMP_CMP_LT},
                               {"SCMP_CMP_LE", SCMP_CMP_LE},
                               {"SCMP_CMP_EQ", SCMP_CMP_EQ},
                               {"SCMP_CMP_GE", SCMP_CMP_GE},
                               {"SCMP_CMP_GT", SCMP_CMP_GT},
                               {"SCMP_CMP_MASKED_EQ", SCMP_CMP_MASKED_EQ}};
constexpr Name kFlags[] = {{"SECCOMP_FILTER_FLAG_TSYNC", SECCOMP_FILTER_FLAG_TSYNC},
                           {"SECCOMP_FILTER_FLAG_LOG", SECCOMP_FILTER_FLAG_LOG},
                           {"SECCOMP_FILTER_FLAG_SPEC_ALLOW", SECCOMP_FILTER_FLAG_SPEC_ALLOW},
                           {"SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", 1u << 5}};  // kernel 5.19

template <size_t N>
const Name* find_name(const Name (&table)[N], std::string_view name) {
  for (const Name& row : table)
    if (row.name == name) return &row;
  return nullptr;
}

base::Error invalid(std::string field, std::string why) {
  return base::make_error(base::Kind::kInvalid, "read", "linux.seccomp" + field, std::move(why));
}

base::Result<uint32_t> action(const json::value* name, const json::value* errno_value,
                              const std::string& field) {
  std::string_view text = base::as_string(name);
  bool given = errno_value && !errno_value->is_null();
  int64_t number = given ? base::as_int(errno_value, -1) : EPERM;
  if (number < 0 || number > 4095) return invalid(field, "its errno must be from 0 to 4095");
  auto code = static_cast<uint16_t>(number);
  if (given && text != "SCMP_ACT_ERRNO" && text != "SCMP_ACT_TRACE")
    return invalid(field, fmt::format("action '{}' takes no errno", text));
  if (text == "SCMP_ACT_ALLOW") return uint32_t{SCMP_ACT_ALLOW};
  if (text == "SCMP_ACT_ERRNO") return uint32_t{SCMP_ACT_ERRNO(code)};
  if (text == "SCMP_ACT_KILL" || text == "SCMP_ACT_KILL_THREAD") return uint32_t{SCMP_ACT_KILL_THREAD};
  if (text == "SCMP_ACT_KILL_PROCESS") return uint32_t{SCMP_ACT_KILL_PROCESS};
  if (text == "SCMP_ACT_TRAP") return uint32_t{SCMP_ACT_TRAP};
  if (text == "SCMP_ACT_LOG") return uint32_t{SCMP_ACT_LOG};
  if (text == "SCMP_ACT_TRACE") return uint32_t{SCMP_ACT_TRACE(code)};
  if (text == "SCMP_ACT_NOTIFY") return uint32_t{SCMP_ACT_NOTIFY};
  return invalid(field, fmt::format("action '{}' is not supported", text));
}

struct Context {
  scmp_filter_ctx handle = nullptr;
  ~Context() {
    if (handle) seccomp_release(handle);
  }
};

base::Status add_rule(scmp_filter_ctx handle, const json::value& entry, uint32_t default_action,
                      const std::string& field) {
  uint32_t what = TRY(action(base::find(entry, "action"), base::find(entry, "errnoRet"), field + ".action"));
  if (what == default_action) return {};  // libseccomp refuses rules that change nothing
  std::vector<scmp_arg_cmp> arguments;
  bool repeated = false;
  if (const json::value* args = base::find(entry, "args"); args && !args->is_null()) {
    if (!args->is_array()) return invalid(field + ".args", "must be an array");
    for (const json::value& arg : args->get_array()) {
      const Name* op = find_name(kOperators, base::string_at(arg, "op"));
      int64_t index = base::as_int(base::find(arg, "index"), -1);
      if (!op) return invalid(field + ".args", "unknown op");
      if (index < 0 || index > 5) return invalid(field + ".args", "index must be from 0 to 5");
      auto number = [&](std::string_view key) {
        const json::value* v = base::find(arg, key);
        if (v && v->is_uint64()) return v->get_uint64();
        return static_cast<uint64_t>(base::as_int(v));
      };
      scmp_arg_cmp compare{};
      compare.arg = static_cast<unsigned>(index);
      compare.op = static_cast<scmp_compare>(op->value);
      compare.datum_a = number("value");
      compare.datum_b = number("valueTwo");
      for (const scmp_arg_cmp& other : arguments) repeated |= other.arg == compare.arg;
      arguments.push_back(compare);
    }
  }
  const json::value* names = base::find(entry, "names");
  if (!names || !names->is_array() || names->get_array().empty())
    return invalid(field + ".names", "is required");
  for (const json::value& name : names->get_array()) {
    if (!name.is_string()) return invalid(field + ".names", "must be strings");
    // With it the child says that the listener is there.
    if (what == SCMP_ACT_NOTIFY && name.get_string() == "write")
      return invalid(field + ".names", "SCMP_ACT_NOTIFY cannot be used for the write syscall");
    int call = seccomp_syscall_resolve_name(name.get_string().c_str());
    if (call == __NR_SCMP_ERROR) continue;
    int error = 0;
    if (repeated) {
      // Several conditions on one argument mean "any of them": one rule each.
      for (const scmp_arg_cmp& compare : arguments)
        if (!error) error = seccomp_rule_add_array(handle, what, call, 1, &compare);
    } else {
      error = seccomp_rule_add_array(handle, what, call, static_cast<unsigned>(arguments.size()),
                                     arguments.data());
    }
    // -EEXIST: the same rule was given before, which is harmless.
    if (error != 0 && error != -EEXIST)
      return base::sys::error_from_errno(-error, "add seccomp rule", std::string(name.get_string()));
  }
  return {};
}

}  // namespace

uint64_t seccomp_flags(const json::value& profile) {
  uint64_t flags = 0;
  if (const json::value* list = base::find(profile, "flags"); list && list->is_array())
    for (const json::value& flag : list->get_array())
      if (const Name* known = find_name(kFlags, base::as_string(&flag))) flags |= known->value;
  return flags & ~uint64_t{SECCOMP_FILTER_FLAG_TSYNC};  // one thread: nothing to synchronise
}

base::Status check_known_calls(const json::value& profile) {
  const json::value* list = base::find(profile, "syscalls");
  if (!list || !list->is_array()) return {};
  for (const json::value& entry : list->get_array())
    if (const json::value* names = base::find(entry, "names"); names && names->is_array())
      for (const json::value& name : names->get_array())
        if (std::string text(base::as_string(&name));
            seccomp_syscall_resolve_name(text.c_str()) == __NR_SCMP_ERROR)
          return invalid(".syscalls", "unknown system call '" + text + "'");
  return {};
}

namespace {
constexpr uint32_t kX32Bit =
    0x40000000;  // of the number of a call by the x32 ABI, whose architecture is x86-64's

// The highest number that the profile names, allowed or not, in each of its architectures.
std::vector<std::pair<uint32_t, uint32_t>> newest_calls(const json::value& profile) {
  std::vector<uint32_t> architectures{seccomp_arch_native()};
  if (const json::value* list = base::find(profile, "architectures"); list && list->is_array())
    for (const json::value& entry : list->get_array())
      if (const Name* arch = find_name(kArchitectures, base::as_string(&entry));
          arch && arch->value != architectures[0])
        architectures.push_back(arch->value);
  std::vector<std::pair<uint32_t, uint32_t>> out;
  const json::value* list = base::find(profile, "syscalls");
  if (!list || !list->is_array()) return out;
  for (uint32_t architecture : architectures) {
    int newest = -1;  // libseccomp's own numbers for what an architecture lacks are negative
    for (const json::value& entry : list->get_array())
      if (const json::value* names = base::find(entry, "names"); names && names->is_array())
        for (const json::value& name : names->get_array())
          newest = std::max(newest, seccomp_syscall_resolve_name_arch(
                                        architecture, std::string(base::as_string(&name)).c_str()));
    if (newest >= 0) out.emplace_back(architecture, static_cast<uint32_t>(newest));
  }
  return out;
}

// A call that came after the profile was written fails as on a kernel that lacks it, whatever the
// default is: programs then try an older one, where an EPERM would make them give up. So runc and
// libseccomp-golang have it. Goes before the filter, whose jumps are relative.
void prepend_unknown_calls(const json::value& profile, uint32_t fallback, std::vector<sock_filter>& filter) {
  uint32_t kind = fallback & SECCOMP_RET_ACTION_FULL;
  if (kind == SECCOMP_RET_ALLOW || kind == SECCOMP_RET_LOG || kind == SECCOMP_RET_TRACE)
    return;  // a tracer says it itself
  if (fallback == SCMP_ACT_ERRNO(ENOSYS)) return;
  std::vector<sock_filter> out{BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, arch))};
  for (auto [architecture, newest] : newest_calls(profile)) {
    bool x32 = architecture == SCMP_ARCH_X32, x86_64 = architecture == SCMP_ARCH_X86_64;
    uint8_t length = x32 || x86_64 ? 5 : 4;
    out.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, x32 ? SCMP_ARCH_X86_64 : architecture, 0, length));
    out.push_back(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)));
    if (x32) out.push_back(BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, kX32Bit, 0, 2));
    if (x86_64) out.push_back(BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, kX32Bit, 2, 0));
    out.push_back(BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, newest, 0, 1));
    out.push_back(BPF_STMT(BPF_RET | BPF_K, SCMP_ACT_ERRNO(ENOSYS)));
    out.push_back(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, arch)));
  }
  if (out.size() > 1) filter.insert(filter.begin(), out.begin(), out.end());
}
}  // namespace

base::Result<Filter> compile_seccomp(const json::value& profile) {
  if (!profile.is_object()) return invalid("", "must be an object");
  if (base::string_at(profile, "listenerPath").empty() &&
      !base::string_at(profile, "listenerMetadata").empty())
    return invalid(".listenerMetadata", "needs a listenerPath");
  if (const json::value* list = base::find(profile, "flags"); list && list->is_array())
    for (const json::value& flag : list->get_array())
      if (!find_name(kFlags, base::as_string(&flag)))
        return invalid(".flags", "unknown flag " + base::to_json(flag));
  uint32_t fallback = TRY(
      action(base::find(profile, "defaultAction"), base::find(profile, "defaultErrnoRet"), ".defaultAction"));
  if (fallback == SCMP_ACT_NOTIFY)
    return invalid(".defaultAction", "SCMP_ACT_NOTIFY would stop our own steps: name the calls");
  Context context;
  context.handle = seccomp_init(fallback);
  if (!context.handle) return invalid(".defaultAction", "refused by libseccomp");
  // The container's no_new_privs is the config's own field.
  seccomp_attr_set(context.handle, SCMP_FLTATR_CTL_NNP, 0);
  seccomp_attr_set(context.handle, SCMP_FLTATR_CTL_OPTIMIZE, 2);  // a tree, not a chain
  if (const json::value* list = base::find(profile, "architectures"); list && list->is_array())
    for (const json::value& entry : list->get_array()) {
      const Name* arch = find_name(kArchitectures, base::as_string(&entry));
      if (!arch) return invalid(".architectures", "unknown " + base::to_json(entry));
      int error = seccomp_arch_add(context.handle, arch->value);
      if (error != 0 && error != -EEXIST)
        return base::sys::error_from_errno(-error, "add seccomp architecture", std::string(arch->name));
    }
  if (const json::value* list = base::find(profile, "syscalls"); list && !list->is_null()) {
    if (!list->is_array()) return invalid(".syscalls", "must be an array");
    size_t i = 0;
    for (const json::value& entry : list->get_array()) {
      std::string field = fmt::format(".syscalls[{}]", i++);
      if (!entry.is_object()) return invalid(field, "must be an object");
      if (base::string_at(entry, "action") == "SCMP_ACT_NOTIFY" &&
          base::string_at(profile, "listenerPath").empty())
        return invalid(".listenerPath", "is required for SCMP_ACT_NOTIFY");
      TRY(add_rule(context.handle, entry, fallback, field));
    }
  }
  base::UniqueFd memory(::memfd_create("seccomp", MFD_CLOEXEC));
  if (!memory.valid()) return base::sys::last_error("memfd_create");
  if (int error = seccomp_export_bpf(context.handle, memory.get()); error != 0)
    return base::sys::error_from_errno(-error, "compile seccomp profile");
  ::lseek(memory.get(), 0, SEEK_SET);
  std::string bytes = TRY(base::sys::read_all(memory.get()));
  auto filter = std::make_shared<std::vector<sock_filter>>(bytes.size() / sizeof(sock_filter));
  std::memcpy(filter->data(), bytes.data(), filter->size() * sizeof(sock_filter));
  prepend_unknown_calls(profile, fallback, *filter);
  if (filter->size() > BPF_MAXINSNS)
    return invalid("", fmt::format("{} instructions, the kernel takes {}", filter->size(), BPF_MAXINSNS));
  return Filter(std::move(filter));
}

namespace {
// FNV-1a, 64 bits: names the cache file; the profile inside decides.
uint64_t hash(std::string_view text) {
  uint64_t value = 14695981039346656037ull;
  for (unsigned char c : text) value = (value ^ c) * 1099511628211ull;
  return value;
}
constexpr std::string_view kMagic = "sampan-seccomp-2\n";
constexpr size_t kMaxCached = 16;
struct Cached {
  std::string text;
  Filter filter;
};
std::list<Cached>& memory_cache() {
  static std::list<Cached> cache;  // single-threaded programs
  return cache;
}

Filter read_cache(const std::string& path, std::string_view text) {
  auto bytes = base::sys::read_file(path, 4u << 20);
  if (!bytes.ok()) return nullptr;
  std::string_view rest = *bytes;
  if (!rest.starts_with(kMagic)) return nullptr;
  rest.remove_prefix(kMagic.size());
  if (rest.size() < text.size() + 1 || rest.substr(0, text.size()) != text || rest[text.size()] != '\0')
    return nullptr;
  rest.remove_prefix(text.size() + 1);
  if (rest.empty() || rest.size() % sizeof(sock_filter) != 0) return nullptr;
  auto filter = std::make_shared<std::vector<sock_filter>>(rest.size() / sizeof(sock_filter));
  std::memcpy(filter->data(), rest.data(), rest.size());
  return filter;
}
}  // namespace

base::Result<Filter> load_seccomp(const json::value& profile, const std::string& directory) {
  // The compiler and the kernel's table of names are the library's: a new one compiles anew.
  const scmp_version* version = seccomp_version();
  std::string text =
      fmt::format("{}.{}.{} {}", version->major, version->minor, version->micro, base::to_json(profile));
  for (const Cached& cached : memory_cache())
    if (cached.text == text) return cached.filter;
  std::string path = directory.empty() ? "" : fmt::format("{}/{:016x}.bpf", directory, hash(text));
  Filter filter = path.empty() ? nullptr : read_cache(path, text);
  if (!filter) {
    filter = TRY(compile_seccomp(profile));
    if (!path.empty()) {
      std::string bytes = std::string(kMagic) + text + '\0';
      bytes.append(reinterpret_cast<const char*>(filter->data()), filter->size() * sizeof(sock_filter));
      base::ignore(base::sys::mkdir_all(directory, 0700), "only a cache");
      base::ignore(base::sys::write_file_atomic(path, bytes, 0600), "only a cache");
    }
  }
  memory_cache().push_front({std::move(text), filter});
  if (memory_cache().size() > kMaxCached) memory_cache().pop_back();
  return filter;
}

}  // namespace runtime
