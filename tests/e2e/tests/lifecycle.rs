//! `weft dev` comes up once, says where it is, and leaves nothing behind.

use std::net::TcpListener;

use anyhow::{Context, Result, ensure};
use weft_test_support::{Dev, User, all_processes, isolated, kill, signal, wait_until_gone};

#[test]
fn ctrl_c_stops_every_child() -> Result<()> {
    isolated("ctrl_c_stops_every_child", || {
        ends_by(|dev| signal(dev.process().pid(), "INT"))
    })
}

#[test]
fn sigterm_stops_every_child() -> Result<()> {
    isolated("sigterm_stops_every_child", || {
        ends_by(|dev| signal(dev.process().pid(), "TERM"))
    })
}

#[test]
fn a_killed_parent_leaves_no_child() -> Result<()> {
    isolated("a_killed_parent_leaves_no_child", || {
        ends_by(|dev| kill(dev.process().pid()))
    })
}

#[test]
fn down_returns_when_nothing_runs() -> Result<()> {
    isolated("down_returns_when_nothing_runs", || {
        Dev::with(&[], |dev| {
            let pids = dev.pids()?;
            dev.weft(["dev", "down"])?.ok()?;
            let left = all_processes()?;
            // `dev` itself may be about to return.
            let children = pids.iter().filter(|pid| **pid != dev.process().pid());
            for pid in children {
                ensure!(!left.contains_key(pid), "still there: {left:?}");
            }
            ensure!(dev.process().wait()? == Some(0));
            dev.weft(["dev", "status"])?.exits(7)?;
            dev.weft(["dev", "down"])?.exits(0)?;
            Ok(())
        })
    })
}

#[test]
fn a_second_one_hears_where_the_first_is() -> Result<()> {
    isolated("a_second_one_hears_where_the_first_is", || {
        Dev::with(&[], |dev| {
            let first = dev.folder().display().to_string();
            dev.weft(["dev"])?
                .exits(6)?
                .says("WEFT-1012")?
                .says(&first)?;
            Ok(())
        })
    })
}

#[test]
fn a_port_in_use_is_named() -> Result<()> {
    isolated("a_port_in_use_is_named", || {
        let _other = TcpListener::bind("127.2.0.1:7444")?;
        let mut dev = Dev::launch(&[])?;
        ensure!(dev.process().wait()? == Some(1), "{}", dev.process().said());
        let said = dev.process().said();
        ensure!(
            said.contains("WEFT-1007") && said.contains("127.2.0.1:7444"),
            "{said}"
        );
        ensure!(all_processes()?.len() == 1, "{:?}", all_processes()?);
        Ok(())
    })
}

#[test]
fn a_kept_folder_goes_on_where_it_was() -> Result<()> {
    isolated("a_kept_folder_goes_on_where_it_was", || {
        Dev::with(&[], |dev| {
            dev.apply("eu-west-1", EXPORT)?;
            dev.weft(["dev", "down"])?.ok()?;
            ensure!(dev.process().wait()? == Some(0));
            dev.relaunch(&[])?;
            dev.until_ready()?;
            dev.weft(["get", "serviceexports", "-o", "name"])?
                .exits(0)?
                .says("remembered")?;
            Ok(())
        })
    })
}

const EXPORT: &str = "\
apiVersion: weft.dev/v1
kind: ServiceExport
metadata: { namespace: shop, name: remembered }
spec:
  ports: [{ name: http, port: 80, appProtocol: http }]
";

#[test]
fn an_export_is_the_same_federation() -> Result<()> {
    isolated("an_export_is_the_same_federation", || {
        let user = User::new()?;
        let folder = user.scratch().join("mine");
        user.weft(["dev", "export", folder.to_str().context("a path in UTF-8")?])?
            .ok()?;
        for file in [
            "us-east-1/gw-2/gateway.yaml",
            "ap-south-1/catalog-v1/sidecar.yaml",
            "README.md",
        ] {
            ensure!(folder.join(file).is_file(), "no {file}");
        }
        Ok(())
    })
}

/// Ends it in some way while it runs; then only this test itself is left.
fn ends_by(end: impl FnOnce(&mut Dev) -> Result<()>) -> Result<()> {
    Dev::with(&[], |dev| {
        let pids = dev.pids()?;
        ensure!(pids.len() == 1 + 4 + 2 * 13, "{pids:?}");
        end(dev)?;
        wait_until_gone(&pids)?;
        ensure!(all_processes()?.len() == 1, "left: {:?}", all_processes()?);
        Ok(())
    })
}
