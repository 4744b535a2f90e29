//! The system's own table of names, `/etc/hosts`.

use std::collections::HashMap;
use std::net::IpAddr;

/// Addresses by name, in the order of the file.
#[derive(Debug, Default)]
pub(super) struct Hosts(HashMap<Box<str>, Vec<IpAddr>>);

impl Hosts {
    /// Reads the file's text. A line that gives no address is left out, as the system does.
    pub(super) fn parse(text: &str) -> Self {
        let mut hosts = Self::default();
        for line in text.lines() {
            let line = line.split_once('#').map_or(line, |(line, _comment)| line);
            let mut words = line.split_ascii_whitespace();
            let Some(address) = words.next().and_then(|word| word.parse().ok()) else { continue };
            for name in words {
                let name = name.trim_end_matches('.').to_ascii_lowercase();
                hosts.0.entry(name.into()).or_default().push(address);
            }
        }
        hosts
    }

    /// The addresses of a name in lower case.
    pub(super) fn get(&self, name: &str) -> Option<&[IpAddr]> {
        self.0.get(name.trim_end_matches('.')).map(Vec::as_slice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_all_addresses_of_their_lines() {
        let text = "# the table\n10.0.0.1  Printer printer.lan # upstairs\nfd00::1 printer\n\
                    nonsense name\n10.0.0.2\n\n10.0.0.3 gate.\n";
        let hosts = Hosts::parse(text);
        let addresses = |name| hosts.get(name).map(<[IpAddr]>::to_vec);
        let parse = |text: &str| text.parse::<IpAddr>().unwrap();
        assert_eq!(addresses("printer"), Some(vec![parse("10.0.0.1"), parse("fd00::1")]));
        assert_eq!(addresses("printer.lan."), Some(vec![parse("10.0.0.1")]));
        assert_eq!(addresses("gate"), Some(vec![parse("10.0.0.3")]));
        assert_eq!(addresses("name"), None);
        assert_eq!(addresses("upstairs"), None);
    }
}
