// The paths of fields that a schema does not know, as many as anybody is told of: Kubernetes' decoder stops
// at a hundred, and a long key above many of them is in every path.
#pragma once

#include <string>
#include <vector>

namespace api {

class UnknownFields {
 public:
  explicit UnknownFields(std::vector<std::string>* paths) : paths_(paths) {}  // null: nobody asks
  explicit operator bool() const { return paths_ != nullptr; }
  void add(const std::string& path) {
    if (paths_->size() >= kMaxPaths || bytes_ + path.size() > kMaxBytes) return;
    bytes_ += path.size();
    paths_->push_back(path);
  }

 private:
  static constexpr size_t kMaxPaths = 100, kMaxBytes = 64 << 10;
  std::vector<std::string>* paths_;
  size_t bytes_ = 0;
};

}  // namespace api
