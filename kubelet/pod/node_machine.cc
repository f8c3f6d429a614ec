// See the header. Decides nothing about a Pod: it does what it is told and says what came of it.
#include "kubelet/pod/node_machine.h"

#include "base/log.h"
#include "base/sys.h"
#include "kubelet/pod/termination_message.h"

namespace kubelet {

namespace json = base::json;

namespace {
constexpr auto kDetachRetry = std::chrono::seconds(5);
}  // namespace

Machine::Timer NodeMachine::after(Duration delay, std::function<void()> task) {
  return std::make_shared<base::Loop::Handle>(parts_.loop.after(delay, std::move(task)));
}

void NodeMachine::acts(const api::Pod& pod, const Action& action) {
  base::log::debug("pod {}/{}: {}", pod.metadata.namespace_, pod.metadata.name, action.text());
}

base::Status NodeMachine::save_record(const std::string& uid, const std::string& text) {
  return base::sys::replace_file(view_.layout.record(uid), text, 0600);
}

// ---- sandbox and network -----------------------------------------------------------------------------

bool NodeMachine::in_range(const std::string& ip) const {
  const auto address = base::Ip::parse_v4(ip);
  return address && cidr_.contains(*address);
}

base::Result<std::string> NodeMachine::take_address() {
  if (!pool_)
    return base::make_error(base::Kind::kUnavailable, "take Pod address", {}, "the node has no range yet");
  return TRY(pool_->allocate()).text();
}

// The address is free once the link is gone, whoever lives longer; a link that stays keeps it.
void NodeMachine::release_address(const std::string& uid, const std::string& ip) {
  const std::string link = netns::host_link_name(uid);
  parts_.background.call<base::Status>(
      [link] { return netns::detach_pod(link); },
      [this, uid, link, ip](base::Status status) {
        if (status.ok()) {
          if (auto address = base::Ip::parse_v4(ip); address && pool_) pool_->release(*address);
          return;
        }
        base::log::warning("detach Pod address {}: {}: tried again", ip, status.error().message());
        parts_.events.emit(
            {.kind = "Node", .ns = "", .name = view_.node_name, .uid = view_.node_name, .container = ""},
            true, "FailedDetachPodNetwork", "Address " + ip + " stays in use: " + status.error().message());
        detaching_[link] = parts_.loop.after(kDetachRetry, [this, uid, link, ip] {
          auto timer = detaching_.extract(link);  // this call is its own
          release_address(uid, ip);
        });
      });
}

void NodeMachine::attach(const std::string& uid, std::shared_ptr<runtime::Pod::Sandbox> sandbox,
                         const std::string& ip, Done done) {
  netns::PodLink link;
  link.host_name = netns::host_link_name(uid);
  link.bridge = parts_.bridge;
  link.address = base::Ip::parse_v4(ip).value_or(base::Ip());  // "::" is refused
  link.prefix = cidr_.prefix;
  if (pool_) link.gateway = pool_->gateway();
  link.mtu = parts_.mtu;
  parts_.background.call<base::Status>(
      [sandbox, link] { return netns::attach_pod(link, sandbox->netns.get(), sandbox->netlink.get()); },
      std::move(done));
}

void NodeMachine::start_sandbox(runtime::SandboxSpec spec, Answer<std::unique_ptr<runtime::Pod>> done) {
  runtime::start_pod(parts_.loop, std::move(spec), std::move(done));
}

base::Result<std::unique_ptr<runtime::Pod>> NodeMachine::connect_sandbox(const std::string& uid) {
  return runtime::connect_pod(parts_.loop, view_.layout.run_dir, uid);
}

base::Result<std::string> NodeMachine::sandbox_address(const runtime::Pod::Sandbox& sandbox) {
  if (!sandbox.netlink.valid()) return std::string();
  return TRY(netns::pod_address(sandbox.netlink.get())).value_or("");
}

void NodeMachine::clean_dead_sandbox(const std::string& uid, Done done) {
  on_disk<base::Status>(
      uid, [dir = view_.layout.run_dir, uid] { return runtime::clean_dead_pod(dir, uid); }, std::move(done));
}

// ---- disk ------------------------------------------------------------------------------------------------

void NodeMachine::make_volumes(const std::string& uid, VolumeWork work,
                               std::function<void(VolumesMade)> done) {
  on_disk<VolumesMade>(
      uid,
      [layout = view_.layout, uid, work = std::move(work)] {
        VolumesMade made;
        if (work.directory) made.directory = make_pod_directory(layout, uid, *work.directory);
        if (!made.directory.ok()) return made;
        for (const auto& volume : work.volumes)
          made.volumes.emplace(volume.name, make_pod_volume(layout, uid, volume, work.group));
        return made;
      },
      std::move(done));
}

void NodeMachine::write_volumes(const std::string& uid, std::vector<VolumeContent> volumes,
                                std::optional<uint32_t> fs_group, Done done) {
  on_disk<base::Status>(
      uid,
      [layout = view_.layout, uid, volumes = std::move(volumes), fs_group]() -> base::Status {
        for (const auto& v : volumes) TRY(write_files(layout.volume(uid, v.name), v.files, fs_group));
        return {};
      },
      std::move(done));
}

void NodeMachine::remove_directory(const std::string& uid, bool logs_too, Done done) {
  on_disk<base::Status>(
      uid, [layout = view_.layout, uid, logs_too] { return remove_pod_directory(layout, uid, logs_too); },
      std::move(done));
}

void NodeMachine::prepare(ContainerStart start, Answer<PreparedContainer> done) {
  const std::string uid = start.pod.metadata.uid;
  on_disk<base::Result<PreparedContainer>>(
      uid,
      [start = std::move(start), facts = PrepareFacts{.layout = view_.layout,
                                                      .host = view_.host,
                                                      .node_name = view_.node_name,
                                                      .cgroup_parent = view_.cgroup_parent,
                                                      .image_root = view_.image_root}] {
        return prepare_container(start, facts);
      },
      std::move(done));
}

void NodeMachine::unbind(const std::string& uid, std::vector<std::string> bound) {
  if (bound.empty()) return;
  parts_.background.run(
      [bound = std::move(bound)] {
        for (const auto& path : bound) unbind_sub_path(path);
      },
      [] {}, uid);
}

void NodeMachine::read_processes(const std::string& uid, std::map<std::string, int> attempts,
                                 std::function<void(std::map<std::string, json::value>)> done) {
  on_disk<std::map<std::string, json::value>>(
      uid,
      [layout = view_.layout, uid, attempts = std::move(attempts)] {
        std::map<std::string, json::value> out;
        for (const auto& [name, attempt] : attempts)
          if (auto text = base::sys::read_file(layout.process(uid, name, attempt)); text.ok())
            out[name] = base::parse_json(*text).value_or(json::value());
        return out;
      },
      std::move(done));
}

std::string NodeMachine::termination_message(const std::string& uid, const std::string& container,
                                             int attempt, bool or_log) {
  std::string text = termination_file(view_.layout.termination(uid, container, attempt));
  if (!text.empty() || !or_log) return text;
  return termination_log(view_.layout.log(uid, container, attempt));
}

// ---- images ----------------------------------------------------------------------------------------------

void NodeMachine::find_image(const std::string& uid, const std::string& name, Answer<runtime::Image> done) {
  on_disk<base::Result<runtime::Image>>(
      uid, [root = view_.image_root, name] { return runtime::find_image(root, name); }, std::move(done));
}

bool NodeMachine::must_pull(const std::string& name, const std::string& digest,
                            const std::vector<PullCredential>& credentials) {
  return parts_.pull_records.must_pull(name, digest, credentials);
}

// The records are the node's: they are kept whatever becomes of the Pod meanwhile.
void NodeMachine::pull(const std::string& uid, const std::string& name,
                       std::vector<PullCredential> credentials, Answer<Pulled> done) {
  parts_.pull_records.begin(name, [this, uid, name, credentials, done](base::Status intent) {
    if (!intent.ok()) {
      parts_.pull_records.failed(name);
      return done(base::wrap(intent.error(), "record image pull intent", name));
    }
    parts_.images.pull(
        name, credentials, [this, uid, name, credentials, done](base::Result<Images::Pulled> result) {
          if (!result.ok()) {
            parts_.pull_records.failed(name);
            return done(std::move(result).error());
          }
          const PullCredential* used = result->credential && *result->credential < credentials.size()
                                           ? &credentials[*result->credential]
                                           : nullptr;
          parts_.pull_records.pulled(
              name, result->digest, used, [this, uid, name, done, result = *result](base::Status status) {
                if (!status.ok()) base::log::error("keep image pull record: {}", status.error().message());
                find_image(uid, result.name, [done, result](base::Result<runtime::Image> image) {
                  done(Pulled{.pull = result,
                              .size_bytes = image.ok() ? std::optional(image->size_bytes) : std::nullopt});
                });
              });
        });
  });
}

// ---- probes and hooks --------------------------------------------------------------------------------

std::unique_ptr<NetCheck> NodeMachine::check_net(NetTarget target, Duration timeout, NetDone done) {
  return kubelet::check_net(parts_.loop, parts_.resolver, std::move(target), timeout, std::move(done));
}

std::unique_ptr<ExecRun> NodeMachine::run_exec(runtime::Pod& pod, const std::string& container,
                                               json::value process, Duration timeout,
                                               std::function<void(Outcome)> done) {
  return kubelet::run_exec(parts_.loop, pod, container, std::move(process), timeout, std::move(done));
}

void NodeMachine::probe_counted(const ProbeOf& probe, const std::string& result, Duration took) {
  parts_.probe_metrics.count(probe, result, took);
}

// ---- the API ------------------------------------------------------------------------------------------

void NodeMachine::refer(const std::string& uid, const std::string& ns, std::vector<Reference> references) {
  parts_.objects.refer(uid, ns, references);
}

bool NodeMachine::loaded(const std::string& ns, const std::vector<Reference>& references) const {
  return parts_.objects.loaded(ns, references);
}

const std::map<std::string, std::string>* NodeMachine::data(const std::string& ns,
                                                            const Reference& reference) const {
  return parts_.objects.data(ns, reference);
}

std::optional<ObjectCache::SecretSeen> NodeMachine::secret(const std::string& ns,
                                                           const std::string& name) const {
  return parts_.objects.secret(ns, name);
}

void NodeMachine::patch_status(const api::Pod& pod, json::object patch, Answer<json::value> done) {
  parts_.client.patch(api::resources::pods, pod.metadata.namespace_, pod.metadata.name, "strategic-merge",
                      std::move(patch), std::move(done), "status");
}

void NodeMachine::remove_pod(const api::Pod& pod, Answer<json::value> done) {
  json::object options{{"apiVersion", "v1"},
                       {"kind", "DeleteOptions"},
                       {"gracePeriodSeconds", 0},
                       {"preconditions", json::object{{"uid", pod.metadata.uid}}}};
  parts_.client.remove(api::resources::pods, pod.metadata.namespace_, pod.metadata.name, std::move(options),
                       std::move(done));
}

void NodeMachine::request_token(const api::Pod& pod, const TokenKey& key, Answer<json::value> done) {
  json::object spec{
      {"expirationSeconds", key.expiration_seconds},
      {"boundObjectRef",
       json::object{
           {"apiVersion", "v1"}, {"kind", "Pod"}, {"name", pod.metadata.name}, {"uid", pod.metadata.uid}}}};
  if (!key.audience.empty()) spec["audiences"] = json::array{key.audience};
  const std::string account =
      spec_of(pod).service_account_name.empty() ? "default" : spec_of(pod).service_account_name;
  parts_.client.call(
      "POST", api::resources::service_accounts.path(pod.metadata.namespace_, account, "token"),
      "application/json",
      base::to_json(json::object{
          {"apiVersion", "authentication.k8s.io/v1"}, {"kind", "TokenRequest"}, {"spec", std::move(spec)}}),
      std::move(done));
}

void NodeMachine::fetch_claims(const api::Pod& pod, Answer<Claims> done) {
  kubelet::fetch_claims(parts_.client, pod, {view_.node_name, view_.layout.local_volumes()}, std::move(done));
}

void NodeMachine::event(const EventSubject& subject, bool warning, std::string reason, std::string message) {
  parts_.events.emit(subject, warning, std::move(reason), std::move(message));
}

}  // namespace kubelet
