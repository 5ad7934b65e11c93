// What librdkafka calls where "plugin.library.paths" names this library: a
// client whose setting "monolith.message.reader" is the id of a MessageReader
// gives that one its messages.

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <mutex>
#include <unordered_map>

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

// The callbacks for errors of clients that have readers.
struct ErrorCallbacks {
  std::mutex mutex;
  std::unordered_map<KafkaClient*, KafkaOnError*> of;
};

ErrorCallbacks& Callbacks() {
  static auto* callbacks = new ErrorCallbacks;
  return *callbacks;
}

// Errors that are told while a reader reads, of a topic that is gone for
// instance, are events of the reader. The client's callback is for the client's
// own calls: confluent-kafka's ends the process in any other.
void OnError(KafkaClient* client, int code, const char* reason, void* opaque) {
  if (MessageReader::TakeError(code, reason)) return;
  KafkaOnError* callback = nullptr;
  {
    std::lock_guard<std::mutex> lock(Callbacks().mutex);
    const auto at = Callbacks().of.find(client);
    if (at != Callbacks().of.end()) callback = at->second;
  }
  if (callback != nullptr) callback(client, code, reason, opaque);
}

void TakeOverErrors(KafkaClient* client, const KafkaConf* conf) {
  char address[64] = "";
  size_t size = sizeof(address);
  void* callback = nullptr;
  if (library->conf_get(conf, "error_cb", address, &size) != kKafkaConfOk ||
      std::sscanf(address, "%p", &callback) != 1 || callback == nullptr) {
    return;  // Without a callback errors are logged.
  }
  {
    std::lock_guard<std::mutex> lock(Callbacks().mutex);
    Callbacks().of[client] = reinterpret_cast<KafkaOnError*>(callback);
  }
  // It is the client's own by now; who made it may have set it until the end.
  library->conf_set_error_cb(const_cast<KafkaConf*>(conf), OnError);
}

int OnDestroy(KafkaClient* client, void* opaque) {
  if (const auto reader = ReaderOf(opaque)) reader->Detach();
  std::lock_guard<std::mutex> lock(Callbacks().mutex);
  Callbacks().of.erase(client);
  return kKafkaNoError;
}

int OnNew(KafkaClient* client, const KafkaConf* conf, void* opaque, char* error,
          size_t error_size) {
  (void)error, (void)error_size;
  TakeOverErrors(client, conf);
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
