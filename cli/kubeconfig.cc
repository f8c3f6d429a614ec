// sampan kubeconfig: signs a certificate with the cluster's CA and writes a kubeconfig that holds
// everything. Needs the master's data directory, so it runs on the master's host.
#include "api/client/transport.h"
#include "base/sys.h"
#include "cli/command.h"

namespace cli {
namespace {

struct KubeconfigOptions {
  std::string data_dir = "/var/lib/sampan/master";
  std::string user, server, out;
  std::vector<std::string> groups, addresses, names;
  int days = 365;
};

base::Status write(const KubeconfigOptions& options) {
  using base::Kind;
  using base::make_error;
  if (!options.server.starts_with("https://") || options.server.size() == 8)
    return make_error(Kind::kInvalid, "write kubeconfig for", options.server,
                      "the API is only served over TLS", "write https://HOST:PORT");
  if (options.user.empty()) return make_error(Kind::kInvalid, "write kubeconfig", {}, "the user has no name");
  base::tls::KeyPair ca;
  for (auto [name, to] : {std::pair{"ca.crt", &ca.certificate_pem}, std::pair{"ca.key", &ca.key_pem}}) {
    std::string path = options.data_dir + "/pki/" + name;
    auto text = base::sys::read_file(path, 1u << 20);
    if (!text.ok()) {
      base::Error error = base::wrap(text.error(), "read the cluster's CA");
      error.hint = "give the --data-dir of a sampan-master that has started once, on its host";
      return error;
    }
    *to = std::move(*text);
  }
  base::tls::CertificateRequest request;
  request.common_name = options.user;
  request.organizations = options.groups;
  request.ip_addresses = options.addresses;
  request.dns_names = options.names;
  request.client = true;
  request.server = !options.addresses.empty() || !options.names.empty();
  request.lifetime = std::chrono::hours(24) * options.days;
  api::KubeConfig config;
  config.server = options.server;
  config.ca_pem = ca.certificate_pem;
  config.client = TRY_WRAP(base::tls::sign(ca, request), "sign certificate for", options.user);
  // Only its owner reads it: it is the key of that user.
  TRY_WRAP(base::sys::write_file_atomic(options.out, api::write_kubeconfig(config, options.user), 0600),
           "write kubeconfig", options.out);
  return {};
}

}  // namespace

void add_kubeconfig(CLI::App& app, Outcome& outcome) {
  auto options = std::make_shared<KubeconfigOptions>();
  CLI::App* command = app.add_subcommand("kubeconfig", "Make credentials for a user, a node or a proxy");
  command->add_option("--data-dir", options->data_dir, "The master's, with pki/ca.key")
      ->capture_default_str();
  command->add_option("--user", options->user, "Certificate's common name; of a node system:node:NAME")
      ->required();
  command
      ->add_option("--group", options->groups,
                   "A group of the user (system:nodes, system:masters…); repeatable")
      ->take_all()
      ->allow_extra_args(false);
  command->add_option("--server", options->server, "https://HOST:PORT of the API")->required();
  command->add_option("--ip", options->addresses, "Certificate also serves at this address; repeatable")
      ->take_all()
      ->allow_extra_args(false);
  command->add_option("--dns", options->names, "Certificate also serves under this name; repeatable")
      ->take_all()
      ->allow_extra_args(false);
  command->add_option("--days", options->days, "Until it expires")
      ->capture_default_str()
      ->check(CLI::Range(1, 36500));
  command->add_option("--out", options->out, "The file to write, mode 600")->required();
  command->callback([options, &outcome] { outcome.set(write(*options)); });
}

}  // namespace cli
