#include "monolith/native_training/data/kafka/message_reader/message_reader.h"

#include <algorithm>
#include <functional>
#include <iterator>
#include <limits>
#include <numeric>
#include <queue>
#include <thread>
#include <tuple>
#include <unordered_map>
#include <utility>

namespace monolith {
namespace {

// Messages of a partition that are taken before others are looked at.
constexpr size_t kPiece = 64;
// Those that are taken of each partition, before timestamps count.
constexpr size_t kFew = 8;
// How long the first fetch of a partition may take.
constexpr auto kFirstFetch = std::chrono::seconds(1);
// After the first of them more come.
constexpr auto kGather = std::chrono::milliseconds(5);
constexpr int64_t kNoTime = std::numeric_limits<int64_t>::min();

// Where Read puts those that come while it runs.
thread_local std::vector<ReadEvent>* errors_of_this_thread = nullptr;

// Has this thread's errors put into `errors` while it lives, also where what is
// between throws.
class ErrorsTaken {
 public:
  explicit ErrorsTaken(std::vector<ReadEvent>& errors) {
    errors_of_this_thread = &errors;
  }
  ~ErrorsTaken() { errors_of_this_thread = nullptr; }
  ErrorsTaken(const ErrorsTaken&) = delete;
  ErrorsTaken& operator=(const ErrorsTaken&) = delete;
};

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
  for (const auto& [name, partition] : claimed_) {
    library_->queue_forward(partition.fetched, nullptr);
    library_->queue_destroy(partition.fetched);
    library_->queue_cb_event_enable(partition.queue, nullptr, nullptr);
    library_->queue_destroy(partition.queue);
  }
  claimed_.clear();
  client_ = nullptr;
}

bool MessageReader::Claim(const std::string& topic, int32_t number) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (client_ == nullptr) return false;
  KafkaQueue* fetched =
      library_->queue_get_partition(client_, topic.c_str(), number);
  if (fetched == nullptr) return false;
  Partition& partition = claimed_[{topic, number}];
  if (partition.queue == nullptr) {
    partition.queue = library_->queue_new(client_);
    partition.has_come = &has_come_;
    library_->queue_cb_event_enable(
        partition.queue,
        [](KafkaClient*, void* opaque) {
          auto* partition = static_cast<Partition*>(opaque);
          partition->may_have_some = true;
          partition->has_come->Set();
        },
        &partition);
  }
  // Before the client does so: it does not undo what is done already.
  library_->queue_forward(fetched, partition.queue);
  if (partition.fetched != nullptr) library_->queue_destroy(partition.fetched);
  partition.fetched = fetched;
  partition.time = kNoTime;
  partition.is_done = false;
  partition.expected_until = Clock::now() + kFirstFetch;
  return true;
}

ReadMessages MessageReader::Read(size_t most, int timeout_ms) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (client_ == nullptr) return {};
  const Clock::time_point deadline =
      Clock::now() + std::chrono::milliseconds(timeout_ms);
  std::vector<ReadEvent> errors;
  const ErrorsTaken errors_taken(errors);
  taken_.clear();
  taken_from_.clear();
  for (auto& [name, partition] : claimed_) partition.num_taken = 0;
  TakeAFewOfEach(most);
  TakeInOrder(most);
  while (taken_.size() < most && Clock::now() < deadline) {
    if (!has_come_.WaitUntil(deadline)) break;
    // Much comes at once, but not in one moment.
    std::this_thread::sleep_for(kGather);
    TakeInOrder(most);
  }
  if (taken_.size() < most) {
    GiveUpWaiting();
    TakeInOrder(most);
  }
  size_t num_bytes = 0;
  for (const KafkaMessage* message : taken_) num_bytes += message->len;
  ColumnWriter columns(*library_, taken_.size(), num_bytes);
  for (KafkaMessage* message : SpreadTaken()) {
    columns.Add(*message);
    library_->message_destroy(message);
  }
  ReadMessages read = std::move(columns).Take();
  std::move(errors.begin(), errors.end(), std::back_inserter(read.events));
  return read;
}

bool MessageReader::TakeError(int code, const char* reason) {
  if (errors_of_this_thread == nullptr) return false;
  errors_of_this_thread->push_back({code, reason ? reason : "", "", -1, -1});
  return true;
}

void MessageReader::TakeAFewOfEach(size_t most) {
  if (claimed_.empty()) return;
  const size_t few = std::clamp<size_t>(most / claimed_.size(), 1, kFew);
  for (auto& [name, partition] : claimed_) {
    TakeFrom(partition, std::min(few, most - taken_.size()));
  }
}

void MessageReader::TakeInOrder(size_t most) {
  // Where times are the same, or there are none, they take turns.
  using Place = std::tuple<int64_t, uint64_t, Partition*>;
  std::priority_queue<Place, std::vector<Place>, std::greater<Place>> behind;
  const auto add = [&behind](Partition& partition) {
    if (partition.is_done && !partition.may_have_some) return;
    behind.emplace(partition.time, partition.turn, &partition);
  };
  for (auto& [name, partition] : claimed_) add(partition);
  while (taken_.size() < most && !behind.empty()) {
    Partition& next = *std::get<Partition*>(behind.top());
    if (!next.may_have_some) return;
    behind.pop();
    TakeFrom(next, std::min(kPiece, most - taken_.size()));
    add(next);
  }
}

void MessageReader::GiveUpWaiting() {
  const Clock::time_point now = Clock::now();
  for (auto& [name, partition] : claimed_) {
    if (!partition.may_have_some && now >= partition.expected_until) {
      partition.is_done = true;
    }
  }
}

void MessageReader::TakeFrom(Partition& partition, size_t most) {
  // A client that stops to fetch a partition ends its forwarding, maybe after
  // the claim for the next time. What came meanwhile comes along now.
  library_->queue_forward(partition.fetched, partition.queue);
  partition.may_have_some = false;
  const size_t before = taken_.size();
  taken_.resize(before + most);
  const ssize_t got = library_->consume_batch_queue(
      partition.queue, 0, taken_.data() + before, most);
  const size_t count = std::max<ssize_t>(got, 0);
  taken_.resize(before + count);
  taken_from_.resize(before + count, &partition);
  partition.num_taken += count;
  if (count == most) partition.may_have_some = true;
  partition.turn = ++turn_;
  for (size_t i = before; i < taken_.size(); ++i) {
    const KafkaMessage& message = *taken_[i];
    partition.is_done = message.err != kKafkaNoError;
    if (partition.is_done) continue;
    partition.time = library_->message_timestamp(&message, nullptr);
    partition.expected_until = {};
  }
}

std::vector<KafkaMessage*> MessageReader::SpreadTaken() const {
  const size_t n = taken_.size();
  // Of n places, message i of the m of a partition gets number (i + 1/2) n / m.
  std::vector<size_t> place(n);
  std::vector<size_t> first(n + 1);  // Where a place's messages begin.
  for (Partition* partition : taken_from_) partition->num_spread = 0;
  for (size_t i = 0; i < n; ++i) {
    Partition& partition = *taken_from_[i];
    place[i] = (2 * partition.num_spread++ + 1) * n / (2 * partition.num_taken);
    ++first[place[i] + 1];
  }
  std::partial_sum(first.begin(), first.end(), first.begin());
  std::vector<KafkaMessage*> spread(n);
  for (size_t i = 0; i < n; ++i) spread[first[place[i]]++] = taken_[i];
  return spread;
}

void MessageReader::Signal::Set() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    is_set_ = true;
  }
  changed_.notify_one();
}

bool MessageReader::Signal::WaitUntil(Clock::time_point deadline) {
  std::unique_lock<std::mutex> lock(mutex_);
  const bool was_set =
      changed_.wait_until(lock, deadline, [this] { return is_set_; });
  is_set_ = false;
  return was_set;
}

}  // namespace monolith
