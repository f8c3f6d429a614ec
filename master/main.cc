// sampan-master: API server, scheduler and controllers in one process, one event loop, one writer
// thread for the store. SIGTERM ends it cleanly; kill -9 loses nothing that was acknowledged.

#include <CLI/CLI.hpp>
#include <csignal>

#include "api/client/transport.h"
#include "api/status.h"
#include "api/yaml.h"
#include "base/log.h"
#include "base/notify.h"
#include "base/sys.h"
#include "master/auth/authenticator.h"
#include "master/auth/pki.h"
#include "master/controllers/load_balancer_plan.h"
#include "master/master.h"
#include "master/registry/store_check.h"

namespace {

using base::Status;

struct Flags {
  std::string data_dir = "/var/lib/sampan/master";
  std::vector<std::string> listen;
  std::string advertise_address = "127.0.0.1";
  std::string service_cidr = "10.96.0.0/16", cluster_cidr = "10.244.0.0/16";
  std::vector<std::string> load_balancer_pools;
  std::string cluster_dns = "10.96.0.10", cluster_domain = "cluster.local";
  std::string token_auth_file;
  std::vector<std::string> account_issuers, api_audiences;
  std::string account_jwks_uri, account_algorithm = "RS256";
  std::vector<std::string> admission_plugins;
  std::string log_level = "info";
  std::string audit_policy_file;
  std::string scheduler_config;
  master::StoreOptions store;
  bool check_store = false;
  master::AuditLog::Options audit_log;
  int64_t audit_log_max_size_mib = 100;
};

// sd_listen_fds(3): sockets 3… when LISTEN_PID is ours.
int inherited_sockets() {
  const char *pid = std::getenv("LISTEN_PID"), *count = std::getenv("LISTEN_FDS");
  if (!pid || !count || std::atoi(pid) != ::getpid()) return 0;
  return std::atoi(count);
}
base::Result<std::string> first_service_address(const std::string& cidr) {
  if (!base::Cidr::parse_v4(cidr))
    return base::make_error(base::Kind::kInvalid, "read --service-cidr", cidr, "not an IPv4 CIDR",
                            "give one like 10.96.0.0/16");
  return master::ServiceAllocator(cidr, "").first_address();
}

Status read_load_balancer_pools(const Flags& flags, master::controllers::Options* options) {
  std::vector<base::Cidr> taken;
  for (const std::string& text : {flags.service_cidr, flags.cluster_cidr})
    if (auto cidr = base::Cidr::parse(text)) taken.push_back(*cidr);
  for (const std::string& text : flags.load_balancer_pools) {
    if (text == "none") {
      options->load_balancers_of_others = true;
      continue;
    }
    const size_t equals = text.find('=');
    std::string& pool =
        options->load_balancer_pools[equals == text.npos ? "default" : text.substr(0, equals)];
    pool += text.substr(equals == text.npos ? 0 : equals + 1) + "\n";
  }
  const auto pools = master::controllers::read_pools(options->load_balancer_pools, taken);
  if (pools.errors.empty()) return {};
  return base::make_error(base::Kind::kInvalid, "read --load-balancer-pool", "", pools.errors[0]);
}

base::Result<master::MasterOptions> read_options(const Flags& flags, const master::ServerOptions& server,
                                                 const master::Pki& pki) {
  master::MasterOptions options;
  options.server = server;
  options.controllers.cluster_cidr = flags.cluster_cidr;
  options.controllers.service_cidr = flags.service_cidr;
  TRY(read_load_balancer_pools(flags, &options.controllers));
  options.controllers.ca_pem = pki.ca.certificate_pem;
  options.controllers.signing_ca = pki.ca;
  options.controllers.cluster_domain = flags.cluster_domain;
  if (!flags.scheduler_config.empty()) {
    const auto documents = TRY_WRAP(api::parse_yaml(TRY(base::sys::read_file(flags.scheduler_config))),
                                    "read --scheduler-config", flags.scheduler_config);
    options.scheduling =
        TRY_WRAP(master::scheduler::read_config(documents.empty() ? base::json::value() : documents[0]),
                 "read --scheduler-config", flags.scheduler_config);
  }
  return options;
}

Status run(const Flags& flags) {
  base::Loop loop;
  std::function<void()> stop = [&] { loop.stop(); };  // replaced below, even while it runs
  auto signals = TRY(loop.on_signals({SIGTERM, SIGINT}, [&](int) {
    auto now = stop;
    now();
  }));
  std::string service_ip = TRY(first_service_address(flags.service_cidr));
  if (api::ranges_overlap(flags.service_cidr, flags.cluster_cidr))
    return base::make_error(base::Kind::kInvalid, "read --cluster-cidr", flags.cluster_cidr,
                            "it shares addresses with --service-cidr " + flags.service_cidr,
                            "Pods and Services need ranges of their own");
  TRY(base::sys::mkdir_all(flags.data_dir, 0700));
  std::string domain = flags.cluster_domain;
  master::Pki pki =
      TRY(master::load_or_make_pki(flags.data_dir,
                                   {"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc",
                                    "kubernetes.default.svc." + domain},
                                   {"127.0.0.1", "::1", flags.advertise_address, service_ip}));

  master::ServerOptions options;
  options.service_cidr = flags.service_cidr;
  options.cluster_cidr = flags.cluster_cidr;
  options.cluster_dns = flags.cluster_dns;
  for (const std::string& plugin : flags.admission_plugins)
    if (plugin == "DenyServiceExternalIPs") options.deny_external_ips = true;
  options.advertise_address = flags.advertise_address;
  options.node_client = TRY(base::tls::Context::client(pki.ca.certificate_pem, pki.node_client));
  options.front_proxy = pki.front_proxy;
  options.front_proxy_ca_pem = pki.front_proxy_ca.certificate_pem;
  options.client_ca_pem = pki.ca.certificate_pem;
  options.admits_accounts = true;
  options.tokens.issuer = "https://kubernetes.default.svc." + domain;
  if (!flags.account_issuers.empty()) {
    options.tokens.issuer = flags.account_issuers[0];
    options.tokens.former_issuers.assign(flags.account_issuers.begin() + 1, flags.account_issuers.end());
  }
  options.tokens.audiences = flags.api_audiences;
  options.tokens.jwks_uri = flags.account_jwks_uri;
  options.tokens.keys =
      TRY(master::load_or_make_account_keys(flags.data_dir + "/pki", flags.account_algorithm));
  if (!flags.token_auth_file.empty())
    options.static_tokens = TRY(master::read_token_file(TRY(base::sys::read_file(flags.token_auth_file))));
  // The port Pods and nodes use is the first one listened on.
  auto context = TRY(base::tls::Context::server(pki.server, pki.ca.certificate_pem));
  std::unique_ptr<master::Master> node;
  base::http::Server::Options http_options;
  // A connection is a file descriptor: all but what the store, its own clients and logs need. A node's
  // daemons have a dozen each.
  constexpr uint64_t kOwnFiles = 1024;
  if (const uint64_t files = TRY(base::sys::raise_open_files());
      files > http_options.max_connections + kOwnFiles)
    http_options.max_connections = files - kOwnFiles;
  http_options.refusal = [&](int status, const std::string& text) {
    base::json::value told = status == 413
                                 ? api::too_large(http_options.max_body_bytes)
                                 : api::make_status(status, status == 400 ? "BadRequest" : "", text);
    return std::pair<std::string, std::string>("application/json", base::to_json(told));
  };
  base::http::Server http(loop, context, http_options, [&](std::shared_ptr<base::http::Exchange> exchange) {
    node->api().handle(std::move(exchange));
  });
  for (const std::string& address : flags.listen) TRY(http.listen(address));
  for (int i = 0; i < inherited_sockets(); ++i) TRY(http.adopt(base::UniqueFd(3 + i)));
  if (http.ports().empty())
    return base::make_error(base::Kind::kInvalid, "start", "", "nothing to listen on",
                            "give --listen ADDRESS:PORT");
  options.advertise_port = http.ports()[0];

  auto store = TRY(master::open_sqlite_store(loop, flags.data_dir + "/store.db", flags.store));
  options.store_lost = [&] { loop.stop(); };
  node = std::make_unique<master::Master>(loop, std::move(store), TRY(read_options(flags, options, pki)));
  if (!flags.audit_policy_file.empty() && !flags.audit_log.path.empty()) {
    std::string text = TRY(base::sys::read_file(flags.audit_policy_file));
    auto policy =
        TRY_WRAP(master::AuditPolicy::parse(text), "read --audit-policy-file", flags.audit_policy_file);
    master::AuditLog::Options log = flags.audit_log;
    log.max_size_bytes = flags.audit_log_max_size_mib << 20;
    node->api().front().audit(std::move(policy), TRY(master::AuditLog::open(loop, std::move(log))));
  }
  TRY(node->start([&] {
    base::notify_ready();
    base::log::info("serving on {} socket(s), first port {}, data in {}", http.ports().size(),
                    http.ports()[0], flags.data_dir);
  }));

  api::KubeConfig admin;
  // A socket that was handed in is the user's own door (on the host's loopback); prefer it.
  int admin_port = http.ports()[flags.listen.size() < http.ports().size() ? flags.listen.size() : 0];
  admin.server = "https://" + std::string(inherited_sockets() ? "127.0.0.1" : flags.advertise_address) + ":" +
                 std::to_string(admin_port);
  admin.ca_pem = pki.ca.certificate_pem;
  admin.client = pki.admin;
  TRY(base::sys::write_file_atomic(flags.data_dir + "/admin.conf",
                                   api::write_kubeconfig(admin, "kubernetes-admin"), 0600));

  // What is under way is answered first; a second signal ends it at once.
  stop = [&] {
    base::log::info("stopping");
    node->api().set_stopping();
    stop = [&] { loop.stop(); };
    http.shut_down(std::chrono::seconds(5), [&] { loop.stop(); });
  };
  loop.run();
  return {};
}

}  // namespace

int main(int argc, char** argv) {
  Flags flags;
  CLI::App app{"sampan-master: the Kubernetes API server, scheduler and controllers of a Sampan cluster"};
  app.set_version_flag("--version", "sampan-master 0.1.0");
  app.add_option("--data-dir", flags.data_dir, "store, certificates and admin.conf")->capture_default_str();
  app.add_option("--listen", flags.listen, "ADDRESS:PORT to serve on; may be given again");
  app.add_option("--advertise-address", flags.advertise_address,
                 "address by which nodes and Pods reach this server")
      ->capture_default_str();
  app.add_option("--service-cidr", flags.service_cidr, "cluster IPs of Services")->capture_default_str();
  app.add_option("--cluster-cidr", flags.cluster_cidr, "Pod addresses; a /24 of it for each node")
      ->capture_default_str();
  app.add_option(
      "--load-balancer-pool", flags.load_balancer_pools,
      "[NAME=]192.0.2.10-192.0.2.50,198.51.100.0/28: addresses for Services of type LoadBalancer, beside "
      "those of ConfigMap kube-system/sampan-address-pools; may be given again. Without any they have "
      "the nodes' addresses; none: somebody else serves them");
  app.add_option("--cluster-dns", flags.cluster_dns,
                 "address of the nodes' DNS servers; never given to a Service")
      ->capture_default_str();
  app.add_option("--cluster-domain", flags.cluster_domain, "DNS domain of Services")->capture_default_str();
  app.add_option("--token-auth-file", flags.token_auth_file,
                 "bearer tokens: a line token,user,uid,\"group1,group2\" each");
  app.add_option("--service-account-issuer", flags.account_issuers,
                 "issuer of service accounts' tokens; given again, one whose tokens are taken as well; "
                 "https://kubernetes.default.svc.DOMAIN when absent");
  app.add_option("--service-account-signing-algorithm", flags.account_algorithm,
                 "of the key that signs service accounts' tokens: RS256 or ES256, "
                 "which is faster and which some validators do not know")
      ->check(CLI::IsMember({"RS256", "ES256"}));
  app.add_option("--service-account-jwks-uri", flags.account_jwks_uri,
                 "where the OIDC discovery document says the tokens' keys are");
  app.add_option("--api-audiences", flags.api_audiences,
                 "audiences of this server, one of which a token must have; its issuer when absent")
      ->delimiter(',');
  app.add_option("--enable-admission-plugins", flags.admission_plugins,
                 "plugins beside those that every cluster has: DenyServiceExternalIPs (no Service may name "
                 "new external addresses)")
      ->delimiter(',')
      ->check(CLI::IsMember({"DenyServiceExternalIPs"}));
  app.add_option("--audit-policy-file", flags.audit_policy_file,
                 "audit.k8s.io/v1 Policy; with --audit-log-path, requests are audited");
  app.add_option("--audit-log-path", flags.audit_log.path,
                 "file of audit events, one JSON object a line; - is standard output");
  app.add_option("--audit-log-maxsize", flags.audit_log_max_size_mib,
                 "MiB after which the audit log is rotated")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  app.add_option("--audit-log-maxbackup", flags.audit_log.max_backups, "rotated audit logs kept; 0: all")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  app.add_option("--audit-log-maxage", flags.audit_log.max_age_days,
                 "days that a rotated audit log is kept; 0: any")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  app.add_option("--scheduler-config", flags.scheduler_config,
                 "kubescheduler.config.k8s.io/v1 KubeSchedulerConfiguration: profiles of the scheduler");
  app.add_option("--log-level", flags.log_level, "debug, info, warning or error")->capture_default_str();
  app.add_flag("--accept-data-loss", flags.store.accept_data_loss,
               "start although writes that were acknowledged are missing from the store; what is replaced is "
               "kept beside it");
  app.add_flag("--check-store", flags.check_store,
               "only look at the store of --data-dir and say what a start would; 0: whole, 3: records would "
               "be set aside, "
               "4: it would not start, 1: it could not be looked at");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  base::log::Level level = base::log::Level::kInfo;
  if (!base::log::parse_level(flags.log_level, &level)) {
    std::fprintf(stderr, "sampan-master: --log-level %s: expected debug, info, warning or error\n",
                 flags.log_level.c_str());
    return 2;
  }
  base::log::init("sampan-master", level);
  std::signal(SIGPIPE, SIG_IGN);
  if (flags.check_store) {
    std::string path = flags.data_dir + "/store.db";
    auto report = master::check_store(path);
    if (!report.ok()) {
      std::fprintf(stderr, "sampan-master: %s\n", report.error().message().c_str());
      return 1;
    }
    std::fputs(master::to_text(*report, path).c_str(), stdout);
    return master::exit_code(*report);
  }
  if (Status status = run(flags); !status.ok()) {
    base::log::error("{}", status.error().message());
    return 1;
  }
  return 0;
}
