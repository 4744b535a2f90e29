//! The program `sspc`: proxy, cat, bridge, ping, policy, decode, tap, demo.

mod args;
mod bridge;
mod cat;
mod decode;
mod demo;
mod exit;
mod generate;
mod help;
mod log;
mod ping;
mod policy;
mod proxy;
mod service;
mod tap;
mod terminal;

use std::process::ExitCode;

use clap::Parser;

use args::{Cli, Command};
use exit::{Exit, Failure};
use log::Voice;

fn main() -> ExitCode {
    let cli = Cli::parse();
    log::init(cli.log, matches!(cli.command, Command::Demo(_)));
    let voice = Voice::new(cli.log);
    match run(&cli, voice) {
        Ok(exit) => exit.into(),
        Err(failure) => {
            if !failure.message.is_empty() {
                voice.fail(&failure.message);
            }
            failure.exit.into()
        }
    }
}

fn run(cli: &Cli, voice: Voice) -> Result<Exit, Failure> {
    match &cli.command {
        Command::Proxy(args) => proxy::run(args, voice),
        Command::Cat(args) => cat::run(args, cli.log),
        Command::Bridge(args) => bridge::run(args, voice),
        Command::Ping(args) => ping::run(args),
        Command::Policy(command) => policy::run(command, voice).map(|()| Exit::Ok),
        Command::Decode(args) => decode::run(args),
        Command::Tap(args) => tap::run(args, voice),
        Command::Demo(args) => demo::run(args, voice),
        Command::Man(args) => generate::man(args).map(|()| Exit::Ok),
        Command::Completions(args) => generate::completions(args).map(|()| Exit::Ok),
    }
}
