//! From the proxy's frames to the application's events.

use sspc_wire::{Flags, Piece, State, ToClient};

use super::link::Link;
use super::{Code, Engine, Onward, Pending};
use crate::event::{Event, Fault};
use sspc_wire::Instant;

/// A frame or a piece of one, without its bytes.
enum Found {
    Payload {
        flags: Flags,
        rideshare: bool,
        piece: Span,
    },
    CreateResult {
        result: u8,
        client_buflen: u32,
        piece: Span,
    },
    State {
        state: State,
        ordinal: u32,
    },
    TxCredit(i32),
    Metadata(Span),
    Perf(Span),
    /// A frame that later versions of the wire may know.
    Other,
}

/// Where a piece is in its body.
#[derive(Clone, Copy)]
struct Span {
    length: usize,
    offset: u16,
    total: u16,
}

impl Span {
    const fn of(piece: &Piece<'_>) -> Self {
        Self { length: piece.data.len(), offset: piece.offset, total: piece.total }
    }

    /// The piece; its bytes are the last of those taken from the input.
    fn piece<'i>(self, before: &'i [u8], after: &[u8]) -> Piece<'i> {
        let end = before.len().saturating_sub(after.len());
        let data = before.get(end.saturating_sub(self.length)..end).unwrap_or_default();
        Piece { data, offset: self.offset, total: self.total }
    }
}

impl Engine {
    pub(crate) fn receive<'s, 'i: 's>(
        &'s mut self,
        now: Instant,
        input: &mut &'i [u8],
        storage: &mut [u8],
    ) -> Option<Event<'s>> {
        let event = self.receive_unnamed(now, input, storage)?;
        Some(self.named(event))
    }

    /// An event of [`Engine::receive_unnamed`] with the name that belongs to it, until the next one.
    pub(crate) fn named<'s, 'i: 's>(&'s self, event: Event<'i>) -> Event<'s> {
        match event {
            Event::Payload { data, flags, rideshare: Some(_) } => {
                Event::Payload { data, flags, rideshare: Some(self.decoder.name()) }
            }
            Event::Metadata { value, .. } => Event::Metadata { name: self.decoder.name(), value },
            other => other,
        }
    }

    /// The same as `receive`, but that names are empty, so that nothing is borrowed from here.
    pub(crate) fn receive_unnamed<'i>(
        &mut self,
        now: Instant,
        input: &mut &'i [u8],
        storage: &mut [u8],
    ) -> Option<Event<'i>> {
        loop {
            if let Some(event) = self.poll_event() {
                return Some(event);
            }
            if !matches!(self.link, Link::Greeting { .. } | Link::Created) {
                *input = &[];
                return None;
            }
            let before = *input;
            let found = match self.decoder.next(input) {
                Ok(None) => return None,
                Ok(Some(frame)) => found(&frame),
                Err(error) => return Some(self.fault(now, input, storage, Fault::Frame(error))),
            };
            if let Some(frame) = self.misplaced(&found) {
                return Some(self.fault(now, input, storage, Fault::Unexpected { frame }));
            }
            match found {
                Found::State { state, ordinal } => match self.state_came(state, ordinal) {
                    Ok(Some(event)) => return Some(event),
                    Ok(None) => {}
                    Err(fault) => return Some(self.fault(now, input, storage, fault)),
                },
                Found::CreateResult { result, client_buflen, piece } => {
                    let piece = piece.piece(before, input);
                    if result != 0 {
                        self.lose(now, storage);
                        self.link = Link::Dropping { asked: false };
                        *input = &[];
                        return Some(Event::Refused { result });
                    }
                    self.kept.add_names(storage, piece.data);
                    if piece.is_last() {
                        self.advised_buffer = client_buflen;
                        self.created(now);
                        self.peer = Code::of(State::Creating);
                        if !self.created_once {
                            self.created_once = true;
                            return Some(self.show(State::Creating, 0));
                        }
                    }
                }
                Found::TxCredit(more) => {
                    if !self.creating_came && self.config.honour_credit {
                        self.credit_managed = true;
                    }
                    self.credit = self.credit.saturating_add(more);
                }
                Found::Other => {}
                Found::Perf(piece) => return Some(Event::Perf(piece.piece(before, input))),
                Found::Payload { flags, rideshare: _, piece }
                    if flags.contains(Flags::PERF_JSON) =>
                {
                    return Some(Event::Perf(piece.piece(before, input)));
                }
                Found::Payload { flags, rideshare, piece } => {
                    let data = piece.piece(before, input).data;
                    self.progressed = true;
                    self.unconsumed = self.unconsumed.saturating_add(data.len() as u32);
                    let rideshare = rideshare.then_some(&[][..]);
                    return Some(Event::Payload { data, flags, rideshare });
                }
                Found::Metadata(piece) => {
                    let value = piece.piece(before, input);
                    return Some(Event::Metadata { name: &[], value });
                }
            }
        }
    }

    /// True if [`Engine::poll_event`] has something to tell.
    pub(crate) const fn has_event(&self) -> bool {
        self.pending != 0
    }

    /// What the stream itself has to tell.
    pub(crate) fn poll_event(&mut self) -> Option<Event<'static>> {
        if self.pending == 0 {
            return None;
        }
        if self.told(Pending::NoAnswer) {
            return Some(Event::Fault(Fault::NoAnswer));
        }
        if self.told(Pending::Disconnected) {
            return Some(self.show(State::Disconnected, 0));
        }
        let ordinal = self.pending_ordinal;
        if self.told(Pending::Poll) {
            return Some(self.show(State::Poll, ordinal));
        }
        if self.told(Pending::Connecting) {
            return Some(self.show(State::Connecting, ordinal));
        }
        if self.told(Pending::Retry) {
            return Some(Event::State { state: State::UpstreamLinkRetry, ordinal });
        }
        self.pending = 0;
        Some(self.show(State::Destroying, 0))
    }

    fn show(&mut self, state: State, ordinal: u32) -> Event<'static> {
        self.shown = Code::of(state);
        Event::State { state, ordinal }
    }

    fn fault<'e>(
        &mut self,
        now: Instant,
        input: &mut &[u8],
        storage: &mut [u8],
        fault: Fault,
    ) -> Event<'e> {
        *input = &[];
        self.lose_and_tell(now, storage);
        self.link = Link::Dropping { asked: false };
        Event::Fault(fault)
    }

    /// The protocol's name of the frame if it has no place where it came.
    fn misplaced(&self, found: &Found) -> Option<&'static str> {
        let created = self.is_created();
        match found {
            Found::CreateResult { .. } => (!self.is_asking()).then_some("CREATE_RESULT"),
            Found::Payload { .. } => (!created).then_some("RX_PAYLOAD"),
            Found::State { .. } => (!created).then_some("CONNSTATE"),
            Found::TxCredit(_) => (!created).then_some("TXCR_UPDATE"),
            Found::Metadata(_) => (!created).then_some("METADATA"),
            Found::Perf(_) => (!created).then_some("PERF"),
            Found::Other => None,
        }
    }

    /// Judges a state that the proxy reports, and does what it means.
    fn state_came(&mut self, state: State, ordinal: u32) -> Result<Option<Event<'static>>, Fault> {
        let peer = self.peer.state().unwrap_or(State::Creating);
        match state {
            State::User(_) => {
                self.progressed = true;
                return Ok(Some(Event::State { state, ordinal }));
            }
            // Those are a client's own.
            State::EventWaitCancelled | State::UpstreamLinkRetry => return Ok(None),
            // The application saw it when CREATE_RESULT came.
            State::Creating if peer == State::Creating && !self.creating_came => {
                self.creating_came = true;
                return Ok(None);
            }
            State::Connected if self.connected => return Ok(None),
            _ => {}
        }
        if !State::may_follow(state, Some(peer)) {
            return Err(Fault::Transition { from: peer, to: state });
        }
        self.peer = Code::of(state);
        self.progressed = true;
        match state {
            State::Connected => {
                self.connected = true;
                self.rideshare_turn = 0;
                self.onward = match self.onward {
                    Onward::Idle => Onward::Idle,
                    Onward::Wanted | Onward::Asked | Onward::Retrying => Onward::Asked,
                };
            }
            State::Connecting | State::Poll => {
                if self.asked && matches!(self.onward, Onward::Idle | Onward::Retrying) {
                    self.onward = Onward::Asked;
                }
                if self.connected {
                    // Some proxies go on to the next attempt without a word about the loss.
                    self.disconnected();
                    self.tell(Pending::Disconnected);
                    self.pending_ordinal = ordinal;
                    self.tell(match state {
                        State::Poll => Pending::Poll,
                        _ => Pending::Connecting,
                    });
                    return Ok(self.poll_event());
                }
            }
            State::Disconnected | State::AuthFailed | State::AllRetriesFailed => {
                if state == State::Disconnected && self.credit_managed {
                    self.heard = self.heard.saturating_add(1);
                }
                self.disconnected();
                self.timeout = self.timeout.filter(|_| self.timeout_pending);
                if self.onward != Onward::Wanted {
                    self.onward = Onward::Idle;
                }
            }
            State::Unreachable => {
                self.connected = false;
                self.message_open = false;
                if self.onward == Onward::Asked {
                    self.onward = Onward::Retrying;
                }
            }
            State::QosAckRemote | State::QosNackRemote => {
                self.timeout = self.timeout.filter(|_| self.timeout_pending);
                if self.onward != Onward::Wanted {
                    self.onward = Onward::Idle;
                }
            }
            State::Timeout => self.timeout = self.timeout.filter(|_| self.timeout_pending),
            State::Destroying => {
                self.end();
                self.link = Link::Dropping { asked: false };
            }
            _ => {}
        }
        // After the stream was made again the proxy's states begin anew and may repeat what the
        // application has seen.
        if !State::may_follow(state, self.shown.state()) {
            return Ok(None);
        }
        Ok(Some(self.show(state, ordinal)))
    }
}

fn found(frame: &ToClient<'_>) -> Found {
    match frame {
        ToClient::Payload { head, rideshare, piece } => Found::Payload {
            flags: head.flags_of(piece),
            rideshare: rideshare.is_some(),
            piece: Span::of(piece),
        },
        ToClient::CreateResult { result, client_buflen, list } => Found::CreateResult {
            result: *result,
            client_buflen: *client_buflen,
            piece: Span::of(list),
        },
        ToClient::State { state, ordinal } => Found::State { state: *state, ordinal: *ordinal },
        ToClient::Metadata { value, .. } => Found::Metadata(Span::of(value)),
        ToClient::TxCredit(more) => Found::TxCredit(*more),
        ToClient::Perf(piece) => Found::Perf(Span::of(piece)),
        _ => Found::Other,
    }
}
