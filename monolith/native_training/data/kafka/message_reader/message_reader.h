// Takes messages out of a Kafka client many at a time, into columns, without an
// object for each.
//
// The client stays its owner's: it joins the group, is told its partitions,
// commits. Only what is fetched of partitions that were claimed goes to queues
// of the reader's own, which the client knows nothing of. librdkafka makes the
// two known to one another: this library is a plugin of it (see plugin.cc), and
// the setting "monolith.message.reader" of a client names its reader.
//
// Brokers send much of one partition before they send of the next, and messages
// that follow one another in a partition are much alike: it may have those of
// some users only, one after the other. Who trains on them had better see a
// mixture, and what is older first. So messages that come together are of the
// partitions that are furthest behind by their timestamps, and those of each
// partition are spread evenly among the others. A partition that is behind the
// others and not at its end is waited for, but no longer than a call may take,
// or a second for what is fetched of it first.
#ifndef MONOLITH_NATIVE_TRAINING_DATA_KAFKA_MESSAGE_READER_MESSAGE_READER_H_
#define MONOLITH_NATIVE_TRAINING_DATA_KAFKA_MESSAGE_READER_MESSAGE_READER_H_

#include <atomic>
#include <chrono>
#include <condition_variable>
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

// n messages, those of each partition in its order and spread evenly.
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
  // as many. Nothing, at once, without a client. Of a partition that has some
  // there are always a few, whatever its timestamps.
  ReadMessages Read(size_t most, int timeout_ms);

  // An error that a client tells. If this thread is in Read, it is an event of
  // that, and the result is true.
  static bool TakeError(int code, const char* reason);

 private:
  using Clock = std::chrono::steady_clock;
  using PartitionName = std::pair<std::string, int32_t>;

  // Wakes who waits until something comes. Librdkafka's threads call `Set`.
  class Signal {
   public:
    void Set();
    // Until it is set, also before, or the time is over; whether it was set.
    bool WaitUntil(Clock::time_point deadline);

   private:
    std::mutex mutex_;
    std::condition_variable changed_;
    bool is_set_ = false;
  };

  struct Partition {
    KafkaQueue* fetched = nullptr;  // Where the client puts what it fetches,
    KafkaQueue* queue = nullptr;    // forwarded to this one.
    int64_t time = 0;               // The timestamp of what was read last.
    uint64_t turn = 0;              // When that was; rises.
    std::atomic<bool> may_have_some{true};  // In queue. Set by the client.
    Signal* has_come = nullptr;             // The reader's.
    // Nothing more is to come at once: it is read to its end, or was waited for
    // in vain.
    bool is_done = false;
    Clock::time_point expected_until;  // Is not waited for in vain before.
    size_t num_taken = 0;              // In this call.
    size_t num_spread = 0;
  };

  explicit MessageReader(int64_t id) : id_(id) {}

  // Each adds to taken_, which has at most `most` then.
  void TakeAFewOfEach(size_t most);
  // As far as nothing that is to come first is missing.
  void TakeInOrder(size_t most);
  // At most so many more.
  void TakeFrom(Partition& partition, size_t most);
  void GiveUpWaiting();
  // What is taken, with the messages of each partition spread evenly.
  std::vector<KafkaMessage*> SpreadTaken() const;

  const int64_t id_;
  std::mutex mutex_;
  const Librdkafka* library_ = nullptr;
  KafkaClient* client_ = nullptr;  // Not owned.
  std::map<PartitionName, Partition> claimed_;
  uint64_t turn_ = 0;
  std::vector<KafkaMessage*> taken_;    // In one call,
  std::vector<Partition*> taken_from_;  // of which partitions.
  Signal has_come_;
};

}  // namespace monolith

#endif  // MONOLITH_NATIVE_TRAINING_DATA_KAFKA_MESSAGE_READER_MESSAGE_READER_H_
