#include "master/extensions/custom_conversion.h"

#include <set>

#include "api/status.h"
#include "api/walk.h"
#include "base/log.h"
#include "base/uuid.h"
#include "master/extensions/conversion_review.h"
#include "master/registry/strategy.h"

namespace master {

namespace json = base::json;

namespace {

constexpr auto kTimeout = std::chrono::seconds(30);
}  // namespace

void CustomConversion::convert(const ResourceInfo& to, std::vector<json::value> objects, Converted done) {
  std::vector<json::value> asked;
  std::vector<size_t> places;
  for (size_t i = 0; i < objects.size(); ++i) {
    if (base::string_at(objects[i], "apiVersion") == to.group_version()) continue;
    places.push_back(i);
    asked.push_back(objects[i]);
  }
  if (asked.empty()) return done(std::move(objects));
  std::string uid = base::new_uuid(), version(to.group_version());
  if (review_version_.empty())
    return done(
        conversion_failed(asked[0], "webhook does not accept known ConversionReview versions (v1, v1beta1)"));
  json::value review = conversion_review(review_version_, uid, version, asked);
  client_->post(config_, base::to_json(review), kTimeout,
                [self = shared_from_this(), uid, version, type = to.type, owner = to.type_owner,
                 asked = std::move(asked), places = std::move(places), objects = std::move(objects),
                 done = std::move(done)](base::Result<base::http::Response> answer) mutable {
                  auto converted =
                      answer.ok() ? read_conversion(self->review_version_, uid, version, asked, answer->body)
                                  : base::Result<std::vector<json::value>>(
                                        conversion_failed(asked[0], answer.error().message()));
                  if (!converted.ok()) {
                    base::log::warning("{}", converted.error().reason);
                    return done(converted.error());
                  }
                  for (size_t i = 0; i < places.size(); ++i) {
                    json::value& object = (*converted)[i];
                    api::prune(*type, object);
                    api::apply_defaults(*type, object);
                    objects[places[i]] = std::move(object);
                  }
                  done(std::move(objects));
                });
}

void CustomConversion::show(const ResourcePtr& in, const std::vector<ObjectRef>& objects, Shown done) {
  std::string version(in->group_version());
  auto fresh = std::make_shared<Flight>();
  std::set<FlightRef> awaited;
  for (const ObjectRef& object : objects) {
    if (text(*in, *object)) continue;
    FlightRef& flight = flights_[{version, object.get()}];
    if (!flight) {
      flight = fresh;
      fresh->objects.push_back(object);
    }
    awaited.insert(flight);
  }
  if (awaited.empty()) return done(nullptr);
  struct Progress {
    size_t left;
    json::value refusal;
    Shown done;
  };
  auto progress = std::make_shared<Progress>(Progress{awaited.size(), nullptr, std::move(done)});
  for (const FlightRef& flight : awaited)
    flight->waiting.push_back([progress](json::value refused) {
      if (progress->refusal.is_null()) progress->refusal = std::move(refused);
      if (--progress->left == 0) progress->done(std::move(progress->refusal));
    });
  if (fresh->objects.empty()) return;
  std::vector<json::value> parsed;
  for (const ObjectRef& object : fresh->objects) parsed.push_back(parse_object(*object->text));
  convert(*in, std::move(parsed),
          [self = shared_from_this(), in, fresh](base::Result<std::vector<json::value>> result) {
            self->land(in, fresh, std::move(result));
          });
}

void CustomConversion::land(const ResourcePtr& in, const FlightRef& flight,
                            base::Result<std::vector<json::value>> result) {
  std::string version(in->group_version());
  for (size_t i = 0; i < flight->objects.size(); ++i) {
    const StoredObject& object = *flight->objects[i];
    flights_.erase({version, &object});
    if (result.ok())
      object.converted.emplace_back(
          version, base::http::bytes(with_revision(to_stored_text((*result)[i]), object.revision)));
  }
  json::value refused = result.ok() ? json::value() : refusal(result.error());
  for (Shown& waiting : std::exchange(flight->waiting, {})) waiting(refused);
}

}  // namespace master
