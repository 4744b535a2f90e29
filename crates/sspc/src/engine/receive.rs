//! From the proxy's frames to the application's events.

use sspc_wire::to_client_type::{CONNSTATE, CREATE_RESULT, METADATA, RX_PAYLOAD, TXCR_UPDATE};
use sspc_wire::{Flags, Instant, PayloadHead, Piece, State, ToClientDecoder};

use super::link::Link;
use super::{ConnectIntent, Engine, Hint, Pending, TAKES_NO_PAYLOAD, code};
use crate::event::{Event, Fault};

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
            let event = match decoder.next_piece(input) {
                Ok(Some(piece)) => self.piece_came(decoder, now, storage, piece),
                Ok(None) => return None,
                Err(error) => Some(Event::Fault(Fault::Frame(error))),
            };
            if let Some(Event::Fault(_)) = event {
                // What comes behind it is thrown away.
                self.lose_and_tell(now);
                self.drop_link();
            }
            if event.is_some() {
                return event;
            }
        }
    }

    /// Judges a piece of a frame, and does what it means.
    fn piece_came<'i>(
        &mut self,
        decoder: &ToClientDecoder,
        now: Instant,
        storage: &mut [u8],
        piece: Piece<'i>,
    ) -> Option<Event<'i>> {
        let frame = decoder.frame();
        let place = if frame == CREATE_RESULT { Link::Asking } else { Link::Created };
        if self.link != place {
            return Some(Event::Fault(Fault::Unexpected { frame }));
        }
        match frame {
            CONNSTATE => {
                let (state, ordinal) = decoder.state();
                return self.state_came(state, ordinal);
            }
            CREATE_RESULT => {
                let result = decoder.result();
                if result != 0 {
                    self.lose(now);
                    self.drop_link();
                    return Some(Event::Refused { result });
                }
                self.metadata.add_names(storage, &piece);
                if piece.is_last() {
                    self.advised_buffer = decoder.client_buflen();
                    self.created(now);
                    self.link_state.peer = code::CREATING as u8;
                    if !self.created_once {
                        self.created_once = true;
                        return Some(self.show(code::CREATING, 0));
                    }
                }
            }
            TXCR_UPDATE => {
                let credit = decoder.credit();
                if !self.link_state.creating_came && self.config.honour_credit {
                    if credit == 0 && !self.link_state.credit_managed {
                        self.link_state.credit = TAKES_NO_PAYLOAD;
                    }
                    self.link_state.credit_managed = true;
                }
                self.link_state.credit = self.link_state.credit.saturating_add(credit);
            }
            RX_PAYLOAD => {
                let all = decoder.flags();
                let flags = PayloadHead::new(all).flags_of(&piece);
                if flags.contains(Flags::PERF_JSON) {
                    return Some(Event::Perf(piece));
                }
                let data = piece.data;
                self.link_state.progressed = true;
                self.link_state.unconsumed =
                    self.link_state.unconsumed.wrapping_add(data.len() as u32);
                let rideshare = all.contains(Flags::RIDESHARE).then_some(&[][..]);
                return Some(Event::Payload { data, flags, rideshare });
            }
            METADATA => return Some(Event::Metadata { name: &[], value: piece }),
            _ => return Some(Event::Perf(piece)),
        }
        None
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
                code::DISCONNECTED
            }
            Pending::POLL => code::POLL,
            Pending::CONNECTING => code::CONNECTING,
            Pending::RETRY => {
                return Some(Event::State { state: State::UpstreamLinkRetry, ordinal });
            }
            _ => {
                ordinal = 0;
                code::DESTROYING
            }
        };
        Some(self.show(state, ordinal))
    }

    fn show(&mut self, state: u32, ordinal: u32) -> Event<'static> {
        self.shown = state as u8;
        Event::State { state: State::from_code(state), ordinal }
    }

    /// Judges a state that the proxy reports, and does what it means.
    fn state_came(&mut self, state: u32, ordinal: u32) -> Option<Event<'static>> {
        let peer = self.link_state.peer;
        match state {
            State::USER_BASE.. => {
                self.link_state.progressed = true;
                return Some(Event::State { state: State::User(state), ordinal });
            }
            // Those are a client's own.
            code::EVENT_WAIT_CANCELLED | code::UPSTREAM_LINK_RETRY => return None,
            // The application saw it when CREATE_RESULT came.
            code::CREATING
                if u32::from(peer) == code::CREATING && !self.link_state.creating_came =>
            {
                self.link_state.creating_came = true;
                return None;
            }
            code::CONNECTED if self.connected => return None,
            _ => {}
        }
        if !State::code_may_follow(state, peer) {
            let (from, to) = (State::from_code(peer.into()), State::from_code(state));
            return Some(Event::Fault(Fault::Transition { from, to }));
        }
        self.link_state.peer = state as u8;
        self.link_state.progressed = true;
        match state {
            code::CONNECTED => {
                self.connected = true;
                if self.asked {
                    self.intent = ConnectIntent::Asked;
                }
            }
            code::CONNECTING | code::POLL => {
                if self.asked
                    && matches!(self.intent, ConnectIntent::Idle | ConnectIntent::Retrying)
                {
                    self.intent = ConnectIntent::Asked;
                }
                if self.connected {
                    // Some proxies go on to the next attempt without a word about the loss.
                    self.disconnected();
                    self.tell(Pending::DISCONNECTED);
                    self.pending_ordinal = ordinal;
                    self.tell(match state {
                        code::POLL => Pending::POLL,
                        _ => Pending::CONNECTING,
                    });
                    return None;
                }
            }
            code::DISCONNECTED
            | code::AUTH_FAILED
            | code::ALL_RETRIES_FAILED
            | code::QOS_ACK_REMOTE
            | code::QOS_NACK_REMOTE
            | code::TIMEOUT => {
                if !self.timeout_pending {
                    self.timeout = None;
                }
                let is_verdict = matches!(state, code::QOS_ACK_REMOTE | code::QOS_NACK_REMOTE);
                if is_verdict && self.intent == ConnectIntent::Asked {
                    // It finishes the message that was to be sent.
                    self.tx_wanted = false;
                    self.hint = Hint::None;
                }
                // What was asked for goes with the link, to be asked for again.
                if self.intent != ConnectIntent::Wanted
                    && state != code::TIMEOUT
                    && ordinal != State::LINK_CLOSES
                {
                    self.intent = ConnectIntent::Idle;
                }
                if matches!(
                    state,
                    code::DISCONNECTED | code::AUTH_FAILED | code::ALL_RETRIES_FAILED
                ) {
                    self.disconnected();
                    if state == code::DISCONNECTED && self.link_state.credit_managed {
                        self.link_state.heard = self.link_state.heard.wrapping_add(1);
                    }
                }
            }
            code::UNREACHABLE => {
                self.connected = false;
                self.message_open = false;
                if self.intent == ConnectIntent::Asked {
                    self.intent = ConnectIntent::Retrying;
                }
            }
            code::DESTROYING => {
                self.end();
                self.drop_link();
            }
            _ => {}
        }
        // After the stream was made again the proxy's states start over and may repeat what the
        // application has seen.
        if !State::code_may_follow(state, self.shown) {
            return None;
        }
        Some(self.show(state, ordinal))
    }
}
