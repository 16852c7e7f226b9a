//! A wide-area link between two namespaces.

use std::thread::JoinHandle;

use anyhow::{Context, Result};
use tokio::runtime::{Builder, Runtime};
use weft_wan::LinkSpec;
use weft_wan::tun::{Device, Side, Wire as Engine, WireHandle, WireStats};

use crate::Namespace;
use crate::run::{command, run};

/// A link between two namespaces, with an interface in each that carries the other's
/// name. Dropping it takes the interfaces away.
#[derive(Debug)]
pub struct Wire {
    // In the order in which they must go: the thread ends when no handle is left.
    handle: Option<WireHandle>,
    thread: Option<JoinHandle<()>>,
    asks: Runtime,
}

impl Wire {
    /// Joins two namespaces by interfaces that are up and have no addresses yet.
    ///
    /// # Errors
    /// There is no `/dev/net/tun`, or a name is taken.
    pub fn between(a: &Namespace, b: &Namespace, seed: u64) -> Result<Self> {
        let devices = (device(a, b)?, device(b, a)?);
        let driver = Builder::new_current_thread().enable_all().build()?;
        let (handle, engine) = {
            let _entered = driver.enter();
            Engine::new(devices.0, devices.1, seed)?
        };
        let name = format!("{}-{}", a.name(), b.name());
        let thread = std::thread::Builder::new().name(name).spawn(move || {
            let _gone_with_its_interfaces = driver.block_on(engine.run());
        })?;
        Ok(Self {
            handle: Some(handle),
            thread: Some(thread),
            asks: Builder::new_current_thread().build()?,
        })
    }

    /// Changes both directions.
    ///
    /// # Errors
    /// The wire has ended.
    pub fn set(&self, spec: LinkSpec) -> Result<()> {
        self.set_from(Side::A, spec)?;
        self.set_from(Side::B, spec)
    }

    /// Changes the direction of packets from `side`.
    ///
    /// # Errors
    /// The wire has ended.
    pub fn set_from(&self, side: Side, spec: LinkSpec) -> Result<()> {
        Ok(self.asks.block_on(self.handle()?.set(side, spec))?)
    }

    /// Loses what comes from `side`.
    ///
    /// # Errors
    /// The wire has ended.
    pub fn cut(&self, side: Side) -> Result<()> {
        Ok(self.asks.block_on(self.handle()?.cut(side))?)
    }

    /// Ends a cut.
    ///
    /// # Errors
    /// The wire has ended.
    pub fn heal(&self, side: Side) -> Result<()> {
        Ok(self.asks.block_on(self.handle()?.heal(side))?)
    }

    /// Counts so far.
    ///
    /// # Errors
    /// The wire has ended.
    pub fn stats(&self) -> Result<WireStats> {
        Ok(self.asks.block_on(self.handle()?.stats())?)
    }

    fn handle(&self) -> Result<&WireHandle> {
        self.handle.as_ref().context("the wire is being dropped")
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.handle = None;
        if let Some(thread) = self.thread.take() {
            let _its_panic_was_printed = thread.join();
        }
    }
}

/// An interface in `at` that leads to `to`: made here, then moved there. Its name is
/// free here, since others have been moved away.
fn device(at: &Namespace, to: &Namespace) -> Result<Device> {
    let device = Device::create(to.name())?;
    let pid = at.pid().to_string();
    run(&mut command([
        "ip",
        "link",
        "set",
        "dev",
        to.name(),
        "netns",
        &pid,
    ]))?
    .ok()?;
    at.sh(&format!("ip link set dev '{}' up", to.name()))?;
    Ok(device)
}
