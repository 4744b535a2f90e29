//! The same as the image `ticker`, as tasks of embassy's executor: one moves the bytes of the line,
//! one has the page, one the prices, one reports the link.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

use core::cell::RefCell;

use cortex_m_rt::entry;
use embassy_executor::{SpawnError, Spawner, task};
use firmware_board::{BAUD, Board, LineInput, LineOutput, Log, halt, stack_size, stack_used};
use firmware_show::{Page, Prices, WallClock};
use panic_halt as _;
use sspc::embedded_io_async::{self, Handle, Runner, StreamBuffers, Timer};
use sspc::{Config, Event, Instant, MuxConfig, Priority, State};
use static_cell::{ConstStaticCell, StaticCell};

/// Each stream: room for what comes, of which the proxy may be half ahead; what goes and metadata,
/// of which there is none here.
type Buffers = StreamBuffers<1024, 1, 0>;
type Lines = embedded_io_async::State<2, Buffers>;
type Shown = &'static RefCell<Log>;

/// A dead link is found out within two seconds, and a frame is short enough to be kept here.
const LINK: MuxConfig =
    MuxConfig { ping_ms: 1000, pong_ms: 1000, frame_max: 256, ..MuxConfig::DEFAULT }.for_line(BAUD);

/// For jitter: give each device another one, such as its serial number.
const SEED: u32 = 0x5eed;

const STREAM: Config = Config { window: 512, ..Config::DEFAULT };
/// How long after one page the next one is asked for.
const PAGE_EVERY_MS: u64 = 2000;
/// One of so many prices is shown.
const SHOWN_OF_PRICES: u32 = 50;
const STATUS_EVERY_MS: u64 = 5000;
/// How long after a failure of the line's driver it is tried again, so that others run meanwhile.
const LINE_AGAIN_MS: u64 = 10;

static LINES: ConstStaticCell<Lines> = ConstStaticCell::new(Lines::new(LINK, SEED));

/// The clock of the executor.
struct Clock;

impl Timer for Clock {
    fn now(&self) -> Instant {
        Instant::from_millis(embassy_time::Instant::now().as_millis())
    }

    async fn sleep_until(&self, at: Instant) {
        // Not before it: up to the next ms.
        let at = embassy_time::Instant::from_millis(at.as_micros().div_ceil(1000));
        embassy_time::Timer::at(at).await;
    }
}

#[entry]
fn main() -> ! {
    let Some(board) = Board::take() else { halt() };
    static LOG: StaticCell<RefCell<Log>> = StaticCell::new();
    let log: Shown = LOG.init(RefCell::new(board.log));
    let (handle, runner) = LINES.take().split();
    let (input, output) = board.line.split();
    firmware_board::run(|spawner| {
        if let Err(error) = start(spawner, handle, log) {
            log.borrow_mut().line(format_args!("cannot start: {error:?}"));
        }
        if let Ok(line) = line(runner, input, output, log) {
            spawner.spawn(line);
        }
    })
}

fn start(spawner: Spawner, handle: Handle<'static, Buffers>, log: Shown) -> Result<(), SpawnError> {
    log.borrow_mut().line(format_args!("started"));
    spawner.spawn(link(handle, log)?);
    spawner.spawn(status(handle, log)?);
    spawner.spawn(page(handle, log)?);
    spawner.spawn(ticker(handle, log)?);
    Ok(())
}

/// Moves the bytes of the line, for ever.
#[task]
async fn line(
    mut runner: Runner<'static, Buffers>,
    mut input: LineInput,
    mut output: LineOutput,
    log: Shown,
) {
    let (mut read, mut write) = ([0; 64], [0; LINK.frame_max as usize + 40]);
    loop {
        // This driver never fails. Others do, at an overrun for one, and the handshake makes up
        // for what was lost.
        let error = runner.run(&mut input, &mut output, Clock, &mut read, &mut write).await;
        log.borrow_mut().line(format_args!("line: {error:?}"));
        embassy_time::Timer::after_millis(LINE_AGAIN_MS).await;
    }
}

/// Reports when the link comes up or is lost.
#[task]
async fn link(handle: Handle<'static, Buffers>, log: Shown) {
    loop {
        let is_up = handle.link_change().await;
        let rtt_ms = handle.rtt_us() / 1000;
        let mut log = log.borrow_mut();
        match is_up {
            true => log.line(format_args!("link up, round trip {rtt_ms} ms")),
            false => log.line(format_args!("link down")),
        }
    }
}

fn wall(handle: Handle<'static, Buffers>) -> Option<WallClock> {
    let now = Clock.now();
    Some(WallClock::new(handle.unix_us(now)?, now))
}

/// Shows the state of things.
#[task]
async fn status(handle: Handle<'static, Buffers>, log: Shown) {
    loop {
        show_status(handle, &mut log.borrow_mut());
        embassy_time::Timer::after_millis(STATUS_EVERY_MS).await;
    }
}

fn show_status(handle: Handle<'static, Buffers>, log: &mut Log) {
    let now = Clock.now();
    match wall(handle) {
        Some(wall) => log.line(format_args!("time {}", wall.at(now))),
        None => log.line(format_args!("the time is not known")),
    }
    let (used, size) = (stack_used(), stack_size());
    let seconds = now.as_micros() / 1_000_000;
    log.line(format_args!("up {seconds} s, stack {used} of {size} bytes"));
}

/// Fetches the page, again and again.
#[task]
async fn page(handle: Handle<'static, Buffers>, log: Shown) {
    let Ok(stream) = handle.start("page", STREAM, Priority::LOWEST) else { return };
    let mut page = Page::new();
    let mut room = [0; 128];
    stream.connect();
    while let Some(event) = stream.next(&mut room).await {
        match event {
            Event::State { state, .. } => {
                log.borrow_mut().line(format_args!("page {}", state.name()));
                match state {
                    State::QosAckRemote => {
                        log.borrow_mut().line(format_args!("page of {page}"));
                        continue;
                    }
                    // However it went, with a verdict or without.
                    State::Disconnected | State::AllRetriesFailed | State::AuthFailed => {}
                    _ => continue,
                }
                embassy_time::Timer::after_millis(PAGE_EVERY_MS).await;
                stream.connect();
            }
            Event::Payload { data, flags, .. } => page.take(data, flags),
            _ => {}
        }
    }
}

/// Listens to the prices.
#[task]
async fn ticker(handle: Handle<'static, Buffers>, log: Shown) {
    let Ok(stream) = handle.start("ticker", STREAM, Priority::HIGHEST) else { return };
    let mut prices = Prices::new();
    let mut room = [0; 128];
    stream.connect();
    while let Some(event) = stream.next(&mut room).await {
        match event {
            Event::State { state, .. } => {
                log.borrow_mut().line(format_args!("ticker {}", state.name()));
                if state == State::Connected {
                    prices = Prices::new();
                }
            }
            Event::Payload { data, flags, .. } => {
                let is_whole = prices.take(data, flags);
                if is_whole && prices.count() % SHOWN_OF_PRICES == 1 {
                    log.borrow_mut().line(format_args!("{prices}"));
                }
            }
            _ => {}
        }
    }
}
