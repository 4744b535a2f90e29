//! A device, a proxy with a table of keys, and a way between them that the tests control.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use sspc_arq::{
    Aead, Arq, ChaCha20Poly1305, Config, Key, KeyTable, Keys, OwnKey, Protection, Received, Sealed,
    SoftCrc,
};
use sspc_mux::{Instant, Role};

/// The keys of either end.
pub(crate) type AnyKeys = Box<dyn Keys>;
pub(crate) type Protect = Sealed<SoftCrc, Watched, AnyKeys>;

/// What was sealed: no key is ever used for two texts with the same nonce.
type Used = HashMap<([u8; 32], [u8; 12]), Vec<u8>>;

/// The cipher, with an eye on what it is used for.
#[derive(Clone, Default)]
pub(crate) struct Watched(Rc<RefCell<Used>>);

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

impl Watched {
    /// How many keys were used.
    pub(crate) fn keys(&self) -> usize {
        let used = self.0.borrow();
        used.keys().map(|(key, _)| key).collect::<std::collections::HashSet<_>>().len()
    }
}

pub(crate) fn own(id: &'static str, key: u8) -> AnyKeys {
    Box::new(OwnKey::new(id, Key::new([key; 32])))
}

pub(crate) fn table(keys: &[(&str, u8)]) -> AnyKeys {
    let table: KeyTable =
        keys.iter().map(|(id, key)| (id.as_bytes().to_vec(), Key::new([*key; 32]))).collect();
    Box::new(table)
}

/// Which keys the proxy of most tests knows.
pub(crate) fn known() -> AnyKeys {
    table(&[("lamp", 1), ("door", 2)])
}

pub(crate) fn sealed(watched: &Watched, keys: AnyKeys, seed: u32) -> Protect {
    let mut bytes = [0x5e; 32];
    bytes[..4].copy_from_slice(&seed.to_be_bytes());
    Sealed::new(SoftCrc, watched.clone(), keys, bytes)
}

/// One end.
pub(crate) struct End<P> {
    pub(crate) arq: Arq<P, Vec<u8>, Vec<u8>>,
    datagrams: bool,
    pub(crate) to_send: Vec<u8>,
    pub(crate) heard: Vec<u8>,
    pub(crate) opened: u32,
}

impl<P: Protection> End<P> {
    pub(crate) fn new(role: Role, config: Config, seed: u32, protection: P) -> Self {
        let mut arq = Arq::new(role, config, seed, protection, vec![0; 9000], vec![0; 4000]);
        arq.open(Instant::ZERO);
        Self { arq, datagrams: config.datagrams, to_send: vec![], heard: vec![], opened: 0 }
    }

    /// The next packet, if one is due.
    pub(crate) fn transmit(&mut self, now: Instant) -> Option<Vec<u8>> {
        let mut out = [0; 2000];
        let to_send = &mut self.to_send;
        let mut source = |room: &mut [u8]| {
            let length = room.len().min(to_send.len());
            for (to, from) in room.iter_mut().zip(to_send.drain(..length)) {
                *to = from;
            }
            length
        };
        let length = self.arq.transmit(now, &mut out, &mut source);
        (length > 0).then(|| out[..length].to_vec())
    }

    pub(crate) fn receive(&mut self, now: Instant, packet: &[u8]) {
        let mut rest = packet;
        loop {
            let received = if self.datagrams {
                self.arq.receive_datagram(now, std::mem::take(&mut rest))
            } else {
                self.arq.receive(now, &mut rest)
            };
            match received {
                None => break,
                Some(Received::Opened) => {
                    self.opened += 1;
                    self.heard.clear();
                }
                Some(Received::Data(bytes)) => self.heard.extend_from_slice(bytes),
                _ => {}
            }
        }
    }
}

/// Both ends, and all packets that ever passed.
pub(crate) struct Ends<P> {
    pub(crate) client: End<P>,
    pub(crate) proxy: End<P>,
    pub(crate) now: Instant,
    pub(crate) by_client: Vec<Vec<u8>>,
    pub(crate) by_proxy: Vec<Vec<u8>>,
}

pub(crate) const RADIO: Config = Config::datagrams(200);

impl<P: Protection> Ends<P> {
    pub(crate) fn new(config: Config, client: P, proxy: P) -> Self {
        Self {
            client: End::new(Role::Client, config, 1, client),
            proxy: End::new(Role::Proxy, config, 2, proxy),
            now: Instant::from_millis(1),
            by_client: vec![],
            by_proxy: vec![],
        }
    }

    /// Lets packets pass for so long.
    pub(crate) fn run(&mut self, for_ms: u64) {
        let until = Instant::from_micros(self.now.as_micros() + for_ms * 1000);
        while self.now < until {
            while let Some(packet) = self.client.transmit(self.now) {
                self.proxy.receive(self.now, &packet);
                self.by_client.push(packet);
            }
            while let Some(packet) = self.proxy.transmit(self.now) {
                self.client.receive(self.now, &packet);
                self.by_proxy.push(packet);
            }
            self.now = Instant::from_micros(self.now.as_micros() + 1000);
        }
    }

    pub(crate) fn are_open(&self) -> bool {
        self.client.arq.is_open() && self.proxy.arq.is_open()
    }

    /// What is said both ways arrives.
    pub(crate) fn speak(&mut self) {
        let heard = (self.client.heard.len(), self.proxy.heard.len());
        self.client.to_send.extend_from_slice(b"a question");
        self.proxy.to_send.extend_from_slice(b"an answer");
        self.run(5_000);
        assert_eq!(&self.proxy.heard[heard.1..], b"a question");
        assert_eq!(&self.client.heard[heard.0..], b"an answer");
    }
}

/// The two that most tests are about, with a session.
pub(crate) fn open_ends(config: Config) -> (Ends<Protect>, Watched) {
    let watched = Watched::default();
    let (client, proxy) = (sealed(&watched, own("lamp", 1), 11), sealed(&watched, known(), 12));
    let mut ends = Ends::new(config, client, proxy);
    ends.run(1000);
    assert!(ends.are_open());
    (ends, watched)
}
