//! A proxy whose line is its own stdin and stdout, for a device that starts it or is joined to it by
//! two pipes; `pipes_device` is the other side. What it has to say it says on stderr.
//!
//! `cargo run -p sspc-proxy --example pipes -- policy.json`

use sspc_policy::{Policy, Source};
use sspc_proxy::{Config, LineConfig, Proxy};
use tokio::io::{stdin, stdout};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let policy = match std::env::args().nth(1) {
        Some(file) => {
            let text = std::fs::read_to_string(&file)?;
            let parsed = Policy::parse(&Source::new(&file, &text));
            parsed.map_err(|report| format!("{file}: {report:?}"))?.policy
        }
        None => Policy::builtin(),
    };
    let proxy = Proxy::new(Config::new(policy))?;
    let handle = proxy.handle();

    // Any pair of AsyncRead and AsyncWrite that keeps the order of bytes and loses none.
    handle.serve_line(stdin(), stdout(), LineConfig::default(), "stdin").await?;

    eprintln!("the device is gone: {:?}", handle.counters());
    Ok(())
}
