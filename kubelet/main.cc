// sampan-kubelet: flags, certificates, the loop. Ending it leaves the Pods running.
#include <signal.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <charconv>

#include "api/client/transport.h"
#include "base/log.h"
#include "base/notify.h"
#include "base/sys.h"
#include "kubelet/kubelet.h"
#include "kubelet/server.h"
#include "runtime/runtime.h"

namespace {

constexpr const char* kVersion = "0.1.0";

std::string beside_us(const char* program) {
  char buffer[4096];
  const ssize_t n = ::readlink("/proc/self/exe", buffer, sizeof buffer);
  std::string self(buffer, n > 0 ? static_cast<size_t>(n) : 0);
  return self.substr(0, self.rfind('/') + 1) + program;
}

int fail(const base::Error& error) {
  base::log::error("{}", error.message());
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  kubelet::KubeletOptions options;
  options.root_dir = "/var/lib/sampan/kubelet";
  options.run_dir = "/run/sampan";
  options.image_root = "/var/lib/sampan/images";
  options.cgroup_parent = "/sampan";
  options.pod_program = beside_us("sampan-pod");
  options.image_program = beside_us("sampan");
  options.bridge = "sampan0";
  options.cluster_dns = "10.96.0.10";
  options.cluster_domain = "cluster.local";
  options.version = kVersion;
  std::string kubeconfig, listen, health = "127.0.0.1:10248", level = "info";
  int64_t min_image_seconds = 120;

  CLI::App app{"sampan-kubelet: runs the Pods of one node. Ending it leaves them running."};
  app.set_version_flag("--version", std::string("sampan-kubelet ") + kVersion);
  app.add_option("--kubeconfig", kubeconfig,
                 "how to reach the API server; its certificate is also the server's")
      ->required();
  app.add_option("--node-name", options.node_name, "name of the Node object")->required();
  app.add_option("--node-ip", options.node_ip, "address of this node as others reach it")->required();
  app.add_option("--listen", listen, "address:port of the HTTPS server (default: <node-ip>:10250)");
  app.add_option("--healthz-listen", health, "address:port of /healthz over plain HTTP; \"\": none")
      ->capture_default_str();
  app.add_option("--root-dir", options.root_dir, "directories of Pods: volumes, logs")->capture_default_str();
  app.add_option("--run-dir", options.run_dir, "sockets of sampan-pod and records; lost at reboot")
      ->capture_default_str();
  app.add_option("--image-root", options.image_root, "the image store")->capture_default_str();
  app.add_option("--cgroup-parent", options.cgroup_parent, "parent of the Pods' control groups")
      ->capture_default_str();
  app.add_option("--pod-program", options.pod_program, "sampan-pod")->capture_default_str();
  app.add_option("--image-program", options.image_program, "sampan, for image pulls")->capture_default_str();
  app.add_option("--bridge", options.bridge, "bridge of the Pods")->capture_default_str();
  app.add_option("--mtu", options.mtu, "MTU of the bridge and of Pods")->capture_default_str();
  app.add_option("--cluster-dns", options.cluster_dns, "name server of Pods")->capture_default_str();
  app.add_option("--cluster-domain", options.cluster_domain, "domain of Services")->capture_default_str();
  app.add_option("--registries", options.registries,
                 "file with registries and mirrors, passed to image pulls");
  app.add_option("--max-pods", options.max_pods, "Pods this node takes")->capture_default_str();
  app.add_option("--pod-max-pids", options.max_pids, "processes of one Pod; -1: no limit")
      ->capture_default_str();
  app.add_option(
         "--image-gc-high-threshold", options.image_gc.high_percent,
         "how full (percent) the disk of the image store gets before unused images go; 100: they stay")
      ->capture_default_str()
      ->check(CLI::Range(0, 100));
  app.add_option("--image-gc-low-threshold", options.image_gc.low_percent,
                 "how full it is to be then (percent)")
      ->capture_default_str()
      ->check(CLI::Range(0, 100));
  app.add_option("--minimum-image-ttl-seconds", min_image_seconds, "an unused image that is younger stays")
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber);
  app.add_option("--log-level", level, "debug, info, warning, error")->capture_default_str();
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  options.image_gc.min_age = std::chrono::seconds(min_image_seconds);

  base::log::Level parsed = base::log::Level::kInfo;
  if (!base::log::parse_level(level, &parsed)) {
    std::fprintf(stderr, "--log-level %s: use debug, info, warning or error\n", level.c_str());
    return 2;
  }
  base::log::init("sampan-kubelet", parsed);
  ::signal(SIGPIPE, SIG_IGN);
  ::umask(0022);
  if (listen.empty()) listen = options.node_ip + ":10250";
  // Without these no Pod could be bounded; better said now than at the first Pod.
  if (auto status = runtime::require_cgroup_controllers({"cpu", "memory", "pids"}); !status.ok())
    return fail(status.error());

  base::Loop loop;
  auto signals = loop.on_signals({SIGTERM, SIGINT}, [&loop](int) { loop.stop(); });
  if (!signals.ok()) return fail(signals.error());
  auto config = api::load_kubeconfig(kubeconfig);
  if (!config.ok()) return fail(config.error());
  auto transport = api::connect(loop, *config);
  if (!transport.ok()) return fail(transport.error());
  if (config->client.certificate_pem.empty())
    return fail(base::make_error(base::Kind::kInvalid, "read kubeconfig", kubeconfig,
                                 "it has no client certificate",
                                 "make one with: sampan kubeconfig --user system:node:" + options.node_name +
                                     " --group system:nodes"));
  auto context = base::tls::Context::server(config->client, config->ca_pem);
  if (!context.ok()) return fail(context.error());

  if (const size_t colon = listen.rfind(':'); colon != std::string::npos)
    std::from_chars(listen.data() + colon + 1, listen.data() + listen.size(), options.port);
  kubelet::Kubelet kubelet(loop, *transport, options);
  kubelet::Server server(loop, *context, kubelet);
  if (auto status = server.listen(listen); !status.ok()) return fail(status.error());
  // As upstream's: a second kubelet on this host has its health on its HTTPS port.
  if (auto status = health.empty() ? base::Status() : server.listen_health(health); !status.ok())
    base::log::warning("{}: /healthz is served on {} alone", status.error().message(), listen);
  if (auto status = kubelet.start(); !status.ok()) return fail(status.error());
  base::log::info("node {} listens on {}", options.node_name, listen);
  base::notify_ready();
  loop.run();
  base::log::info("ending; Pods go on");
  return 0;
}
