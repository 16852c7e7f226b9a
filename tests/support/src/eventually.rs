//! Waiting for a level.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// Time between two looks.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// Looks until `look` succeeds, at least once, and returns what it found.
///
/// # Errors
/// The last one of `look`, once `within` has passed.
pub fn eventually<T>(
    what: &str,
    within: Duration,
    mut look: impl FnMut() -> Result<T>,
) -> Result<T> {
    let deadline = Instant::now() + within;
    loop {
        match look() {
            Ok(found) => return Ok(found),
            Err(error) if Instant::now() >= deadline => {
                return Err(error).with_context(|| format!("{what}: not within {within:?}"));
            }
            Err(_) => std::thread::sleep(LOOK_INTERVAL),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_looks_until_it_finds() {
        let mut looks = 0;
        let found = eventually("three looks", Duration::from_secs(60), || {
            looks += 1;
            if looks == 3 {
                Ok(looks)
            } else {
                anyhow::bail!("not yet")
            }
        });
        assert_eq!(found.unwrap(), 3);
    }

    #[test]
    fn the_last_error_is_told() {
        let never = eventually("nothing", Duration::ZERO, || -> Result<()> {
            anyhow::bail!("no")
        });
        assert_eq!(
            format!("{:#}", never.unwrap_err()),
            "nothing: not within 0ns: no"
        );
    }
}
