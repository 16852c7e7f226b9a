//! The harness itself: a test that passes because its isolation failed proves nothing.

use std::fs;

use anyhow::{Result, bail};
use weft_test_support::{PostgreSql, all_processes, command, isolated, run, use_resolver};

#[test]
fn inside_are_only_the_tests_own_processes_and_resolver() -> Result<()> {
    isolated(
        "inside_are_only_the_tests_own_processes_and_resolver",
        || {
            assert_eq!(all_processes()?.keys().collect::<Vec<_>>(), [&1]);
            use_resolver("127.1.0.1")?;
            let resolver = fs::read_to_string("/etc/resolv.conf")?;
            assert!(resolver.starts_with("nameserver 127.1.0.1\n"), "{resolver}");
            Ok(())
        },
    )
}

#[test]
fn a_test_that_is_not_there_is_no_success() {
    let refused = isolated("no_such_test", || Ok(())).expect_err("nothing ran");
    assert!(refused.to_string().contains("no test called"), "{refused}");
}

#[test]
fn a_failure_inside_is_a_failure() -> Result<()> {
    let inside = std::process::id() == 1;
    match isolated("a_failure_inside_is_a_failure", || bail!("as it should")) {
        // The inner run of this very test has to fail for the outer one to see it.
        Err(failure) if inside => Err(failure),
        Err(_) => Ok(()),
        Ok(()) => bail!("the failure inside was lost"),
    }
}

#[test]
fn postgresql_runs_under_an_id_that_is_not_roots() -> Result<()> {
    isolated("postgresql_runs_under_an_id_that_is_not_roots", || {
        let _server = PostgreSql::start("127.9.9.1")?;
        let args = [
            "psql",
            "-h",
            "127.9.9.1",
            "-U",
            "postgres",
            "-Atc",
            "select 6 * 7",
        ];
        assert_eq!(run(&mut command(args))?.ok()?, "42");
        Ok(())
    })
}
