//! What a handshake shows on its way, beside its result.
//!
//! rustls asks the verifier and the resolver of a configuration, which all its connections share;
//! what they learn about one of them goes to the notes of the task that runs it.

use std::cell::RefCell;
use std::future::Future;
use std::sync::Arc;

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

tokio::task_local! {
    static NOTES: RefCell<Notes>;
}

impl Notes {
    /// Runs a handshake; its result, and what was noted meanwhile.
    pub(super) async fn of<R>(handshake: impl Future<Output = R>) -> (R, Notes) {
        NOTES
            .scope(RefCell::default(), async {
                let result = handshake.await;
                (result, NOTES.with(RefCell::take))
            })
            .await
    }

    /// Notes something of the handshake that is running.
    pub(super) fn change(change: impl FnOnce(&mut Notes)) {
        // Outside of one nobody would read it.
        let _ = NOTES.try_with(|notes| change(&mut notes.borrow_mut()));
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
