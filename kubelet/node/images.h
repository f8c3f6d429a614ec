// Pulls images by running `sampan image pull`, a bounded number at once, one pull per image
// whoever asks. The store itself is runtime/'s; this only asks for it to be filled.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/loop.h"
#include "base/process.h"
#include "base/result.h"
#include "kubelet/node/pull_secrets.h"

namespace kubelet {

class Images {
 public:
  struct Options {
    std::string program, image_root, registries;
    size_t max_parallel = 3;
  };
  Images(base::Loop& loop, Options options);
  ~Images();

  struct Pulled {
    std::string name, digest;
    base::Duration took{}, waited{};
    std::optional<size_t>
        credential;  // which of those given it was done with; none: the node's own, or nobody's
  };
  using Done = std::function<void(base::Result<Pulled>)>;
  // Tried with each of `credentials` in turn, then as the node's registries file says. They go to the child
  // through a file without a name, never over its command line or environment. Done is called once, later,
  // unless Images is destroyed before.
  void pull(const std::string& name, const std::vector<PullCredential>& credentials, Done done);
  const Options& options() const { return options_; }

 private:
  struct Job;
  void start_next();
  void finish(Job& job);

  base::Loop& loop_;
  Options options_;
  std::map<std::string, std::unique_ptr<Job>> jobs_;
  std::deque<std::string> waiting_;
  size_t running_ = 0;
};

// The pull program's answer: {"name","digest"} or {"error","kind","message"}. Pure.
base::Result<Images::Pulled> parse_pull_answer(const std::string& name, const std::string& text,
                                               const base::ExitStatus& status);

}  // namespace kubelet
