// One child process per pull. Its output is read as it comes; its end is seen on a pidfd.
#include "kubelet/node/images.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/mman.h>

#include "base/json.h"
#include "base/sys.h"

namespace kubelet {

using Clock = std::chrono::steady_clock;

struct Images::Job {
  std::string key, name;
  std::string credentials;  // JSON for the child's stdin; empty: none
  std::vector<Done> callbacks;
  base::Child child;
  base::UniqueFd out;
  std::string text;
  base::Loop::Handle reading, ending, failing;
  Clock::time_point asked, began;
};

Images::Images(base::Loop& loop, Options options) : loop_(loop), options_(std::move(options)) {}

Images::~Images() {
  // The children go on by themselves and are not ours to end: a pull in the middle is worth keeping.
}

void Images::pull(const std::string& name, const std::vector<PullCredential>& credentials, Done done) {
  std::string key = name;
  for (const auto& credential : credentials)
    key += "\n" + credential.hash;  // one pull for all who show the same
  auto& job = jobs_[key];
  if (!job) {
    job = std::make_unique<Job>();
    job->key = key;
    job->name = name;
    job->asked = Clock::now();
    base::json::array list;
    for (const auto& credential : credentials)
      list.push_back(
          base::json::object{{"username", credential.username}, {"password", credential.password}});
    if (!list.empty()) job->credentials = base::to_json(base::json::object{{"credentials", std::move(list)}});
    waiting_.push_back(key);
  }
  job->callbacks.push_back(std::move(done));
  start_next();
}

void Images::start_next() {
  while (running_ < options_.max_parallel && !waiting_.empty()) {
    Job* job = jobs_.at(waiting_.front()).get();
    waiting_.pop_front();
    ++running_;
    job->began = Clock::now();
    auto fail = [this, job](base::Error error) {
      job->text = base::to_json(base::json::object{{"error", "ErrImagePull"}, {"message", error.message()}});
      job->failing = loop_.after({}, [this, job] { finish(*job); });
    };
    auto pipe = base::sys::pipe();
    if (!pipe.ok()) {
      fail(pipe.error());
      continue;
    }
    base::Command command;
    command.argv = {options_.program,   "image", "pull", job->name, "--json", "--image-root",
                    options_.image_root};
    if (!options_.registries.empty())
      command.argv.insert(command.argv.end(), {"--registries", options_.registries});
    command.stdout_fd = pipe->write.get();
    base::UniqueFd secret;
    if (!job->credentials.empty()) {
      secret.reset(::memfd_create("pull-credentials", MFD_CLOEXEC));
      if (!secret.valid()) {
        fail(base::sys::last_error("memfd_create", job->name));
        continue;
      }
      if (auto status = base::sys::write_all(secret.get(), job->credentials); !status.ok()) {
        fail(status.error());
        continue;
      }
      ::lseek(secret.get(), 0, SEEK_SET);
      command.argv.emplace_back("--credentials-stdin");
      command.stdin_fd = secret.get();
      job->credentials.clear();
    }
    auto child = base::spawn(command);
    if (!child.ok()) {
      fail(child.error());
      continue;
    }
    job->child = std::move(*child);
    job->out = std::move(pipe->read);
    ::fcntl(job->out.get(), F_SETFL, O_NONBLOCK);
    job->reading = loop_.watch(job->out.get(), EPOLLIN, [job](uint32_t) {
      char buffer[4096];
      const ssize_t n = ::read(job->out.get(), buffer, sizeof buffer);
      if (n > 0 && job->text.size() < (1u << 20)) job->text.append(buffer, static_cast<size_t>(n));
      else if (n == 0) job->reading.cancel();
    });
    job->ending = loop_.watch(job->child.pidfd.get(), EPOLLIN, [this, job](uint32_t) { finish(*job); });
  }
}

void Images::finish(Job& job) {
  job.reading.cancel();
  job.ending.cancel();
  base::ExitStatus status{.code = 1, .signal = 0};
  if (job.child.pid > 0) {
    char buffer[4096];
    ssize_t n;
    while ((n = ::read(job.out.get(), buffer, sizeof buffer)) > 0)
      job.text.append(buffer, static_cast<size_t>(n));
    if (auto ended = base::wait_child(job.child); ended.ok()) status = *ended;
  }
  auto answer = parse_pull_answer(job.name, job.text, status);
  if (answer.ok()) {
    answer->took = Clock::now() - job.began;
    answer->waited = Clock::now() - job.asked;
  }
  auto callbacks = std::move(job.callbacks);
  --running_;
  const std::string key = job.key;
  jobs_.erase(key);
  start_next();
  for (auto& done : callbacks) done(answer);
}

base::Result<Images::Pulled> parse_pull_answer(const std::string& name, const std::string& text,
                                               const base::ExitStatus& status) {
  auto fail = [&](base::Kind kind, std::string why) {
    return base::make_error(kind, "pull image", name, std::move(why));
  };
  auto json = base::parse_json(text);
  if (!json.ok() || !json->is_object()) {
    if (status.signal)
      return fail(base::Kind::kUnavailable, "the pull was ended by signal " + std::to_string(status.signal));
    return fail(base::Kind::kInternal,
                "the pull program ended with code " + std::to_string(status.code) + " and no answer");
  }
  if (base::find(*json, "error") || base::find(*json, "message")) {
    std::string message(base::string_at(*json, "message"));
    if (message.empty()) message = base::string_at(*json, "error");
    // Whoever shows it says that a pull failed, and of what.
    if (size_t end = message.find(": "); message.starts_with("pull image ") && end != std::string::npos)
      message.erase(0, end + 2);
    const std::string_view kind = base::string_at(*json, "kind");
    return base::make_error(kind == "invalid"     ? base::Kind::kInvalid
                            : kind == "not found" ? base::Kind::kNotFound
                                                  : base::Kind::kUnavailable,
                            "", "", std::move(message));
  }
  Images::Pulled out;
  out.name = base::string_at(*json, "name");
  out.digest = base::string_at(*json, "digest");
  if (const base::json::value* used = base::find(*json, "credential"); used && base::as_int(used, -1) >= 0)
    out.credential = static_cast<size_t>(base::as_int(used));
  if (out.digest.empty()) return fail(base::Kind::kInternal, "the pull program named no digest");
  return out;
}

}  // namespace kubelet
