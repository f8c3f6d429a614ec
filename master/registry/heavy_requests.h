// Requests whose decoding, checking and writing would hold the loop longer than a few milliseconds: each is
// served by a fiber, so that its steps between base::compute() are the loop's and what it computes is not.
// Loop thread only.
#pragma once

#include <functional>

#include "base/fiber.h"
#include "master/registry/request.h"

namespace master {

// What etcd takes of an object at most; a larger one is refused in its words.
constexpr size_t kMaxObjectBytes = 3u << 19;
constexpr const char* kTooLarge = "etcdserver: request is too large";

// Whether an object is too large to be stored, told before anything is made of it: of a million empty
// structs defaulting and validation make gigabytes.
bool too_large(const base::json::value& object);
// A large body, a long selector, operations by the hundred, a large object that is changed, or many that are
// deleted.
bool is_heavy(const RequestInfo& request);
// Runs `step` of a request: of a heavy one as a fiber of the loop, where it is not on one already.
void go_on(base::Loop& loop, const RequestPtr& request, std::function<void()> step);
// As a fiber what has turned out to be heavy, or is nobody's request; `flow`: whose it is, who take turns.
void run_aside(base::Loop& loop, std::string flow, std::function<void()> step);
// Brings all to their end: before the server goes that they look into.
void finish_heavy_requests(base::Loop& loop);

}  // namespace master
