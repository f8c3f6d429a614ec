#include "api/client/transport.h"
#include "api/yaml.h"
#include "base/base64.h"
#include "base/sys.h"

namespace api {
namespace {

base::Error bad_kubeconfig(std::string reason, std::string hint = {}) {
  return base::make_error(base::Kind::kInvalid, "read kubeconfig", {}, std::move(reason), std::move(hint));
}

// The entry called `name` of "clusters", "users" or "contexts": its `member`.
const json::value* entry(const json::value& root, std::string_view list, std::string_view member,
                         std::string_view name) {
  const json::value* entries = base::find(root, list);
  if (!entries || !entries->is_array()) return nullptr;
  for (const json::value& item : entries->get_array())
    if (base::string_at(item, "name") == name) return base::find(item, member);
  return nullptr;
}

// "key-data" decoded, or the file that "key" names.
base::Result<std::string> data_or_file(const json::value& in, const std::string& key,
                                       const std::string& directory) {
  if (std::string_view data = base::string_at(in, key + "-data"); !data.empty()) {
    auto decoded = base::base64_decode(data);
    if (!decoded) return bad_kubeconfig(key + "-data is not base64");
    return *decoded;
  }
  std::string path(base::string_at(in, key));
  if (path.empty()) return std::string();
  return base::sys::read_file(path[0] == '/' ? path : directory + "/" + path);
}

}  // namespace

base::Result<KubeConfig> parse_kubeconfig(const std::string& text, const std::string& directory) {
  std::vector<json::value> documents = TRY_WRAP(parse_yaml(text), "read kubeconfig", "");
  if (documents.size() != 1 || !documents[0].is_object()) return bad_kubeconfig("not one YAML mapping");
  const json::value& root = documents[0];
  std::string_view current = base::string_at(root, "current-context");
  if (current.empty())
    return bad_kubeconfig("current-context is not set", "run kubectl config use-context NAME");
  const json::value* context = entry(root, "contexts", "context", current);
  if (!context) return bad_kubeconfig("no context \"" + std::string(current) + "\"");
  std::string_view cluster_name = base::string_at(*context, "cluster");
  const json::value* cluster = entry(root, "clusters", "cluster", cluster_name);
  if (!cluster) return bad_kubeconfig("no cluster \"" + std::string(cluster_name) + "\"");
  KubeConfig out;
  out.server = base::string_at(*cluster, "server");
  if (out.server.empty())
    return bad_kubeconfig("cluster \"" + std::string(cluster_name) + "\" has no server");
  if (base::as_bool(base::find(*cluster, "insecure-skip-tls-verify")))
    return bad_kubeconfig("insecure-skip-tls-verify is set",
                          "give the cluster's certificate-authority instead");
  out.ca_pem = TRY(data_or_file(*cluster, "certificate-authority", directory));
  if (std::string_view ns = base::string_at(*context, "namespace"); !ns.empty()) out.ns = ns;
  std::string_view user_name = base::string_at(*context, "user");
  const json::value* user = entry(root, "users", "user", user_name);
  if (!user) return bad_kubeconfig("no user \"" + std::string(user_name) + "\"");
  out.client.certificate_pem = TRY(data_or_file(*user, "client-certificate", directory));
  out.client.key_pem = TRY(data_or_file(*user, "client-key", directory));
  if (out.client.certificate_pem.empty() != out.client.key_pem.empty())
    return bad_kubeconfig("user \"" + std::string(user_name) +
                          "\" has only one of client-certificate and client-key");
  out.token = base::string_at(*user, "token");
  if (std::string file(base::string_at(*user, "tokenFile")); out.token.empty() && !file.empty()) {
    out.token = TRY(base::sys::read_file(file[0] == '/' ? file : directory + "/" + file));
    while (!out.token.empty() && std::isspace(static_cast<unsigned char>(out.token.back())))
      out.token.pop_back();
  }
  if (out.client.key_pem.empty() && out.token.empty())
    for (const char* unsupported : {"exec", "auth-provider", "username"})
      if (base::find(*user, unsupported))
        return bad_kubeconfig("user \"" + std::string(user_name) + "\" authenticates by " + unsupported,
                              "use a client certificate or a token");
  return out;
}

base::Result<KubeConfig> load_kubeconfig(const std::string& path) {
  std::string text = TRY_WRAP(base::sys::read_file(path), "read kubeconfig", path);
  size_t slash = path.rfind('/');
  return TRY_WRAP(parse_kubeconfig(text, slash == std::string::npos ? "." : path.substr(0, slash)),
                  "read kubeconfig", path);
}

std::string write_kubeconfig(const KubeConfig& config, const std::string& user) {
  // JSON strings are YAML scalars, so every value is quoted as one.
  auto quoted = [](const std::string& text) { return base::to_json(json::value(text)); };
  std::string out = "apiVersion: v1\nkind: Config\n";
  out += "clusters:\n- name: sampan\n  cluster:\n    server: " + quoted(config.server) + "\n";
  if (!config.ca_pem.empty())
    out += "    certificate-authority-data: " + base::base64_encode(config.ca_pem) + "\n";
  out += "contexts:\n- name: sampan\n  context:\n    cluster: sampan\n    user: " + quoted(user) + "\n";
  if (config.ns != "default") out += "    namespace: " + quoted(config.ns) + "\n";
  out += "current-context: sampan\n";
  out += "users:\n- name: " + quoted(user) + "\n";
  if (config.client.certificate_pem.empty() && config.token.empty()) return out + "  user: {}\n";
  out += "  user:\n";
  if (!config.client.certificate_pem.empty())
    out += "    client-certificate-data: " + base::base64_encode(config.client.certificate_pem) +
           "\n    client-key-data: " + base::base64_encode(config.client.key_pem) + "\n";
  if (!config.token.empty()) out += "    token: " + quoted(config.token) + "\n";
  return out;
}

}  // namespace api
