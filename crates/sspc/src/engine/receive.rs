//! From the proxy's frames to the application's events.

use sspc_wire::{Flags, Piece, State, ToClient, ToClientDecoder};

use super::link::Link;
use super::{Code, Engine, Onward, Pending};
use crate::event::{Event, Fault};
use sspc_wire::Instant;

/// A piece of a frame, with its bytes where they are in the input: the last of those taken. What the
/// decoder yields cannot be kept longer than the decoder is borrowed.
fn in_input<'i>(piece: &Piece<'_>, before: &'i [u8], after: &[u8]) -> Piece<'i> {
    let end = before.len().saturating_sub(after.len());
    let data = before.get(end.saturating_sub(piece.data.len())..end).unwrap_or_default();
    Piece { data, offset: piece.offset, total: piece.total }
}

impl Engine {
    /// Takes bytes off the input up to the next event; names in it are empty, so that nothing is
    /// borrowed from the decoder, which knows them.
    pub(crate) fn receive<'i>(
        &mut self,
        decoder: &mut ToClientDecoder,
        now: Instant,
        input: &mut &'i [u8],
        storage: &mut [u8],
    ) -> Option<Event<'i>> {
        loop {
            if let Some(event) = self.poll_event() {
                return Some(event);
            }
            if !matches!(self.link, Link::Greeting | Link::Asking | Link::Created) {
                *input = &[];
                return None;
            }
            let before = *input;
            let frame = match decoder.next(input) {
                Ok(Some(frame)) => frame,
                Ok(None) => return None,
                Err(error) => return Some(self.fault(now, Fault::Frame(error))),
            };
            let is_answer = matches!(frame, ToClient::CreateResult { .. });
            let place = if is_answer { Link::Asking } else { Link::Created };
            if self.link != place {
                return Some(self.fault(now, Fault::Unexpected { frame: name(&frame) }));
            }
            match frame {
                ToClient::State { state, ordinal } => {
                    let event = self.state_came(now, state, ordinal);
                    if event.is_some() {
                        return event;
                    }
                }
                ToClient::CreateResult { result, client_buflen, list } => {
                    if result != 0 {
                        self.lose(now);
                        self.drop_link();
                        return Some(Event::Refused { result });
                    }
                    self.kept.add_names(storage, &list);
                    if list.is_last() {
                        self.advised_buffer = client_buflen;
                        self.created(now);
                        self.of_link.peer = Code::of(State::Creating);
                        if !self.created_once {
                            self.created_once = true;
                            return Some(self.show(State::Creating, 0));
                        }
                    }
                }
                ToClient::TxCredit(more) => {
                    if !self.of_link.creating_came && self.config.honour_credit {
                        self.of_link.credit_managed = true;
                    }
                    self.of_link.credit = self.of_link.credit.saturating_add(more);
                }
                ToClient::Payload { head, rideshare, piece } => {
                    let flags = head.flags_of(&piece);
                    let piece = in_input(&piece, before, input);
                    if flags.contains(Flags::PERF_JSON) {
                        return Some(Event::Perf(piece));
                    }
                    let data = piece.data;
                    self.of_link.progressed = true;
                    self.of_link.unconsumed =
                        self.of_link.unconsumed.saturating_add(data.len() as u32);
                    let rideshare = rideshare.map(|_| &[][..]);
                    return Some(Event::Payload { data, flags, rideshare });
                }
                ToClient::Metadata { value, .. } => {
                    let value = in_input(&value, before, input);
                    return Some(Event::Metadata { name: &[], value });
                }
                ToClient::Perf(piece) => {
                    return Some(Event::Perf(in_input(&piece, before, input)));
                }
                // A frame that later versions of the wire may know.
                _ => {}
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
        let ordinal = self.pending_ordinal;
        let (state, ordinal) = if self.told(Pending::Disconnected) {
            (State::Disconnected, 0)
        } else if self.told(Pending::Poll) {
            (State::Poll, ordinal)
        } else if self.told(Pending::Connecting) {
            (State::Connecting, ordinal)
        } else if self.told(Pending::Retry) {
            return Some(Event::State { state: State::UpstreamLinkRetry, ordinal });
        } else {
            self.pending = 0;
            (State::Destroying, 0)
        };
        Some(self.show(state, ordinal))
    }

    fn show(&mut self, state: State, ordinal: u32) -> Event<'static> {
        self.shown = Code::of(state);
        Event::State { state, ordinal }
    }

    /// What comes behind it is thrown away.
    fn fault(&mut self, now: Instant, fault: Fault) -> Event<'static> {
        self.lose_and_tell(now);
        self.drop_link();
        Event::Fault(fault)
    }

    /// Judges a state that the proxy reports, and does what it means.
    fn state_came(&mut self, now: Instant, state: State, ordinal: u32) -> Option<Event<'static>> {
        let peer = self.of_link.peer.state().unwrap_or(State::Creating);
        match state {
            State::User(_) => {
                self.of_link.progressed = true;
                return Some(Event::State { state, ordinal });
            }
            // Those are a client's own.
            State::EventWaitCancelled | State::UpstreamLinkRetry => return None,
            // The application saw it when CREATE_RESULT came.
            State::Creating if peer == State::Creating && !self.of_link.creating_came => {
                self.of_link.creating_came = true;
                return None;
            }
            State::Connected if self.connected => return None,
            _ => {}
        }
        if !State::may_follow(state, Some(peer)) {
            return Some(self.fault(now, Fault::Transition { from: peer, to: state }));
        }
        self.of_link.peer = Code::of(state);
        self.of_link.progressed = true;
        match state {
            State::Connected => {
                self.connected = true;
                self.rideshare_turn = 0;
                if self.onward != Onward::Idle {
                    self.onward = Onward::Asked;
                }
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
                    return self.poll_event();
                }
            }
            State::Disconnected
            | State::AuthFailed
            | State::AllRetriesFailed
            | State::QosAckRemote
            | State::QosNackRemote
            | State::Timeout => {
                if !self.timeout_pending {
                    self.timeout = None;
                }
                if state != State::Timeout && self.onward != Onward::Wanted {
                    self.onward = Onward::Idle;
                }
                if matches!(
                    state,
                    State::Disconnected | State::AuthFailed | State::AllRetriesFailed
                ) {
                    self.disconnected();
                    if state == State::Disconnected && self.of_link.credit_managed {
                        self.of_link.heard = self.of_link.heard.saturating_add(1);
                    }
                }
            }
            State::Unreachable => {
                self.connected = false;
                self.message_open = false;
                if self.onward == Onward::Asked {
                    self.onward = Onward::Retrying;
                }
            }
            State::Destroying => {
                self.end();
                self.drop_link();
            }
            _ => {}
        }
        // After the stream was made again the proxy's states begin anew and may repeat what the
        // application has seen.
        if !State::may_follow(state, self.shown.state()) {
            return None;
        }
        Some(self.show(state, ordinal))
    }
}

/// The frame's name in the protocol.
const fn name(frame: &ToClient<'_>) -> &'static str {
    match frame {
        ToClient::CreateResult { .. } => "CREATE_RESULT",
        ToClient::Payload { .. } => "RX_PAYLOAD",
        ToClient::State { .. } => "CONNSTATE",
        ToClient::TxCredit(_) => "TXCR_UPDATE",
        ToClient::Metadata { .. } => "METADATA",
        ToClient::Perf(_) => "PERF",
        _ => "a frame",
    }
}
