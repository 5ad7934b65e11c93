// Takes messages out of a Kafka client many at a time, into columns, without an
// object for each.
//
// The client stays its owner's: it joins the group, is told its partitions,
// commits. Only what is fetched of partitions that were claimed goes to a queue
// of the reader's own, which the client knows nothing of. librdkafka makes the
// two known to one another: this library is a plugin of it (see plugin.cc), and
// the setting "monolith.message.reader" of a client names its reader.
#ifndef MONOLITH_NATIVE_TRAINING_DATA_KAFKA_MESSAGE_READER_MESSAGE_READER_H_
#define MONOLITH_NATIVE_TRAINING_DATA_KAFKA_MESSAGE_READER_MESSAGE_READER_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "monolith/native_training/data/kafka/message_reader/librdkafka.h"

namespace monolith {

// What came in place of a message: the end of a partition, or an error.
struct ReadEvent {
  int code;  // rd_kafka_resp_err_t
  std::string text;
  std::string topic;
  int32_t partition;
  int64_t offset;  // Negative: of none.
};

// n messages, in the order of each partition.
struct ReadMessages {
  std::vector<uint8_t> values;       // The bytes of all.
  std::vector<int64_t> begin;        // [n] in values; no value has no bytes.
  std::vector<int64_t> end;          // [n]
  std::vector<std::string> topics;   // Each once.
  std::vector<int32_t> topic_index;  // [n] in topics
  std::vector<int32_t> partition;    // [n]
  std::vector<int64_t> offset;       // [n]
  std::vector<int64_t> timestamp;    // [n] ms since the epoch; -1 is none.
  std::vector<ReadEvent> events;
};

// Thread-safe; calls wait for one another.
class MessageReader {
 public:
  static std::shared_ptr<MessageReader> Create();
  // Null if there is none, or no more.
  static std::shared_ptr<MessageReader> Find(int64_t id);

  ~MessageReader();
  MessageReader(const MessageReader&) = delete;
  MessageReader& operator=(const MessageReader&) = delete;

  // Of this process.
  int64_t id() const { return id_; }

  // Reads from a client from now on, which need not be ready before the next
  // call.
  void Attach(const Librdkafka& library, KafkaClient* client);
  // What is fetched stays in the client, or is dropped with it. Also called by
  // the client when it is destroyed.
  void Detach();

  // Reads a partition from the moment that it is assigned to the client, which
  // must be later, and each time anew; false if no client is attached.
  bool Claim(const std::string& topic, int32_t partition);

  // At most `most` messages and events: those that come within the timeout, or
  // as many. Nothing, at once, without a client.
  ReadMessages Read(size_t most, int timeout_ms);

 private:
  using Partition = std::pair<std::string, int32_t>;

  explicit MessageReader(int64_t id) : id_(id) {}

  const int64_t id_;
  std::mutex mutex_;
  const Librdkafka* library_ = nullptr;
  KafkaClient* client_ = nullptr;  // Not owned.
  KafkaQueue* queue_ = nullptr;    // Once it is needed.
  // Where the client puts what it has fetched; forwarded to queue_.
  std::map<Partition, KafkaQueue*> claimed_;
  std::vector<KafkaMessage*> taken_;  // Room for those of one call.
};

}  // namespace monolith

#endif  // MONOLITH_NATIVE_TRAINING_DATA_KAFKA_MESSAGE_READER_MESSAGE_READER_H_
