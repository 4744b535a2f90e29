//! A user of one stream, who notes all that it hears.

use std::ops::Deref;
use std::time::Duration;

use sspc::Timeout;
use sspc::tokio::{Client, Event, Flags, StreamHandle};
use tokio::time::timeout;

use crate::content;

/// Ends what hangs; nothing is asserted by it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// Messages are kept up to this length; longer ones are compared with the content as they come.
const KEPT_MAX: usize = 4 << 20;

/// A message, or a response's body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Message {
    /// Its beginning.
    pub(crate) data: Vec<u8>,
    pub(crate) length: u64,
    /// Whether it is [`content`] from its beginning.
    pub(crate) is_content: bool,
    /// Whether its end came.
    pub(crate) is_whole: bool,
}

/// A stream with its events taken down.
pub(crate) struct User {
    stream: StreamHandle,
    /// What came, in one word each: states, metadata as `name=value`, PERF, and SOM and EOM for the
    /// begin and end of a message.
    words: Vec<String>,
    pub(crate) messages: Vec<Message>,
    /// The latest measurements.
    pub(crate) perf: Option<String>,
}

impl Deref for User {
    type Target = sspc::tokio::Sender;

    fn deref(&self) -> &Self::Target {
        &self.stream
    }
}

impl User {
    pub(crate) async fn open(client: &Client, streamtype: &str) -> Self {
        let opening = timeout(PATIENCE, client.open(streamtype)).await;
        Self::of(opening.expect("no stream").unwrap())
    }

    pub(crate) fn of(stream: StreamHandle) -> Self {
        Self { stream, words: Vec::new(), messages: Vec::new(), perf: None }
    }

    /// Connects, and gives what came until the transaction's end.
    pub(crate) async fn get(&mut self) -> String {
        self.connect();
        self.end().await
    }

    /// Sends a message with its length told before, and gives what came until the transaction's
    /// end.
    pub(crate) async fn post(&mut self, body: &[u8]) -> String {
        self.send_message(body).await.unwrap();
        self.end().await
    }

    /// Takes everything up to where the stream rests, and gives what came since the last call.
    ///
    /// That nothing comes after it is made sure by a timeout: TIMEOUT comes behind whatever was
    /// there before it.
    pub(crate) async fn end(&mut self) -> String {
        self.until("DISCONNECTED|ALL_RETRIES_FAILED|DESTROYING").await;
        if self.last() != "DESTROYING" {
            self.set_timeout(Timeout::Millis(1));
            self.until("TIMEOUT").await;
            self.words.pop();
        }
        self.heard()
    }

    /// Takes events up to one of these words, separated by `|`.
    pub(crate) async fn until(&mut self, words: &str) {
        let wanted: Vec<_> = words.split('|').collect();
        loop {
            let before = self.words.len();
            self.next().await;
            let new = &self.words[before..];
            if new.iter().any(|word| wanted.contains(&word.as_str())) {
                return;
            }
        }
    }

    /// Takes events until so much of the latest message is there.
    pub(crate) async fn until_length(&mut self, length: u64) {
        while self.messages.last().is_none_or(|message| message.length < length) {
            self.next().await;
        }
    }

    /// Takes events until there are so many whole messages.
    pub(crate) async fn until_messages(&mut self, count: usize) {
        while self.messages.iter().filter(|message| message.is_whole).count() < count {
            self.next().await;
        }
    }

    /// Takes the next event.
    pub(crate) async fn next(&mut self) {
        let event = match timeout(PATIENCE, self.stream.next()).await {
            Ok(Some(event)) => event,
            Ok(None) => panic!("the stream is over after {:?}", self.words),
            Err(_) => panic!("nothing more comes after {:?}", self.words),
        };
        self.note(event);
    }

    /// What came since the last call.
    pub(crate) fn heard(&mut self) -> String {
        std::mem::take(&mut self.words).join(" ")
    }

    fn last(&self) -> &str {
        self.words.last().map_or("", String::as_str)
    }

    /// The body of the latest response as text.
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.messages.last().expect("no message").data).unwrap()
    }

    /// Asserts that the latest message is whole and has this length and the content.
    pub(crate) fn assert_content(&self, length: u64) {
        let message = self.messages.last().expect("no message");
        let Message { is_content, is_whole, .. } = *message;
        assert_eq!((message.length, is_content, is_whole), (length, true, true));
    }

    /// Tells the proxy to destroy the stream, and waits until it is gone.
    pub(crate) async fn close(self) {
        timeout(PATIENCE, self.stream.close()).await.expect("the stream does not close");
    }

    fn note(&mut self, event: Event) {
        match event {
            Event::State { state, .. } => self.words.push(state.to_string()),
            Event::Metadata { name, value } => {
                self.words.push(format!("{name}={}", String::from_utf8_lossy(&value)));
            }
            Event::Payload { data, flags, rideshare } => {
                assert_eq!(rideshare, None);
                self.note_payload(&data, flags);
            }
            Event::Perf(json) => {
                self.words.push("PERF".to_owned());
                self.perf = Some(String::from_utf8(json).unwrap());
            }
            other => self.words.push(format!("{other:?}")),
        }
    }

    fn note_payload(&mut self, data: &[u8], flags: Flags) {
        let in_message = self.messages.last().is_some_and(|message| !message.is_whole);
        if flags.contains(Flags::SOM) {
            self.words.push("SOM".to_owned());
            self.messages.push(Message { is_content: true, ..Message::default() });
        } else {
            assert!(in_message, "payload outside of a message after {:?}", self.words);
        }
        let Some(message) = self.messages.last_mut() else { return };
        message.is_content &= content::matches(message.length, data);
        message.length += data.len() as u64;
        let room = KEPT_MAX.saturating_sub(message.data.len());
        message.data.extend_from_slice(&data[..data.len().min(room)]);
        if flags.contains(Flags::EOM) {
            self.words.push("EOM".to_owned());
            message.is_whole = true;
        }
    }
}
