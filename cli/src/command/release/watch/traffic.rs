//! The figures of a release that is watched, asked for beside it: gateways that do not answer must
//! not keep an abort from being seen.

use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use weft_gateway::admin::view::ReleaseTrafficView;

use super::super::super::top::Window;
use super::super::ReleaseName;
use crate::args::Global;
use crate::client::Client;

/// As often as something new can be there: sidecars report this often.
const EVERY: Duration = Duration::from_secs(2);

/// Asks again and again until it is dropped.
pub(super) struct Traffic {
    newest: watch::Receiver<Option<ReleaseTrafficView>>,
    asking: JoinHandle<()>,
}

impl Traffic {
    /// Begins with what is known.
    pub(super) fn ask(
        name: &ReleaseName,
        window: Window,
        global: &Global,
        known: Option<ReleaseTrafficView>,
    ) -> Self {
        let (sender, newest) = watch::channel(known);
        let (name, global) = (name.clone(), global.clone());
        let asking = tokio::spawn(async move {
            let mut client = None;
            loop {
                tokio::time::sleep(EVERY).await;
                let told = look(&mut client, &name, window, &global).await;
                if told.is_none() {
                    client = None;
                }
                sender.send_replace(told);
            }
        });
        Self { newest, asking }
    }

    /// What was told last; none if the last question had no answer.
    pub(super) fn newest(&self) -> Option<ReleaseTrafficView> {
        self.newest.borrow().clone()
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.asking.abort();
    }
}

/// Trouble is not told here: the release is asked for over the same way, and says so.
async fn look(
    client: &mut Option<Client>,
    name: &ReleaseName,
    window: Window,
    global: &Global,
) -> Option<ReleaseTrafficView> {
    if client.is_none() {
        *client = Client::connect(global).await.ok();
    }
    let client = client.as_mut()?;
    let release = name.view_with_traffic(client, window, global).await;
    release.ok()?.traffic
}
