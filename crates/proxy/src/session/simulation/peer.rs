//! The remote peer of one attempt: it gives what it has to give, and sees to it that what it takes
//! is whole messages, or the beginning of one if the session breaks off.

use std::time::Duration;

use bytes::Bytes;
use sspc_sim::Rng;
use sspc_wire::Flags;
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::content::{self, Label, Maker};
use super::play::{Part, Play};
use super::setup::Task;
use crate::onward::{Attempt, End, Event, Failure, FailureKind, Takes, TxChunk};

pub(super) struct Peer {
    play: Play,
    number: u32,
    part: Part,
    rng: Rng,
    events: mpsc::Sender<Event>,
    chunks: mpsc::Receiver<TxChunk>,
    hint: Option<u32>,
    /// Bytes of payload that went through, both ways.
    passed: usize,
    /// What came of a message that has not ended.
    open: Option<Vec<u8>>,
    /// Messages that this peer made.
    made: u32,
}

/// Why the attempt goes no further.
enum Stop {
    /// The session ended it.
    Gone,
    /// It was to be lost here.
    Lost,
}

impl Peer {
    pub(super) fn new(
        play: Play,
        number: u32,
        part: Part,
        rng: Rng,
        attempt: Attempt,
        events: mpsc::Sender<Event>,
        chunks: mpsc::Receiver<TxChunk>,
    ) -> Self {
        let hint = attempt.length_hint;
        let query = attempt.metadata.iter().find(|(name, _)| name == "query");
        assert_eq!(query.map(|(_, value)| &value[..]), Some(&b"all of it"[..]), "the metadata");
        Self { play, number, part, rng, events, chunks, hint, passed: 0, open: None, made: 0 }
    }

    pub(super) async fn play(mut self) {
        let wordless = matches!(self.part, Part::Wordless | Part::Lost { wordless: true, .. });
        let result = self.act().await;
        let is_lost = matches!(result, Err(Stop::Lost));
        let end = match result {
            Ok(end) => end,
            Err(Stop::Lost) => End::Failed(Failure::new(FailureKind::Closed, "as the play has it")),
            Err(Stop::Gone) => {
                self.play.note(format!("    attempt {}: broken off", self.number));
                return;
            }
        };
        self.play.note(format!("    attempt {}: {end:?}", self.number));
        if !(wordless && is_lost) {
            let _ = self.events.send(Event::Ended(end)).await;
        }
    }

    async fn act(&mut self) -> Result<End, Stop> {
        self.pause().await;
        match self.part {
            Part::Refused => {
                let retry_after = self.rng.chance(300_000).then_some(Duration::from_millis(300));
                return Ok(End::Failed(
                    Failure::new(FailureKind::Connect, "refused").retry_after(retry_after),
                ));
            }
            Part::Wordless => return Err(Stop::Lost),
            Part::Whole | Part::Lost { .. } | Part::Nack { .. } => {}
        }
        match self.play.setup().task {
            Task::Get => {
                self.introduce().await?;
                self.say(Event::Connected { takes: Takes::Nothing }).await?;
                self.respond().await
            }
            Task::Post { .. } => {
                self.say(Event::Connected { takes: Takes::Message }).await?;
                self.take_body().await?;
                self.pause().await;
                self.introduce().await?;
                self.respond().await
            }
            Task::Ws { .. } => {
                self.introduce().await?;
                self.say(Event::Connected { takes: Takes::Messages }).await?;
                self.echo().await
            }
        }
    }

    /// What a response's head brings.
    async fn introduce(&mut self) -> Result<(), Stop> {
        let number = Bytes::from(self.number.to_string());
        self.say(Event::Metadata(vec![("attempt".to_owned(), number)])).await?;
        if self.at_times(200_000) {
            self.say(Event::UserState(1200)).await?;
        }
        if self.at_times(200_000) {
            self.say(Event::Perf("{\"peer\":\"::1\"}".to_owned())).await?;
        }
        Ok(())
    }

    /// A body and what is thought of the request.
    async fn respond(&mut self) -> Result<End, Stop> {
        if !self.at_times(50_000) {
            self.give_own().await?;
        }
        if let Part::Lost { .. } = self.part {
            return Err(Stop::Lost);
        }
        self.say(if let Part::Nack { .. } = self.part { Event::nacked() } else { Event::acked() })
            .await?;
        self.pause().await;
        Ok(End::Complete)
    }

    /// Gives a message of this peer's own.
    async fn give_own(&mut self) -> Result<(), Stop> {
        let length = self.play.setup().length(&mut self.rng);
        let label = Label { maker: Maker::Peer { attempt: self.number }, number: self.made };
        self.made += 1;
        self.give(content::make(label, length)).await?;
        self.play.records().attempts[self.number as usize].given += 1;
        Ok(())
    }

    async fn give(&mut self, message: Vec<u8>) -> Result<(), Stop> {
        let mut rest = Bytes::from(message);
        let mut start = Flags::SOM;
        while !rest.is_empty() {
            let length = self.piece().min(rest.len());
            let bytes = rest.split_to(length);
            // Where the end is known only afterwards it comes by itself.
            let ends = rest.is_empty() && !self.at_times(200_000);
            let flags = if ends { start | Flags::EOM } else { start };
            start = Flags::NONE;
            self.give_piece(bytes, flags).await?;
            if rest.is_empty() && !ends {
                self.give_piece(Bytes::new(), Flags::EOM).await?;
            }
            self.pause().await;
        }
        Ok(())
    }

    async fn give_piece(&mut self, mut bytes: Bytes, mut flags: Flags) -> Result<(), Stop> {
        let lost = self.count(bytes.len());
        if let Some(fits) = lost {
            bytes.truncate(fits);
            flags = flags.without(Flags::EOM);
        }
        if lost != Some(0) {
            self.play.flow.give(bytes.len());
            self.say(Event::Payload { bytes, flags }).await?;
        }
        if lost.is_some() { Err(Stop::Lost) } else { Ok(()) }
    }

    /// Counts payload; how much of it still fits if the attempt is to be lost in it.
    fn count(&mut self, bytes: usize) -> Option<usize> {
        let before = self.passed;
        self.passed += bytes;
        match self.part {
            Part::Lost { after, .. } if after <= self.passed && after > 0 => {
                Some(after.saturating_sub(before))
            }
            _ => None,
        }
    }

    /// The body of a request, as far as it is waited for.
    async fn take_body(&mut self) -> Result<(), Stop> {
        if self.part == (Part::Lost { after: 0, wordless: false }) {
            return Err(Stop::Lost);
        }
        loop {
            match self.part {
                Part::Nack { after } if after <= self.passed => break,
                _ => {}
            }
            if self.take_chunk().await?.is_some() {
                break;
            }
            // As a real body: announced bytes are the whole of it, whether or not EOM has come.
            if let (Some(hint), Some(open)) = (self.hint, &self.open)
                && open.len() >= hint as usize
            {
                let open = self.open.take().unwrap_or_default();
                self.took(&open);
                break;
            }
        }
        self.chunks.close();
        while self.chunks.try_recv().is_ok() {}
        Ok(())
    }

    /// Echoes what comes until the session ends the attempt.
    async fn echo(&mut self) -> Result<End, Stop> {
        if self.part == (Part::Lost { after: 0, wordless: false }) {
            return Err(Stop::Lost);
        }
        let at_once = self.at_times(500_000);
        loop {
            let chunk = self.chunks.recv().await.ok_or(Stop::Gone)?;
            let (bytes, flags) = (chunk.bytes.clone(), chunk.flags);
            let message = self.take(chunk)?;
            if at_once {
                self.give_piece(bytes, flags).await?;
            }
            let Some(message) = message else { continue };
            if !at_once {
                self.pause().await;
                self.give(message).await?;
            }
            if self.at_times(200_000) {
                self.give_own().await?;
            }
        }
    }

    async fn take_chunk(&mut self) -> Result<Option<Vec<u8>>, Stop> {
        let chunk = self.chunks.recv().await.ok_or(Stop::Gone)?;
        if self.rng.chance(300_000) {
            self.pause().await;
        }
        self.take(chunk)
    }

    /// Takes a chunk; the message if it is whole with it.
    fn take(&mut self, chunk: TxChunk) -> Result<Option<Vec<u8>>, Stop> {
        let TxChunk { bytes, flags, .. } = chunk;
        self.play.flow.take(bytes.len());
        let starts = flags.contains(Flags::SOM);
        assert_eq!(starts, self.open.is_none(), "SOM on each message's first piece: {flags}");
        let open = self.open.get_or_insert_default();
        let seen = open.len();
        open.extend_from_slice(&bytes);
        content::beginning(open, seen);
        let length = open.len();
        if self.count(bytes.len()).is_some() {
            return Err(Stop::Lost);
        }
        let ends = flags.contains(Flags::EOM);
        if let (Some(hint), Task::Post { .. }) = (self.hint, self.play.setup().task)
            && (length > hint as usize || ends && length < hint as usize)
        {
            // As a real request with a content-length that is not true.
            return Err(Stop::Lost);
        }
        if !ends {
            return Ok(None);
        }
        let message = self.open.take().unwrap_or_default();
        self.took(&message);
        Ok(Some(message))
    }

    /// A message is here in its whole length.
    fn took(&self, message: &[u8]) {
        let label = content::whole(message);
        let mut records = self.play.records();
        assert!(records.taken.insert(label), "{label:?} was taken before");
        records.attempts[self.number as usize].taken = Some(label);
        drop(records);
        self.play.note(format!("    attempt {}: took {label:?}", self.number));
    }

    async fn say(&self, event: Event) -> Result<(), Stop> {
        self.events.send(event).await.map_err(|_| Stop::Gone)
    }

    async fn pause(&mut self) {
        let us = self.play.setup().pause(&mut self.rng);
        if us > 0 {
            sleep(Duration::from_micros(us)).await;
        }
    }

    /// By chance, in so many cases per million.
    fn at_times(&mut self, per_million: u32) -> bool {
        self.play.setup().frills && self.rng.chance(per_million)
    }

    fn piece(&mut self) -> usize {
        let most = self.play.setup().piece_max;
        match self.play.setup().pause_us {
            0 => most,
            _ => 1 + self.rng.below(most as u64) as usize,
        }
    }
}
