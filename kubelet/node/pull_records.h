// Which images this kubelet pulled, and with whose credentials: an image that needed some is no present for
// every Pod of the node (KEP-2535, imagePullCredentialsVerificationPolicy NeverVerifyPreloadedImages). An
// intent lies on disk before a pull and a record after it, below <root>/image_manager/{pulling,pulled}; an
// image with neither was there before and is everybody's. Decisions on the loop, files in the background.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/json.h"
#include "kubelet/node/background.h"
#include "kubelet/node/pull_secrets.h"

namespace kubelet {

// Of one image (by digest of its manifest): who may use it under which repository's name.
struct PullRecord {
  struct Access {
    bool everybody = false;  // pulled without a Pod's credentials
    struct Login {
      SecretRef secret;
      std::string hash;
    };
    std::vector<Login> logins;
  };
  std::string digest;
  std::map<std::string, Access> by_repository;
};
base::json::value encode_pull_record(const PullRecord& record);
base::Result<PullRecord> decode_pull_record(const base::json::value& in);

// Whether a Pod with these credentials has to show at the registry that it may have the image. `learned`: a
// login of the Pod that is proved by another (the same secret rotated, the same login in another secret) and
// is to be kept.
bool must_verify(const PullRecord& record, const std::string& repository,
                 const std::vector<PullCredential>& credentials,
                 std::optional<PullRecord::Access::Login>* learned);
// What a successful pull adds; null: it was done without a Pod's credentials. False: nothing new.
bool add_access(PullRecord& record, const std::string& repository, const PullCredential* used);

class PullRecords {
 public:
  PullRecords(Background& background, std::string directory)
      : background_(background), directory_(std::move(directory)) {}
  // What an earlier kubelet left; blocks. A pull that a killed kubelet began leaves a record without access.
  // `digest_of`: of an image in the store by its name; nothing: it is not there.
  struct Left {
    std::map<std::string, PullRecord> records;  // by digest
    std::set<std::string> pulling;              // images whose intent outlived its kubelet
  };
  static base::Result<Left> read(
      const std::string& directory,
      const std::function<std::optional<std::string>(const std::string& image)>& digest_of);
  void know(Left left);  // once, before any call but this
  // `image` is normalized, with its tag; `digest` that of the image in the store.
  bool must_pull(const std::string& image, const std::string& digest,
                 const std::vector<PullCredential>& credentials);
  using Done = std::function<void(base::Status)>;
  void begin(const std::string& image, Done done);  // done: the intent is on disk
  void pulled(const std::string& image, const std::string& digest, const PullCredential* used, Done done);
  void failed(const std::string& image);
  // Records of images that the store does not have any more.
  void prune(const std::set<std::string>& digests);

 private:
  std::string intent_path(const std::string& image) const;
  std::string record_path(const std::string& digest) const;
  void end(const std::string& image);
  void write(const PullRecord& record, Done done);
  // Writes (or, without text, removes) a file in the background; of two for one path the later stands.
  void put(const std::string& path, std::optional<std::string> text, Done done);

  struct Files {
    std::mutex mutex;
    std::map<std::string, uint64_t> done;  // by path: the last change that was made
  };
  Background& background_;
  std::shared_ptr<Files> files_ = std::make_shared<Files>();
  uint64_t changes_ = 0;
  std::string directory_;
  std::map<std::string, PullRecord> records_;  // by digest
  std::map<std::string, int> pulling_;         // by image: pulls under way
  std::set<std::string> left_over_;            // images whose intent outlived its kubelet
};

}  // namespace kubelet
