//! One end of the mux, which receives any bytes, in any cut.

use sspc_mux::{Config, Event, Instant, Mux, Role};

use crate::mux_app::{App, STEPS};

/// What happens at an end.
#[derive(Debug, Default, PartialEq)]
struct Record {
    /// The application's events, with the pieces of a channel's bytes joined.
    told: Vec<Told>,
    sent: Vec<u8>,
}

#[derive(Debug, PartialEq)]
enum Told {
    Event(String),
    Data(u8, Vec<u8>),
}

struct End {
    mux: Mux,
    app: App,
    record: Record,
}

const NOW: Instant = Instant::from_millis(1000);

/// The first byte chooses the role and whether the link is up, the rest is what the peer sends.
pub fn mux(input: &[u8]) {
    let (input, sizes) = crate::cuts::split(input);
    let Some((choice, bytes)) = input.split_first() else { return };
    let whole = hear(*choice, [bytes]);
    assert_eq!(hear(*choice, bytes.chunks(1)), whole);
    assert_eq!(hear(*choice, sspc_sim::frames::cut(bytes, &sizes)), whole);
}

fn hear<'i>(choice: u8, chunks: impl IntoIterator<Item = &'i [u8]>) -> Record {
    let role = if choice & 1 == 0 { Role::Client } else { Role::Proxy };
    let mut end = End {
        mux: Mux::new(role, Config::DEFAULT, 1),
        app: App::new(false, choice & 4 == 0),
        record: Record::default(),
    };
    end.send();
    if choice & 2 == 0 {
        // The lowest bit of a PING's time says which end sent it.
        let time = (NOW.as_micros() & !1 | role as u64).to_be_bytes();
        end.receive(&[&[0xf7][..], &time, &time].concat());
        assert!(end.mux.is_up());
    }
    for chunk in chunks {
        end.receive(chunk);
    }
    end.send();
    end.app.check(&end.mux);
    end.record
}

impl End {
    fn receive(&mut self, bytes: &[u8]) {
        let mut input = bytes;
        for _ in 0..STEPS {
            let Some(event) = self.mux.receive(NOW, &mut input) else {
                assert!(input.is_empty(), "a mux with nothing to tell has taken all");
                return;
            };
            self.record.tell(event);
            self.app.see(&mut self.mux, event);
            match event {
                Event::LinkUp { .. } => {
                    self.app.open(&mut self.mux, 3);
                    self.app.open(&mut self.mux, 4);
                    self.send();
                }
                Event::Opened { channel } => {
                    self.app.send(&mut self.mux, channel, 100);
                    self.send();
                }
                _ => {}
            }
        }
        panic!("the mux makes ever more of {} bytes", bytes.len());
    }

    fn send(&mut self) {
        for _ in 0..STEPS {
            if !self.app.transmit(&mut self.mux, NOW, 512, &mut self.record.sent) {
                return;
            }
        }
        panic!("the mux has always more to send");
    }
}

impl Record {
    fn tell(&mut self, event: Event<'_>) {
        match (event, self.told.last_mut()) {
            (Event::Data { channel, piece }, Some(Told::Data(before, bytes)))
                if *before == channel.index() =>
            {
                bytes.extend_from_slice(piece);
            }
            (Event::Data { channel, piece }, _) => {
                self.told.push(Told::Data(channel.index(), piece.to_vec()));
            }
            (event, _) => self.told.push(Told::Event(format!("{event:?}"))),
        }
    }
}
