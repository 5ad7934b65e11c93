// The part of librdkafka's C interface that MessageReader needs, of the copy of
// the library that the process's Kafka client has loaded: a Python package has
// it inside, without headers.
//
// What is declared here is public and has been the same since librdkafka 1.0;
// names and meanings are those of rdkafka.h without "rd_kafka_".
#ifndef MONOLITH_NATIVE_TRAINING_DATA_KAFKA_MESSAGE_READER_LIBRDKAFKA_H_
#define MONOLITH_NATIVE_TRAINING_DATA_KAFKA_MESSAGE_READER_LIBRDKAFKA_H_

#include <sys/types.h>

#include <cstddef>
#include <cstdint>

namespace monolith {

struct KafkaClient;  // rd_kafka_t
struct KafkaConf;    // rd_kafka_conf_t
struct KafkaQueue;   // rd_kafka_queue_t
struct KafkaTopic;   // rd_kafka_topic_t

struct KafkaMessage {  // rd_kafka_message_t
  int err;
  KafkaTopic* rkt;
  int32_t partition;
  void* payload;
  size_t len;
  void* key;
  size_t key_len;
  int64_t offset;
  void* opaque;
};

inline constexpr int kKafkaNoError = 0;
// What interceptors answer about a setting.
inline constexpr int kKafkaConfUnknown = -2;
inline constexpr int kKafkaConfInvalid = -1;
inline constexpr int kKafkaConfOk = 0;

using KafkaOnConfSet = int(KafkaConf* conf, const char* name, const char* value,
                           char* error, size_t error_size, void* opaque);
using KafkaOnNew = int(KafkaClient* client, const KafkaConf* conf, void* opaque,
                       char* error, size_t error_size);
using KafkaOnError = void(KafkaClient* client, int code, const char* reason,
                          void* opaque);
using KafkaOnDestroy = int(KafkaClient* client, void* opaque);

struct Librdkafka {
  // The functions of the library that holds an address, as one that calls us;
  // null if it lacks one of them. Valid as long as the process.
  static const Librdkafka* At(const void* address);

  // Of a function, its address as printf's "%p" has it.
  int (*conf_get)(const KafkaConf*, const char* name, char* value,
                  size_t* size);
  void (*conf_set_error_cb)(KafkaConf*, KafkaOnError*);
  int (*conf_interceptor_add_on_conf_set)(KafkaConf*, const char* name,
                                          KafkaOnConfSet*, void* opaque);
  int (*conf_interceptor_add_on_new)(KafkaConf*, const char* name, KafkaOnNew*,
                                     void* opaque);
  int (*interceptor_add_on_destroy)(KafkaClient*, const char* name,
                                    KafkaOnDestroy*, void* opaque);
  KafkaQueue* (*queue_new)(KafkaClient*);
  void (*queue_destroy)(KafkaQueue*);
  KafkaQueue* (*queue_get_partition)(KafkaClient*, const char* topic,
                                     int32_t partition);
  void (*queue_forward)(KafkaQueue* from, KafkaQueue* to);
  // Calls where something comes to a queue that was empty, with that queue
  // locked; null is no more.
  void (*queue_cb_event_enable)(KafkaQueue*,
                                void (*callback)(KafkaClient*, void* opaque),
                                void* opaque);
  ssize_t (*consume_batch_queue)(KafkaQueue*, int timeout_ms, KafkaMessage**,
                                 size_t size);
  int64_t (*message_timestamp)(const KafkaMessage*, int* type);
  const char* (*message_errstr)(const KafkaMessage*);
  const char* (*topic_name)(const KafkaTopic*);
  void (*message_destroy)(KafkaMessage*);
};

}  // namespace monolith

#endif  // MONOLITH_NATIVE_TRAINING_DATA_KAFKA_MESSAGE_READER_LIBRDKAFKA_H_
