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
                return Some(self.fault(now, Fault::Unexpected { frame: type_of(&frame) }));
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
        // The first of them by its bit.
        let what = self.pending & self.pending.wrapping_neg();
        self.pending ^= what;
        let mut ordinal = self.pending_ordinal;
        let state = match what {
            0 => return None,
            Pending::NO_ANSWER => return Some(Event::Fault(Fault::NoAnswer)),
            Pending::DISCONNECTED => {
                ordinal = 0;
                State::Disconnected
            }
            Pending::POLL => State::Poll,
            Pending::CONNECTING => State::Connecting,
            Pending::RETRY => {
                return Some(Event::State { state: State::UpstreamLinkRetry, ordinal });
            }
            _ => {
                ordinal = 0;
                State::Destroying
            }
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
                    self.tell(Pending::DISCONNECTED);
                    self.pending_ordinal = ordinal;
                    self.tell(match state {
                        State::Poll => Pending::POLL,
                        _ => Pending::CONNECTING,
                    });
                    return None;
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

/// The frame's type on the wire.
const fn type_of(frame: &ToClient<'_>) -> u8 {
    match frame {
        ToClient::Payload { .. } => 0x55,
        ToClient::CreateResult { .. } => 0x56,
        ToClient::State { .. } => 0x57,
        ToClient::TxCredit(_) => 0x58,
        ToClient::Metadata { .. } => 0x59,
        ToClient::Perf(_) => 0x5b,
        _ => 0,
    }
}
