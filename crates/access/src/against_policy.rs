//! What rules say of streamtypes and metadata that a policy does not have.

use sspc_policy::{Policy, StreamType, suggest};
use sspc_wire::smd;

use crate::mistakes::Mistake;
use crate::rule::Access;

impl Access {
    /// What has no effect together with this policy: patterns that match none of its streamtypes, and
    /// metadata that none of the streamtypes declares which the rule lets clients open.
    pub fn warnings_about(&self, policy: &Policy) -> Vec<Mistake> {
        let mut warnings = Vec::new();
        for rule in self.rules() {
            let mut warn = |text: String, help: Option<String>| {
                let (file, line) = (self.file().to_owned(), rule.line());
                let message = format!("rule {:?}: {text}", rule.name);
                warnings.push(Mistake { file, line, message, help });
            };
            let names = || policy.streamtypes.keys().map(String::as_str);
            for glob in rule.streamtypes() {
                if glob.as_str() == smd::STREAMTYPE {
                    let text = format!("streamtype {glob}, the message bus, is a matter of `smd`");
                    warn(text, Some("name there the classes that it may exchange".to_owned()));
                } else if !glob.is_everything() && !names().any(|name| glob.matches(name)) {
                    let text = format!("the policy has no streamtype {glob}");
                    warn(text, suggest(glob.as_str(), names()));
                }
            }
            let may_open = |streamtype: &&StreamType| {
                rule.streamtypes().iter().any(|glob| glob.matches(&streamtype.name))
            };
            let all = policy.streamtypes.values().map(|streamtype| &**streamtype);
            let opened: Vec<&StreamType> = all.filter(may_open).collect();
            let items = opened.iter().flat_map(|streamtype| &streamtype.metadata);
            let declared: Vec<&str> = items.map(|item| item.name.as_str()).collect();
            for (name, _) in rule.metadata().unwrap_or_default() {
                if !opened.is_empty() && !declared.contains(&name.as_str()) {
                    let text = format!("none of its streamtypes declares metadata {name:?}");
                    warn(text, suggest(name, declared.iter().copied()));
                }
            }
        }
        warnings
    }
}

#[cfg(test)]
mod tests {
    use sspc_policy::Source;

    use super::*;
    use crate::SystemNames;

    const POLICY: &str = r#"{"s": [
        {"meter-gas": {"endpoint": "e", "port": 80, "metadata": [{"path": "", "unit": "x-unit:"}]}},
        {"time": {"endpoint": "e", "port": 80}}
    ]}"#;

    fn warnings(rule: &str) -> Vec<String> {
        let policy = Policy::parse_layers(&Source::new("p.json", POLICY.to_owned()), &[]).unwrap();
        let text = format!("default = \"refuse\"\n[[rule]]\nname = \"a\"\n{rule}");
        let access = Access::parse(&text, "a.toml", &SystemNames).unwrap();
        access.warnings_about(&policy.policy).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_the_policy_does_not_have_is_warned_of() {
        assert_eq!(
            warnings(
                "streamtypes = [\"metre-*\", \"tiem\", \"meter-*\", \"_lws_smd\", \"*\"]\n\
                 metadata = { pth = \"*\", path = \"*\" }"
            ),
            [
                "a.toml:2: rule \"a\": the policy has no streamtype \"metre-*\"",
                "a.toml:2: rule \"a\": the policy has no streamtype \"tiem\"; did you mean `time`?",
                "a.toml:2: rule \"a\": streamtype \"_lws_smd\", the message bus, is a matter of `smd`; \
                 name there the classes that it may exchange",
                "a.toml:2: rule \"a\": none of its streamtypes declares metadata \"pth\"; did you mean `path`?",
            ]
        );
    }

    #[test]
    fn metadata_has_to_be_of_a_streamtype_that_the_rule_lets_it_open() {
        let undeclared = "a.toml:2: rule \"a\": none of its streamtypes declares metadata \"path\"";
        assert_eq!(warnings("streamtypes = \"time\"\nmetadata = { path = \"*\" }"), [undeclared]);
        let nothing: [&str; 0] = [];
        assert_eq!(warnings("streamtypes = \"meter-gas\"\nmetadata = { path = \"*\" }"), nothing);
        assert_eq!(warnings("streamtypes = \"*\""), nothing);
        // Of what opens nothing one warning is enough.
        assert_eq!(warnings("metadata = { path = \"*\" }"), nothing);
    }
}
