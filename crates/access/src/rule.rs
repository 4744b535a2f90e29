//! Rules, and the clients that they are for.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use sspc_wire::smd::Classes;

use crate::bucket::Rate;
use crate::glob::Glob;
use crate::mistakes::Mistake;
use crate::rights::Rights;

/// Which clients may do what. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Access(Arc<Inner>);

#[derive(Debug)]
pub(crate) struct Inner {
    /// The file's name; `None` where there is no file.
    pub(crate) file: Option<String>,
    pub(crate) default: Default,
    pub(crate) rules: Vec<Arc<Rule>>,
    pub(crate) warnings: Vec<Mistake>,
}

/// What becomes of clients that no rule is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Default {
    /// They may do everything, without quotas.
    Allow,
    /// They may do nothing.
    Refuse,
}

/// A rule: whom it is for, and what they may do.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Its name, which no other one has.
    pub name: String,
    /// The file and the line where it begins.
    pub(crate) place: String,
    pub(crate) line: usize,
    pub(crate) who: Who,
    pub(crate) streamtypes: Vec<Glob>,
    /// `None`: what the policy declares. The values that each name may be set to.
    pub(crate) metadata: Option<Vec<(String, Vec<Glob>)>>,
    pub(crate) smd: Classes,
    pub(crate) quotas: Quotas,
}

/// How much of something a client may have. `None` sets no bound beside the proxy's own limits.
#[derive(Clone, Copy, Debug, std::default::Default, PartialEq, Eq)]
pub struct Quotas {
    /// Streams at a time.
    pub streams: Option<usize>,
    /// Bytes of payload, both ways together.
    pub bytes_per_second: Option<Rate>,
    /// Transactions that begin.
    pub requests_per_second: Option<Rate>,
    /// Bytes that wait in the proxy.
    pub memory: Option<usize>,
}

/// Whom a rule is for: each list that is not empty has to have one that matches.
#[derive(Clone, Debug, std::default::Default)]
pub(crate) struct Who {
    pub(crate) users: Vec<u32>,
    pub(crate) groups: Vec<u32>,
    pub(crate) units: Vec<Glob>,
    pub(crate) executables: Vec<Glob>,
    pub(crate) lines: Vec<Glob>,
    pub(crate) addresses: Vec<IpNet>,
    pub(crate) certificates: Vec<CertificateIs>,
    pub(crate) keys: Vec<Glob>,
}

/// What a certificate has to be.
#[derive(Clone, Debug)]
pub(crate) enum CertificateIs {
    Named(Glob),
    Fingerprint([u8; 32]),
}

/// Who a client is, as far as its link tells.
#[derive(Clone, Copy, Debug, std::default::Default)]
pub struct Client<'a> {
    /// The user of a process.
    pub uid: Option<u32>,
    /// The groups of that user.
    pub gids: &'a [u32],
    /// Its systemd unit, such as `meter.service`.
    pub unit: Option<&'a str>,
    /// The file that it runs.
    pub executable: Option<&'a str>,
    /// The line that it is on: a serial port's path.
    pub line: Option<&'a str>,
    /// Where it connects from.
    pub address: Option<IpAddr>,
    /// What it proved by TLS.
    pub certificate: Option<Certificate<'a>>,
    /// The id of the key that it proved to have.
    pub key: Option<&'a str>,
}

/// A client's certificate, which somebody whom the proxy trusts has signed.
#[derive(Clone, Copy, Debug)]
pub struct Certificate<'a> {
    /// Its common name and its DNS names.
    pub names: &'a [String],
    /// The fingerprint of all of it.
    pub sha256: [u8; 32],
}

/// What rules ask of processes, which takes work to find out.
#[derive(Clone, Copy, Debug, std::default::Default, PartialEq, Eq)]
pub struct Asks {
    /// [`Client::gids`]
    pub groups: bool,
    /// [`Client::unit`]
    pub unit: bool,
    /// [`Client::executable`]
    pub executable: bool,
}

impl Access {
    pub(crate) fn new(inner: Inner) -> Self {
        Self(Arc::new(inner))
    }

    /// What the file is called; nothing where there is none.
    pub(crate) fn file(&self) -> &str {
        self.0.file.as_deref().unwrap_or_default()
    }

    /// Everybody may do everything.
    pub fn everyone() -> Self {
        let (rules, warnings) = (Vec::new(), Vec::new());
        Self::new(Inner { file: None, default: Default::Allow, rules, warnings })
    }

    /// What a client may do: what the first rule says that is for it, or the default.
    pub fn rights(&self, client: &Client<'_>) -> Rights {
        let rule = self.0.rules.iter().find(|rule| rule.mismatch(client).is_none());
        match (rule, self.0.default) {
            (Some(rule), _) => Rights::of_rule(Arc::clone(rule)),
            (None, Default::Allow) => Rights::everything(),
            (None, Default::Refuse) => Rights::nothing(self.file()),
        }
    }

    /// The rules, in their order.
    pub fn rules(&self) -> impl Iterator<Item = &Rule> {
        self.0.rules.iter().map(|rule| &**rule)
    }

    /// What becomes of clients that no rule is for.
    pub fn default_is(&self) -> Default {
        self.0.default
    }

    /// What is not wrong but of no use.
    pub fn warnings(&self) -> &[Mistake] {
        &self.0.warnings
    }

    /// What has to be found out about processes.
    pub fn asks(&self) -> Asks {
        let any = |of: fn(&Who) -> bool| self.0.rules.iter().any(|rule| of(&rule.who));
        Asks {
            groups: any(|who| !who.groups.is_empty()),
            unit: any(|who| !who.units.is_empty()),
            executable: any(|who| !who.executables.is_empty()),
        }
    }
}

impl Rule {
    /// Where it is written, such as `access.toml:3`.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// The line where it begins, from 1 on.
    pub const fn line(&self) -> usize {
        self.line
    }

    /// The first key that keeps the rule from being for a client, such as `user`; `None` if it is for it.
    pub fn mismatch(&self, client: &Client<'_>) -> Option<&'static str> {
        self.who.mismatch(client)
    }

    /// Which streamtypes may be opened.
    pub fn streamtypes(&self) -> &[Glob] {
        &self.streamtypes
    }

    /// Which metadata may be set to which values; `None` for all that the policy declares.
    pub fn metadata(&self) -> Option<&[(String, Vec<Glob>)]> {
        self.metadata.as_deref()
    }

    /// Which classes of system messages may be sent and received.
    pub const fn smd(&self) -> Classes {
        self.smd
    }

    /// How much a client may have.
    pub const fn quotas(&self) -> &Quotas {
        &self.quotas
    }
}

fn any<T>(wanted: &[T], is: impl Fn(&T) -> bool) -> bool {
    wanted.is_empty() || wanted.iter().any(is)
}

fn one_of(wanted: &[Glob], text: Option<&str>) -> bool {
    any(wanted, |glob| text.is_some_and(|text| glob.matches(text)))
}

impl Who {
    /// The first key that keeps it from being for a client; `None` if it is for it.
    fn mismatch(&self, client: &Client<'_>) -> Option<&'static str> {
        let address = client.address.map(|address| address.to_canonical());
        let is_certified =
            || any(&self.certificates, |is| client.certificate.is_some_and(|has| is.matches(&has)));
        if !any(&self.users, |user| client.uid == Some(*user)) {
            Some("user")
        } else if !any(&self.groups, |group| client.gids.contains(group)) {
            Some("group")
        } else if !one_of(&self.units, client.unit) {
            Some("unit")
        } else if !one_of(&self.executables, client.executable) {
            Some("executable")
        } else if !one_of(&self.lines, client.line) {
            Some("line")
        } else if !any(&self.addresses, |net| address.is_some_and(|it| net.contains(&it))) {
            Some("address")
        } else if !is_certified() {
            Some("certificate")
        } else if !one_of(&self.keys, client.key) {
            Some("key")
        } else {
            None
        }
    }

    /// Whether it is certain that it takes every client that the other one is for.
    pub(crate) fn takes_all_of(&self, other: &Self) -> bool {
        fn covers<T>(ours: &[T], theirs: &[T], is_same: impl Fn(&T, &T) -> bool) -> bool {
            ours.is_empty()
                || !theirs.is_empty()
                    && theirs.iter().all(|other| ours.iter().any(|own| is_same(own, other)))
        }
        let glob = |own: &Glob, other: &Glob| own == other || own.is_everything();
        covers(&self.users, &other.users, |a, b| a == b)
            && covers(&self.groups, &other.groups, |a, b| a == b)
            && covers(&self.units, &other.units, glob)
            && covers(&self.executables, &other.executables, glob)
            && covers(&self.lines, &other.lines, glob)
            && covers(&self.addresses, &other.addresses, |a, b| a.contains(b))
            && covers(&self.certificates, &other.certificates, |a, b| match (a, b) {
                (CertificateIs::Named(a), CertificateIs::Named(b)) => glob(a, b),
                (CertificateIs::Fingerprint(a), CertificateIs::Fingerprint(b)) => a == b,
                _ => false,
            })
            && covers(&self.keys, &other.keys, glob)
    }
}

impl CertificateIs {
    fn matches(&self, has: &Certificate<'_>) -> bool {
        match self {
            Self::Named(glob) => has.names.iter().any(|name| glob.matches(name)),
            Self::Fingerprint(sha256) => *sha256 == has.sha256,
        }
    }
}

impl fmt::Display for Default {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Allow => "allow",
            Self::Refuse => "refuse",
        })
    }
}
