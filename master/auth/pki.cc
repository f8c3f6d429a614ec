#include "master/auth/pki.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "base/sys.h"

namespace master {

using base::Result;
using base::tls::KeyPair;
namespace sys = base::sys;

namespace {

constexpr auto kCaLifetime = std::chrono::hours(24 * 3650);
constexpr auto kLeafLifetime = std::chrono::hours(24 * 365);
constexpr auto kRenewBefore = std::chrono::hours(24 * 90);

base::Status write_pair(const std::string& stem, const KeyPair& pair) {
  // The key first: a certificate without its key is what a crash must not leave.
  TRY(sys::write_file_atomic(stem + ".key", pair.key_pem, 0600));
  TRY(sys::write_file_atomic(stem + ".crt", pair.certificate_pem, 0644));
  return {};
}
Result<KeyPair> read_pair(const std::string& stem) {
  return KeyPair{TRY(sys::read_file(stem + ".crt")), TRY(sys::read_file(stem + ".key"))};
}
Result<KeyPair> load_or_make_ca(const std::string& stem, const std::string& name) {
  if (sys::exists(stem + ".crt")) return TRY_WRAP(read_pair(stem), "read a certificate authority", stem);
  KeyPair pair = TRY(base::tls::make_ca(name, kCaLifetime));
  TRY(write_pair(stem, pair));
  return pair;
}
// Reads <stem>.{crt,key}; makes and writes them when absent, when older than they may be, or when
// the names they are for (in <stem>.names) differ.
Result<KeyPair> load_or_sign(const std::string& stem, const KeyPair& ca,
                             const base::tls::CertificateRequest& request) {
  std::string names;
  for (const auto& name : request.dns_names) names += name + "\n";
  for (const auto& address : request.ip_addresses) names += address + "\n";
  struct stat info;
  bool fresh =
      ::stat((stem + ".crt").c_str(), &info) == 0 &&
      base::wall_now() - base::Time(std::chrono::seconds(info.st_mtime)) < kLeafLifetime - kRenewBefore;
  auto had = sys::read_file(stem + ".names");
  if (fresh && had.ok() && *had == names)
    if (auto pair = read_pair(stem); pair.ok()) return pair;
  KeyPair pair = TRY(base::tls::sign(ca, request));
  TRY(write_pair(stem, pair));
  TRY(sys::write_file_atomic(stem + ".names", names));
  return pair;
}

}  // namespace

Result<Pki> load_or_make_pki(const std::string& data_dir, const std::vector<std::string>& dns_names,
                             const std::vector<std::string>& addresses) {
  std::string dir = data_dir + "/pki";
  TRY(sys::mkdir_all(dir, 0700));
  Pki pki;
  pki.ca = TRY(load_or_make_ca(dir + "/ca", "kubernetes"));
  base::tls::CertificateRequest server;
  server.common_name = "kube-apiserver";
  server.dns_names = dns_names;
  server.ip_addresses = addresses;
  server.server = true;
  server.lifetime = kLeafLifetime;
  pki.server = TRY(load_or_sign(dir + "/apiserver", pki.ca, server));
  base::tls::CertificateRequest node;
  node.common_name = "kube-apiserver-kubelet-client";
  node.organizations = {"system:masters"};
  node.client = true;
  node.lifetime = kLeafLifetime;
  pki.node_client = TRY(load_or_sign(dir + "/apiserver-kubelet-client", pki.ca, node));
  base::tls::CertificateRequest admin = node;
  admin.common_name = "kubernetes-admin";
  pki.admin = TRY(load_or_sign(dir + "/admin", pki.ca, admin));
  // An authority of its own: what it signs may speak in anybody's name.
  pki.front_proxy_ca = TRY(load_or_make_ca(dir + "/front-proxy-ca", "front-proxy-ca"));
  base::tls::CertificateRequest front_proxy;
  front_proxy.common_name = "front-proxy-client";
  front_proxy.client = true;
  front_proxy.lifetime = kLeafLifetime;
  pki.front_proxy = TRY(load_or_sign(dir + "/front-proxy-client", pki.front_proxy_ca, front_proxy));
  return pki;
}

}  // namespace master
