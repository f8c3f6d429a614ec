// CustomConversion: the webhook that converts the objects of one definition between its versions, in one
// review for all that somebody waits for. Loop thread only; kept by the rows of its resource.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "master/admission/webhook_client.h"
#include "master/registry/conversion.h"

namespace master {

class CustomConversion final : public Conversion, public std::enable_shared_from_this<CustomConversion> {
 public:
  // `review_version`: "v1" or "v1beta1"; "" when the webhook speaks none that is known, and every conversion
  // fails.
  CustomConversion(std::shared_ptr<WebhookClient> client, base::json::value client_config,
                   std::string review_version)
      : client_(std::move(client)), config_(std::move(client_config)),
        review_version_(std::move(review_version)) {}

  void convert(const ResourceInfo& to, std::vector<base::json::value> objects, Converted done) override;
  void show(const ResourcePtr& in, const std::vector<ObjectRef>& objects, Shown done) override;

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
