// Wiring of the node agent: informers to workers, records to recovery, orphans to removal.
#include "kubelet/kubelet.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <sstream>

#include "api/quantity.h"
#include "base/json_limits.h"
#include "base/log.h"
#include "base/sys.h"
#include "kubelet/volumes/exec.h"

namespace kubelet {

namespace json = base::json;
namespace sys = base::sys;

namespace {

constexpr auto kImagesRetry = std::chrono::seconds(5);
constexpr size_t kMostImagesShown = 50;  // nodeStatusMaxImages

HostFacts host_facts(int64_t memory_bytes) {
  HostFacts out;
  out.memory_bytes = memory_bytes;
  std::istringstream lines(sys::read_file("/proc/self/status").value_or(""));
  for (std::string line; std::getline(lines, line);)
    if (line.starts_with("CapBnd:")) out.capabilities = std::strtoull(line.c_str() + 7, nullptr, 16);
  const bool may_lower = out.capabilities >> 24 & 1;  // CAP_SYS_RESOURCE
  if (!may_lower)
    out.min_oom_score_adj =
        std::max(0, std::atoi(sys::read_file("/proc/self/oom_score_adj").value_or("0").c_str()));
  return out;
}

api::ContainerImage image_entry(const runtime::Image& image) {
  const size_t colon = image.name.rfind(':');
  api::ContainerImage out;
  out.names = {image.name.substr(0, colon) + "@" + image.digest, image.name};
  out.size_bytes = static_cast<int64_t>(image.size_bytes);
  return out;
}

}  // namespace

Kubelet::Kubelet(base::Loop& loop, std::shared_ptr<api::Transport> transport, KubeletOptions options)
    : loop_(loop), options_(std::move(options)), transport_(std::move(transport)),
      client_(transport_, "kubelet/" + options_.version), background_(loop),
      events_(loop, client_, options_.node_name), images_(loop, {.program = options_.image_program,
                                                                 .image_root = options_.image_root,
                                                                 .registries = options_.registries}),
      objects_(loop, *transport_,
               [this](const std::string& uid) {
                 if (auto it = workers_.find(uid); it != workers_.end()) it->second->objects_changed();
               }),
      resolver_(loop), pull_records_(background_, options_.root_dir + "/image_manager"),
      machine_({.loop = loop_,
                .client = client_,
                .background = background_,
                .images = images_,
                .events = events_,
                .objects = objects_,
                .resolver = resolver_,
                .probe_metrics = probe_metrics_,
                .pull_records = pull_records_,
                .services = [this](const std::string& ns) { return services_of(ns); },
                .bridge = options_.bridge,
                .mtu = options_.mtu},
               {.layout = {.root_dir = options_.root_dir, .run_dir = options_.run_dir},
                .node = {.host_ip = options_.node_ip},
                .dns = {.cluster_dns = options_.cluster_dns,
                        .cluster_domain = options_.cluster_domain,
                        .host_resolv_conf = {},
                        .host_hosts = {}},
                .host = {},
                .node_name = options_.node_name,
                .pod_program = options_.pod_program,
                .cgroup_parent = options_.cgroup_parent,
                .image_root = options_.image_root,
                .max_pids = options_.max_pids}) {}

Kubelet::~Kubelet() = default;

base::Status Kubelet::start() {
  for (const auto& dir : {options_.root_dir, layout().pods(), options_.run_dir, layout().records()})
    TRY_WRAP(sys::mkdir_all(dir, 0755), "make kubelet directory", dir);
  NodeAgent::Options node;
  node.facts = read_machine(options_.root_dir);
  node.facts.node_name = options_.node_name;
  node.facts.node_ip = options_.node_ip;
  node.facts.version = options_.version;
  node.facts.port = options_.port;
  node.facts.max_pods = options_.max_pods;
  node.root_dir = options_.root_dir;
  node.bridge = options_.bridge;
  node.local_volumes = layout().local_volumes();
  node.mtu = options_.mtu;
  NodeView& facts = machine_.facts();
  facts.host = host_facts(node.facts.memory_bytes);
  facts.node_cpu_milli = node.facts.cpus * 1000;
  facts.dns.host_resolv_conf = sys::read_file("/etc/resolv.conf").value_or("");
  facts.dns.host_hosts = sys::read_file("/etc/hosts").value_or("127.0.0.1\tlocalhost\n");
  TRY(read_records());

  node_ = std::make_unique<NodeAgent>(loop_, client_, background_, events_, std::move(node));
  node_->on_network = [this](const base::Cidr& cidr) { network_up(cidr); };
  api::Informer::Options options;
  options.resource = api::resources::pods;
  options.field_selector = "spec.nodeName=" + options_.node_name;
  pods_ = std::make_unique<api::Informer>(
      loop_, *transport_, options,
      [this](api::Informer::Change change, const json::value& object) { pod_changed(change, object); },
      [this] {
        if (std::exchange(pods_synced_, true)) return;
        remove_orphans();
      });
  api::Informer::Options services;
  services.resource = api::resources::services;
  services_ = std::make_unique<api::Informer>(
      loop_, *transport_, services,
      [this](api::Informer::Change change, const json::value& object) { service_changed(change, object); },
      [this] {
        if (std::exchange(services_synced_, true)) return;
        for (auto& [uid, worker] : workers_) worker->look_again();
      });
  image_gc_ = std::make_unique<ImageGc>(loop_, background_, events_, images_.options(), options_.node_name,
                                        options_.image_gc);
  image_gc_->start();
  node_->start();
  local_volumes_ = std::make_unique<LocalVolumes>(loop_, client_, background_, events_, options_.node_name,
                                                  layout().local_volumes());
  local_volumes_->start();
  read_images();
  pods_->start();
  services_->start();
  return {};
}

// The store's disk may hang: then Pods wait for their images, and the node does not.
void Kubelet::read_images() {
  struct Store {
    PullRecords::Left pulls;
    std::optional<std::vector<runtime::Image>> images;
  };
  background_.call<base::Result<Store>>(
      [root = options_.image_root, records = options_.root_dir + "/image_manager"]() -> base::Result<Store> {
        Store store;
        store.pulls =
            TRY(PullRecords::read(records, [&](const std::string& image) -> std::optional<std::string> {
              auto found = runtime::find_image(root, image);
              return found.ok() ? std::optional(found->digest) : std::nullopt;
            }));
        if (auto images = runtime::list_images(root); images.ok()) store.images = std::move(*images);
        return store;
      },
      [this](base::Result<Store> store) {
        if (!store.ok()) {
          base::log::error("{}: no Pod gets an image before that is read: tried again",
                           store.error().message());
          images_retry_ = loop_.after(kImagesRetry, [this] { read_images(); });
          return;
        }
        pull_records_.know(std::move(store->pulls));
        if (store->images) {
          std::set<std::string> digests;
          std::vector<api::ContainerImage> shown;
          for (const auto& image : *store->images) {
            digests.insert(image.digest);
            if (shown.size() < kMostImagesShown) shown.push_back(image_entry(image));
          }
          pull_records_.prune(digests);
          node_->set_images(std::move(shown));
        }
        machine_.set_images_known();
        for (auto& [uid, worker] : workers_) worker->look_again();
      });
}

// ---- Pods ----------------------------------------------------------------------------------------

void Kubelet::pod_changed(api::Informer::Change change, const json::value& object) {
  const std::string key = std::string(base::string_at(object, "metadata", "namespace")) + "/" +
                          std::string(base::string_at(object, "metadata", "name"));
  const std::string uid(base::string_at(object, "metadata", "uid"));
  auto known = by_name_.find(key);
  if (change == api::Informer::Change::kDeleted) {
    const std::string gone = uid.empty() ? known == by_name_.end() ? "" : known->second : uid;
    if (auto it = workers_.find(gone); it != workers_.end()) it->second->gone();
    return;
  }
  if (known != by_name_.end() && known->second != uid)
    if (auto it = workers_.find(known->second); it != workers_.end())
      it->second->gone();  // replaced by a namesake
  auto pod = api::decode<api::Pod>(object);
  if (!pod.ok()) return base::log::error("pod {}: {}", key, pod.error().message());
  if (auto it = workers_.find(uid); it != workers_.end()) return it->second->update(std::move(*pod));
  by_name_[key] = uid;
  add(std::move(*pod));
}

void Kubelet::add(api::Pod pod) {
  const std::string uid = pod.metadata.uid;
  std::optional<PodObserved> record;
  if (auto it = found_.find(uid); it != found_.end()) {
    record = std::move(it->second);
    found_.erase(it);
  }
  auto worker = std::make_shared<PodWorker>(machine_, std::move(pod), std::move(record));
  workers_[uid] = worker;
  ++started_pods_;
  worker->on_finished = [this, uid] { loop_.post([this, uid] { finished(uid); }); };
  worker->on_exit = [this] {
    if (on_exit) on_exit();
  };
  worker->start();
}

void Kubelet::finished(const std::string& uid) {
  auto it = workers_.find(uid);
  if (it == workers_.end()) return;
  const std::string key = it->second->pod().metadata.namespace_ + "/" + it->second->pod().metadata.name;
  if (auto name = by_name_.find(key); name != by_name_.end() && name->second == uid) by_name_.erase(name);
  std::vector<std::string> holders;
  for (const auto& [name, c] : it->second->observed().containers) holders.push_back(uid + "." + name);
  probe_metrics_.forget(uid);
  // Its sandbox was never made, or was lost: nobody has given the address back.
  const std::string ip = it->second->observed().sandbox.ip;
  workers_.erase(it);
  ::unlink(layout().record(uid).c_str());
  // Logs of a Pod that ended by itself stay until its object goes: now.
  background_.call<base::Status>(
      [layout = layout(), uid, holders, root = options_.image_root]() -> base::Status {
        for (const auto& holder : holders)
          base::ignore(runtime::unpin_image(root, holder), "image gc drops pins of unknown holders");
        TRY(runtime::clean_dead_pod(layout.run_dir, uid));
        TRY(netns::detach_pod(netns::host_link_name(uid)));
        return remove_pod_directory(layout, uid, true);
      },
      [this, uid, ip](base::Status status) {
        if (!status.ok()) {
          found_[uid].sandbox.ip = ip;  // still taken
          return clean_later(uid, "remove", status.error(), 0);
        }
        if (auto address = base::Ip::parse_v4(ip); address && pool_) pool_->release(*address);
      },
      uid);
}

void Kubelet::clean_later(const std::string& uid, const char* what, const base::Error& error, int failures) {
  base::log::warning("pod {}: {}: {}: tried again", uid, what, error.message());
  // Of the node: the Pod is gone from the API, and its namespace may be.
  events_.emit(
      {.kind = "Node", .ns = "", .name = options_.node_name, .uid = options_.node_name, .container = ""},
      true, "FailedPodCleanup", "What is left of pod " + uid + " can't be removed: " + error.message());
  const auto delay = std::min<base::Duration>(std::chrono::seconds(1) * (1 << std::min(failures, 6)),
                                              std::chrono::seconds(60));
  retries_[uid] = loop_.after(delay, [this, uid, failures] {
    auto timer = retries_.extract(uid);  // this call is its own
    remove_orphan(uid, failures + 1);
  });
}

std::shared_ptr<PodWorker> Kubelet::find(const std::string& ns, const std::string& name,
                                         const std::string& uid) {
  auto it = by_name_.find(ns + "/" + name);
  if (it == by_name_.end() || (!uid.empty() && it->second != uid)) return nullptr;
  auto worker = workers_.find(it->second);
  return worker == workers_.end() ? nullptr : worker->second;
}

void Kubelet::network_up(const base::Cidr& cidr) {
  auto pool = netns::AddressPool::of(cidr);
  if (!pool.ok())
    return base::log::error("{}", pool.error().message());  // the node agent has told it already
  pool_ = std::move(*pool);
  auto reserve = [&](const PodObserved& seen) {
    if (seen.sandbox.ip.empty()) return;
    auto address = base::Ip::parse_v4(seen.sandbox.ip);
    if (!address || !cidr.contains(*address)) return;  // of another range: its Pod gets a new one
    if (auto status = pool_->reserve(*address); !status.ok())
      base::log::warning("reserve Pod address {}: {}", seen.sandbox.ip, status.error().message());
  };
  for (const auto& [uid, worker] : workers_) reserve(worker->observed());
  for (const auto& [uid, seen] : found_) reserve(seen);
  machine_.set_network(&*pool_, cidr);
  for (auto& [uid, worker] : workers_) worker->look_again();
}

// ---- what an earlier kubelet left ------------------------------------------------------------------

base::Status Kubelet::read_records() {
  for (const auto& name : TRY(sys::list_dir(layout().records()))) {
    if (!name.ends_with(".json")) {
      ::unlink((layout().records() + "/" + name).c_str());  // half-written: never renamed
      continue;
    }
    const std::string uid = name.substr(0, name.size() - 5);
    auto text = sys::read_file(layout().record(uid));
    auto value = text.ok() ? base::parse_json_carrier(*text) : base::Result<json::value>(text.error());
    auto seen = value.ok() ? decode_record(*value) : base::Result<PodObserved>(value.error());
    if (seen.ok()) found_[uid] = std::move(*seen);
    else base::log::warning("pod {}: its record is not readable: {}", uid, seen.error().message());
  }
  if (!found_.empty()) base::log::info("{} Pods were here before", found_.size());
  return {};
}

// Only after the API said once which Pods there are: what it does not know any more goes.
void Kubelet::remove_orphans() {
  std::set<std::string> uids;
  for (const auto& [uid, seen] : found_) uids.insert(uid);
  if (auto pods = runtime::list_pods(options_.run_dir); pods.ok())
    for (const auto& uid : *pods) uids.insert(uid);
  if (auto dirs = sys::list_dir(layout().pods()); dirs.ok())
    for (const auto& uid : *dirs) uids.insert(uid);
  for (const auto& uid : uids)
    if (!workers_.contains(uid)) remove_orphan(uid, 0);
}

void Kubelet::remove_orphan(const std::string& uid, int failures) {
  if (workers_.contains(uid)) return;  // it came after all
  if (failures == 0) base::log::info("pod {}: not in the API any more: removing what is left of it", uid);
  std::string ip;
  std::vector<std::string> holders;
  if (auto it = found_.find(uid); it != found_.end()) {
    ip = it->second.sandbox.ip;
    for (const auto& [name, c] : it->second.containers) holders.push_back(uid + "." + name);
  }
  auto clean = [this, uid, ip, holders, failures] {
    background_.call<base::Status>(
        [this_layout = layout(), uid, holders, run_dir = options_.run_dir,
         root = options_.image_root]() -> base::Status {
          for (const auto& holder : holders)
            base::ignore(runtime::unpin_image(root, holder), "it only keeps an image longer");
          TRY(runtime::clean_dead_pod(run_dir, uid));
          TRY(netns::detach_pod(netns::host_link_name(uid)));
          return remove_pod_directory(this_layout, uid, true);
        },
        [this, uid, ip, failures](base::Status status) {
          orphans_.erase(uid);
          if (!status.ok()) return clean_later(uid, "remove orphan", status.error(), failures);
          found_.erase(uid);
          ::unlink(layout().record(uid).c_str());
          if (auto address = base::Ip::parse_v4(ip); address && pool_) pool_->release(*address);
        },
        uid);
  };
  auto pod = machine_.connect_sandbox(uid);
  if (!pod.ok()) return clean();
  auto& held = orphans_[uid] = std::move(*pod);
  held->shutdown([clean](base::Status status) {
    base::ignore(status, "what it left undone fails below and is tried again");
    clean();
  });
}

// ---- services as environment ------------------------------------------------------------------------

void Kubelet::service_changed(api::Informer::Change change, const json::value& object) {
  const std::string ns(base::string_at(object, "metadata", "namespace")),
      name(base::string_at(object, "metadata", "name"));
  const std::string ip(base::string_at(object, "spec", "clusterIP"));
  if (ns == "default" && name == "kubernetes") service_lists_.clear();
  else service_lists_.erase(ns);
  if (change == api::Informer::Change::kDeleted || ip.empty() || ip == "None") {
    service_map_[ns].erase(name);
    return;
  }
  ServiceLink link;
  link.name = name;
  link.cluster_ip = ip;
  if (const json::value* ports = base::find_path(object, "spec", "ports"); ports && ports->is_array())
    for (const auto& p : ports->get_array())
      link.ports.push_back({.name = std::string(base::string_at(p, "name")),
                            .protocol = std::string(base::string_at(p, "protocol")),
                            .port = static_cast<int>(base::as_int(base::find(p, "port")))});
  service_map_[ns][name] = std::move(link);
}

const std::vector<ServiceLink>* Kubelet::services_of(const std::string& ns) {
  if (!services_synced_) return nullptr;
  auto it = service_lists_.find(ns);
  if (it != service_lists_.end()) return &it->second;
  std::map<std::string, ServiceLink> all = service_map_[ns];
  if (auto master = service_map_["default"].find("kubernetes"); master != service_map_["default"].end())
    all["kubernetes"] = master->second;
  auto& list = service_lists_[ns];
  for (auto& [name, link] : all) list.push_back(std::move(link));
  return &list;
}

// ---- for the server -----------------------------------------------------------------------------------

json::value Kubelet::pods_json(bool running) const {
  json::array items;
  for (const auto& [uid, worker] : workers_)
    if (!running || worker->observed().sandbox.step == Step::kDone)
      items.push_back(api::encode(worker->pod()));
  return json::object{
      {"kind", "PodList"}, {"apiVersion", "v1"}, {"metadata", json::object()}, {"items", std::move(items)}};
}

Kubelet::Counts Kubelet::counts() const {
  Counts out;
  for (const auto& [uid, worker] : workers_) {
    bool any = false;
    for (const auto& [name, c] : worker->observed().containers)
      if (c.run == Run::kRunning) ++out.running_containers, any = true;
    out.running_pods += any;
  }
  out.desired_pods = workers_.size();
  out.started_pods = started_pods_;
  out.addresses_used = pool_ ? pool_->used() : 0;
  return out;
}

CountRequest Kubelet::count_request(bool disks) const {
  CountRequest out{.node_name = options_.node_name,
                   .root_dir = options_.root_dir,
                   .image_root = options_.image_root,
                   .cgroup_parent = options_.cgroup_parent,
                   .pods = {},
                   .disks = disks};
  for (const auto& [uid, worker] : workers_) {
    const api::Pod& pod = worker->pod();
    const api::PodSpec& spec = spec_of(pod);
    if (worker->observed().sandbox.step != Step::kDone) continue;
    CountedPod one;
    one.ns = pod.metadata.namespace_;
    one.name = pod.metadata.name;
    one.uid = uid;
    one.cgroup = options_.cgroup_parent + "/pod" + uid;
    if (!spec.host_network.value_or(false)) one.host_link = netns::host_link_name(uid);
    one.started_at = worker->observed().first_seen;
    for (const auto& [name, seen] : worker->observed().containers) {
      const api::Container* c = find_container(pod, name);
      if (!c || seen.run != Run::kRunning) continue;
      CountedContainer counted;
      const std::string id = container_id(pod, name, seen.attempt);
      counted.name = name;
      counted.id = uid + "/" + id;
      counted.image = c->image;
      counted.cgroup = one.cgroup + "/" + id;
      counted.writable = layout().work(uid, name, seen.attempt) + "/upper";
      counted.log = layout().log(uid, name, seen.attempt);
      counted.started_at = seen.started_at;
      auto milli = [&](const auto& map, const char* key) {
        auto it = map.find(key);
        return it == map.end() ? 0 : api::milli_of(it->second);
      };
      if (c->resources) {
        counted.cpu_limit_milli = milli(c->resources->limits, "cpu");
        counted.cpu_request_milli = milli(c->resources->requests, "cpu");
        counted.memory_limit_bytes = milli(c->resources->limits, "memory") / 1000;
      }
      one.containers.push_back(std::move(counted));
    }
    for (const auto& volume : spec.volumes)
      if (volume.empty_dir && volume.empty_dir->medium != "Memory")
        one.volumes.emplace_back(volume.name, layout().volume(uid, volume.name));
    out.pods.push_back(std::move(one));
  }
  return out;
}

}  // namespace kubelet
