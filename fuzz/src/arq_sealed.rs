//! Two ends of the packet layer with one key, and somebody between them who does what the input says: loses,
//! repeats, harms and makes up packets, and restarts ends.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use sspc_arq::{
    Aead, Arq, ChaCha20Poly1305, Config, Crc32, Key, KeyTable, Keys, OwnKey, Received, Sealed,
    SoftCrc,
};
use sspc_mux::{Instant, Role};

type Used = Rc<RefCell<HashMap<([u8; 32], [u8; 12]), Vec<u8>>>>;

/// The cipher, which sees to it that no key meets a nonce twice.
#[derive(Clone, Default)]
struct Watched(Used);

impl Aead for Watched {
    const SUITE: u8 = ChaCha20Poly1305::SUITE;

    fn seal(&mut self, key: &[u8; 32], nonce: &[u8; 12], text: &mut [u8]) -> [u8; 16] {
        let before = self.0.borrow_mut().insert((*key, *nonce), text.to_vec());
        assert!(before.is_none(), "a key and a nonce were used twice");
        ChaCha20Poly1305.seal(key, nonce, text)
    }

    fn open(&mut self, key: &[u8; 32], nonce: &[u8; 12], text: &mut [u8], tag: &[u8; 16]) -> bool {
        ChaCha20Poly1305.open(key, nonce, text, tag)
    }
}

type Protect = Sealed<SoftCrc, Watched, Box<dyn Keys>>;

struct End {
    arq: Arq<Protect, Vec<u8>, Vec<u8>>,
    role: Role,
    config: Config,
    /// Bytes count up, in the lower seven bits; the highest says whose they are.
    said: u8,
    to_say: usize,
    heard: Option<u8>,
}

impl End {
    fn new(role: Role, config: Config, life: u32, watched: &Watched) -> Self {
        let key = Key::new([7; 32]);
        let keys: Box<dyn Keys> = match role {
            Role::Client => Box::new(OwnKey::new("lamp", key)),
            Role::Proxy => Box::new(KeyTable::from([(b"lamp".to_vec(), key)])),
        };
        let mut chance = [role as u8; 32];
        chance[..4].copy_from_slice(&life.to_be_bytes());
        let protection = Sealed::new(SoftCrc, watched.clone(), keys, chance).change_keys_every(4);
        let mut arq = Arq::new(role, config, life, protection, vec![0; 2000], vec![0; 300]);
        arq.open(Instant::ZERO);
        Self { arq, role, config, said: 0, to_say: 0, heard: None }
    }

    fn transmit(&mut self, now: Instant) -> Option<Vec<u8>> {
        let mut out = [0; 600];
        let (said, to_say) = (&mut self.said, &mut self.to_say);
        let mark = (self.role as u8) << 7;
        let mut source = |room: &mut [u8]| {
            let length = room.len().min(*to_say);
            for byte in &mut room[..length] {
                *byte = mark | *said;
                *said = (*said + 1) & 0x7f;
            }
            *to_say -= length;
            length
        };
        let length = self.arq.transmit(now, &mut out, &mut source);
        (length > 0).then(|| out[..length].to_vec())
    }

    fn receive(&mut self, now: Instant, packet: &[u8]) {
        let mut rest = packet;
        for _ in 0..10_000 {
            let received = if self.config.datagrams {
                self.arq.receive_datagram(now, std::mem::take(&mut rest))
            } else {
                self.arq.receive(now, &mut rest)
            };
            match received {
                None => return,
                Some(Received::Opened) => self.heard = None,
                Some(Received::Data(bytes)) => {
                    for byte in bytes {
                        assert_ne!(byte >> 7, self.role as u8, "an end hears itself");
                        let number = byte & 0x7f;
                        let is_next = self.heard.is_none_or(|last| number == (last + 1) & 0x7f);
                        assert!(is_next, "{:?} hears {number} after {:?}", self.role, self.heard);
                        self.heard = Some(number);
                    }
                }
                Some(_) => {}
            }
        }
        panic!("ever more of {} bytes", packet.len());
    }
}

/// The first byte chooses line or datagrams, each other one does something.
pub fn arq_sealed(input: &[u8]) {
    let mut bytes = input.iter().copied();
    let Some(choice) = bytes.next() else { return };
    let config = if choice & 1 == 0 { Config::DEFAULT } else { Config::datagrams(100) };
    let config = Config { packet_max: 100, ..config };
    let watched = Watched::default();
    let mut ends = [Role::Client, Role::Proxy].map(|role| End::new(role, config, 1, &watched));
    let mut now = Instant::from_millis(1);
    let mut kept: Vec<Vec<u8>> = Vec::new();
    let mut life = 1;
    while let Some(byte) = bytes.next() {
        let (deed, much) = (byte >> 4, usize::from(byte & 15));
        // Even deeds concern the client, odd ones the proxy.
        let which = usize::from(deed & 1);
        let last = kept.len().checked_sub(much + 1).map(|at| kept[at].clone()).unwrap_or_default();
        match deed {
            0..4 => {
                for _ in 0..=much {
                    let Some(packet) = ends[which].transmit(now) else { break };
                    if deed < 2 {
                        ends[1 - which].receive(now, &packet);
                    }
                    kept.push(packet);
                }
            }
            4 | 5 => ends[which].receive(now, &last),
            6 | 7 => ends[which].to_say += much,
            8 | 9 => {
                life += 1;
                ends[which] = End::new(ends[which].role, config, life, &watched);
            }
            10 | 11 => {
                let raw: Vec<u8> = bytes.by_ref().take(much).collect();
                ends[which].receive(now, &raw);
            }
            12 | 13 => {
                let (mut harmed, at) = (last, usize::from(bytes.next().unwrap_or(0)));
                if let Some(byte) = harmed.get_mut(at) {
                    *byte ^= 1 << (much % 8);
                }
                // So that a HELLO is one still.
                if let (true, Some((said, sum))) =
                    (config.datagrams, harmed.split_last_chunk_mut::<4>())
                {
                    *sum = SoftCrc.crc32(&[], said).to_le_bytes();
                }
                ends[which].receive(now, &harmed);
            }
            _ => now = Instant::from_micros(now.as_micros() + (1000 << much)),
        }
        for end in &mut ends {
            if end.arq.is_closed() {
                end.arq.open(now);
            }
        }
    }
}
