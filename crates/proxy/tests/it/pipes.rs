//! Byte pipes that are neither sockets nor serial ports.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use sspc::Options;
use sspc::State;
use sspc::line::{Line, Role};
use sspc::tokio::Client as Device;
use sspc_policy::Policy;
use sspc_proxy::{Config, LineConfig, MuxConfig, Proxy};
use sspc_sim::Rng;
use sspc_wire::{Flags, ToProxy};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf, duplex, split};
use tokio::time::timeout;

use crate::serial::{WHOLE, fetch, get, pattern, patterns, settle, until};
use crate::support::*;

/// Finds out soon that the link is lost. A busy machine may be taken for a lost link.
fn fast() -> LineConfig {
    let mut config = LineConfig::default();
    config.mux = MuxConfig::FAST;
    config
}

/// Takes no busy machine for a lost link.
fn patient() -> LineConfig {
    LineConfig::default()
}

fn device(pipe: DuplexStream, config: LineConfig) -> Device {
    let (reader, writer) = split(pipe);
    let (line, running) = Line::over(reader, writer, Role::Client, config, |_| {});
    tokio::spawn(running);
    let mut options = Options::default();
    options.keep_trying = true;
    options.config.backoff_ms = &[20, 50, 100];
    Device::over(line, "pipe", options)
}

/// A proxy that listens nowhere.
fn proxy(policy_text: &str) -> Proxy {
    Proxy::new(Config::new(policy(policy_text))).unwrap()
}

#[tokio::test]
async fn many_streams_pass_over_a_pipe_of_ones_own() {
    let proxy = proxy(&get(patterns().await, 20_000));
    let (ours, theirs) = duplex(1000);
    let (reader, writer) = split(theirs);
    let serving = tokio::spawn(proxy.handle().serve_line(reader, writer, patient(), "pipe"));
    let device = device(ours, patient());
    let mut fetches = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let device = device.clone();
        fetches.spawn(async move {
            let mut stream = device.open("get").await.unwrap();
            until(&mut stream, State::Creating).await;
            let (states, body) = fetch(&mut stream).await;
            assert_eq!(states, WHOLE);
            assert!(body == pattern(20_000));
        });
    }
    fetches.join_all().await;
    // Nobody uses the line any more: it ends, and its pipe with it.
    drop(device);
    serving.await.unwrap().unwrap();
    let counters = proxy.handle().counters();
    assert_eq!((counters.sessions_total, counters.sessions_open, counters.links_up), (20, 0, 0));
}

#[tokio::test]
async fn one_stream_needs_no_mux() {
    let proxy = proxy(&get(patterns().await, 3000));
    let (ours, theirs) = duplex(1000);
    let (reader, writer) = split(theirs);
    let serving = tokio::spawn(proxy.handle().serve_link(reader, writer, "pipe"));
    let mut client = Client::new(ours);
    client.streamtype("get").await;
    client.send(ToProxy::OnwardConnect).await;
    client.until("DISCONNECTED").await;
    assert!(client.heard.messages == [(Flags::WHOLE, pattern(3000))]);
    client.send(ToProxy::Destroying).await;
    client.until_closed().await;
    drop(client);
    serving.await.unwrap();
}

#[tokio::test]
async fn a_dropped_future_ends_its_line_and_its_link() {
    let proxy = Proxy::new(Config::new(Policy::builtin())).unwrap();
    let (ours, theirs) = duplex(1000);
    let (reader, writer) = split(theirs);
    let line = tokio::spawn(proxy.handle().serve_line(reader, writer, patient(), "line"));
    let mut stream = device(ours, patient()).open("__default").await.unwrap();
    until(&mut stream, State::Creating).await;
    let (ours, theirs) = duplex(1000);
    let (reader, writer) = split(theirs);
    let link = tokio::spawn(proxy.handle().serve_link(reader, writer, "link"));
    let mut client = Client::new(ours);
    client.streamtype("__default").await;
    client.until("CREATING").await;
    assert_eq!(proxy.handle().counters().sessions_open, 2);
    line.abort();
    link.abort();
    client.until_closed().await;
    settle(|| proxy.handle().counters().sessions_open == 0).await;
}

#[tokio::test]
async fn a_shutdown_ends_lines_too() {
    let serving = Serving::of(&get(patterns().await, 3000));
    let (ours, theirs) = duplex(1000);
    let (reader, writer) = split(theirs);
    let line = tokio::spawn(serving.handle.serve_line(reader, writer, patient(), "line"));
    let device = device(ours, patient());
    let mut stream = device.open("get").await.unwrap();
    until(&mut stream, State::Creating).await;
    serving.stop().await;
    until(&mut stream, State::UpstreamLinkRetry).await;
    line.await.unwrap().unwrap();
}

/// Passes chunks on, and harms some of the first so many.
async fn noisy(
    mut from: ReadHalf<DuplexStream>,
    mut to: WriteHalf<DuplexStream>,
    seed: u64,
    chunks: Arc<AtomicUsize>,
) {
    let mut rng = Rng::new(seed);
    let mut room = [0; 200];
    while let Ok(length @ 1..) = from.read(&mut room).await {
        let mut chunk = room[..length].to_vec();
        let left = chunks.load(Ordering::SeqCst);
        if left > 0 {
            chunks.store(left - 1, Ordering::SeqCst);
            let at = rng.below(length as u64) as usize;
            match rng.below(200) {
                0 => chunk[at] ^= 1 << rng.below(8),
                1 => _ = chunk.remove(at),
                2 => chunk.insert(at, rng.below(256) as u8),
                3 => chunk.truncate(at),
                4 => chunk[at..].fill_with(|| rng.below(256) as u8),
                _ => {}
            }
        }
        if to.write_all(&chunk).await.is_err() {
            return;
        }
    }
}

/// Fetches over and over, until the noise is over and one more fetch was right. Noise can turn a state
/// into another one, so that the awaited one never comes: then the fetch starts again.
async fn use_noisy(device: Device, noise: Arc<AtomicUsize>) {
    loop {
        let is_over = noise.load(Ordering::SeqCst) == 0;
        let mut stream = device.open("get").await.unwrap();
        let fetched = timeout(Duration::from_secs(1), fetch(&mut stream)).await;
        if is_over && fetched.is_ok_and(|(_, body)| body == pattern(20_000)) {
            return;
        }
    }
}

/// On a wire without checksums anything may come of noise, but only to those who use it, and only
/// while it lasts.
#[tokio::test]
async fn a_noisy_line_recovers_and_harms_nobody_else() {
    for seed in 0..3 {
        let proxy = proxy(&get(patterns().await, 20_000));
        let line = |config| {
            let (ours, theirs) = duplex(1000);
            let (reader, writer) = split(theirs);
            tokio::spawn(proxy.handle().serve_line(reader, writer, config, "line"));
            ours
        };
        let (wire, noisy_end) = duplex(1000);
        let noise = Arc::new(AtomicUsize::new(2000));
        let ((from_device, to_device), (from_proxy, to_proxy)) = (split(wire), split(line(fast())));
        tokio::spawn(noisy(from_device, to_proxy, seed * 2, Arc::clone(&noise)));
        tokio::spawn(noisy(from_proxy, to_device, seed * 2 + 1, Arc::clone(&noise)));

        let (bad, good) = (device(noisy_end, fast()), device(line(patient()), patient()));
        let mut users = tokio::task::JoinSet::new();
        for _ in 0..5 {
            users.spawn(use_noisy(bad.clone(), Arc::clone(&noise)));
        }
        let mut stream = good.open("get").await.unwrap();
        until(&mut stream, State::Creating).await;
        let mut left = 5;
        while left > 0 {
            let (states, body) = fetch(&mut stream).await;
            assert_eq!(states, WHOLE, "seed {seed}");
            assert!(body == pattern(20_000), "seed {seed}");
            while let Some(user) = users.try_join_next() {
                user.unwrap();
                left -= 1;
            }
        }
    }
}

/// An example of this crate; built if only the tests were.
fn example(name: &str) -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    let path = tests.ancestors().nth(2).unwrap().join("examples").join(name);
    if !path.exists() {
        let build = ["build", "--quiet", "--package", "sspc-proxy", "--example", name];
        assert!(std::process::Command::new(env!("CARGO")).args(build).status().unwrap().success());
    }
    path
}

#[tokio::test]
async fn the_example_speaks_over_the_pipes_of_a_child() {
    let port = patterns().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("policy.json");
    std::fs::write(&file, get(port, 100_000)).unwrap();
    let output = tokio::process::Command::new(example("pipes_device"))
        .arg("get")
        .arg(example("pipes"))
        .arg(&file)
        .output()
        .await
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    assert!(output.stdout == pattern(100_000), "{stderr}");
    // The other side has ended well, too.
    assert!(stderr.contains("the device is gone"), "{stderr}");
}
