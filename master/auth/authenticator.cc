#include "master/auth/authenticator.h"

#include <strings.h>

#include <algorithm>

#include "base/base64.h"

namespace master {

namespace json = base::json;
using base::Result;
using base::string_at;

namespace {

base::Error denied(std::string why) {
  return base::make_error(base::Kind::kDenied, "authenticate", "", std::move(why));
}

// One line of comma-separated values; a value in double quotes may hold commas, "" is a quote.
std::vector<std::string> split_csv(std::string_view line) {
  std::vector<std::string> out(1);
  bool quoted = false;
  for (size_t i = 0; i < line.size(); ++i) {
    char c = line[i];
    if (c == '"' && quoted && i + 1 < line.size() && line[i + 1] == '"') out.back() += line[++i];
    else if (c == '"') quoted = !quoted;
    else if (c == ',' && !quoted) out.emplace_back();
    else out.back() += c;
  }
  return out;
}
std::vector<std::string> split_list(std::string_view text) {
  std::vector<std::string> out;
  while (!text.empty()) {
    size_t end = text.find(',');
    std::string_view item = text.substr(0, end);
    while (item.starts_with(' ')) item.remove_prefix(1);
    while (item.ends_with(' ')) item.remove_suffix(1);
    if (!item.empty()) out.emplace_back(item);
    text = end == text.npos ? std::string_view() : text.substr(end + 1);
  }
  return out;
}

// Takes as long for every text of one length.
bool same_secret(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return false;
  unsigned char differ = 0;
  for (size_t i = 0; i < a.size(); ++i) differ |= static_cast<unsigned char>(a[i] ^ b[i]);
  return differ == 0;
}

bool is_bootstrap_token(std::string_view token) {
  if (token.size() != 23 || token[6] != '.') return false;
  return std::all_of(token.begin(), token.end(),
                     [](char c) { return c == '.' || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); });
}

// "Bearer TOKEN"; "" when there is none.
std::string bearer_token(const base::http::Request& request) {
  std::string_view header = request.headers.get("Authorization");
  if (header.size() < 7 || ::strncasecmp(header.data(), "Bearer ", 7) != 0) return {};
  header.remove_prefix(7);
  while (header.starts_with(' ')) header.remove_prefix(1);
  while (header.ends_with(' ')) header.remove_suffix(1);
  return std::string(header);
}

}  // namespace

Result<std::map<std::string, User>> read_token_file(std::string_view text) {
  std::map<std::string, User> out;
  int number = 0;
  while (!text.empty()) {
    size_t end = text.find('\n');
    std::string_view line = text.substr(0, end);
    text = end == text.npos ? std::string_view() : text.substr(end + 1);
    ++number;
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.empty() || line.starts_with('#')) continue;
    std::vector<std::string> values = split_csv(line);
    if (values.size() < 3 || values[0].empty() || values[1].empty())
      return base::make_error(base::Kind::kInvalid, "read --token-auth-file",
                              "line " + std::to_string(number),
                              "expected token,user,uid and perhaps \"group1,group2\"");
    User user{values[1], values.size() > 3 ? split_list(values[3]) : std::vector<std::string>(), values[2]};
    user.groups.emplace_back("system:authenticated");
    out[values[0]] = std::move(user);
  }
  return out;
}

Result<User> Authenticator::check_bootstrap_token(std::string_view token) const {
  std::string id(token.substr(0, 6));
  ObjectRef object = secrets_.find("kube-system/bootstrap-token-" + id);
  if (!object) return denied("unknown bootstrap token");
  json::value secret = parse_object(*object->text);
  auto data = [&](const char* key) {
    return base::base64_decode(string_at(secret, "data", key)).value_or("");
  };
  if (string_at(secret, "type") != "bootstrap.kubernetes.io/token" ||
      base::find_path(secret, "metadata", "deletionTimestamp"))
    return denied("unknown bootstrap token");
  if (data("token-id") != id || !same_secret(data("token-secret"), token.substr(7)))
    return denied("wrong bootstrap token");
  if (std::string expires = data("expiration"); !expires.empty()) {
    auto time = base::parse_time(expires);
    if (!time || *time <= base::wall_now()) return denied("bootstrap token has expired");
  }
  if (data("usage-bootstrap-authentication") != "true")
    return denied("the bootstrap token is not for authentication");
  User user{"system:bootstrap:" + id, {"system:bootstrappers"}};
  for (std::string& group : split_list(data("auth-extra-groups")))
    if (group.starts_with("system:bootstrappers:")) user.groups.push_back(std::move(group));
  user.groups.emplace_back("system:authenticated");
  return user;
}

Result<ServiceAccountTokens::Identity> Authenticator::check_token(const std::string& token) {
  if (auto it = static_tokens_.find(token); it != static_tokens_.end())
    return ServiceAccountTokens::Identity{it->second, {}};
  if (is_bootstrap_token(token)) return ServiceAccountTokens::Identity{TRY(check_bootstrap_token(token)), {}};
  if (!tokens_) return denied("unknown token");
  return tokens_->check(token);
}

Result<User> Authenticator::authenticate(const base::http::Request& request) {
  if (request.peer.has_certificate && !request.peer.common_name.empty()) {
    User user{request.peer.common_name, request.peer.organizations};
    user.groups.emplace_back("system:authenticated");
    return user;
  }
  std::string token = bearer_token(request);
  if (token.empty()) return User{std::string(kAnonymous), {"system:unauthenticated"}};
  auto identity = TRY(check_token(token));
  const std::vector<std::string>& audiences = identity.audiences;
  auto ours = [&](const std::string& audience) {
    const std::vector<std::string>& own = tokens_->keys().audiences;
    return std::find(own.begin(), own.end(), audience) != own.end();
  };
  if (tokens_ && !audiences.empty() && std::none_of(audiences.begin(), audiences.end(), ours))
    return denied("the token is for another audience");
  return std::move(identity.user);
}

}  // namespace master
