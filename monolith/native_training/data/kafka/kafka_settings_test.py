from absl.testing import absltest, parameterized

from monolith.native_training.data.kafka import kafka_settings


class KafkaSettingsTest(parameterized.TestCase):
  def test_the_users_settings_replace_defaults(self):
    defaults = {"linger.ms": "100", "fetch.message.max.bytes": "9", "acks": "all"}
    self.assertEqual(
      kafka_settings.parse(
        [" linger.ms =5", "max.partition.fetch.bytes=7", "sasl.password= a=b "],
        defaults=defaults,
      ),
      {
        "linger.ms": "5",
        "max.partition.fetch.bytes": "7",
        "sasl.password": "a=b ",
        "acks": "all",
      },
    )
    self.assertEqual(kafka_settings.parse(None, defaults=defaults), defaults)

  @parameterized.parameters(
    ("a=b", "must be a list of 'key=value' strings, got one string, 'a...'"),
    (["group.id=x"], "'group.id' cannot be set: it is g"),
    (["metadata.broker.list=x"], "'metadata.broker.list' cannot be set: it is s"),
    (["auto.commit.enable=true"], "'auto.commit.enable' cannot be set: no"),
    (["acks=1", "acks=1"], "'acks' is set twice"),
    (["acks=1", "request.required.acks=1"], "'acks' and 'request.* of one setting"),
    (["error_cb=print"], "'error_cb' cannot be set: it is no text"),
    (["secret"], r"got 'secret\.\.\.', wanted 'key=value'"),
    ([3], "got 3, wanted 'key=value'"),
  )
  def test_what_is_refused(self, configuration, message):
    fixed = {
      "group.id": "it is g",
      "bootstrap.servers": "it is s",
      "enable.auto.commit": "no",
    }
    with self.assertRaisesRegex(ValueError, message):
      kafka_settings.parse(configuration, fixed)


if __name__ == "__main__":
  absltest.main()
