//! A domain name in wire form, in lower case.

use std::fmt;

/// The longest name in wire form, in bytes (RFC 1035 §2.3.4).
pub(super) const NAME_MAX: usize = 255;
/// The longest label, in bytes (RFC 1035 §2.3.4).
const LABEL_MAX: usize = 63;

/// Why a text is no domain name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// A label between two dots is empty.
    #[error("a label of {0:?} is empty")]
    EmptyLabel(String),
    /// A label is longer than 63 bytes.
    #[error("a label of {0:?} is longer than 63 bytes")]
    LongLabel(String),
    /// The name is longer than 255 bytes on the wire.
    #[error("{0:?} is longer than 255 bytes on the wire")]
    TooLong(String),
}

/// A domain name: length-prefixed labels up to and with the root's, letters in
/// lower case, so that equal names are equal bytes (RFC 4343).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Box<[u8]>);

impl Name {
    /// Reads `shop.example.`; the dot at the end may be left out. No escapes.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let trimmed = text.strip_suffix('.').unwrap_or(text);
        let mut wire = Vec::with_capacity(trimmed.len() + 2);
        if !trimmed.is_empty() {
            for label in trimmed.split('.') {
                let length = match label.len() {
                    0 => return Err(NameError::EmptyLabel(text.to_owned())),
                    length if length > LABEL_MAX => {
                        return Err(NameError::LongLabel(text.to_owned()));
                    }
                    length => length as u8,
                };
                wire.push(length);
                wire.extend(label.bytes().map(|byte| byte.to_ascii_lowercase()));
            }
        }
        wire.push(0);
        if wire.len() > NAME_MAX {
            return Err(NameError::TooLong(text.to_owned()));
        }
        Ok(Self(wire.into()))
    }

    /// Takes a name that [`wire`](super::wire) has checked and lower-cased.
    pub(super) fn from_checked(wire: &[u8]) -> Self {
        Self(wire.into())
    }

    /// These labels in front of `suffix`; none if the whole would be too long to exist.
    pub(super) fn under(labels: &[&str], suffix: &Self) -> Option<Self> {
        let front: usize = labels.iter().map(|label| label.len() + 1).sum();
        if front + suffix.0.len() > NAME_MAX {
            return None;
        }
        let mut wire = Vec::with_capacity(front + suffix.0.len());
        for label in labels {
            if label.is_empty() || label.len() > LABEL_MAX {
                return None;
            }
            wire.push(label.len() as u8);
            wire.extend(label.bytes().map(|byte| byte.to_ascii_lowercase()));
        }
        wire.extend_from_slice(&suffix.0);
        Some(Self(wire.into()))
    }

    /// The name as it goes on the wire, uncompressed.
    pub fn as_wire(&self) -> &[u8] {
        &self.0
    }

    /// Its labels, the leftmost first, without the root's.
    pub fn labels(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = &*self.0;
        std::iter::from_fn(move || {
            let (&length, after) = rest.split_first()?;
            if length == 0 {
                return None;
            }
            let (label, after) = after.split_at_checked(length.into())?;
            rest = after;
            Some(label)
        })
    }

    /// The labels in front of `zone`, the one next to the zone first; none if
    /// this name is not at or below it.
    pub(super) fn below(&self, zone: &Self) -> Option<Vec<&[u8]>> {
        let depth = zone.labels().count();
        let mut labels: Vec<&[u8]> = self.labels().collect();
        let front = labels.len().checked_sub(depth)?;
        if !labels[front..].iter().copied().eq(zone.labels()) {
            return None;
        }
        labels.truncate(front);
        labels.reverse();
        Some(labels)
    }
}

/// One label as text (RFC 1035 §5.1: what does not print, and dots, escaped).
pub(super) fn label_text(label: &[u8]) -> String {
    let mut text = String::with_capacity(label.len());
    for &byte in label {
        match byte {
            b'.' | b'\\' => text.extend(['\\', char::from(byte)]),
            0x21..=0x7e => text.push(char::from(byte)),
            _ => text.push_str(&format!("\\{byte:03}")),
        }
    }
    text
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.len() <= 1 {
            return f.write_str(".");
        }
        self.labels()
            .try_for_each(|label| write!(f, "{}.", label_text(label)))
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::str::FromStr for Name {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::parse(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::parse(text).unwrap()
    }

    #[test]
    fn names_are_compared_without_case() {
        assert_eq!(name("Shop.Example"), name("shop.EXAMPLE."));
        assert_eq!(name(".").as_wire(), [0]);
        assert_eq!(name("a.b.").to_string(), "a.b.");
    }

    #[test]
    fn bounds_are_those_of_the_wire() {
        let label = "x".repeat(63);
        let full = format!("{label}.{label}.{label}.{}", "x".repeat(61));
        assert_eq!(name(&full).as_wire().len(), NAME_MAX);
        assert!(matches!(
            Name::parse(&format!("{full}x")),
            Err(NameError::TooLong(_))
        ));
        assert!(matches!(
            Name::parse(&"x".repeat(64)),
            Err(NameError::LongLabel(_))
        ));
        assert!(matches!(Name::parse("a..b"), Err(NameError::EmptyLabel(_))));
        assert_eq!(Name::under(&[&label], &name(&full)), None);
    }

    #[test]
    fn below_counts_whole_labels() {
        let zone = name("clusterset.local");
        let labels = |text: &str| name(text).below(&zone).map(|found| found.len());
        assert_eq!(labels("clusterset.local"), Some(0));
        assert_eq!(labels("a.b.clusterset.local"), Some(2));
        assert_eq!(labels("notclusterset.local"), None);
        assert_eq!(labels("local"), None);
    }
}
