#include "monolith/native_training/data/kafka/message_reader/message_reader.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "monolith/native_training/data/kafka/message_reader/librdkafka.h"

namespace monolith {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

// A client whose queues hold what a test puts there.
class FakeClient {
 public:
  struct Topic {
    std::string name;
  };
  struct Queue {
    std::deque<KafkaMessage*> messages;
    Queue* forwarded_to = nullptr;
    void (*callback)(KafkaClient*, void*) = nullptr;
    void* opaque = nullptr;
  };

  FakeClient() { only_ = this; }
  ~FakeClient() {
    for (auto& [partition, queue] : fetched_) Drop(queue);
    EXPECT_THAT(handles_, IsEmpty());
    EXPECT_EQ(num_messages_, 0);
  }

  KafkaClient* client() { return reinterpret_cast<KafkaClient*>(this); }

  // What a broker sends.
  void Fetch(const std::string& topic, int32_t partition, int64_t offset,
             const char* value, int err = kKafkaNoError,
             int64_t timestamp = 0) {
    std::lock_guard<std::mutex> lock(mutex_);
    ++num_messages_;
    auto* message = new KafkaMessage{};
    message->err = err;
    message->rkt = reinterpret_cast<KafkaTopic*>(&topics_[topic]);
    topics_[topic].name = topic;
    message->partition = partition;
    message->offset = offset;
    message->payload = const_cast<char*>(value);
    message->len = value ? std::string(value).size() : 0;
    timestamps_[message] = timestamp;
    Queue* queue = &fetched_[{topic, partition}];
    if (queue->forwarded_to) queue = queue->forwarded_to;
    queue->messages.push_back(message);
    if (queue->messages.size() == 1 && queue->callback) {
      queue->callback(client(), queue->opaque);
    }
  }

  // Has the next call for messages tell an error.
  void TellError(int code, const char* reason) { error_ = {code, reason}; }

  // As the client does when it stops to fetch a partition.
  void EndForwarding(const std::string& topic, int32_t partition) {
    fetched_[{topic, partition}].forwarded_to = nullptr;
  }

  static Librdkafka Library() {
    Librdkafka library{};
    library.queue_new = [](KafkaClient*) {
      auto* queue = new Queue;
      only_->made_.insert(queue);
      return only_->Handle(queue);
    };
    library.queue_get_partition = [](KafkaClient*, const char* topic,
                                     int32_t partition) {
      return only_->Handle(&only_->fetched_[{topic, partition}]);
    };
    library.queue_destroy = [](KafkaQueue* handle) { only_->Destroy(handle); };
    library.queue_forward = [](KafkaQueue* from, KafkaQueue* to) {
      std::lock_guard<std::mutex> lock(only_->mutex_);
      Queue* queue = QueueOf(from);
      queue->forwarded_to = to ? QueueOf(to) : nullptr;
      if (to == nullptr) return;
      auto& waiting = queue->messages;
      auto& there = QueueOf(to)->messages;
      there.insert(there.end(), waiting.begin(), waiting.end());
      waiting.clear();
    };
    library.queue_cb_event_enable = [](KafkaQueue* handle,
                                       void (*callback)(KafkaClient*, void*),
                                       void* opaque) {
      QueueOf(handle)->callback = callback;
      QueueOf(handle)->opaque = opaque;
    };
    library.consume_batch_queue = [](KafkaQueue* handle, int,
                                     KafkaMessage** out, size_t size) {
      std::lock_guard<std::mutex> lock(only_->mutex_);
      if (const auto [code, reason] = std::exchange(only_->error_, {});
          code != 0) {
        EXPECT_TRUE(MessageReader::TakeError(code, reason));
      }
      auto& messages = QueueOf(handle)->messages;
      ssize_t count = 0;
      for (; count < static_cast<ssize_t>(size) && !messages.empty(); ++count) {
        out[count] = messages.front();
        messages.pop_front();
      }
      return count;
    };
    library.message_timestamp = [](const KafkaMessage* message, int*) {
      std::lock_guard<std::mutex> lock(only_->mutex_);
      return only_->timestamps_.at(message);
    };
    library.message_errstr = [](const KafkaMessage* message) {
      return static_cast<const char*>(message->payload);
    };
    library.topic_name = [](const KafkaTopic* topic) {
      return reinterpret_cast<const Topic*>(topic)->name.c_str();
    };
    library.message_destroy = [](KafkaMessage* message) {
      std::lock_guard<std::mutex> lock(only_->mutex_);
      --only_->num_messages_;
      only_->timestamps_.erase(message);
      delete message;
    };
    return library;
  }

 private:
  static Queue* QueueOf(KafkaQueue* handle) {
    return *reinterpret_cast<Queue**>(handle);
  }

  KafkaQueue* Handle(Queue* queue) {
    auto* handle = new Queue*(queue);
    handles_.insert(handle);
    return reinterpret_cast<KafkaQueue*>(handle);
  }

  void Destroy(KafkaQueue* handle) {
    Queue* queue = QueueOf(handle);
    auto* owned = reinterpret_cast<Queue**>(handle);
    ASSERT_EQ(handles_.erase(owned), 1u);
    delete owned;
    if (made_.erase(queue) == 0) return;
    for (auto& [partition, each] : fetched_) {
      EXPECT_NE(each.forwarded_to, queue);
    }
    EXPECT_EQ(queue->callback, nullptr);
    Drop(*queue);
    delete queue;
  }

  void Drop(Queue& queue) {
    num_messages_ -= queue.messages.size();
    for (KafkaMessage* message : queue.messages) delete message;
    queue.messages.clear();
  }

  static FakeClient* only_;
  std::map<std::string, Topic> topics_;
  std::map<std::pair<std::string, int32_t>, Queue> fetched_;
  std::mutex mutex_;  // Of queues and messages.
  std::map<const KafkaMessage*, int64_t> timestamps_;
  std::set<Queue*> made_;
  std::set<Queue**> handles_;
  std::pair<int, const char*> error_{};
  int num_messages_ = 0;
};

FakeClient* FakeClient::only_ = nullptr;

std::vector<std::string> Values(const ReadMessages& read) {
  std::vector<std::string> values;
  for (size_t i = 0; i < read.begin.size(); ++i) {
    values.emplace_back(read.values.begin() + read.begin[i],
                        read.values.begin() + read.end[i]);
  }
  return values;
}

class MessageReaderTest : public ::testing::Test {
 protected:
  MessageReaderTest() { reader_->Attach(library_, client_.client()); }

  const Librdkafka library_ = FakeClient::Library();
  FakeClient client_;
  std::shared_ptr<MessageReader> reader_ = MessageReader::Create();
};

TEST_F(MessageReaderTest, ReadsColumnsOfSeveralTopics) {
  ASSERT_TRUE(reader_->Claim("a", 0));
  ASSERT_TRUE(reader_->Claim("b", 3));
  client_.Fetch("b", 3, 7, "one", kKafkaNoError, 1007);
  client_.Fetch("a", 0, 0, nullptr, kKafkaNoError, 1000);
  client_.Fetch("b", 3, 8, "", kKafkaNoError, 1008);
  client_.Fetch("a", 0, 1, "four", kKafkaNoError, 1001);
  const ReadMessages read = reader_->Read(10, 0);
  EXPECT_THAT(Values(read), ElementsAre("", "one", "four", ""));
  EXPECT_THAT(read.topics, ElementsAre("a", "b"));
  EXPECT_THAT(read.topic_index, ElementsAre(0, 1, 0, 1));
  EXPECT_THAT(read.partition, ElementsAre(0, 3, 0, 3));
  EXPECT_THAT(read.offset, ElementsAre(0, 7, 1, 8));
  EXPECT_THAT(read.timestamp, ElementsAre(1000, 1007, 1001, 1008));
  EXPECT_THAT(read.events, IsEmpty());
  EXPECT_THAT(reader_->Read(10, 0).offset, IsEmpty());
}

TEST_F(MessageReaderTest, TakesWhatIsOldestOfAllPartitions) {
  constexpr int64_t kEach = 10'000;
  for (int32_t partition = 0; partition < 4; ++partition) {
    ASSERT_TRUE(reader_->Claim("a", partition));
    // Some are busier than others.
    for (int64_t i = 0; i < kEach; ++i) {
      client_.Fetch("a", partition, i, "x", kKafkaNoError, i * (partition + 1));
    }
  }
  int64_t latest_before = 0;
  std::map<int32_t, int64_t> num_read;
  for (int64_t left = 4 * kEach; left > 0; left -= 1000) {
    const ReadMessages read = reader_->Read(1000, 0);
    ASSERT_EQ(read.offset.size(), 1000u);
    for (size_t i = 0; i < 1000; ++i) {
      ASSERT_EQ(read.offset[i], num_read[read.partition[i]]++);
      ASSERT_GT(read.timestamp[i], latest_before - 1000);
    }
    latest_before =
        *std::max_element(read.timestamp.begin(), read.timestamp.end());
  }
  EXPECT_THAT(reader_->Read(1, 0).offset, IsEmpty());
}

TEST_F(MessageReaderTest, SpreadsEachPartitionEvenly) {
  const std::vector<int64_t> each = {700, 200, 97, 3};
  for (int32_t partition = 0; partition < 4; ++partition) {
    ASSERT_TRUE(reader_->Claim("a", partition));
    for (int64_t i = 0; i < each[partition]; ++i) {
      client_.Fetch("a", partition, i, "x");
    }
    client_.Fetch("a", partition, each[partition], "that is all", -191);
  }
  const ReadMessages read = reader_->Read(2000, 0);
  ASSERT_EQ(read.offset.size(), 1000u);
  std::vector<int64_t> num_read(4);
  for (size_t i = 0; i < 1000; ++i) {
    ASSERT_EQ(read.offset[i], num_read[read.partition[i]]++);
    for (int32_t partition = 0; partition < 4; ++partition) {
      const double even = each[partition] * (i + 1) / 1000.0;
      ASSERT_NEAR(num_read[partition], even, 3.0) << i << " " << partition;
    }
  }
}

TEST_F(MessageReaderTest, NoPartitionWaitsForOthersFarBehind) {
  ASSERT_TRUE(reader_->Claim("a", 0));
  ASSERT_TRUE(reader_->Claim("a", 1));
  for (int64_t i = 0; i < 1000; ++i) {
    client_.Fetch("a", 0, i, "x", kKafkaNoError, -1);  // Without a time.
    client_.Fetch("a", 1, i, "x", kKafkaNoError, 5000 + i);
  }
  const ReadMessages read = reader_->Read(500, 0);
  const auto of_1 = std::count(read.partition.begin(), read.partition.end(), 1);
  EXPECT_GT(of_1, 0);
  EXPECT_LT(of_1, 50);
}

TEST_F(MessageReaderTest, WaitsForAPartitionThatIsBehind) {
  ASSERT_TRUE(reader_->Claim("a", 0));
  ASSERT_TRUE(reader_->Claim("a", 1));
  for (int64_t i = 0; i < 100; ++i) {
    client_.Fetch("a", 1, i, "x", kKafkaNoError, 5000 + i);
  }
  std::thread sending([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    client_.Fetch("a", 0, 0, "x", kKafkaNoError, 1000);
    client_.Fetch("a", 0, 1, "", -191);  // That is all.
  });
  // But for a few, partition 1 is later than what is to come.
  const ReadMessages read = reader_->Read(20, 60'000);
  sending.join();
  EXPECT_THAT(read.timestamp, Contains(1000));
}

TEST_F(MessageReaderTest, DoesNotWaitForWhatIsNotComing) {
  ASSERT_TRUE(reader_->Claim("a", 0));
  ASSERT_TRUE(reader_->Claim("a", 1));
  for (int64_t i = 0; i < 3000; ++i) client_.Fetch("a", 1, i, "x");
  size_t got = 0;
  for (int calls = 0; got < 1000 && calls < 1000; ++calls) {
    got += reader_->Read(1000 - got, 10).offset.size();
  }
  EXPECT_EQ(got, 1000u);
  // It is not waited for again.
  EXPECT_EQ(reader_->Read(1000, 60'000).offset.size(), 1000u);
  EXPECT_EQ(reader_->Read(1000, 60'000).offset.size(), 1000u);
}

TEST_F(MessageReaderTest, WaitsUntilSomethingComes) {
  ASSERT_TRUE(reader_->Claim("a", 0));
  ASSERT_TRUE(reader_->Claim("a", 1));
  client_.Fetch("a", 0, 0, "that is all", -191);
  EXPECT_EQ(reader_->Read(10, 0).events.size(), 1u);
  std::thread sending([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    client_.Fetch("a", 1, 0, "x");
  });
  EXPECT_THAT(reader_->Read(1, 60'000).offset, ElementsAre(0));
  sending.join();
}

TEST_F(MessageReaderTest, ErrorsThatTheClientTellsMeanwhileAreEvents) {
  ASSERT_TRUE(reader_->Claim("a", 0));
  client_.Fetch("a", 0, 0, "x");
  client_.TellError(3, "no such topic");
  const ReadMessages read = reader_->Read(10, 0);
  EXPECT_THAT(read.offset, ElementsAre(0));
  ASSERT_EQ(read.events.size(), 1u);
  EXPECT_EQ(read.events[0].code, 3);
  EXPECT_EQ(read.events[0].text, "no such topic");
  EXPECT_LT(read.events[0].offset, 0);
  EXPECT_FALSE(MessageReader::TakeError(3, "of another call"));
}

TEST_F(MessageReaderTest, ReadsNoMoreThanItIsAskedFor) {
  ASSERT_TRUE(reader_->Claim("a", 0));
  for (int64_t i = 0; i < 5; ++i) client_.Fetch("a", 0, i, "x");
  EXPECT_THAT(reader_->Read(3, 0).offset, ElementsAre(0, 1, 2));
  EXPECT_THAT(reader_->Read(3, 0).offset, ElementsAre(3, 4));
}

TEST_F(MessageReaderTest, EventsAreNoMessages) {
  ASSERT_TRUE(reader_->Claim("a", 0));
  client_.Fetch("a", 0, 4, "x");
  client_.Fetch("a", 0, 5, "no more", -191);
  client_.Fetch("a", 0, 5, "y");
  const ReadMessages read = reader_->Read(10, 0);
  EXPECT_THAT(Values(read), ElementsAre("x", "y"));
  ASSERT_EQ(read.events.size(), 1u);
  const ReadEvent& event = read.events[0];
  EXPECT_EQ(event.code, -191);
  EXPECT_EQ(event.text, "no more");
  EXPECT_EQ(event.topic, "a");
  EXPECT_EQ(event.partition, 0);
  EXPECT_EQ(event.offset, 5);
}

TEST_F(MessageReaderTest, WhatIsNotClaimedStaysWithTheClient) {
  ASSERT_TRUE(reader_->Claim("a", 0));
  client_.Fetch("a", 1, 0, "x");
  EXPECT_THAT(reader_->Read(10, 0).offset, IsEmpty());
}

TEST_F(MessageReaderTest, MissesNothingWhereTheClientEndsTheForwarding) {
  ASSERT_TRUE(reader_->Claim("a", 0));
  client_.Fetch("a", 0, 0, "x");
  // The end of an assignment comes late, after the claim for the next one.
  ASSERT_TRUE(reader_->Claim("a", 0));
  client_.EndForwarding("a", 0);
  client_.Fetch("a", 0, 1, "x");
  EXPECT_THAT(reader_->Read(10, 0).offset, ElementsAre(0, 1));
  client_.Fetch("a", 0, 2, "x");
  EXPECT_THAT(reader_->Read(10, 0).offset, ElementsAre(2));
}

TEST_F(MessageReaderTest, WithoutClientThereIsNothing) {
  ASSERT_TRUE(reader_->Claim("a", 0));
  client_.Fetch("a", 0, 0, "x");
  reader_->Detach();
  reader_->Detach();
  EXPECT_THAT(reader_->Read(10, 0).offset, IsEmpty());
  EXPECT_FALSE(reader_->Claim("a", 0));
  // Another client has what it fetches itself.
  reader_->Attach(library_, client_.client());
  client_.Fetch("a", 0, 1, "x");
  EXPECT_THAT(reader_->Read(10, 0).offset, IsEmpty());
  ASSERT_TRUE(reader_->Claim("a", 0));
  EXPECT_THAT(reader_->Read(10, 0).offset, ElementsAre(1));
}

TEST_F(MessageReaderTest, IsFoundWhileItLives) {
  const int64_t id = reader_->id();
  EXPECT_EQ(MessageReader::Find(id), reader_);
  EXPECT_NE(MessageReader::Create()->id(), id);
  reader_.reset();
  EXPECT_EQ(MessageReader::Find(id), nullptr);
}

TEST_F(MessageReaderTest, MayBeDetachedWhileAnotherThreadReads) {
  ASSERT_TRUE(reader_->Claim("a", 0));
  for (int64_t i = 0; i < 1000; ++i) client_.Fetch("a", 0, i, "x");
  std::thread reading([&] {
    while (!reader_->Read(1, 0).offset.empty()) {
    }
  });
  reader_->Detach();
  reading.join();
}

}  // namespace
}  // namespace monolith
