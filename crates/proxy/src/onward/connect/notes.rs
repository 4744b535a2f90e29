//! What a handshake shows on its way, beside its result.
//!
//! rustls asks the verifier and the resolver of a configuration, which all its connections share;
//! what they learn about one of them goes to the notes of the task that runs it.

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::sign::CertifiedKey;

/// What is known about a handshake.
#[derive(Clone, Debug, Default)]
pub(super) struct Notes {
    /// What is wrong with the peer's certificate, for a person.
    pub(super) certificate: Option<String>,
    /// Whether the peer asked for a certificate of ours.
    pub(super) asked_for_ours: bool,
}

/// The notes of one handshake, which may run in several tasks.
#[derive(Clone, Debug, Default)]
pub(super) struct Notebook(Arc<Mutex<Notes>>);

impl Notebook {
    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was noted so far.
    pub(super) fn take(&self) -> Notes {
        std::mem::take(&mut *self.notes())
    }

    /// Notes in here what this learns.
    pub(super) fn kept_by<R>(self, work: impl Future<Output = R>) -> impl Future<Output = R> {
        NOTES.scope(self, work)
    }
}

tokio::task_local! {
    static NOTES: Notebook;
}

impl Notes {
    /// Runs a handshake; its result, and what was noted meanwhile.
    pub(super) async fn of<R>(handshake: impl Future<Output = R>) -> (R, Notes) {
        let notebook = Notebook::default();
        let result = notebook.clone().kept_by(handshake).await;
        (result, notebook.take())
    }

    /// Notes something of the handshake that is running.
    pub(super) fn change(change: impl FnOnce(&mut Notes)) {
        // Outside of one nobody would read it.
        let _ = NOTES.try_with(|notebook| change(&mut notebook.notes()));
    }
}

/// Has no certificate, and notes that one was asked for.
#[derive(Debug)]
pub(super) struct NoCertificate;

impl NoCertificate {
    pub(super) fn resolver() -> Arc<dyn ResolvesClientCert> {
        Arc::new(Self)
    }
}

impl ResolvesClientCert for NoCertificate {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Notes::change(|notes| notes.asked_for_ours = true);
        None
    }

    fn has_certs(&self) -> bool {
        false
    }
}
