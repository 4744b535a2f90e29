//! What the application does with its events.

use firmware_board::{Log, stack_size, stack_used};
use firmware_show::{Page, Prices, WallClock};
use sspc::{ClientEvent, Event, Instant, State, StreamId};

/// The streams, by their slots.
const PAGE: StreamId = StreamId::new(0);
const TICKER: StreamId = StreamId::new(1);

/// How long after one page the next one is asked for.
const PAGE_EVERY_MS: u32 = 2000;
/// How often the state of things is shown.
const STATUS_EVERY_MS: u32 = 5000;
/// One of so many prices is shown.
const SHOWN_OF_PRICES: u32 = 50;

/// What the application wants of the client.
pub enum Wish {
    Nothing,
    Connect(StreamId),
    Consumed(StreamId, u32),
}

/// The application, which has nothing but a log.
pub struct App {
    log: Log,
    wall: Option<WallClock>,
    page: Page,
    prices: Prices,
    next_page: Instant,
    next_status: Instant,
}

impl App {
    pub fn new(mut log: Log) -> Self {
        log.line(format_args!("started"));
        Self {
            log,
            wall: None,
            page: Page::new(),
            prices: Prices::new(),
            next_page: Instant::NEVER,
            next_status: Instant::ZERO,
        }
    }

    /// Takes an event.
    pub fn event(&mut self, now: Instant, event: ClientEvent<'_>) -> Wish {
        let log = &mut self.log;
        match event {
            ClientEvent::LinkUp { rtt_us } => {
                log.line(format_args!("link up, round trip {} ms", rtt_us / 1000));
            }
            ClientEvent::LinkDown { why } => log.line(format_args!("link down: {why}")),
            ClientEvent::PeerClock { unix_us } => {
                let wall = WallClock::new(unix_us, now);
                if self.wall.is_none() {
                    log.line(format_args!("time {}", wall.at(now)));
                }
                self.wall = Some(wall);
            }
            ClientEvent::Stream { id: PAGE, event } => return self.page_event(now, event),
            ClientEvent::Stream { id: TICKER, event } => return self.ticker_event(event),
            _ => {}
        }
        Wish::Nothing
    }

    fn page_event(&mut self, now: Instant, event: Event<'_>) -> Wish {
        match event {
            Event::State { state, .. } => {
                self.log.line(format_args!("page {}", state.name()));
                match state {
                    State::Creating => return Wish::Connect(PAGE),
                    State::QosAckRemote => {
                        self.log.line(format_args!("page of {}", self.page));
                    }
                    // However it went, with a verdict or without.
                    State::Disconnected | State::AllRetriesFailed | State::AuthFailed => {
                        self.next_page = now.plus_millis(PAGE_EVERY_MS);
                    }
                    _ => {}
                }
            }
            Event::Payload { data, flags, .. } => {
                self.page.take(data, flags);
                return Wish::Consumed(PAGE, data.len() as u32);
            }
            _ => {}
        }
        Wish::Nothing
    }

    fn ticker_event(&mut self, event: Event<'_>) -> Wish {
        match event {
            Event::State { state, .. } => {
                self.log.line(format_args!("ticker {}", state.name()));
                match state {
                    State::Creating => return Wish::Connect(TICKER),
                    State::Connected => self.prices = Prices::new(),
                    _ => {}
                }
            }
            Event::Payload { data, flags, .. } => {
                let whole = self.prices.take(data, flags);
                if whole && self.prices.count() % SHOWN_OF_PRICES == 1 {
                    self.log.line(format_args!("{}", self.prices));
                }
                return Wish::Consumed(TICKER, data.len() as u32);
            }
            _ => {}
        }
        Wish::Nothing
    }

    /// Does what the time has come for.
    pub fn tick(&mut self, now: Instant) -> Wish {
        if now >= self.next_status {
            self.next_status = now.plus_millis(STATUS_EVERY_MS);
            self.status(now);
        }
        if now >= self.next_page {
            self.next_page = Instant::NEVER;
            return Wish::Connect(PAGE);
        }
        Wish::Nothing
    }

    fn status(&mut self, now: Instant) {
        let (used, size) = (stack_used(), stack_size());
        let seconds = now.as_micros() / 1_000_000;
        match self.wall {
            Some(wall) => self.log.line(format_args!("time {}", wall.at(now))),
            None => self.log.line(format_args!("the time is not known")),
        }
        self.log.line(format_args!("up {seconds} s, stack {used} of {size} bytes"));
    }
}
