#include "monolith/native_training/data/kafka/message_reader/librdkafka.h"

#include <dlfcn.h>

#include <optional>

namespace monolith {
namespace {

template <typename Function>
bool Find(void* library, const char* name, Function** function) {
  *function = reinterpret_cast<Function*>(dlsym(library, name));
  return *function != nullptr;
}

std::optional<Librdkafka> Resolve(const void* address) {
  Dl_info info;
  if (!dladdr(address, &info)) return std::nullopt;
  // It is loaded and stays so.
  void* library = dlopen(info.dli_fname, RTLD_LAZY | RTLD_NOLOAD);
  if (library == nullptr) return std::nullopt;
  Librdkafka found;
#define MONOLITH_FIND(name) Find(library, "rd_kafka_" #name, &found.name)
  const bool has_all =
      MONOLITH_FIND(conf_get) && MONOLITH_FIND(conf_set_error_cb) &&
      MONOLITH_FIND(conf_interceptor_add_on_conf_set) &&
      MONOLITH_FIND(conf_interceptor_add_on_new) &&
      MONOLITH_FIND(interceptor_add_on_destroy) && MONOLITH_FIND(queue_new) &&
      MONOLITH_FIND(queue_destroy) && MONOLITH_FIND(queue_get_partition) &&
      MONOLITH_FIND(queue_forward) && MONOLITH_FIND(queue_cb_event_enable) &&
      MONOLITH_FIND(consume_batch_queue) && MONOLITH_FIND(message_timestamp) &&
      MONOLITH_FIND(message_errstr) && MONOLITH_FIND(topic_name) &&
      MONOLITH_FIND(message_destroy);
#undef MONOLITH_FIND
  if (!has_all) return std::nullopt;
  return found;
}

}  // namespace

const Librdkafka* Librdkafka::At(const void* address) {
  // A process has one client of Kafka.
  static const std::optional<Librdkafka> found = Resolve(address);
  return found ? &*found : nullptr;
}

}  // namespace monolith
