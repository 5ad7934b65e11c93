import re

from absl.testing import absltest, parameterized

from monolith.native_training.data.kafka import topic_patterns

_NAMES = ("jb-d", "jb-1", "jb-12", "jbx1", "my-jb-1", "other", "a.b", "a_b")


class TopicPatternsTest(parameterized.TestCase):
  @parameterized.parameters(
    ("^jb-", ["jb-d", "jb-1", "jb-12"]),
    ("^jb-[0-9]$", ["jb-1"]),
    ("^jb-[0-9]{2}", ["jb-12"]),
    ("^other|jb-1", ["jb-1", "jb-12", "other"]),
    ("^(a[.]|other$)", ["other", "a.b"]),
    (r"^a\.b", ["a.b"]),
    (r"^jb\-1", ["jb-1", "jb-12"]),
    ("^.*1$", ["jb-1", "jbx1", "my-jb-1"]),
    ("jb-1", ["jb-1"]),
  )
  def test_what_is_meant(self, topic, names):
    topic_patterns.check(topic)
    self.assertEqual([n for n in _NAMES if topic_patterns.is_meant(n, topic)], names)
    # As librdkafka and as brokers do.
    if topic.startswith("^"):
      subscription = topic_patterns.subscription(topic)
      self.assertEqual([n for n in _NAMES if re.search(subscription, n)], names)
      self.assertEqual([n for n in _NAMES if re.fullmatch(subscription, n)], names)

  @parameterized.parameters(
    (["^.*"], False),
    (["^_", "a"], False),
    (["^__"], True),
    (["^__consumer_"], True),
    (["^__other", "^.*"], True),
    (["__consumer_offsets", "a"], True),
    (["__other", "a"], False),
  )
  def test_topics_of_kafka_itself_are_meant_where_asked_for(self, topics, is_meant):
    self.assertEqual(
      topic_patterns.is_meant_by_any("__consumer_offsets", topics), is_meant
    )

  @parameterized.parameters(
    (r"^jb-\d", r"'\^jb-\\\\d' has a backslash that .* at 4"),
    (r"^(jb)\1", "a backslash that"),
    (r"^\<jb", "a backslash that"),
    (r"^[a\-z]", "a backslash between brackets"),
    ("^(?i)jb", r"has \(\? at 1"),
    ("^(?:jb)", r"has \(\? at 1"),
    ("^jb-[[:digit:]]", "a bracket between brackets"),
    ("^jb-[a[:digit:]]", "a bracket between brackets"),
    ("^jb+?", "a repetition of a repetition"),
    ("^jb{,3}", "a brace that is none of"),
    ("^jb[", "is no regular expression: unterminated character set"),
    ("^(jb", "is no regular expression"),
    ("^*", "is no regular expression"),
  )
  def test_what_is_refused(self, topic, message):
    with self.assertRaisesRegex(ValueError, message):
      topic_patterns.check(topic)

  def test_names_are_not_patterns(self):
    for name in ("a.b", "...", "A_b-9", "a" * 249):
      topic_patterns.check(name)
      self.assertEqual(topic_patterns.subscription(name), name)

  @parameterized.parameters("", "a/b", "a b", "x(?", "é", "a\n", ".", "..", "a" * 250)
  def test_what_is_no_name(self, name):
    with self.assertRaisesRegex(ValueError, "^topics: '.*' is no name of a topic"):
      topic_patterns.check(name)
    with self.assertRaisesRegex(ValueError, "^--topic: '.*' is no name of a topic"):
      topic_patterns.check_name(name, "--topic")


if __name__ == "__main__":
  absltest.main()
