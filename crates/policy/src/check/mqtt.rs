//! Checks of mqtt streamtypes.

use crate::check::Check;
use crate::diagnostics::Code;
use crate::quote::quote;
use crate::types::Protocol;

/// Longest topic that AWS IoT takes, bytes.
const AWS_TOPIC_MAX: usize = 256;
/// Longest topic that the protocol can carry, bytes.
const TOPIC_MAX: usize = 65_535;

impl Check<'_> {
    pub(super) fn mqtt(&mut self) {
        let streamtype = self.streamtype;
        let mqtt = &streamtype.mqtt;
        if streamtype.protocol != Protocol::Mqtt {
            return;
        }
        if mqtt.topic.is_none() && mqtt.subscribe.is_none() {
            let message = format!("{} neither publishes nor subscribes", self.what());
            let help = "add `mqtt_topic`, `mqtt_subscribe` or both";
            self.warning(Code::Suspicious, "mqtt_topic", message, help);
        }
        for (key, topic) in [
            ("mqtt_topic", &mqtt.topic),
            ("mqtt_will_topic", &mqtt.will.topic),
            ("mqtt_birth_topic", &mqtt.birth.topic),
        ] {
            let Some(topic) = topic else { continue };
            if let Some(wildcard) = topic.as_str().chars().find(|c| matches!(c, '+' | '#')) {
                let message = format!("{} contains the wildcard `{wildcard}`", self.key(key));
                self.error(Code::Value, key, message, "only subscriptions may have wildcards");
            }
            let max = if mqtt.aws_iot { AWS_TOPIC_MAX } else { TOPIC_MAX };
            if !topic.is_dynamic() && topic.as_str().len() > max {
                let message = format!("{} has {} bytes", self.key(key), topic.as_str().len());
                self.error(Code::Limit, key, message, &format!("at most {max} are allowed"));
            }
        }
        if let Some(filter) = mqtt.subscribe.as_ref().filter(|filter| !filter.is_dynamic())
            && let Some(level) = bad_level(filter.as_str())
        {
            let message = format!("{} has {} as a level", self.key("mqtt_subscribe"), quote(level));
            let help = "`+` must be a level of its own, and `#` the last one";
            self.error(Code::Value, "mqtt_subscribe", message, help);
        }
        for (topic_key, key, message) in [
            ("mqtt_will_topic", "mqtt_will_message", &mqtt.will),
            ("mqtt_birth_topic", "mqtt_birth_message", &mqtt.birth),
        ] {
            if message.message.is_some() && message.topic.is_none() {
                let message = format!("{} has no effect without `{topic_key}`", self.key(key));
                self.warning(Code::Suspicious, key, message, "");
            }
        }
    }
}

/// The first level of a topic filter that breaks its syntax.
fn bad_level(filter: &str) -> Option<&str> {
    let mut levels = filter.split('/').peekable();
    while let Some(level) = levels.next() {
        let last = levels.peek().is_none();
        let wild = level.contains(['+', '#']);
        if wild && !(level == "+" || (level == "#" && last)) {
            return Some(level);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_stand_alone() {
        for filter in ["a/b", "#", "+", "a/+/b/#", "+/+", "/", ""] {
            assert_eq!(bad_level(filter), None, "{filter}");
        }
        for (filter, level) in [("a+/b", "a+"), ("#/a", "#"), ("a/b#", "b#"), ("++", "++")] {
            assert_eq!(bad_level(filter), Some(level), "{filter}");
        }
    }
}
