//! `--admin`: where the proxy shows what it does.

use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use sspc_admin::{Admin, AdminAddress, AdminError, PolicyWatch};
use sspc_proxy::{Handle, ListenError, Proxy};
use tokio::runtime::Runtime;
use tokio::time::sleep;

use crate::exit::Failure;
use crate::policy_files::{self, Loaded};

/// How often the default address is tried, while another process has it.
const AGAIN: Duration = Duration::from_secs(5);

/// What `--admin` takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum AdminArg {
    None,
    At(AdminAddress),
}

impl FromStr for AdminArg {
    type Err = sspc_proxy::AddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "none" => Ok(Self::None),
            _ => text.parse().map(Self::At),
        }
    }
}

/// Serves the admin side as long as the runtime runs.
pub(super) fn start(
    arg: Option<&AdminArg>,
    proxy: &Proxy,
    policy: &PolicyWatch,
    runtime: &Runtime,
) -> Result<(), Failure> {
    let handle = proxy.handle();
    let policy = policy.clone();
    match arg {
        Some(AdminArg::None) => {}
        Some(AdminArg::At(address)) => {
            let admin = Admin::bind(address, handle).map_err(|error| refused(&error))?;
            tracing::info!(address = %admin.address(), "the admin side");
            runtime.spawn(admin.with_policy(policy).serve());
        }
        None => {
            let address = proxy.addresses().find_map(AdminAddress::beside).unwrap_or_default();
            match Admin::bind(&address, handle.clone()) {
                Ok(admin) => {
                    runtime.spawn(admin.with_policy(policy).serve());
                }
                // Such as by the proxy before this one, which still drains.
                Err(AdminError::Listen(error @ ListenError::InUse { .. })) => {
                    tracing::warn!("no admin side yet: {error}; --admin chooses another address");
                    runtime.spawn(serve_once_free(address, handle, policy));
                }
                // A proxy that nobody asked for an admin side does not end for want of one.
                Err(error) => {
                    tracing::warn!("{error}; --admin chooses another address, or none");
                }
            }
        }
    }
    Ok(())
}

async fn serve_once_free(address: AdminAddress, handle: Handle, policy: PolicyWatch) {
    loop {
        sleep(AGAIN).await;
        if let Ok(admin) = Admin::bind(&address, handle.clone()) {
            return admin.with_policy(policy).serve().await;
        }
    }
}

fn refused(error: &AdminError) -> Failure {
    Failure::new(format!("{error}; choose another address with --admin, or none"))
}

/// A policy is in use from now on.
pub(super) fn loaded(watch: &PolicyWatch, path: Option<&Path>, loaded: &Loaded) {
    let source = match path {
        Some(path) => policy_files::name(path),
        None => "embedded".to_owned(),
    };
    watch.loaded(&source, loaded.warnings.diagnostics().iter().map(ToString::to_string));
}
