//! Which look-ups there are, who waits for them, and whose turn it is.
//!
//! Equal names are one look-up. A client has a bounded number of look-ups in progress, and so have
//! all together; what is beyond waits, each client in a queue of its own. A free place goes to the
//! client that has the fewest look-ups in progress. So one client's names, however slow, cost
//! another client nothing.
//!
//! This is bookkeeping alone: it starts nothing and waits for nothing.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use tokio::sync::oneshot;
use tokio::task::AbortHandle;

use super::dns::Answer;
use crate::identity::Identity;

/// One who waits, in the order of arrival.
pub(super) type Ticket = u64;

/// A look-up, so that its task is not taken for that of a later one of the same name.
pub(super) type LookupId = u64;

#[derive(Debug)]
pub(super) struct Table {
    /// Most look-ups in progress.
    max: usize,
    /// Most look-ups in progress of one client.
    max_per_client: usize,
    in_progress: usize,
    lookups: HashMap<Arc<str>, Lookup>,
    /// Those that have look-ups in progress or queued.
    clients: HashMap<Identity, Client>,
    last_number: u64,
}

#[derive(Debug)]
struct Lookup {
    id: LookupId,
    /// Set once its turn has come.
    progress: Option<Progress>,
    /// Empty only when the look-up is about to go.
    waiting: BTreeMap<Ticket, Waiting>,
}

#[derive(Debug)]
struct Progress {
    /// The client whose place it takes: always one that waits for it.
    counts_for: Identity,
    task: Option<AbortHandle>,
}

#[derive(Debug)]
struct Waiting {
    client: Identity,
    answer: oneshot::Sender<Answer>,
}

#[derive(Debug, Default)]
struct Client {
    in_progress: usize,
    queue: BTreeMap<Ticket, Arc<str>>,
}

impl Table {
    /// An empty table. Limits below 1 are 1, since nothing could be looked up otherwise, and one client
    /// cannot have more than half of all, so that others find a place.
    pub(super) fn new(max: usize, max_per_client: usize) -> Self {
        Self {
            max: max.max(1),
            max_per_client: max_per_client.min(max / 2).max(1),
            in_progress: 0,
            lookups: HashMap::new(),
            clients: HashMap::new(),
            last_number: 0,
        }
    }

    /// Waits for the look-up of this name, which may be there already.
    pub(super) fn join(
        &mut self,
        name: &Arc<str>,
        client: &Identity,
    ) -> (Ticket, oneshot::Receiver<Answer>) {
        self.last_number += 1;
        let ticket = self.last_number;
        let (answer, receiver) = oneshot::channel();
        let lookup = self.lookups.entry(Arc::clone(name)).or_insert_with(|| Lookup {
            id: ticket,
            progress: None,
            waiting: BTreeMap::new(),
        });
        lookup.waiting.insert(ticket, Waiting { client: client.clone(), answer });
        if lookup.progress.is_none() {
            // In the queue of each client that waits: another one's queue may be long.
            let client = self.clients.entry(client.clone()).or_default();
            client.queue.insert(ticket, Arc::clone(name));
        }
        (ticket, receiver)
    }

    /// The look-up whose turn it is, if there is a place for one; it is in progress from now on.
    pub(super) fn next(&mut self) -> Option<(Arc<str>, LookupId)> {
        if self.in_progress >= self.max {
            return None;
        }
        let turns = self.clients.iter().filter_map(|(identity, client)| {
            let (ticket, name) = client.queue.first_key_value()?;
            let allowed = client.in_progress < self.max_per_client;
            allowed.then_some((client.in_progress, ticket, identity, name))
        });
        let (_, _, identity, name) =
            turns.min_by_key(|&(in_progress, ticket, ..)| (in_progress, ticket))?;
        let (identity, name) = (identity.clone(), Arc::clone(name));
        let lookup = self.lookups.get_mut(&name)?;
        lookup.progress = Some(Progress { counts_for: identity.clone(), task: None });
        let id = lookup.id;
        for (ticket, waiting) in &lookup.waiting {
            if let Some(client) = self.clients.get_mut(&waiting.client) {
                client.queue.remove(ticket);
            }
        }
        self.in_progress += 1;
        self.clients.entry(identity).or_default().in_progress += 1;
        self.clients.retain(|_, client| !client.is_idle());
        Some((name, id))
    }

    /// Notes the task of a look-up that [`Table::next`] gave.
    pub(super) fn started(&mut self, name: &str, task: AbortHandle) {
        let lookup = self.lookups.get_mut(name);
        if let Some(progress) = lookup.and_then(|lookup| lookup.progress.as_mut()) {
            progress.task = Some(task);
        }
    }

    /// Waits no longer. A look-up that nobody else waits for ends.
    pub(super) fn leave(&mut self, name: &str, ticket: Ticket) {
        let Some(lookup) = self.lookups.get_mut(name) else { return };
        let Some(left) = lookup.waiting.remove(&ticket) else { return };
        match &mut lookup.progress {
            None => {
                if let Some(client) = self.clients.get_mut(&left.client) {
                    client.queue.remove(&ticket);
                }
            }
            Some(progress) => {
                let mut others = lookup.waiting.values().map(|waiting| &waiting.client);
                let first = others.next().cloned();
                let still_waits =
                    first.as_ref() == Some(&left.client) || others.any(|c| *c == left.client);
                if progress.counts_for == left.client && !still_waits {
                    release(&mut self.clients, &left.client);
                    if let Some(heir) = first {
                        self.clients.entry(heir.clone()).or_default().in_progress += 1;
                        progress.counts_for = heir;
                    } else {
                        self.in_progress -= 1;
                        if let Some(task) = &progress.task {
                            task.abort();
                        }
                    }
                }
            }
        }
        if lookup.waiting.is_empty() {
            self.lookups.remove(name);
        }
        if self.clients.get(&left.client).is_some_and(Client::is_idle) {
            self.clients.remove(&left.client);
        }
    }

    /// Answers all who wait for this look-up; it is over.
    pub(super) fn finish(&mut self, name: &str, id: LookupId, answer: &Answer) {
        if self.lookups.get(name).is_none_or(|lookup| lookup.id != id) {
            return;
        }
        let Some(lookup) = self.lookups.remove(name) else { return };
        if let Some(progress) = lookup.progress {
            self.in_progress -= 1;
            release(&mut self.clients, &progress.counts_for);
        }
        for waiting in lookup.waiting.into_values() {
            // Who has just left needs no answer.
            let _ = waiting.answer.send(answer.clone());
        }
    }

    /// Look-ups in progress, look-ups in all, and clients that have any.
    #[cfg(test)]
    pub(super) fn sizes(&self) -> (usize, usize, usize) {
        (self.in_progress, self.lookups.len(), self.clients.len())
    }
}

impl Client {
    fn is_idle(&self) -> bool {
        self.in_progress == 0 && self.queue.is_empty()
    }
}

/// Gives a client's place back.
fn release(clients: &mut HashMap<Identity, Client>, identity: &Identity) {
    if let Some(client) = clients.get_mut(identity) {
        client.in_progress -= 1;
        if client.is_idle() {
            clients.remove(identity);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::dns::Miss;
    use super::*;

    const NO_SUCH_NAME: Answer = Err(Miss::Unknown);

    fn user(uid: u32) -> Identity {
        Identity::User(uid)
    }

    fn name(text: &str) -> Arc<str> {
        text.into()
    }

    /// The names whose turn it is now.
    fn turns(table: &mut Table) -> Vec<String> {
        std::iter::from_fn(|| table.next()).map(|(name, _)| name.to_string()).collect()
    }

    #[test]
    fn a_client_has_its_own_queue_and_its_own_limit() {
        let mut table = Table::new(100, 2);
        for i in 0..70 {
            table.join(&name(&format!("silent{i}")), &user(1));
        }
        assert_eq!(turns(&mut table), ["silent0", "silent1"]);
        table.join(&name("other"), &user(2));
        assert_eq!(turns(&mut table), ["other"]);
    }

    #[test]
    fn one_client_has_no_more_than_half_of_all() {
        let mut table = Table::new(4, 100);
        for i in 0..9 {
            table.join(&name(&format!("silent{i}")), &user(1));
        }
        assert_eq!(turns(&mut table), ["silent0", "silent1"]);
        table.join(&name("other"), &user(2));
        assert_eq!(turns(&mut table), ["other"]);
    }

    #[test]
    fn a_free_place_goes_to_the_client_with_the_fewest_in_progress() {
        let mut table = Table::new(4, 2);
        for i in 0..9 {
            table.join(&name(&format!("a{i}")), &user(1));
            table.join(&name(&format!("b{i}")), &user(2));
        }
        assert_eq!(turns(&mut table), ["a0", "b0", "a1", "b1"]);
        table.join(&name("c"), &user(3));
        assert_eq!(turns(&mut table), [""; 0]);
        table.finish("b0", 2, &NO_SUCH_NAME);
        assert_eq!(turns(&mut table), ["c"]);
    }

    /// A name that one client has far back in its queue is not there for another client.
    #[test]
    fn a_name_comes_up_when_it_is_any_of_its_clients_turn() {
        let mut table = Table::new(100, 1);
        for text in ["x", "y", "wanted"] {
            table.join(&name(text), &user(1));
        }
        assert_eq!(turns(&mut table), ["x"]);
        let (_, mut answer) = table.join(&name("wanted"), &user(2));
        let (found, id) = table.next().unwrap();
        assert_eq!(&*found, "wanted");
        // It is the second client's look-up, so the first one still has one place and not none.
        table.finish("x", 1, &NO_SUCH_NAME);
        assert_eq!(turns(&mut table), ["y"]);
        table.finish("wanted", id, &NO_SUCH_NAME);
        assert!(answer.try_recv().is_ok());
    }

    #[test]
    fn a_look_up_passes_to_those_who_stay_and_ends_with_the_last() {
        let mut table = Table::new(100, 1);
        let (first, _) = table.join(&name("n"), &user(1));
        let (again, _) = table.join(&name("n"), &user(1));
        assert_eq!(turns(&mut table), ["n"]);
        let (second, _) = table.join(&name("n"), &user(2));
        assert_eq!(turns(&mut table), [""; 0]);
        table.leave("n", first);
        table.join(&name("m"), &user(1));
        assert_eq!(turns(&mut table), [""; 0], "it still counts for the first client");
        table.leave("n", again);
        assert_eq!(turns(&mut table), ["m"], "it counts for the second one now");
        table.join(&name("o"), &user(2));
        assert_eq!(turns(&mut table), [""; 0]);
        table.leave("n", second);
        assert_eq!(turns(&mut table), ["o"]);
        assert_eq!(table.sizes(), (2, 2, 2));
    }

    #[test]
    fn nothing_is_left_of_those_who_came_and_went() {
        let mut table = Table::new(8, 2);
        for i in 0..3000_u32 {
            let name = name(&format!("silent{}", i % 7));
            let (ticket, _) = table.join(&name, &user(i % 5));
            turns(&mut table);
            let (other, _) = table.join(&name, &user(i % 3));
            if i % 2 == 0 {
                table.finish(&name, ticket, &NO_SUCH_NAME);
            }
            table.leave(&name, ticket);
            table.leave(&name, other);
        }
        assert_eq!(table.sizes(), (0, 0, 0));
    }

    /// The task of a look-up that ended may still be running when its name is asked for again.
    #[test]
    fn a_late_answer_is_not_taken_for_that_of_a_later_look_up() {
        let mut table = Table::new(8, 2);
        let (ticket, _) = table.join(&name("n"), &user(1));
        let (_, id) = table.next().unwrap();
        table.leave("n", ticket);
        let (_, mut answer) = table.join(&name("n"), &user(1));
        table.finish("n", id, &NO_SUCH_NAME);
        assert!(answer.try_recv().is_err());
        assert_eq!(turns(&mut table), ["n"]);
    }
}
