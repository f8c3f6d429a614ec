#include "runtime/image/registry.h"

#include "base/base64.h"
#include "base/json.h"

namespace runtime {
namespace {

using base::Kind;
using base::make_error;
namespace json = base::json;

bool is_loopback(const std::string& host) {
  std::string name = host.substr(
      0, host.rfind(':') == std::string::npos || host.ends_with("]") ? std::string::npos : host.rfind(':'));
  return name == "localhost" || name.starts_with("127.") || name == "[::1]";
}

base::Error bad_setting(const std::string& subject, const std::string& where, const std::string& reason) {
  return make_error(Kind::kInvalid, "read registries file", subject, where + ": " + reason,
                    "correct the file");
}

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return out;
}

// "https://index.docker.io/v1/" -> "docker.io", as Docker's own config names its hub.
std::string host_of(std::string_view key) {
  if (size_t scheme = key.find("://"); scheme != std::string_view::npos) key.remove_prefix(scheme + 3);
  std::string host(key.substr(0, key.find('/')));
  if (host == "index.docker.io" || host == "registry-1.docker.io") return "docker.io";
  return host;
}

base::Result<RegistrySettings> settings_of(const json::value& value, const std::string& host,
                                           const std::string& subject,
                                           const Registries::ReadFile& read_file) {
  RegistrySettings out;
  if (!value.is_object()) return bad_setting(subject, host, "is no object");
  for (const auto& [key, item] : value.get_object()) {
    std::string name(key);
    std::string where = host + "." + name;
    auto flag = [&](bool& to) -> base::Status {
      if (!item.is_bool()) return bad_setting(subject, where, "is neither true nor false");
      to = item.get_bool();
      return {};
    };
    auto text = [&](std::string& to) -> base::Status {
      if (!item.is_string() || item.get_string().empty()) return bad_setting(subject, where, "is no text");
      to = base::as_string(&item);
      return {};
    };
    if (name == "plainHTTP") TRY(flag(out.plain_http));
    else if (name == "insecure") TRY(flag(out.insecure));
    else if (name == "mirrorsOnly") TRY(flag(out.mirrors_only));
    else if (name == "caFile") TRY(text(out.ca_file));
    else if (name == "username") TRY(text(out.username));
    else if (name == "password") TRY(text(out.password));
    else if (name == "passwordFile") {
      std::string path;
      TRY(text(path));
      out.password = TRY_WRAP(read_file(path), "read registries file", subject + " " + where);
      while (!out.password.empty() && out.password.back() == '\n') out.password.pop_back();
    } else if (name == "mirrors") {
      if (!item.is_array()) return bad_setting(subject, where, "is no list");
      for (const json::value& mirror : item.get_array()) {
        std::string address(base::as_string(&mirror));
        if (!parse_image_reference(address + "/x").ok() || address.find('/') != std::string::npos)
          return bad_setting(subject, where,
                             "'" + address + "' is no host or host:port; its scheme is set by its own entry");
        out.mirrors.push_back(address);
      }
    } else {
      return bad_setting(subject, where,
                         "unknown; known are mirrors, mirrorsOnly, plainHTTP, insecure, caFile, "
                         "username, password, passwordFile");
    }
  }
  if (!out.password.empty() && out.username.empty())
    return bad_setting(subject, host, "a password without a username");
  if (out.plain_http && (out.insecure || !out.ca_file.empty()))
    return bad_setting(subject, host, "plainHTTP has no TLS to be insecure or to have a caFile");
  return out;
}

}  // namespace

base::Result<Registries> Registries::parse(std::string_view text, const std::string& subject,
                                           const ReadFile& read_file) {
  auto value = TRY_WRAP(base::parse_json(text), "read registries file", subject);
  if (!value.is_object()) return bad_setting(subject, "the file", "is no object");
  Registries out;
  for (const auto& [key, item] : value.get_object()) {
    if (key != "registries" || !item.is_object())
      return bad_setting(subject, std::string(key), "only an object 'registries' is known");
    for (const auto& [host, settings] : item.get_object())
      out.hosts_[host_of(std::string_view(host))] =
          TRY(settings_of(settings, std::string(host), subject, read_file));
  }
  return out;
}

base::Status Registries::add_docker_config(std::string_view text, const std::string& subject) {
  auto value = TRY_WRAP(base::parse_json(text), "read Docker config", subject);
  const json::value* auths = base::find(value, "auths");
  // A kubernetes.io/dockercfg Secret is the inner object alone.
  if (!auths) auths = &value;
  if (!auths->is_object())
    return make_error(Kind::kInvalid, "read Docker config", subject, "no object 'auths'");
  for (const auto& [key, item] : auths->get_object()) {
    std::string username(base::string_at(item, "username")), password(base::string_at(item, "password"));
    if (std::string_view packed = base::string_at(item, "auth"); username.empty() && !packed.empty()) {
      auto decoded = base::base64_decode(packed);
      if (!decoded)
        return make_error(Kind::kInvalid, "read Docker config", subject,
                          std::string(key) + ".auth is not base64");
      const std::string& pair = *decoded;
      size_t colon = pair.find(':');
      if (colon == std::string::npos)
        return make_error(Kind::kInvalid, "read Docker config", subject,
                          std::string(key) + ".auth has no colon");
      username = pair.substr(0, colon);
      password = pair.substr(colon + 1);
    }
    if (username.empty()) continue;  // a credential helper's entry: nothing in the file to use
    std::string host = host_of(std::string_view(key));
    RegistrySettings known = settings(host);
    known.username = username;
    known.password = password;
    hosts_[host] = known;
  }
  return {};
}

RegistrySettings Registries::settings(const std::string& host) const {
  if (auto found = hosts_.find(host_of(host)); found != hosts_.end()) return found->second;
  RegistrySettings out;
  out.plain_http = is_loopback(host);
  return out;
}

Registries Registries::with_login(const std::string& host, const std::string& username,
                                  const std::string& password) const {
  Registries out = *this;
  RegistrySettings known = settings(host);
  known.username = username;
  known.password = password;
  out.hosts_[host_of(host)] = std::move(known);
  return out;
}

std::vector<Registries::Endpoint> Registries::endpoints(const ImageReference& reference) const {
  auto endpoint = [&](const std::string& host) {
    Endpoint out{host, {}, settings(host)};
    // Docker's hub is served from another name than it is called by.
    out.url = (out.settings.plain_http ? "http://" : "https://") +
              (host == "docker.io" ? "registry-1.docker.io" : host);
    return out;
  };
  Endpoint origin = endpoint(reference.domain);
  std::vector<Endpoint> out;
  for (const std::string& mirror : origin.settings.mirrors) out.push_back(endpoint(mirror));
  if (!origin.settings.mirrors_only || out.empty()) out.push_back(std::move(origin));
  return out;
}

// RFC 9110 section 11.6.1: schemes and their parameters share the comma; a word that is followed
// by '=' is a parameter, any other starts a scheme.
std::vector<Challenge> parse_challenges(std::string_view header) {
  std::vector<Challenge> out;
  size_t at = 0;
  auto skip = [&] {
    while (at < header.size() && (header[at] == ' ' || header[at] == ',' || header[at] == '\t')) ++at;
  };
  for (skip(); at < header.size(); skip()) {
    size_t end = header.find_first_of("=, \t", at);
    std::string word = lower(header.substr(at, end == std::string_view::npos ? end : end - at));
    at = std::min(end, header.size());
    if (word.empty()) {
      ++at;
      continue;
    }
    size_t next = header.find_first_not_of(" \t", at);
    if (next == std::string_view::npos || header[next] != '=') {
      out.push_back({word, {}});
      continue;
    }
    at = header.find_first_not_of(" \t", next + 1);
    std::string value;
    if (at == std::string_view::npos) {
      at = header.size();
    } else if (header[at] == '"') {
      for (++at; at < header.size() && header[at] != '"'; ++at) {
        if (header[at] == '\\' && at + 1 < header.size()) ++at;
        value += header[at];
      }
      ++at;
    } else {
      size_t stop = std::min(header.find_first_of(", \t", at), header.size());
      value = header.substr(at, stop - at);
      at = stop;
    }
    if (!out.empty()) out.back().parameters[word] = value;
  }
  return out;
}

}  // namespace runtime
