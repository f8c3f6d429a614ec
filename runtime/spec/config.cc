#include "runtime/spec/config.h"

#include <algorithm>
#include <charconv>
#include <csignal>

#include "base/number.h"
#include "runtime/spec/reader.h"

namespace runtime {

base::Error errors_as_one(const Errors& errors, std::string subject) {
  std::string text;
  for (const std::string& line : errors) text += (text.empty() ? "" : "\n") + line;
  return base::make_error(base::Kind::kInvalid, "read", std::move(subject), std::move(text));
}

const Namespace* Config::find_namespace(uint64_t flag) const {
  for (const Namespace& ns : namespaces)
    if (ns.flag == flag) return &ns;
  return nullptr;
}

namespace {
// SemVer: "1.2.3", "1.2.3-dev", "1.2.3+build".
bool is_version(std::string_view text) {
  int part = 0;
  for (const char *at = text.data(), *end = at + text.size();; ++at) {
    unsigned number = 0;
    auto [next, ec] = std::from_chars(at, end, number);
    if (ec != std::errc() || (part == 0 && number != 1)) return false;
    if (++part == 3) return next == end || *next == '-' || *next == '+';
    at = next;
    if (at == end || *at != '.') return false;
  }
}
}  // namespace

base::Result<Config> parse_config(const json::value& value) {
  Errors errors;
  Config c;
  Reader r(&value, "", errors);
  if (!r) {
    if (errors.empty()) errors.push_back("config: must be an object");
    return errors_as_one(errors, "config.json");
  }
  r.refuse({"windows", "solaris", "vm", "zos"});
  r.string("ociVersion", c.oci_version, true);
  if (!c.oci_version.empty() && !is_version(c.oci_version))
    r.fail("ociVersion", "'" + c.oci_version + "' is not supported: use 1.0.0 to 1.3.x");
  r.string("hostname", c.hostname);
  r.string("domainname", c.domainname);
  if (Reader root = r.child("root")) {
    root.string("path", c.root_path, true);
    root.boolean("readonly", c.root_readonly);
  } else if (!r.get("root")) {
    r.fail("root", "is required");
  }
  if (r.get("process")) c.process = read_process(r.child("process"), c.warnings);
  r.each("mounts", [&](const json::value& v, const std::string& at) {
    Reader m(&v, at, errors);
    Mount out;
    out.field = at;
    read_id_map(m, "uidMappings", out.uid_mappings);
    read_id_map(m, "gidMappings", out.gid_mappings);
    if (out.uid_mappings.empty() != out.gid_mappings.empty())
      m.fail(out.uid_mappings.empty() ? "uidMappings" : "gidMappings", "is required beside the other");
    m.string("destination", out.destination, true);
    m.string("type", out.type);
    m.string("source", out.source);
    m.strings("options", out.options);
    // The specification asks for absolute paths but wants relative ones read from "/".
    if (!out.destination.empty() && out.destination[0] != '/') out.destination.insert(0, "/");
    c.mounts.push_back(std::move(out));
  });
  r.string_map("annotations", c.annotations);
  if (c.annotations.count("")) r.fail("annotations", "a key must not be empty");
  c.hooks = read_hooks(r.child("hooks"));
  read_linux(r.child("linux"), c);
  read_annotations(c, errors);
  if (errors.empty()) check_together(c, errors);
  if (!errors.empty()) return errors_as_one(errors, "config.json");
  return c;
}

}  // namespace runtime
