// What librdkafka calls where "plugin.library.paths" names this library: a
// client whose setting "monolith.message.reader" is the id of a MessageReader
// gives that one its messages.

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "monolith/native_training/data/kafka/message_reader/librdkafka.h"
#include "monolith/native_training/data/kafka/message_reader/message_reader.h"

namespace monolith {
namespace {

constexpr char kPlugin[] = "monolith";
constexpr char kReaderSetting[] = "monolith.message.reader";

const Librdkafka* library = nullptr;

// Interceptors get a reader's id, so that none outlives its reader.
void* AsOpaque(int64_t id) { return reinterpret_cast<void*>(id); }
std::shared_ptr<MessageReader> ReaderOf(void* opaque) {
  return MessageReader::Find(reinterpret_cast<int64_t>(opaque));
}

int OnDestroy(KafkaClient* client, void* opaque) {
  (void)client;
  if (const auto reader = ReaderOf(opaque)) reader->Detach();
  return kKafkaNoError;
}

int OnNew(KafkaClient* client, const KafkaConf* conf, void* opaque, char* error,
          size_t error_size) {
  (void)conf, (void)error, (void)error_size;
  if (const auto reader = ReaderOf(opaque)) reader->Attach(*library, client);
  return library->interceptor_add_on_destroy(client, kPlugin, OnDestroy,
                                             opaque);
}

int OnConfSet(KafkaConf* conf, const char* name, const char* value, char* error,
              size_t error_size, void* opaque) {
  (void)opaque;
  if (std::strcmp(name, kReaderSetting) != 0) return kKafkaConfUnknown;
  const int64_t id = value ? std::atoll(value) : 0;
  if (MessageReader::Find(id) == nullptr) {
    std::snprintf(error, error_size, "%s: there is no reader %s",
                  kReaderSetting, value ? value : "(null)");
    return kKafkaConfInvalid;
  }
  library->conf_interceptor_add_on_new(conf, kPlugin, OnNew, AsOpaque(id));
  return kKafkaConfOk;
}

}  // namespace
}  // namespace monolith

extern "C" __attribute__((visibility("default"))) int conf_init(
    monolith::KafkaConf* conf, void** opaque, char* error, size_t error_size) {
  (void)opaque;
  using monolith::library;
  library = monolith::Librdkafka::At(__builtin_return_address(0));
  if (library == nullptr) {
    std::snprintf(error, error_size,
                  "this librdkafka lacks functions that Monolith needs");
    return -1;
  }
  return library->conf_interceptor_add_on_conf_set(
      conf, monolith::kPlugin, monolith::OnConfSet, nullptr);
}
