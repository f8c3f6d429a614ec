// sampan-proxy: Services by nftables and the node's DNS server. Reads the API, and writes nothing there but
// the Lease of a node that announces load balancers. Rules and links stay when it ends, so that a restart or
// an upgrade is not noticed.
#include <CLI/CLI.hpp>
#include <csignal>

#include "api/client/client.h"
#include "api/client/transport.h"
#include "base/http/server.h"
#include "base/log.h"
#include "base/notify.h"
#include "base/sys.h"
#include "netns/netns.h"
#include "proxy/announcer.h"
#include "proxy/dns_server.h"
#include "proxy/dns_settings.h"
#include "proxy/feed.h"
#include "proxy/health_checks.h"
#include "proxy/nft_exec.h"
#include "proxy/policer.h"
#include "proxy/proxier.h"

namespace proxy {
namespace {

struct Options {
  std::string kubeconfig, node_name, cluster_domain = "cluster.local", run_dir = "/run/sampan";
  std::string health_listen = "127.0.0.1:10256", resolv_conf, dns_link = "sampan-dns";
  std::string log_level = "info";
  SkeletonConfig table{"sampan", "10.244.0.0/16", "10.96.0.0/16", "10.96.0.10"};
  bool cleanup = false;
};

// The same in plain text as kube-proxy gives it on /metrics.
std::string metrics(const Proxier& proxier, const Policer& policer, size_t announced, const dns::Server& dns,
                    const dns::Upstream& upstream) {
  const auto& c = proxier.counters();
  std::string out;
  auto add = [&](const char* type, const char* name, const char* help, double value) {
    out += fmt::format("# HELP {0} {1}\n# TYPE {0} {2}\n{0} {3}\n", name, help, type, value);
  };
  add("gauge", "sampan_proxy_services", "Services known.",
      static_cast<double>(proxier.cluster().services().size()));
  add("gauge", "sampan_proxy_elements", "Elements wanted in the nftables table.",
      static_cast<double>(proxier.elements()));
  add("counter", "sampan_proxy_rounds_total", "Rounds that wrote to the kernel or tried to.",
      static_cast<double>(c.rounds));
  add("counter", "sampan_proxy_failures_total", "Rounds that failed.", static_cast<double>(c.failures));
  add("counter", "sampan_proxy_actions_total", "Elements and chains changed.",
      static_cast<double>(c.actions));
  add("counter", "sampan_proxy_stale_udp_total", "UDP connections removed.",
      static_cast<double>(c.stale_udp));
  add("counter", "sampan_proxy_interferences_total", "Changes of our table by others.",
      static_cast<double>(c.interferences));
  const auto& p = policer.counters();
  add("gauge", "sampan_proxy_policies", "NetworkPolicies known.",
      static_cast<double>(policer.table().policies()));
  add("gauge", "sampan_proxy_policy_elements", "Elements wanted in the table of policies.",
      static_cast<double>(policer.table().elements()));
  add("counter", "sampan_proxy_policy_loads_total", "Times the table of policies was loaded as a whole.",
      static_cast<double>(p.loads));
  add("counter", "sampan_proxy_policy_actions_total", "Elements of the table of policies changed alone.",
      static_cast<double>(p.actions));
  add("counter", "sampan_proxy_policy_failures_total", "Rounds over policies that failed.",
      static_cast<double>(p.failures));
  add("gauge", "sampan_proxy_policy_denied_connections",
      "Established connections that are not allowed any more.", static_cast<double>(p.denied_connections));
  add("gauge", "sampan_proxy_announced_addresses", "Addresses of load balancers that this node answers for.",
      static_cast<double>(announced));
  add("gauge", "sampan_proxy_last_round_seconds", "How long the last round took.", c.last_round_seconds);
  add("counter", "sampan_dns_queries_total", "DNS queries received.", static_cast<double>(dns.queries()));
  add("counter", "sampan_dns_cache_hits_total", "Upstream answers given from memory.",
      static_cast<double>(upstream.hits()));
  add("counter", "sampan_dns_stale_answers_total",
      "Answers beyond their time, as no upstream server answered.", static_cast<double>(upstream.stale()));
  add("gauge", "sampan_dns_cache_bytes", "Bytes of upstream answers in memory.",
      static_cast<double>(upstream.bytes()));
  add("gauge", "sampan_dns_cache_entries", "Upstream answers in memory.",
      static_cast<double>(upstream.entries()));
  return out;
}

base::Status check(const Options& o) {
  for (const auto& [flag, text] :
       {std::pair{"--cluster-cidr", o.table.cluster_cidr}, {"--service-cidr", o.table.service_cidr}})
    if (!base::Cidr::parse_v4(text))
      return base::make_error(base::Kind::kInvalid, "read flag", flag, "'" + text + "' is not an IPv4 CIDR",
                              "write it as 10.96.0.0/16");
  auto pods = base::Cidr::parse_v4(o.table.cluster_cidr),
       services = base::Cidr::parse_v4(o.table.service_cidr);
  if (pods->overlaps(*services))
    return base::make_error(
        base::Kind::kInvalid, "read flag", "--cluster-cidr",
        "'" + o.table.cluster_cidr + "' shares addresses with --service-cidr " + o.table.service_cidr);
  if (!base::Ip::parse_v4(o.table.cluster_dns))
    return base::make_error(base::Kind::kInvalid, "read flag", "--cluster-dns",
                            "'" + o.table.cluster_dns + "' is not an IPv4 address");
  if (o.table.table.empty() ||
      o.table.table.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_") != std::string::npos)
    return base::make_error(base::Kind::kInvalid, "read flag", "--table",
                            "'" + o.table.table + "' has other characters than a-z, 0-9 and _");
  if (!o.cleanup && (o.kubeconfig.empty() || o.node_name.empty()))
    return base::make_error(base::Kind::kInvalid, "read flags", "--kubeconfig, --node-name",
                            "both are needed");
  return {};
}

base::Status clean_up(const Options& o) {
  Nftables nft(o.table);
  TRY(nft.open());
  TRY(nft.remove_table());
  Nftables policies({Policer::table_name(o.table.table), {}, {}, {}});
  TRY(policies.open());
  TRY(policies.remove_table());
  return netns::remove_link(o.dns_link);
}

base::Status serve(const Options& o) {
  base::Loop loop;
  auto signals = TRY(loop.on_signals({SIGTERM, SIGINT}, [&](int) { loop.stop(); }));
  Nftables nft(o.table);
  TRY(nft.open());
  Proxier proxier(loop, nft, o.node_name,
                  {base::Cidr::parse_v4(o.table.service_cidr),
                   base::Cidr::parse_v4(o.table.cluster_cidr),
                   *base::Ip::parse_v4(o.table.cluster_dns),
                   {}});

  TRY(netns::ensure_dummy_link({o.dns_link, {o.table.cluster_dns + "/32"}, {o.table.service_cidr}}));
  dns::Config zone{o.cluster_domain, *base::Cidr::parse_v4(o.table.service_cidr),
                   *base::Cidr::parse_v4(o.table.cluster_cidr)};
  dns::Upstream upstream(loop, {.resolv_conf = o.resolv_conf, .own_address = o.table.cluster_dns});
  dns::Settings settings;
  dns::Server dns(loop, zone, upstream, [&](std::string_view name, uint16_t type) {
    if (auto set = settings.answer(name, type)) return *std::move(set);
    return dns::answer(proxier.cluster(), zone, name, type);
  });
  TRY(dns.listen(o.table.cluster_dns));

  auto config = TRY(api::load_kubeconfig(o.kubeconfig));
  auto transport = TRY(api::connect(loop, config));
  Announcer announcer(loop, transport, proxier.cluster(), o.node_name);
  Policer policer(loop, transport, o.table.table, o.node_name);
  TRY(policer.open());
  HealthChecks checks(loop, proxier.cluster(), o.node_name, [&] { return proxier.converged(); });
  proxier.on_touch = [&](const std::string& key) {
    announcer.touch(key);
    checks.touch(key);
  };

  base::http::Server health(loop, nullptr, {}, [&](std::shared_ptr<base::http::Exchange> exchange) {
    std::string_view path = exchange->request().path();
    const std::string& error =
        proxier.converged() ? policer.counters().last_error : proxier.counters().last_error;
    if (path == "/metrics")
      exchange->respond(200, {}, metrics(proxier, policer, announcer.announced().size(), dns, upstream));
    else if (path == "/livez" ||
             ((path == "/healthz" || path == "/readyz") && proxier.converged() && policer.converged()))
      exchange->respond(200, {}, std::string("ok\n"));
    else if (path == "/healthz" || path == "/readyz")
      exchange->respond(503, {}, (error.empty() ? "waiting for the API server" : error) + "\n");
    else exchange->respond(404, {}, std::string("not found\n"));
  });
  if (!o.health_listen.empty()) TRY(health.listen(o.health_listen));

  using Change = api::Informer::Change;
  int unsynced = 5;
  auto synced = [&, done = std::set<int>()](int which) mutable {
    if (!done.insert(which).second || --unsynced) return;
    base::log::info("{} Services known", proxier.cluster().services().size());
    proxier.on_first_success = base::notify_ready;
    dns.start();
    proxier.start();
    announcer.start();
  };
  auto name_of = [](const base::json::value& object) {
    return std::pair{std::string(base::string_at(object, "metadata", "namespace")),
                     std::string(base::string_at(object, "metadata", "name"))};
  };
  api::Informer services(
      loop, *transport, {api::resources::services, "", "", ""},
      [&](Change change, const base::json::value& object) {
        auto [ns, name] = name_of(object);
        if (change == Change::kDeleted) proxier.remove_service(ns, name);
        else proxier.set_service(service_from(object));
      },
      [&] { synced(0); });
  api::Informer slices(
      loop, *transport, {api::resources::endpoint_slices, "", "", ""},
      [&](Change change, const base::json::value& object) {
        auto [ns, name] = name_of(object);
        std::optional<EndpointSlice> slice;
        if (change != Change::kDeleted) slice = slice_from(object);
        if (slice) proxier.set_slice(*std::move(slice));
        else proxier.remove_slice(ns, name);
      },
      [&] { synced(1); });
  api::Informer nodes(
      loop, *transport, {api::resources::nodes, "", "", "metadata.name=" + o.node_name},
      [&](Change change, const base::json::value& object) {
        if (change != Change::kSet) return;
        Node node = node_from(object);
        announcer.set_node(node);
        policer.set_node(node);
        proxier.set_node(std::move(node));
      },
      [&] { synced(2); });
  api::Informer pods(
      loop, *transport, {api::resources::pods, "", "", "spec.nodeName=" + o.node_name},
      [&](Change change, const base::json::value& object) {
        auto [ns, name] = name_of(object);
        proxier.set_pod(ns, name, change == Change::kDeleted ? std::nullopt : pod_from(object));
      },
      [&] { synced(3); });
  api::Informer dns_settings(
      loop, *transport, {api::resources::config_maps, "kube-system", "", "metadata.name=sampan-dns"},
      [&](Change change, const base::json::value& object) {
        std::map<std::string, std::string> data;
        const base::json::value* members = base::find(object, "data");
        if (change == Change::kSet && members && members->is_object())
          for (const auto& [name, text] : members->get_object()) data.emplace(name, base::as_string(&text));
        settings = dns::read_settings(data, o.table.cluster_dns);
        upstream.set_servers_of([&](std::string_view name) { return settings.servers_of(name); });
        for (const std::string& error : settings.errors)
          base::log::warning("ConfigMap kube-system/sampan-dns: {}", error);
      },
      [&] { synced(4); });
  pods.start();
  dns_settings.start();
  // Neither host ports nor settings are worth waiting for where a master of an earlier version does not show
  // them to proxies.
  auto patience = loop.after(std::chrono::seconds(5), [&] { synced(3), synced(4); });
  services.start();
  slices.start();
  nodes.start();
  policer.start();
  base::log::info("table ip {}, DNS on {}, node {}", o.table.table, o.table.cluster_dns, o.node_name);
  loop.run();
  return {};
}

int run(int argc, char** argv) {
  Options o;
  CLI::App app("Services by nftables, and the cluster's DNS on this node");
  app.set_version_flag("--version", SAMPAN_VERSION);
  app.add_option("--kubeconfig", o.kubeconfig, "How to reach the API server");
  app.add_option("--node-name", o.node_name, "This node's name in the API");
  app.add_option("--cluster-cidr", o.table.cluster_cidr, "All Pods of the cluster")->capture_default_str();
  app.add_option("--service-cidr", o.table.service_cidr, "All cluster IPs")->capture_default_str();
  app.add_option("--cluster-dns", o.table.cluster_dns, "Where the DNS server listens")->capture_default_str();
  app.add_option("--cluster-domain", o.cluster_domain, "The DNS zone")->capture_default_str();
  app.add_option("--table", o.table.table, "The nftables table (family ip)")->capture_default_str();
  app.add_option("--run-dir", o.run_dir, "Unused so far: the proxy keeps no state")->capture_default_str();
  app.add_option("--resolv-conf", o.resolv_conf, "Servers for names outside the cluster; none: REFUSED");
  app.add_option("--dns-link", o.dns_link, "The link that holds the DNS address")->capture_default_str();
  app.add_option("--health-listen", o.health_listen, "/healthz and /metrics; empty: none")
      ->capture_default_str();
  app.add_option("--log-level", o.log_level, "debug, info, warning, error")->capture_default_str();
  app.add_flag("--cleanup", o.cleanup, "Remove the table and the link, and end");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  base::log::Level level;
  if (!base::log::parse_level(o.log_level, &level)) {
    fmt::print(stderr, "sampan-proxy: --log-level {}: debug, info, warning or error\n", o.log_level);
    return 2;
  }
  base::log::init("sampan-proxy", level);
  base::Status status = check(o);
  if (status.ok()) status = o.cleanup ? clean_up(o) : serve(o);
  if (status.ok()) return 0;
  base::log::error("{}", status.error().message());
  return 1;
}

}  // namespace
}  // namespace proxy

int main(int argc, char** argv) { return proxy::run(argc, argv); }
