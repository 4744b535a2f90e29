//! From the text of a file to rules, or to all that is wrong with it.

use std::ops::Range;
use std::sync::Arc;

use ipnet::{IpNet, Ipv4Net};
use sspc_policy::suggest;
use sspc_wire::limits::METADATA_NAME_MAX;
use sspc_wire::smd::Classes;
use toml::Spanned;
use toml::de::{DeInteger, DeTable, DeValue};

use crate::bucket::Rate;
use crate::glob::Glob;
use crate::mistakes::{Mistake, Mistakes};
use crate::names::Names;
use crate::rule::{Access, CertificateIs, Default, Inner, Quotas, Rule, Who};
use crate::size::parse_size;

/// The longest file, in bytes.
pub const FILE_MAX: usize = 1024 * 1024;
/// Most rules.
const RULES_MAX: usize = 1000;

const KEYS: [&str; 17] = [
    "name",
    "user",
    "group",
    "unit",
    "executable",
    "line",
    "address",
    "certificate",
    "key",
    "streamtypes",
    "metadata",
    "smd",
    "streams",
    "bytes_per_second",
    "burst_bytes",
    "requests_per_second",
    "memory",
];

impl Access {
    /// Reads a file's text; `file` is what it is called in messages.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub fn parse(text: &str, file: &str, names: &dyn Names) -> Result<Self, Mistakes> {
        let mut reader = Reader { text, file, names, mistakes: Vec::new() };
        if text.len() > FILE_MAX {
            reader.mistake(0..0, format!("the file is longer than {FILE_MAX} bytes"), None);
            return Err(Mistakes(reader.mistakes));
        }
        let table = match DeTable::parse(text) {
            Ok(table) => table,
            Err(error) => {
                let at = error.span().unwrap_or(0..0);
                let message = error.message().lines().next().unwrap_or_default().to_owned();
                reader.mistake(at, format!("this is not TOML: {message}"), None);
                return Err(Mistakes(reader.mistakes));
            }
        };
        let inner = reader.document(table.get_ref());
        let Reader { mut mistakes, .. } = reader;
        if mistakes.is_empty() {
            Ok(Self::new(inner))
        } else {
            mistakes.sort_by_key(|mistake| mistake.line);
            Err(Mistakes(mistakes))
        }
    }
}

struct Reader<'t> {
    text: &'t str,
    file: &'t str,
    names: &'t dyn Names,
    mistakes: Vec<Mistake>,
}

type Value<'t> = Spanned<DeValue<'t>>;

impl Reader<'_> {
    fn line(&self, at: &Range<usize>) -> usize {
        let before = self.text.get(..at.start).unwrap_or_default();
        before.bytes().filter(|byte| *byte == b'\n').count() + 1
    }

    fn mistake(&mut self, at: Range<usize>, message: String, help: Option<String>) {
        let (file, line) = (self.file.to_owned(), self.line(&at));
        self.mistakes.push(Mistake { file, line, message, help });
    }

    /// The value is another one than it has to be.
    fn wrong(&mut self, key: &str, value: &Value<'_>, expected: &str) {
        let is = match value.get_ref() {
            DeValue::String(text) => format!("{text:?}"),
            DeValue::Integer(number) => number.to_string(),
            other => format!("of type {}", other.type_str()),
        };
        self.mistake(
            value.span(),
            format!("`{key}` is {is}"),
            Some(format!("expected {expected}")),
        );
    }

    fn unknown(&mut self, at: Range<usize>, key: &str, known: &[&str]) {
        let help = suggest(key, known.iter().copied());
        let help = help.unwrap_or_else(|| format!("known are `{}`", known.join("`, `")));
        self.mistake(at, format!("there is no key `{key}` here"), Some(help));
    }

    fn document(&mut self, table: &DeTable<'_>) -> Inner {
        let mut default = None;
        let mut rules = Vec::new();
        for (key, value) in table {
            match (key.get_ref().as_ref(), value.get_ref()) {
                ("default", DeValue::String(text)) if text == "allow" => {
                    default = Some(Default::Allow);
                }
                ("default", DeValue::String(text)) if text == "refuse" => {
                    default = Some(Default::Refuse);
                }
                ("default", _) => {
                    default = Some(Default::Refuse);
                    self.wrong("default", value, "\"allow\" or \"refuse\"");
                }
                ("rule", DeValue::Array(array)) => {
                    rules = array.iter().filter_map(|value| self.rule(value)).collect();
                    if array.len() > RULES_MAX {
                        let message = format!("there are more than {RULES_MAX} rules");
                        self.mistake(value.span(), message, None);
                    }
                }
                ("rule", _) => self.wrong("rule", value, "tables, each beginning with [[rule]]"),
                (other, _) => self.unknown(key.span(), other, &["default", "rule"]),
            }
        }
        let default = default.unwrap_or_else(|| {
            let help = "write default = \"refuse\" at the top, or default = \"allow\"";
            let message = "`default` is missing: what becomes of clients that no rule is for";
            self.mistake(0..0, message.to_owned(), Some(help.to_owned()));
            Default::Refuse
        });
        self.check_names(&rules);
        let warnings = self.warnings(&rules);
        Inner { file: Some(self.file.to_owned()), default, rules, warnings }
    }

    fn check_names(&mut self, rules: &[Arc<Rule>]) {
        for (index, rule) in rules.iter().enumerate() {
            let same = rules.iter().take(index).find(|other| other.name == rule.name);
            if let Some(other) = same {
                self.mistakes.push(Mistake {
                    file: self.file.to_owned(),
                    line: rule.line,
                    message: format!("two rules are called {:?}", rule.name),
                    help: Some(format!("the other one is in line {}", other.line)),
                });
            }
        }
    }

    /// Rules that are never reached.
    fn warnings(&self, rules: &[Arc<Rule>]) -> Vec<Mistake> {
        let mut warnings = Vec::new();
        for (index, rule) in rules.iter().enumerate() {
            let earlier = rules.iter().take(index).find(|other| other.who.takes_all_of(&rule.who));
            if let Some(earlier) = earlier {
                let message = format!(
                    "rule {:?} is never used: rule {:?} in line {} is for all of its clients",
                    rule.name, earlier.name, earlier.line
                );
                let help = Some("put the more special rule first".to_owned());
                let (file, line) = (self.file.to_owned(), rule.line);
                warnings.push(Mistake { file, line, message, help });
            }
        }
        warnings
    }

    fn rule(&mut self, value: &Value<'_>) -> Option<Arc<Rule>> {
        let DeValue::Table(table) = value.get_ref() else {
            self.wrong("rule", value, "a table");
            return None;
        };
        let first = table.keys().map(|key| key.span().start).min();
        // The header is in the line before the first key, or before comments and blank lines.
        let begins = self.text.get(..first.unwrap_or(value.span().start)).unwrap_or_default();
        let begins = begins.rfind("[[").unwrap_or(value.span().start);
        let line = self.line(&(begins..begins));
        let mut rule = Rule {
            name: String::new(),
            place: format!("{}:{line}", self.file),
            line,
            who: Who::default(),
            streamtypes: Vec::new(),
            metadata: None,
            smd: Classes::NONE,
            quotas: Quotas::default(),
        };
        let mut burst = None;
        for (key, value) in table {
            let (at, key) = (key.span(), key.get_ref().as_ref());
            match key {
                "name" => rule.name = self.name(value),
                "user" => rule.who.users = self.ids(key, value, |names, name| names.user(name)),
                "group" => rule.who.groups = self.ids(key, value, |names, name| names.group(name)),
                "unit" => rule.who.units = self.globs(key, value),
                "executable" => rule.who.executables = self.globs(key, value),
                "line" => rule.who.lines = self.globs(key, value),
                "address" => rule.who.addresses = self.addresses(key, value),
                "certificate" => rule.who.certificates = self.certificates(key, value),
                "key" => rule.who.keys = self.globs(key, value),
                "streamtypes" => rule.streamtypes = self.globs(key, value),
                "metadata" => rule.metadata = Some(self.metadata(value)),
                "smd" => rule.smd = self.classes(value),
                "streams" => rule.quotas.streams = self.count(key, value),
                "bytes_per_second" => {
                    let per_second = self.size(key, value);
                    rule.quotas.bytes_per_second =
                        per_second.map(|per_second| Rate { per_second, burst: per_second });
                }
                "burst_bytes" => burst = self.size(key, value).map(|size| (size, at)),
                "requests_per_second" => {
                    let per_second = self.count(key, value);
                    rule.quotas.requests_per_second = per_second
                        .and_then(|per_second| u64::try_from(per_second).ok())
                        .map(|per_second| Rate { per_second, burst: per_second });
                }
                "memory" => {
                    let size = self.size(key, value);
                    rule.quotas.memory =
                        size.map(|size| usize::try_from(size).unwrap_or(usize::MAX));
                }
                other => self.unknown(at, other, &KEYS),
            }
        }
        match (burst, &mut rule.quotas.bytes_per_second) {
            (Some((burst, _)), Some(rate)) => rate.burst = burst,
            (Some((_, at)), None) => {
                let message = "`burst_bytes` means nothing without `bytes_per_second`".to_owned();
                self.mistake(at, message, None);
            }
            (None, _) => {}
        }
        if !table.contains_key("name") {
            let help = "write name = \"…\": log lines call it that".to_owned();
            self.mistake(begins..begins, "a rule has no `name`".to_owned(), Some(help));
        }
        Some(Arc::new(rule))
    }

    fn name(&mut self, value: &Value<'_>) -> String {
        match value.get_ref() {
            DeValue::String(name) if !name.is_empty() && name.len() <= 64 => name.to_string(),
            _ => {
                self.wrong("name", value, "a text of 1 to 64 bytes");
                String::new()
            }
        }
    }

    /// One value, or several.
    fn each<'v, 't>(&mut self, key: &str, value: &'v Value<'t>) -> Vec<&'v Value<'t>> {
        match value.get_ref() {
            DeValue::Array(array) if array.is_empty() => {
                let help = "leave it out if it does not matter".to_owned();
                self.mistake(value.span(), format!("`{key}` is an empty list"), Some(help));
                Vec::new()
            }
            DeValue::Array(array) => array.iter().collect(),
            _ => vec![value],
        }
    }

    fn globs(&mut self, key: &str, value: &Value<'_>) -> Vec<Glob> {
        let each = self.each(key, value);
        each.into_iter()
            .filter_map(|value| match value.get_ref() {
                DeValue::String(text) if !text.is_empty() => Some(Glob::new(text.to_string())),
                _ => {
                    self.wrong(key, value, "a text, which may have `*` in it, or a list of such");
                    None
                }
            })
            .collect()
    }

    fn ids(
        &mut self,
        key: &str,
        value: &Value<'_>,
        find: fn(&dyn Names, &str) -> Option<u32>,
    ) -> Vec<u32> {
        let each = self.each(key, value);
        each.into_iter()
            .filter_map(|value| {
                let id = match value.get_ref() {
                    DeValue::Integer(number) => integer(number),
                    DeValue::String(name) => {
                        let found = find(self.names, name);
                        if found.is_none() {
                            let message = format!("this machine has no {key} {name:?}");
                            let help = "name another one, or give its number".to_owned();
                            self.mistake(value.span(), message, Some(help));
                            return None;
                        }
                        found
                    }
                    _ => None,
                };
                if id.is_none() {
                    self.wrong(key, value, "a name or a number");
                }
                id
            })
            .collect()
    }

    fn addresses(&mut self, key: &str, value: &Value<'_>) -> Vec<IpNet> {
        let each = self.each(key, value);
        each.into_iter()
            .filter_map(|value| {
                let text = value.get_ref().as_str().unwrap_or_default();
                let net = text
                    .parse()
                    .ok()
                    .or_else(|| Some(IpNet::from(text.parse::<std::net::IpAddr>().ok()?)));
                if net.is_none() {
                    self.wrong(key, value, "an address or a network, such as \"192.0.2.0/24\"");
                }
                net.map(canonical)
            })
            .collect()
    }

    fn certificates(&mut self, key: &str, value: &Value<'_>) -> Vec<CertificateIs> {
        let each = self.each(key, value);
        each.into_iter()
            .filter_map(|value| {
                let text = value.get_ref().as_str().filter(|text| !text.is_empty());
                let is = match text.map(|text| (text, text.strip_prefix("sha256:"))) {
                    Some((_, Some(digits))) => {
                        parse_fingerprint(digits).map(CertificateIs::Fingerprint)
                    }
                    Some((text, None)) => Some(CertificateIs::Named(Glob::new(text))),
                    None => None,
                };
                if is.is_none() {
                    let expected = "a name of the certificate, or \"sha256:\" and 64 hex digits";
                    self.wrong(key, value, expected);
                }
                is
            })
            .collect()
    }

    fn metadata(&mut self, value: &Value<'_>) -> Vec<(String, Vec<Glob>)> {
        let DeValue::Table(table) = value.get_ref() else {
            let expected =
                "names with the values that each may have, such as { path = [\"/v1/*\"] }";
            self.wrong("metadata", value, expected);
            return Vec::new();
        };
        let mut all = Vec::new();
        for (name, values) in table {
            let text = name.get_ref().as_ref();
            if text.is_empty() || text.len() > METADATA_NAME_MAX {
                let message = format!("{text:?} is not a name of metadata");
                let help = format!("names have 1 to {METADATA_NAME_MAX} bytes");
                self.mistake(name.span(), message, Some(help));
            }
            all.push((text.to_owned(), self.globs(text, values)));
        }
        all
    }

    fn classes(&mut self, value: &Value<'_>) -> Classes {
        let each = self.each("smd", value);
        each.into_iter().fold(Classes::NONE, |all, value| {
            let parsed = value.get_ref().as_str().and_then(|text| text.parse::<Classes>().ok());
            if parsed.is_none() {
                let expected = "classes such as \"interaction\", \"network\", \"user0\" or \"all\"";
                self.wrong("smd", value, expected);
            }
            all | parsed.unwrap_or(Classes::NONE)
        })
    }

    fn count(&mut self, key: &str, value: &Value<'_>) -> Option<usize> {
        let count = match value.get_ref() {
            DeValue::Integer(number) => integer(number),
            _ => None,
        };
        let count = count.filter(|count| *count > 0);
        if count.is_none() {
            self.wrong(key, value, "a number above 0");
        }
        count
    }

    fn size(&mut self, key: &str, value: &Value<'_>) -> Option<u64> {
        let size = match value.get_ref() {
            DeValue::Integer(number) => integer(number),
            DeValue::String(text) => parse_size(text),
            _ => None,
        };
        let size = size.filter(|size| *size > 0);
        if size.is_none() {
            self.wrong(key, value, "bytes, such as 100000, \"64KiB\" or \"1MiB\"");
        }
        size
    }
}

/// A whole number in any of TOML's notations: `1_000`, `0x3e8`, `0o1750`; `None` if it does not fit.
fn integer<T: TryFrom<u64>>(number: &DeInteger<'_>) -> Option<T> {
    let number = u64::from_str_radix(number.as_str(), number.radix()).ok()?;
    T::try_from(number).ok()
}

/// Networks of IPv4 addresses as IPv6 has them, `::ffff:192.0.2.0/120`, are those of IPv4: so clients are
/// looked at.
fn canonical(net: IpNet) -> IpNet {
    let IpNet::V6(v6) = net else { return net };
    let v4 = v6.addr().to_ipv4_mapped().zip(v6.prefix_len().checked_sub(96));
    v4.and_then(|(addr, length)| Ipv4Net::new(addr, length).ok()).map_or(net, IpNet::V4)
}

/// The SHA-256 fingerprint of a certificate: 64 hexadecimal digits, also with colons between them as other
/// programs print them. `None` if the text is something else.
pub fn parse_fingerprint(digits: &str) -> Option<[u8; 32]> {
    let digits: String = digits.chars().filter(|c| *c != ':').collect();
    let mut bytes = [0; 32];
    if digits.len() != 64 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(digits.get(2 * index..2 * index + 2)?, 16).ok()?;
    }
    Some(bytes)
}
