//! `sspc access explain`

use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::PathBuf;

use clap::{ArgGroup, Args, ValueHint};
use sspc_access::{
    Access, Certificate, Client, Denial, Glob, Names, Rate, Rights, Rule, SystemNames,
    parse_fingerprint,
};
use sspc_address::SerialAddress;

use crate::access_file::{self, AnyNames};
use crate::args::parse_metadata;
use crate::console::{Console, labelled, print, printable, size};
use crate::exit::Failure;

/// Rules without effect that are shown at most.
const PASSED_OVER_MAX: usize = 20;

/// Say which rule of an access file decides about a client, and what it lets the client do
///
/// Say of the client what the proxy would know of it: for a program its user, for a device its line, its
/// key, or its address and certificate. Whose groups are not given has those of the user.
#[derive(Debug, Args)]
#[command(
    after_long_help = HELP,
    group = ArgGroup::new("client").required(true).multiple(true)
)]
pub(crate) struct ExplainArgs {
    /// The access file; `-` is stdin
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    file: PathBuf,

    /// The client wants to open this streamtype
    #[arg(value_name = "STREAMTYPE")]
    streamtype: Option<String>,

    /// The client sets this metadata item; may be given several times
    #[arg(short, long = "meta", value_name = "NAME=VALUE", value_parser = parse_metadata)]
    metadata: Vec<(String, String)>,

    /// The client is a program of this user
    #[arg(long, value_name = "NAME|UID", group = "client")]
    user: Option<String>,

    /// It is in this group; may be given several times
    #[arg(long = "group", value_name = "NAME|GID", group = "client")]
    groups: Vec<String>,

    /// It is of this systemd unit
    #[arg(long, group = "client")]
    unit: Option<String>,

    /// It runs this file
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, group = "client")]
    executable: Option<String>,

    /// The client is on this serial line
    #[arg(long, value_name = "DEVICE", value_parser = parse_line, group = "client")]
    line: Option<String>,

    /// The client connects from this address
    #[arg(long, value_name = "IP", group = "client")]
    address: Option<IpAddr>,

    /// Its certificate has this name, or sha256:FINGERPRINT; may be given several times
    #[arg(long = "certificate", value_name = "NAME", value_parser = parse_certificate, group = "client")]
    certificates: Vec<CertificateHas>,

    /// Its line is encrypted with the key of this id
    #[arg(long, value_name = "ID", group = "client")]
    key: Option<String>,

    /// The file is for another machine: take users and groups that this one does not have for right
    #[arg(long)]
    elsewhere: bool,
}

const HELP: &str = "\
Examples:
  sspc access explain access.toml --user meter
  sspc access explain access.toml --user meter --unit meter.service meter-gas --meta path=/v1/x
  sspc access explain access.toml --line /dev/ttyUSB0 time
  sspc access explain access.toml --address 192.0.2.7 --certificate sensor-7

Exit codes:
  0  explained
  1  the client may not open STREAMTYPE or not set metadata to that, or the file has errors
  2  the command line is wrong";

/// A name of a certificate, or its fingerprint.
#[derive(Debug, Clone)]
enum CertificateHas {
    Name(String),
    Fingerprint([u8; 32]),
}

fn parse_certificate(text: &str) -> Result<CertificateHas, String> {
    match text.strip_prefix("sha256:") {
        Some(digits) => parse_fingerprint(digits)
            .map(CertificateHas::Fingerprint)
            .ok_or_else(|| "expected 64 hexadecimal digits behind sha256:".to_owned()),
        None => Ok(CertificateHas::Name(text.to_owned())),
    }
}

/// A serial port, as a path or as the address that a proxy listens at.
fn parse_line(text: &str) -> Result<String, String> {
    if !text.starts_with("serial:") {
        return Ok(text.to_owned());
    }
    let address: SerialAddress = text.parse().map_err(|error| format!("{error}"))?;
    Ok(address.path.display().to_string())
}

pub(super) fn run(args: &ExplainArgs, console: Console) -> Result<(), Failure> {
    let any = AnyNames::default();
    let names: &dyn Names = if args.elsewhere { &any } else { &SystemNames };
    let access = access_file::load(&args.file, names)
        .map_err(|error| access_file::refuse(error, console))?;
    let uid = args.user.as_deref().map(|user| number("user", user, |name| names.user(name)));
    let uid = uid.transpose()?;
    let gids = groups(args, uid, names)?;
    let names: Vec<String> = args.certificates.iter().filter_map(name).collect();
    let client = Client {
        uid,
        gids: &gids,
        unit: args.unit.as_deref(),
        executable: args.executable.as_deref(),
        line: args.line.as_deref(),
        address: args.address,
        certificate: (!args.certificates.is_empty()).then(|| Certificate {
            names: &names,
            sha256: args.certificates.iter().find_map(fingerprint).unwrap_or_default(),
        }),
        key: args.key.as_deref(),
    };
    let rights = access.rights(&client);
    let text = Text::of(&access, &client, &rights);
    print(&text.0)?;
    verdict(args, &rights).map_err(|denial| Failure::new(printable(&denial.to_string())))
}

fn name(certificate: &CertificateHas) -> Option<String> {
    match certificate {
        CertificateHas::Name(name) => Some(name.clone()),
        CertificateHas::Fingerprint(_) => None,
    }
}

fn fingerprint(certificate: &CertificateHas) -> Option<[u8; 32]> {
    match certificate {
        CertificateHas::Fingerprint(sha256) => Some(*sha256),
        CertificateHas::Name(_) => None,
    }
}

/// The number of a user or group.
fn number(kind: &str, text: &str, find: impl FnOnce(&str) -> Option<u32>) -> Result<u32, Failure> {
    text.parse().ok().or_else(|| find(text)).ok_or_else(|| {
        let help = "give its number, or say --elsewhere";
        Failure::new(format!("this machine has no {kind} {text:?}; {help}"))
    })
}

/// The groups that are given, or else those of the user.
fn groups(args: &ExplainArgs, uid: Option<u32>, names: &dyn Names) -> Result<Vec<u32>, Failure> {
    if args.groups.is_empty() {
        return Ok(uid.map(|uid| SystemNames.groups_of(uid)).unwrap_or_default());
    }
    args.groups.iter().map(|group| number("group", group, |name| names.group(name))).collect()
}

/// Whether the client may do what is asked about.
fn verdict(args: &ExplainArgs, rights: &Rights) -> Result<(), Denial> {
    if let Some(streamtype) = &args.streamtype {
        rights.may_open(streamtype)?;
    }
    args.metadata.iter().try_for_each(|(name, value)| rights.may_set(name, value.as_bytes()))
}

/// Lines of a word and what it is about.
struct Text(String);

impl Text {
    fn of(access: &Access, client: &Client<'_>, rights: &Rights) -> Self {
        let mut text = Self(String::new());
        let rule = access.rules().find(|rule| rule.mismatch(client).is_none());
        match rule {
            Some(rule) => {
                text.line("rule", format!("{:?}, {}", rule.name, rule.place()));
                text.rights(rule, rights);
            }
            None => {
                let default = access.default_is();
                text.line("rule", format!("none; the default is \"{default}\""));
                let may = match rights.may_open("") {
                    Ok(()) => "everything, without quotas",
                    Err(_) => "nothing",
                };
                text.line("may do", may);
            }
        }
        text.passed_over(access, client);
        text
    }

    fn line(&mut self, about: &str, text: impl AsRef<str>) {
        labelled(&mut self.0, about, text.as_ref());
    }

    fn rights(&mut self, rule: &Rule, rights: &Rights) {
        self.line("streamtypes", list(rule.streamtypes()));
        let metadata = match rule.metadata() {
            None => "all that the policy declares".to_owned(),
            Some([]) => "none".to_owned(),
            Some(names) => {
                let each = names.iter().map(|(name, values)| format!("{name}: {}", list(values)));
                each.collect::<Vec<_>>().join("; ")
            }
        };
        self.line("metadata", metadata);
        self.line("smd", rights.smd().to_string());
        let quotas = rights.quotas();
        if let Some(streams) = quotas.streams {
            self.line("streams", format!("{streams} at a time"));
        }
        if let Some(Rate { per_second, burst }) = quotas.bytes_per_second {
            let (per_second, burst) = (size(per_second), size(burst));
            self.line(
                "payload",
                format!("{per_second} a second, both ways together; {burst} at once"),
            );
        }
        if let Some(Rate { per_second, .. }) = quotas.requests_per_second {
            self.line("requests", format!("{per_second} a second"));
        }
        if let Some(memory) = quotas.memory {
            self.line("memory", size(memory as u64));
        }
    }

    /// The rules before the one that decides, and what keeps each from the client.
    fn passed_over(&mut self, access: &Access, client: &Client<'_>) {
        let passed: Vec<(&Rule, &str)> =
            access.rules().map_while(|rule| Some((rule, rule.mismatch(client)?))).collect();
        for (rule, key) in passed.iter().take(PASSED_OVER_MAX) {
            self.line("passed over", format!("{:?}, {}, for its `{key}`", rule.name, rule.place()));
        }
        let more = passed.len().saturating_sub(PASSED_OVER_MAX);
        if more > 0 {
            self.line("", format!("and {more} more"));
        }
    }
}

/// Patterns, or that there is none.
fn list(globs: &[Glob]) -> String {
    let mut text = String::new();
    for (index, glob) in globs.iter().enumerate() {
        let comma = if index > 0 { ", " } else { "" };
        // Writing to a string cannot fail.
        let _ = write!(text, "{comma}{glob}");
    }
    if text.is_empty() { "none".to_owned() } else { text }
}
