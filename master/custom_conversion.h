// CustomConversion: the webhook that converts the objects of one definition between its versions.
// Objects lie in the store and in the cache in the version in which they were written; each is
// converted once per change and version, and the bytes are kept with it (StoredObject::converted), so
// that reads are copies. Writes are worked on in the version of their request and converted at the
// store's door. Loop thread only; kept by the rows of its resource.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "master/object_cache.h"
#include "master/webhook_client.h"

namespace master {

class CustomConversion : public std::enable_shared_from_this<CustomConversion> {
 public:
  // `review_version`: "v1" or "v1beta1"; "" when the webhook speaks none that is known, and every conversion
  // fails.
  CustomConversion(std::shared_ptr<WebhookClient> client, base::json::value client_config,
                   std::string review_version)
      : client_(std::move(client)), config_(std::move(client_config)),
        review_version_(std::move(review_version)) {}

  // All to the version `to` (pruned and with its defaults) in one review; what is in it already stays.
  using Converted = std::function<void(base::Result<std::vector<base::json::value>>)>;
  void convert(const ResourceInfo& to, std::vector<base::json::value> objects, Converted done);

  // Makes what text() gives; null or the Status that refuses. At once when it is all there.
  using Shown = std::function<void(base::json::value refusal)>;
  void show(const ResourcePtr& in, const std::vector<ObjectRef>& objects, Shown done);
  // The object in a version; null when it has to be converted first.
  static Bytes text(const ResourceInfo& in, const StoredObject& object);
  static base::json::value refusal(const base::Error& error);

 private:
  // One review under way; who else wants one of its objects waits for it.
  struct Flight {
    std::vector<ObjectRef> objects;
    std::vector<Shown> waiting;
  };
  using FlightRef = std::shared_ptr<Flight>;
  void land(const ResourcePtr& in, const FlightRef& flight,
            base::Result<std::vector<base::json::value>> result);

  std::shared_ptr<WebhookClient> client_;
  base::json::value config_;
  std::string review_version_;
  std::map<std::pair<std::string, const StoredObject*>, FlightRef> flights_;
};

}  // namespace master
