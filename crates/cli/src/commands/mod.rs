//! The subcommands: a module each, with its arguments, its help and what it does.

mod access;
mod bridge;
mod cat;
mod decode;
mod demo;
mod generate;
mod ping;
mod policy;
mod proxy;
mod smd;
mod status;
mod tap;
mod top;
mod trace;

use clap::Subcommand;

use crate::console::Console;
use crate::exit::{Exit, Failure};

/// Every subcommand, in the order of the help.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Proxy(Box<proxy::ProxyArgs>),
    Cat(cat::CatArgs),
    Bridge(bridge::BridgeArgs),
    Ping(ping::PingArgs),
    Status(status::StatusArgs),
    Top(top::TopArgs),
    Trace(trace::TraceArgs),
    Smd(smd::SmdArgs),
    #[command(subcommand)]
    Policy(policy::PolicyCommand),
    #[command(subcommand)]
    Access(access::AccessCommand),
    Decode(decode::DecodeArgs),
    Tap(Box<tap::TapArgs>),
    Demo(demo::DemoArgs),
    Man(generate::ManArgs),
    Completions(generate::CompletionsArgs),
}

impl Command {
    /// Runs it to its end. `definition` is the whole command line's.
    pub(crate) fn run(
        &self,
        console: Console,
        definition: fn() -> clap::Command,
    ) -> Result<Exit, Failure> {
        match self {
            Self::Proxy(args) => proxy::run(args, console),
            Self::Cat(args) => cat::run(args, console),
            Self::Bridge(args) => bridge::run(args, console),
            Self::Ping(args) => ping::run(args),
            Self::Status(args) => status::run(args),
            Self::Top(args) => top::run(args),
            Self::Trace(args) => trace::run(args),
            Self::Smd(args) => smd::run(args),
            Self::Policy(command) => policy::run(command, console),
            Self::Access(command) => access::run(command, console),
            Self::Decode(args) => decode::run(args),
            Self::Tap(args) => tap::run(args, console),
            Self::Demo(args) => demo::run(args, console),
            Self::Man(args) => generate::man(args, definition()),
            Self::Completions(args) => generate::completions(args, definition()),
        }
    }

    /// True for commands that cause faults on purpose, so that warnings of them are no news.
    pub(crate) const fn logs_errors_only(&self) -> bool {
        matches!(self, Self::Demo(_))
    }
}
