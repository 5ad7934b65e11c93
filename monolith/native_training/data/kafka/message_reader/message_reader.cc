#include "monolith/native_training/data/kafka/message_reader/message_reader.h"

#include <algorithm>
#include <unordered_map>
#include <utility>

namespace monolith {
namespace {

struct Readers {
  std::mutex mutex;
  int64_t next_id = 1;
  std::unordered_map<int64_t, std::weak_ptr<MessageReader>> by_id;
};

Readers& AllReaders() {
  static auto* readers = new Readers;
  return *readers;
}

// Writes messages into columns.
class ColumnWriter {
 public:
  ColumnWriter(const Librdkafka& library, size_t count, size_t num_bytes)
      : library_(library) {
    out_.values.reserve(num_bytes);
    out_.begin.reserve(count);
    out_.end.reserve(count);
    out_.topic_index.reserve(count);
    out_.partition.reserve(count);
    out_.offset.reserve(count);
    out_.timestamp.reserve(count);
  }

  void Add(const KafkaMessage& message) {
    if (message.err != kKafkaNoError) {
      AddEvent(message);
      return;
    }
    out_.begin.push_back(out_.values.size());
    if (message.payload != nullptr) {
      const auto* value = static_cast<const uint8_t*>(message.payload);
      out_.values.insert(out_.values.end(), value, value + message.len);
    }
    out_.end.push_back(out_.values.size());
    out_.topic_index.push_back(IndexOf(message.rkt));
    out_.partition.push_back(message.partition);
    out_.offset.push_back(message.offset);
    out_.timestamp.push_back(library_.message_timestamp(&message, nullptr));
  }

  ReadMessages Take() && { return std::move(out_); }

 private:
  void AddEvent(const KafkaMessage& message) {
    const char* text = library_.message_errstr(&message);
    out_.events.push_back({message.err, text ? text : "",
                           message.rkt ? library_.topic_name(message.rkt) : "",
                           message.partition, message.offset});
  }

  int32_t IndexOf(const KafkaTopic* topic) {
    if (topic == last_topic_) return last_index_;
    const std::string name = library_.topic_name(topic);
    const auto at = std::find(out_.topics.begin(), out_.topics.end(), name);
    last_topic_ = topic;
    last_index_ = at - out_.topics.begin();
    if (at == out_.topics.end()) out_.topics.push_back(name);
    return last_index_;
  }

  const Librdkafka& library_;
  const KafkaTopic* last_topic_ = nullptr;
  int32_t last_index_ = 0;
  ReadMessages out_;
};

}  // namespace

std::shared_ptr<MessageReader> MessageReader::Create() {
  Readers& all = AllReaders();
  std::lock_guard<std::mutex> lock(all.mutex);
  const int64_t id = all.next_id++;
  std::shared_ptr<MessageReader> reader(new MessageReader(id));
  all.by_id[id] = reader;
  return reader;
}

std::shared_ptr<MessageReader> MessageReader::Find(int64_t id) {
  Readers& all = AllReaders();
  std::lock_guard<std::mutex> lock(all.mutex);
  const auto at = all.by_id.find(id);
  return at == all.by_id.end() ? nullptr : at->second.lock();
}

MessageReader::~MessageReader() {
  Detach();
  Readers& all = AllReaders();
  std::lock_guard<std::mutex> lock(all.mutex);
  all.by_id.erase(id_);
}

void MessageReader::Attach(const Librdkafka& library, KafkaClient* client) {
  Detach();
  std::lock_guard<std::mutex> lock(mutex_);
  library_ = &library;
  client_ = client;
}

void MessageReader::Detach() {
  std::lock_guard<std::mutex> lock(mutex_);
  if (client_ == nullptr) return;
  for (const auto& [partition, fetched] : claimed_) {
    library_->queue_forward(fetched, nullptr);
    library_->queue_destroy(fetched);
  }
  claimed_.clear();
  if (queue_ != nullptr) library_->queue_destroy(queue_);
  queue_ = nullptr;
  client_ = nullptr;
}

bool MessageReader::Claim(const std::string& topic, int32_t partition) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (client_ == nullptr) return false;
  if (queue_ == nullptr) queue_ = library_->queue_new(client_);
  KafkaQueue* fetched =
      library_->queue_get_partition(client_, topic.c_str(), partition);
  if (fetched == nullptr) return false;
  // Before the client does so: it does not undo what is done already.
  library_->queue_forward(fetched, queue_);
  KafkaQueue*& claimed = claimed_[{topic, partition}];
  if (claimed != nullptr) library_->queue_destroy(claimed);
  claimed = fetched;
  return true;
}

ReadMessages MessageReader::Read(size_t most, int timeout_ms) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (client_ == nullptr) return {};
  if (queue_ == nullptr) queue_ = library_->queue_new(client_);
  // A client that stops to fetch a partition ends its forwarding, maybe after
  // the claim for the next time. What came meanwhile comes along now.
  for (const auto& [partition, fetched] : claimed_) {
    library_->queue_forward(fetched, queue_);
  }
  taken_.resize(most);
  const ssize_t got =
      library_->consume_batch_queue(queue_, timeout_ms, taken_.data(), most);
  const size_t count = std::max<ssize_t>(got, 0);
  size_t num_bytes = 0;
  for (size_t i = 0; i < count; ++i) num_bytes += taken_[i]->len;
  ColumnWriter columns(*library_, count, num_bytes);
  for (size_t i = 0; i < count; ++i) {
    columns.Add(*taken_[i]);
    library_->message_destroy(taken_[i]);
  }
  return std::move(columns).Take();
}

}  // namespace monolith
