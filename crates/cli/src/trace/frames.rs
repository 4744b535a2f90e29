//! One line for each frame of a stream, and what is to be expected of a frame.

use std::fmt::Write;

use sspc_wire::limits::{NAME_RECEIVED_MAX, PAYLOAD_FIXED};
use sspc_wire::{Direction, FrameFault, FrameHead, PayloadHead, Piece, Timeout, ToClient, ToProxy};

use super::text::{escaped, preview};

/// Bytes of payload in a line.
const PAYLOAD_SHOWN: usize = 48;
/// Bytes of a metadata value, or of performance data, in a line.
const VALUE_SHOWN: usize = 200;

/// The line for a frame that is complete; of one that is not, up to `keep` bytes of the body are
/// put behind those in `body`.
pub(super) fn to_proxy(frame: &ToProxy<'_>, body: &mut Vec<u8>, keep: usize) -> Option<String> {
    Some(match *frame {
        ToProxy::Streamtype(streamtype) => {
            let mut line = format!(
                "STREAMTYPE {} version={} pid={} credit={}",
                escaped(streamtype.name),
                streamtype.version,
                streamtype.process_id(),
                streamtype.tx_credit
            );
            if streamtype.credit_is_unlimited() {
                line.push_str(" (unlimited)");
            }
            if streamtype.honours_credit() {
                line.push_str(" honours-credit");
            }
            line
        }
        ToProxy::OnwardConnect => "ONWARD_CONNECT".to_owned(),
        ToProxy::Destroying => "DESTROYING".to_owned(),
        ToProxy::Payload { head, rideshare, piece } => {
            gather(body, piece, keep)?;
            payload("TX_PAYLOAD", head, rideshare, piece.total, body)
        }
        ToProxy::Metadata { name, value } => {
            gather(body, value, keep)?;
            metadata(name, value.total, body)
        }
        ToProxy::TxCredit(credit) => format!("TXCR_UPDATE {credit:+}"),
        ToProxy::Timeout(Timeout::Policy) => "TIMEOUT_UPDATE policy".to_owned(),
        ToProxy::Timeout(Timeout::Millis(ms)) => format!("TIMEOUT_UPDATE {ms}ms"),
        ToProxy::Timeout(Timeout::Cancel) => "TIMEOUT_UPDATE cancel".to_owned(),
        ToProxy::LengthHint(bytes) => format!("PAYLOAD_LENGTH_HINT {bytes}"),
        ToProxy::Perf(piece) => {
            gather(body, piece, keep)?;
            perf(piece.total, body)
        }
        ref other => format!("{other:?}"),
    })
}

/// The same for the other direction.
pub(super) fn to_client(frame: &ToClient<'_>, body: &mut Vec<u8>, keep: usize) -> Option<String> {
    Some(match *frame {
        ToClient::Payload { head, rideshare, piece } => {
            gather(body, piece, keep)?;
            payload("RX_PAYLOAD", head, rideshare, piece.total, body)
        }
        ToClient::CreateResult { result, client_buflen, list } => {
            gather(body, list, keep)?;
            let refused = if result == 0 { "" } else { " (refused)" };
            let shown = body.get(..VALUE_SHOWN).unwrap_or(body);
            let more = if shown.len() < usize::from(list.total) { "…" } else { "" };
            let list = escaped(shown);
            format!("CREATE_RESULT {result}{refused} buffer={client_buflen} list={list}{more}")
        }
        ToClient::State { state, ordinal } => format!("CONNSTATE {state} ordinal={ordinal}"),
        ToClient::TxCredit(credit) => format!("TXCR_UPDATE {credit:+}"),
        ToClient::Metadata { name, value } => {
            gather(body, value, keep)?;
            metadata(name, value.total, body)
        }
        ToClient::Perf(piece) => {
            gather(body, piece, keep)?;
            perf(piece.total, body)
        }
        ref other => format!("{other:?}"),
    })
}

/// Keeps the piece's bytes as far as wanted; `None` while more are to come.
fn gather(body: &mut Vec<u8>, piece: Piece<'_>, keep: usize) -> Option<()> {
    let wanted = keep.saturating_sub(body.len());
    body.extend(piece.data.iter().take(wanted));
    piece.is_last().then_some(())
}

fn payload(
    frame: &str,
    head: PayloadHead,
    rideshare: Option<&[u8]>,
    total: u16,
    body: &[u8],
) -> String {
    let PayloadHead { flags, held_us, written_us } = head;
    let mut line = format!("{frame} {flags} {total} bytes held={held_us}us written={written_us}us");
    if let Some(name) = rideshare {
        // Writing to a String does not fail.
        let _ = write!(line, " as={}", escaped(name));
    }
    if total > 0 {
        let _ = write!(line, " {}", preview(body, total.into(), PAYLOAD_SHOWN));
    }
    line
}

fn metadata(name: &[u8], total: u16, body: &[u8]) -> String {
    format!("METADATA {}={}", escaped(name), preview(body, total.into(), VALUE_SHOWN))
}

fn perf(total: u16, body: &[u8]) -> String {
    format!("PERF {total} bytes {}", preview(body, total.into(), VALUE_SHOWN))
}

/// What to say of a frame that has no end.
pub(super) fn cut(frame: &FrameHead, taken: u64, length: Option<usize>) -> String {
    let name = frame.name().unwrap_or("frame");
    let length = length.map(|length| length as u64);
    let bytes = length.unwrap_or(taken);
    let plural = if bytes == 1 { "" } else { "s" };
    match length {
        Some(length) => format!("{name} ends after {taken} of {length} byte{plural}"),
        None => format!("{name} ends after {taken} byte{plural}"),
    }
}

/// What would have been right in the label of a fault.
pub(super) fn expected(direction: Direction, frame: u8, fault: FrameFault) -> String {
    match (fault, direction) {
        (FrameFault::UnknownType | FrameFault::WrongDirection, Direction::ToProxy) => {
            "a type of 0xaa to 0xb1, or 0x5b".to_owned()
        }
        (FrameFault::UnknownType | FrameFault::WrongDirection, Direction::ToClient) => {
            "a type of 0x55 to 0x59, or 0x5b".to_owned()
        }
        (FrameFault::Length { .. }, _) => match frame {
            0x55 | 0xad => format!("{PAYLOAD_FIXED} bytes or more, more with RIDESHARE"),
            0x56 => "5 bytes or more".to_owned(),
            0x57 => "5 or 8 bytes".to_owned(),
            0xaa => "10 bytes or more".to_owned(),
            0xab | 0xac => "none".to_owned(),
            0x59 | 0xae => "2 bytes or more".to_owned(),
            _ => "4 bytes".to_owned(),
        },
        (FrameFault::NameLength { .. }, _) => {
            format!("1 to {NAME_RECEIVED_MAX} bytes, and no more than the frame has")
        }
        (FrameFault::NameByte, _) => "a name without NUL".to_owned(),
        _ => "something else".to_owned(),
    }
}
