//! A serial line: the packets on it, in both directions, and the frames of the mux, in packets or not.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;

use sspc_arq::{HelloSeen, Onlooker, PacketSeen, Seen, TurnSeen};
use sspc_capture::CaptureLayer;
use sspc_wire::Direction;

use super::capture::Whole;
use super::mux::MuxTrace;
use super::printer::{Label, Printer};

/// Decodes and prints.
#[derive(Debug)]
pub(super) struct LineTrace {
    onlooker: Onlooker,
    /// The directions whose bytes have not come to their end.
    ways: BTreeMap<Option<Direction>, MuxTrace>,
}

impl LineTrace {
    pub(super) fn new(gives_packets: bool) -> Self {
        let onlooker = if gives_packets { Onlooker::with_packets() } else { Onlooker::new() };
        Self { onlooker, ways: BTreeMap::new() }
    }

    pub(super) fn feed(
        &mut self,
        bytes: &[u8],
        label: Label,
        printer: &mut Printer,
    ) -> io::Result<()> {
        self.onlooker.feed(label.direction, bytes);
        self.show(label, printer)
    }

    /// The end of the line's bytes in this direction.
    pub(super) fn finish(&mut self, label: Label, printer: &mut Printer) -> io::Result<()> {
        self.onlooker.finish(label.direction);
        self.show(label, printer)?;
        match self.ways.remove(&label.direction) {
            Some(mut mux) => mux.finish(label, printer),
            None => Ok(()),
        }
    }

    /// The directions whose end has not come.
    pub(super) fn directions(&self) -> Vec<Option<Direction>> {
        self.ways.keys().copied().collect()
    }

    fn show(&mut self, label: Label, printer: &mut Printer) -> io::Result<()> {
        let mux =
            self.ways.entry(label.direction).or_insert_with(|| MuxTrace::new(label.direction));
        // The packet that is spoken of next.
        let mut packet = Vec::new();
        while let Some(seen) = self.onlooker.next_seen() {
            let label = mux.label(label);
            if !packet.is_empty() {
                let layer = CaptureLayer::Packet;
                let whole = Whole { layer, bytes: &packet, length: packet.len() };
                printer.bytes(label, whole, comment(&seen).as_deref());
                packet.clear();
            }
            match seen {
                Seen::Unstuffed(bytes) => packet = bytes,
                Seen::Plain(bytes) => mux.feed_plain(&bytes, label, printer)?,
                Seen::Bytes(bytes) => mux.feed(&bytes, label, printer)?,
                Seen::Hello(hello) => printer.frame(label, &describe_hello(hello), &[])?,
                Seen::Session { joined } => {
                    mux.restart(joined, label, printer)?;
                    let text = match joined {
                        false => "a session in packets begins",
                        true => "a session in packets, whose beginning was not seen",
                    };
                    printer.note(label, text)?;
                }
                Seen::Packet(packet) => printer.frame(label, &describe(&packet), &[])?,
                Seen::Unchecked(packet) => {
                    let text = describe(&packet);
                    printer.frame(label, &format!("{text} ({NOT_CHECKED})"), &[])?;
                }
                Seen::Gap => {
                    printer.note(label, "a packet is missing that the other end has")?;
                    mux.restart(true, label, printer)?;
                }
                Seen::Encrypted { length } => {
                    printer.frame(label, &format!("PACKET {length} bytes, encrypted"), &[])?;
                }
                Seen::Damaged { length } => {
                    printer.damage(label, &damaged(length))?;
                }
                Seen::Cut { length } => {
                    printer.note(label, &format!("the end, after {length} bytes of a packet"))?;
                }
                Seen::PlainAgain => {
                    printer.note(label, "no packets from here on")?;
                    mux.restart(false, label, printer)?;
                }
                other => printer.note(label, &format!("{other:?}"))?,
            }
        }
        Ok(())
    }
}

const NOT_CHECKED: &str = "not checked: no HELLO was seen";

fn damaged(length: usize) -> String {
    format!("DAMAGED {length} bytes, no packet")
}

/// What a capture says of a packet beside what is in it.
fn comment(seen: &Seen) -> Option<String> {
    match seen {
        Seen::Damaged { length } => Some(damaged(*length)),
        Seen::Unchecked(_) => Some(NOT_CHECKED.to_owned()),
        _ => None,
    }
}

fn describe_hello(hello: HelloSeen) -> String {
    let HelloSeen { keeps, ready, encrypted, mru, window, epoch, echo } = hello;
    let mut text = format!("HELLO epoch={epoch:08x} mru={mru} window={window}");
    if echo != 0 {
        // Writing to a String does not fail, here and below.
        let _ = write!(text, " to={echo:08x}");
    }
    for (has, what) in [(keeps, "keeps"), (ready, "ready"), (encrypted, "encrypted")] {
        if has {
            text.push(' ');
            text.push_str(what);
        }
    }
    text
}

fn describe(packet: &PacketSeen) -> String {
    let PacketSeen { seq, ack, nak, probe, length, kept, turn } = packet;
    let mut text = match seq {
        Some(seq) => format!("DATA seq={seq} ack={ack}"),
        None => format!("ACK ack={ack}"),
    };
    if *nak {
        text.push_str(" nak");
    }
    if *probe {
        text.push_str(" probe");
    }
    if !kept.is_empty() {
        let _ = write!(text, " kept={}", ranges(kept));
    }
    if seq.is_some() {
        let _ = write!(text, " {length} bytes");
    }
    text.push_str(match turn {
        TurnSeen::Now => "",
        TurnSeen::Early => ", early",
        TurnSeen::Again => ", again",
    });
    text
}

/// `62-1,3`: numbers in order, modulo 64.
fn ranges(numbers: &[u8]) -> String {
    let mut ranges: Vec<(u8, u8)> = Vec::new();
    for number in numbers {
        match ranges.last_mut() {
            Some((_, last)) if (*last + 1) % 64 == *number => *last = *number,
            _ => ranges.push((*number, *number)),
        }
    }
    let texts = ranges.iter().map(|(first, last)| match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    });
    texts.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_acknowledgement_says_which_packets_are_kept() {
        assert_eq!(ranges(&[5]), "5");
        assert_eq!(ranges(&[5, 7, 8, 62, 63, 0, 1, 3]), "5,7-8,62-1,3");
    }
}
