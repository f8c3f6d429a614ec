#include "kubelet/node/pull_records.h"

#include <fmt/format.h>
#include <openssl/sha.h>
#include <unistd.h>

#include <algorithm>

#include "base/json_lists.h"
#include "base/log.h"
#include "base/sys.h"

namespace kubelet {

namespace json = base::json;
namespace sys = base::sys;

namespace {

// So many logins of one image are kept: namespaces come and go (the kubelet's writeRecordWhileMatchingLimit).
constexpr size_t kMaxLogins = 100;
constexpr const char* kApiVersion = "kubelet.config.k8s.io/v1beta1";

std::string file_name(std::string_view key) {
  unsigned char bytes[SHA256_DIGEST_LENGTH];
  ::SHA256(reinterpret_cast<const unsigned char*>(key.data()), key.size(), bytes);
  std::string out = "sha256-";
  for (unsigned char b : bytes) out += fmt::format("{:02x}", b);
  return out;
}

base::Status remove_file(const std::string& path) {
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) return sys::last_error("unlink", path);
  return {};
}

}  // namespace

json::value encode_pull_record(const PullRecord& record) {
  json::object mapping;
  for (const auto& [repository, access] : record.by_repository) {
    json::object one;
    if (access.everybody) one["nodePodsAccessible"] = true;
    json::array secrets;
    for (const auto& login : access.logins)
      secrets.push_back(json::object{{"uid", login.secret.uid},
                                     {"namespace", login.secret.ns},
                                     {"name", login.secret.name},
                                     {"credentialHash", login.hash}});
    if (!secrets.empty()) one["kubernetesSecrets"] = std::move(secrets);
    mapping[repository] = std::move(one);
  }
  return json::object{{"kind", "ImagePulledRecord"},
                      {"apiVersion", kApiVersion},
                      {"imageRef", record.digest},
                      {"credentialMapping", std::move(mapping)}};
}

base::Result<PullRecord> decode_pull_record(const json::value& in) {
  PullRecord out;
  out.digest = base::string_at(in, "imageRef");
  if (out.digest.empty())
    return base::make_error(base::Kind::kCorrupt, "read image pull record", {}, "it names no image");
  for (const auto& [repository, access] : base::map_at(in, "credentialMapping")) {
    auto& one = out.by_repository[std::string(repository)];
    one.everybody = base::as_bool(base::find(access, "nodePodsAccessible"));
    for (const auto& login : base::list_at(access, "kubernetesSecrets"))
      one.logins.push_back({.secret = {.ns = std::string(base::string_at(login, "namespace")),
                                       .name = std::string(base::string_at(login, "name")),
                                       .uid = std::string(base::string_at(login, "uid"))},
                            .hash = std::string(base::string_at(login, "credentialHash"))});
  }
  return out;
}

bool must_verify(const PullRecord& record, const std::string& repository,
                 const std::vector<PullCredential>& credentials,
                 std::optional<PullRecord::Access::Login>* learned) {
  auto it = record.by_repository.find(repository);
  if (it == record.by_repository.end()) return true;
  if (it->second.everybody) return false;
  for (const auto& credential : credentials)
    for (const auto& login : it->second.logins) {
      const bool same_login = !login.hash.empty() && login.hash == credential.hash,
                 same_secret = login.secret == credential.secret;
      if (!same_login && !same_secret) continue;
      if (!(same_login && same_secret) && it->second.logins.size() < kMaxLogins)
        *learned = {credential.secret, credential.hash};
      return false;
    }
  return true;
}

bool add_access(PullRecord& record, const std::string& repository, const PullCredential* used) {
  auto& access = record.by_repository[repository];
  if (access.everybody) return false;
  if (!used) {
    // Who needs no login needs no list of logins.
    access.everybody = true;
    access.logins.clear();
    return true;
  }
  for (auto& login : access.logins)
    if (login.secret == used->secret) {
      if (login.hash == used->hash) return false;
      login.hash = used->hash;
      return true;
    }
  if (access.logins.size() >= kMaxLogins) access.logins.erase(access.logins.begin());
  access.logins.push_back({used->secret, used->hash});
  return true;
}

std::string PullRecords::intent_path(const std::string& image) const {
  return directory_ + "/pulling/" + file_name(image);
}
std::string PullRecords::record_path(const std::string& digest) const {
  return directory_ + "/pulled/" + file_name(digest);
}

base::Result<PullRecords::Left> PullRecords::read(
    const std::string& directory,
    const std::function<std::optional<std::string>(const std::string&)>& digest_of) {
  Left left;
  for (const char* part : {"/pulling", "/pulled"}) TRY(sys::mkdir_all(directory + part, 0700));
  for (const auto& name : TRY(sys::list_dir(directory + "/pulled"))) {
    const std::string path = directory + "/pulled/" + name;
    auto text = sys::read_file(path);
    auto value = text.ok() ? base::parse_json(*text) : base::Result<json::value>(text.error());
    auto record = value.ok() ? decode_pull_record(*value) : base::Result<PullRecord>(value.error());
    if (record.ok()) left.records[record->digest] = std::move(*record);
    else
      base::log::warning("{}: {}: Pods show their credentials for its image again", path,
                         record.error().message());
  }
  for (const auto& name : TRY(sys::list_dir(directory + "/pulling"))) {
    const std::string path = directory + "/pulling/" + name;
    auto text = sys::read_file(path);
    auto value = text.ok() ? base::parse_json(*text) : base::Result<json::value>(text.error());
    const std::string image(value.ok() ? base::string_at(*value, "image") : "");
    if (image.empty()) {  // torn before the pull began
      TRY(remove_file(path));
      continue;
    }
    auto digest = digest_of(image);
    if (!digest) {
      // Its child may go on without us: the intent stays until somebody pulls it again.
      left.pulling.insert(image);
      continue;
    }
    PullRecord& record = left.records[*digest];
    record.digest = *digest;
    TRY(sys::write_file_atomic(directory + "/pulled/" + file_name(*digest),
                               base::to_json(encode_pull_record(record)), 0600));
    TRY(remove_file(path));
  }
  return left;
}

void PullRecords::know(Left left) {
  records_ = std::move(left.records);
  left_over_ = std::move(left.pulling);
}

bool PullRecords::must_pull(const std::string& image, const std::string& digest,
                            const std::vector<PullCredential>& credentials) {
  auto it = records_.find(digest);
  if (it == records_.end()) return pulling_.contains(image) || left_over_.contains(image);
  std::optional<PullRecord::Access::Login> learned;
  if (must_verify(it->second, repository_of(image), credentials, &learned)) return true;
  if (learned) {
    const PullCredential proved{
        .username = "", .password = "", .secret = learned->secret, .hash = learned->hash};
    if (add_access(it->second, repository_of(image), &proved))
      write(it->second, [](base::Status status) {
        if (!status.ok()) base::log::warning("keep image pull record: {}", status.error().message());
      });
  }
  return false;
}

void PullRecords::begin(const std::string& image, Done done) {
  ++pulling_[image];
  const std::string text =
      base::to_json(json::object{{"kind", "ImagePullIntent"}, {"apiVersion", kApiVersion}, {"image", image}});
  put(intent_path(image), text, std::move(done));
}

void PullRecords::put(const std::string& path, std::optional<std::string> text, Done done) {
  background_.call<base::Status>(
      [files = files_, change = ++changes_, path, text = std::move(text)]() -> base::Status {
        std::lock_guard hold(files->mutex);
        uint64_t& last = files->done[path];
        if (change < last) return {};
        TRY(text ? sys::write_file_atomic(path, *text, 0600) : remove_file(path));
        last = change;
        return {};
      },
      std::move(done));
}

void PullRecords::end(const std::string& image) {
  if (auto it = pulling_.find(image); it != pulling_.end() && --it->second > 0) return;
  pulling_.erase(image);
  left_over_.erase(image);
  put(intent_path(image), std::nullopt, [](base::Status status) {
    if (!status.ok()) base::log::warning("forget image pull intent: {}", status.error().message());
  });
}

void PullRecords::write(const PullRecord& record, Done done) {
  put(record_path(record.digest), base::to_json(encode_pull_record(record)), std::move(done));
}

void PullRecords::pulled(const std::string& image, const std::string& digest, const PullCredential* used,
                         Done done) {
  PullRecord& record = records_[digest];
  const bool fresh = record.digest.empty();
  record.digest = digest;
  if (!add_access(record, repository_of(image), used) && !fresh) {
    end(image);
    return done({});
  }
  write(record, [this, image, done = std::move(done)](base::Status status) {
    // Without its record the intent stays: the image is no preloaded one.
    if (status.ok()) end(image);
    done(std::move(status));
  });
}

void PullRecords::failed(const std::string& image) { end(image); }

void PullRecords::prune(const std::set<std::string>& digests) {
  for (auto it = records_.begin(); it != records_.end();) {
    if (digests.contains(it->first)) {
      ++it;
      continue;
    }
    put(record_path(it->first), std::nullopt, [](base::Status status) {
      if (!status.ok()) base::log::warning("forget image pull record: {}", status.error().message());
    });
    it = records_.erase(it);
  }
}

}  // namespace kubelet
