// Runs commands and prints what they took: "CPU_US WALL_US PEAK_KIB". CPU is user and system time
// of all that came of them, orphans included (a runtime's detached container is one); wall is the
// time spent in the commands; peak is the largest single process. The meter is small, so that what
// a fork inherits does not count.
//   meter COUNT PARALLEL COMMAND… [--then COMMAND…]… [--reap]
// COUNT times, PARALLEL at once; "{}" in a word is the number of the turn. --then goes on when the
// command before it has ended, --reap waits, off the clock, until its orphans have.
#include <fcntl.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;
struct Command {
  std::vector<std::string> words;
  bool reap_first = false;
};

pid_t spawn(const Command& command, int turn) {
  std::vector<std::string> words = command.words;
  std::vector<char*> argv;
  for (std::string& word : words) {
    if (size_t at = word.find("{}"); at != std::string::npos) word.replace(at, 2, std::to_string(turn));
    argv.push_back(word.data());
  }
  argv.push_back(nullptr);
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  for (int fd : {0, 1}) posix_spawn_file_actions_addopen(&files, fd, "/dev/null", O_RDWR, 0);
  pid_t pid = -1;
  if (int error = ::posix_spawn(&pid, argv[0], &files, nullptr, argv.data(), environ); error != 0) {
    std::fprintf(stderr, "meter: %s: %s\n", argv[0], std::strerror(error));
    std::exit(1);
  }
  posix_spawn_file_actions_destroy(&files);
  return pid;
}

void check(int status, const Command& command) {
  if (status == 0) return;
  std::fprintf(stderr, "meter: status %d of", status);
  for (const std::string& word : command.words) std::fprintf(stderr, " %s", word.c_str());
  std::fputc('\n', stderr);
  std::exit(1);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4) return 2;
  int count = std::atoi(argv[1]), parallel = std::atoi(argv[2]);
  std::vector<Command> commands(1);
  for (int i = 3; i < argc; ++i) {
    if (std::strcmp(argv[i], "--then") == 0) commands.emplace_back();
    else if (std::strcmp(argv[i], "--reap") == 0) commands.back().reap_first = true;
    else commands.back().words.push_back(argv[i]);
  }
  ::prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
  Clock::duration wall{};
  if (parallel == 1) {
    for (int turn = 0; turn < count; ++turn)
      for (const Command& command : commands) {
        int status = 0;
        if (command.reap_first)
          while (::waitpid(-1, nullptr, 0) > 0) {
          }
        auto begin = Clock::now();
        pid_t pid = spawn(command, turn);
        ::waitpid(pid, &status, 0);
        wall += Clock::now() - begin;
        check(status, command);
      }
  } else {
    auto begin = Clock::now();
    std::map<pid_t, int> running;
    for (int turn = 0; turn < count || !running.empty();) {
      while (turn < count && running.size() < static_cast<size_t>(parallel)) {
        pid_t pid = spawn(commands[0], turn);
        running[pid] = turn++;
      }
      int status = 0;
      pid_t pid = ::waitpid(-1, &status, 0);
      if (running.erase(pid) != 0) check(status, commands[0]);
    }
    wall = Clock::now() - begin;
  }
  while (::waitpid(-1, nullptr, 0) > 0) {
  }
  rusage usage{};
  ::getrusage(RUSAGE_CHILDREN, &usage);
  long cpu = (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000 + usage.ru_utime.tv_usec +
             usage.ru_stime.tv_usec;
  std::printf("%ld %ld %ld\n", cpu,
              static_cast<long>(std::chrono::duration_cast<std::chrono::microseconds>(wall).count()),
              usage.ru_maxrss);
  return 0;
}
