//! What must not be handed on, taken out of a text. Pure: the same text always comes out the same.
//!
//! Every file goes through here, whatever it is made of: JSON, YAML, metrics, logs. So secrets are
//! known by how they look and by the word before them, not by where they stand. Rather too much
//! than too little: a hash that looks like a key goes too.

use std::fmt;

use serde::Serialize;

/// How much was taken out, by kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Counts {
    pub(super) tokens: usize,
    pub(super) keys: usize,
    /// Values of fields that are secret by their name: passphrases, authorization.
    pub(super) secrets: usize,
    pub(super) header_values: usize,
    pub(super) key_paths: usize,
    /// User names, passwords and queries of addresses.
    pub(super) addresses: usize,
}

impl Counts {
    pub(super) fn total(&self) -> usize {
        self.parts().iter().map(|(count, _)| count).sum()
    }

    pub(super) fn add(&mut self, other: &Self) {
        let Self {
            tokens,
            keys,
            secrets,
            header_values,
            key_paths,
            addresses,
        } = other;
        self.tokens += tokens;
        self.keys += keys;
        self.secrets += secrets;
        self.header_values += header_values;
        self.key_paths += key_paths;
        self.addresses += addresses;
    }

    fn parts(&self) -> [(usize, &'static str); 6] {
        [
            (self.tokens, "tokens"),
            (self.keys, "keys"),
            (self.secrets, "secrets"),
            (self.header_values, "header values"),
            (self.key_paths, "folders of key files"),
            (self.addresses, "credentials and queries in addresses"),
        ]
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let some = self.parts().into_iter().filter(|(count, _)| *count > 0);
        let words: Vec<String> = some
            .map(|(count, what)| format!("{count} {what}"))
            .collect();
        match words.is_empty() {
            true => f.write_str("nothing: no secret was found"),
            false => f.write_str(&words.join(", ")),
        }
    }
}

const GONE: &str = "[REDACTED]";
/// How our tokens begin.
const TOKENS: [&str; 2] = ["wj1.", "we1."];
/// Hexadecimal digits from which on a run of them may be a key: 32 bytes.
const KEY_DIGITS: usize = 64;
/// Fields whose value is secret, in lower case and without `-` and `_`.
const SECRETS: [&str; 13] = [
    "passphrase",
    "password",
    "passwd",
    "secret",
    "token",
    "accesstoken",
    "apikey",
    "key",
    "signingseed",
    "privatekey",
    "authorization",
    "proxyauthorization",
    "xapikey",
];
/// Those whose value may have spaces in it: to the end of the line or of the quotes.
const COOKIES: [&str; 2] = ["cookie", "setcookie"];
/// Fields that say where a key is.
const KEY_FILES: [&str; 4] = ["keyfile", "passphrasefile", "tokenfile", "secretfile"];

/// The text without what must stay, and how much that was.
pub(super) fn redact(text: &str) -> (String, Counts) {
    let mut counts = Counts::default();
    let text = private_keys(text, &mut counts);
    let text = words(&text, &mut counts);
    let text = header_values(&text, &mut counts);
    let text = fields(&text, &mut counts);
    (text, counts)
}

/// PEM blocks of private keys, also where the line ends are written as `\n`.
fn private_keys(text: &str, counts: &mut Counts) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(begin) = rest.find("-----BEGIN ") {
        let label = rest[begin + 11..].lines().next().unwrap_or_default();
        let label = label.split("-----").next().unwrap_or_default();
        let (until, secret) = match rest[begin..].find("-----END ") {
            // Cut off: all that follows may belong to it.
            None => (rest.len(), label.contains("PRIVATE")),
            Some(end) => {
                let end = begin + end + 9;
                let tail = rest[end..]
                    .find("-----")
                    .map_or(rest.len(), |tail| end + tail + 5);
                (tail, label.contains("PRIVATE"))
            }
        };
        kept.push_str(&rest[..begin]);
        match secret {
            true => {
                counts.keys += 1;
                kept.push_str(GONE);
            }
            false => kept.push_str(&rest[begin..until]),
        }
        rest = &rest[until..];
    }
    kept.push_str(rest);
    kept
}

/// Tokens, long runs of hexadecimal digits, credentials and queries of addresses.
fn words(text: &str, counts: &mut Counts) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let is_word = |c: char| c.is_ascii_alphanumeric() || ".-_~:/@?&=%+#".contains(c);
        let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        if end == 0 {
            let width = rest.chars().next().map_or(1, char::len_utf8);
            kept.push_str(&rest[..width]);
            rest = &rest[width..];
            continue;
        }
        kept.push_str(&word(&rest[..end], counts));
        rest = &rest[end..];
    }
    kept
}

fn word(word: &str, counts: &mut Counts) -> String {
    if let Some(at) = TOKENS.iter().filter_map(|prefix| word.find(prefix)).min() {
        counts.tokens += 1;
        return format!("{}{GONE}", &word[..at + 4]);
    }
    if let Some(scheme) = word.find("://") {
        return address(word, scheme + 3, counts);
    }
    let runs = word.split(|c: char| !c.is_ascii_hexdigit());
    if runs.into_iter().any(|run| run.len() >= KEY_DIGITS) {
        counts.keys += 1;
        return GONE.to_owned();
    }
    word.to_owned()
}

fn address(word: &str, host: usize, counts: &mut Counts) -> String {
    let path = word[host..]
        .find('/')
        .map_or(word.len(), |path| host + path);
    let begin = word[host..path].rfind('@').map_or(host, |at| host + at + 1);
    let query = word.find('?').unwrap_or(word.len());
    counts.addresses += usize::from(begin > host) + usize::from(query < word.len());
    let user = if begin > host { "[REDACTED]@" } else { "" };
    let asked = if query < word.len() {
        "?[REDACTED]"
    } else {
        ""
    };
    // A query may hold an `@` of its own; then what is before it is no host.
    let begin = if begin > query { host } else { begin };
    format!(
        "{}{user}{}{asked}",
        &word[..host],
        &word[begin..query.max(begin)]
    )
}

/// In a document, the `value` beside a `name`: what a header is set to or matched with.
fn header_values(text: &str, counts: &mut Counts) -> String {
    let Ok(mut document) = serde_json::from_str::<serde_json::Value>(text) else {
        return text.to_owned();
    };
    let before = counts.header_values;
    blank_values(&mut document, counts);
    match counts.header_values == before {
        true => text.to_owned(),
        false => serde_json::to_string_pretty(&document).unwrap_or_default(),
    }
}

fn blank_values(value: &mut serde_json::Value, counts: &mut Counts) {
    match value {
        serde_json::Value::Object(fields) => {
            if fields.contains_key("name")
                && let Some(value @ serde_json::Value::String(_)) = fields.get_mut("value")
            {
                counts.header_values += 1;
                *value = GONE.into();
            }
            fields
                .values_mut()
                .for_each(|value| blank_values(value, counts));
        }
        serde_json::Value::Array(items) => {
            items
                .iter_mut()
                .for_each(|value| blank_values(value, counts));
        }
        _ => {}
    }
}

/// `name: value`, `name=value` and `"name": "value"`, where the name says what the value is.
fn fields(text: &str, counts: &mut Counts) -> String {
    let lines: Vec<String> = text
        .split('\n')
        .map(|line| line_fields(line, counts))
        .collect();
    lines.join("\n")
}

fn line_fields(line: &str, counts: &mut Counts) -> String {
    let mut kept = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(at) = rest.find([':', '=']) {
        let name = field_name(&rest[..at]);
        let (head, tail) = rest.split_at(at + 1);
        kept.push_str(head);
        let blank = tail.len() - tail.trim_start_matches([' ', '\\', '"', '\'']).len();
        let (open, value) = tail.split_at(blank);
        kept.push_str(open);
        let quoted = open.contains(['"', '\'']);
        let long =
            name == "authorization" || name == "proxyauthorization" || COOKIES.contains(&&*name);
        let end = match (quoted, long) {
            (true, _) => value.find(['"', '\'']).unwrap_or(value.len()),
            (false, true) => value.len(),
            (false, false) => value.find([' ', ',', '}', ']', ';']).unwrap_or(value.len()),
        };
        let secret = SECRETS.contains(&&*name) || COOKIES.contains(&&*name);
        if end == 0 || value.starts_with(GONE) {
            rest = value;
        } else if secret {
            counts.secrets += 1;
            kept.push_str(GONE);
            rest = &value[end..];
        } else if KEY_FILES.contains(&&*name) && value[..end].contains('/') {
            counts.key_paths += 1;
            let file = value[..end].rsplit('/').next().unwrap_or_default();
            kept.push_str(file);
            rest = &value[end..];
        } else {
            rest = value;
        }
    }
    kept.push_str(rest);
    kept
}

/// The word before a `:` or `=`, in lower case, without quotes, `-` and `_`.
fn field_name(before: &str) -> String {
    let before = before.trim_end_matches([' ', '\\', '"', '\'']);
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let name = before.rsplit(|c| !is_part(c)).next().unwrap_or_default();
    let letters = name.chars().filter(char::is_ascii_alphanumeric);
    letters.map(|c| c.to_ascii_lowercase()).collect()
}

#[cfg(test)]
mod tests;
