//! Frames that are longer than any room to write them in, as metadata is on a slow serial line.

use sspc::{BUF_MIN, Config, Instant, Name, State, Stream};

use crate::harness::{created, frames, state};

const NOW: Instant = Instant::ZERO;

struct Cut {
    stream: Stream<[u8; 600]>,
    sent: Vec<u8>,
}

impl Cut {
    fn new() -> Self {
        let name = Name::literal("a-streamtype-of-thirty-one-byte");
        let stream = Stream::new(name, Config::DEFAULT, [0; 600]);
        let mut this = Self { stream, sent: Vec::new() };
        this.stream.link_up(NOW);
        this
    }

    fn hear(&mut self, bytes: &[u8]) {
        let mut input = bytes;
        while self.stream.receive(NOW, &mut input).is_some() {}
    }

    /// Transmits once into so much room; returns how many bytes.
    fn once(&mut self, size: usize) -> usize {
        let mut buf = vec![0; size];
        let length = self.stream.transmit(NOW, &mut buf, &mut |_| None).unwrap();
        self.sent.extend_from_slice(&buf[..length]);
        length
    }

    fn all(&mut self, size: usize) {
        while self.once(size) > 0 {}
    }
}

#[test]
fn frames_pass_through_rooms_of_any_size() {
    for size in BUF_MIN..80 {
        let mut cut = Cut::new();
        cut.all(size);
        let streamtype = format!("STREAMTYPE {} 500000000", cut.stream.streamtype());
        assert_eq!(frames(&cut.sent), [streamtype]);
        cut.sent.clear();
        cut.hear(&[created(), state(State::Creating)].concat());
        let (long, short) = ("l".repeat(300), "short");
        cut.stream.set_metadata("long", long.as_bytes()).unwrap();
        cut.stream.set_metadata("short", short.as_bytes()).unwrap();
        cut.stream.connect();
        cut.all(size);
        let [first, short_too, connect] = &frames(&cut.sent)[..] else { panic!() };
        assert_eq!(*first, format!("METADATA long={long}"));
        assert_eq!((&short_too[..], &connect[..]), ("METADATA short=short", "ONWARD_CONNECT"));
    }
}

#[test]
fn nothing_comes_between_the_parts_of_a_frame() {
    let mut cut = Cut::new();
    cut.all(100);
    cut.hear(&created());
    cut.sent.clear();
    let long = "l".repeat(200);
    cut.stream.set_metadata("q", long.as_bytes()).unwrap();
    assert_eq!(cut.once(50), 50);
    // It is on its way: what replaces it follows, and so does the timeout.
    cut.stream.set_metadata("q", b"new").unwrap();
    cut.stream.set_metadata("q", b"newest").unwrap();
    cut.stream.set_timeout(sspc::Timeout::Millis(7));
    cut.all(50);
    let first = format!("METADATA q={long}");
    assert_eq!(frames(&cut.sent), [&first[..], "METADATA q=newest", "TIMEOUT Millis(7)"]);

    // Set once more, none of the old ones takes room.
    cut.stream.set_metadata("q", b"last").unwrap();
    cut.stream.set_metadata("r", &[b'r'; 500]).unwrap();
}

#[test]
fn a_new_link_begins_with_a_whole_frame() {
    let mut cut = Cut::new();
    cut.all(100);
    cut.hear(&created());
    cut.stream.set_metadata("q", &[b'q'; 200]).unwrap();
    assert_eq!(cut.once(50), 50);
    cut.stream.link_down(NOW);
    cut.stream.link_up(NOW);
    assert_eq!(cut.once(BUF_MIN), BUF_MIN);
    cut.stream.link_down(NOW);
    cut.stream.link_up(NOW);
    cut.sent.clear();
    cut.all(100);
    cut.hear(&created());
    cut.all(100);
    assert_eq!(frames(&cut.sent)[1], format!("METADATA q={}", "q".repeat(200)));
}

#[test]
fn a_stream_that_is_closed_inside_a_frame_says_no_more() {
    let mut cut = Cut::new();
    cut.all(100);
    cut.hear(&created());
    cut.stream.set_metadata("q", &[b'q'; 200]).unwrap();
    assert_eq!(cut.once(50), 50);
    cut.stream.close();
    assert_eq!(cut.once(50), 0);
    assert_eq!(cut.stream.poll_link(NOW), Some(sspc::LinkAction::Drop));
}
