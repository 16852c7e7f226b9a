//! As much of Rust's syntax as it takes to find the files that a file pulls in.
//!
//! Not a parser: it knows comments, literals, braces, attributes and the words `mod` and
//! `include`. Files that a macro of ours names would escape it; we have no such macro.

use std::{iter::Peekable, str::CharIndices};

/// A file that another one pulls in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reference {
    /// `mod name;`, inside these inline modules.
    Module { inside: Vec<Module>, module: Module },
    /// `include!("path")`.
    Include { path: String },
}

/// A module as its declaration names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Module {
    pub(super) name: String,
    /// The values of its `path` attributes: more than one under `cfg_attr`.
    pub(super) paths: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Word(String),
    Text(String),
    Mark(char),
}

/// The files that `source` pulls in, in the order it names them.
pub(super) fn references(source: &str) -> Vec<Reference> {
    let tokens = tokens(source);
    let mut scan = Scan::default();
    let mut rest = tokens.as_slice();
    while let Some((token, after)) = rest.split_first() {
        rest = &after[scan.step(token, after)..];
    }
    scan.references
}

/// Where a walk over a file's tokens has come to.
#[derive(Default)]
struct Scan {
    references: Vec<Reference>,
    /// One entry for each open brace: the module it opened, if it opened one.
    open: Vec<Option<Module>>,
    /// The paths in the attributes of the item to come.
    paths: Vec<String>,
}

impl Scan {
    /// Takes a token and says how many of those `after` it were taken with it.
    fn step(&mut self, token: &Token, after: &[Token]) -> usize {
        match (token, after) {
            (Token::Mark('#'), _) => {
                let length = attribute(after);
                self.paths.extend(path_values(&after[..length]));
                return length;
            }
            // Attributes belong to what follows the visibility.
            (Token::Word(word), _) if word == "pub" => return visibility(after),
            (Token::Word(word), [Token::Word(name), Token::Mark(';'), ..]) if word == "mod" => {
                let module = self.module(name);
                let inside = self.open.iter().flatten().cloned().collect();
                self.references.push(Reference::Module { inside, module });
            }
            (Token::Word(word), [Token::Word(name), Token::Mark('{'), ..]) if word == "mod" => {
                let module = self.module(name);
                self.open.push(Some(module));
                return 2;
            }
            (Token::Word(word), [Token::Mark('!'), Token::Mark('('), Token::Text(path), ..])
                if word == "include" =>
            {
                self.references
                    .push(Reference::Include { path: path.clone() });
            }
            (Token::Mark('{'), _) => self.open.push(None),
            (Token::Mark('}'), _) => {
                self.open.pop();
            }
            _ => {}
        }
        self.paths.clear();
        0
    }

    fn module(&mut self, name: &str) -> Module {
        Module {
            name: name.to_owned(),
            paths: std::mem::take(&mut self.paths),
        }
    }
}

/// How many tokens the attribute takes whose `#` came right before: `[…]` or `![…]`.
fn attribute(tokens: &[Token]) -> usize {
    let mut depth = 0_usize;
    for (index, token) in tokens.iter().enumerate() {
        match token {
            Token::Mark('[') => depth += 1,
            Token::Mark(']') if depth == 1 => return index + 1,
            Token::Mark(']') => depth = depth.saturating_sub(1),
            Token::Mark('!') => {}
            _ if depth == 0 => return index,
            _ => {}
        }
    }
    tokens.len()
}

/// How many tokens the scope takes that may follow `pub`: `(crate)`, `(in a::b)`.
fn visibility(tokens: &[Token]) -> usize {
    if tokens.first() != Some(&Token::Mark('(')) {
        return 0;
    }
    let end = tokens.iter().position(|token| *token == Token::Mark(')'));
    end.map_or(tokens.len(), |index| index + 1)
}

/// The texts set to `path` in an attribute.
fn path_values(attribute: &[Token]) -> Vec<String> {
    let values = attribute.windows(3).filter_map(|window| match window {
        [Token::Word(word), Token::Mark('='), Token::Text(path)] if word == "path" => {
            Some(path.clone())
        }
        _ => None,
    });
    values.collect()
}

fn tokens(source: &str) -> Vec<Token> {
    let mut lexer = Lexer {
        source,
        characters: source.char_indices().peekable(),
    };
    let mut tokens = Vec::new();
    while let Some(token) = lexer.next_token() {
        tokens.extend(token);
    }
    tokens
}

struct Lexer<'a> {
    source: &'a str,
    characters: Peekable<CharIndices<'a>>,
}

impl Lexer<'_> {
    /// The next token; `Some(None)` for what is skipped, `None` at the end.
    fn next_token(&mut self) -> Option<Option<Token>> {
        let (start, character) = self.characters.next()?;
        let token = match character {
            '/' if self.next_is('/') => {
                self.skip_while(|character| character != '\n');
                None
            }
            '/' if self.next_is('*') => {
                self.skip_block_comment();
                None
            }
            '"' => Some(Token::Text(self.text())),
            '\'' => {
                self.skip_character_or_lifetime();
                None
            }
            _ if character.is_whitespace() => None,
            _ if is_word(character) => Some(self.word(start)),
            _ => Some(Token::Mark(character)),
        };
        Some(token)
    }

    fn next_is(&mut self, wanted: char) -> bool {
        self.characters
            .peek()
            .is_some_and(|(_, next)| *next == wanted)
    }

    fn skip_while(&mut self, keep: impl Fn(char) -> bool) {
        while self.characters.next_if(|(_, next)| keep(*next)).is_some() {}
    }

    /// Block comments nest.
    fn skip_block_comment(&mut self) {
        let mut depth = 0_usize;
        let mut last = '/';
        for (_, character) in self.characters.by_ref() {
            match (last, character) {
                ('/', '*') => depth += 1,
                ('*', '/') => depth = depth.saturating_sub(1),
                _ => {
                    last = character;
                    continue;
                }
            }
            if depth == 0 {
                return;
            }
            last = ' ';
        }
    }

    /// The rest of a text whose opening quote has been read, escapes left as they are.
    fn text(&mut self) -> String {
        let mut text = String::new();
        while let Some((_, character)) = self.characters.next() {
            match character {
                '"' => break,
                '\\' => {
                    text.push(character);
                    text.extend(self.characters.next().map(|(_, escaped)| escaped));
                }
                _ => text.push(character),
            }
        }
        text
    }

    /// The rest of a raw text, from its hashes on.
    fn raw_text(&mut self) -> String {
        let mut hashes = 0;
        while self.characters.next_if(|(_, next)| *next == '#').is_some() {
            hashes += 1;
        }
        self.characters.next_if(|(_, next)| *next == '"');
        let end = format!("\"{}", "#".repeat(hashes));
        let mut text = String::new();
        for (_, character) in self.characters.by_ref() {
            text.push(character);
            if text.ends_with(&end) {
                text.truncate(text.len() - end.len());
                break;
            }
        }
        text
    }

    /// After a `'`: the rest of a character literal, or nothing if it began a lifetime.
    fn skip_character_or_lifetime(&mut self) {
        let mut ahead = self.characters.clone();
        match (ahead.next(), ahead.next()) {
            (Some((_, '\\')), _) => {
                self.characters.next();
                self.characters.next();
                self.skip_while(|character| character != '\'');
                self.characters.next();
            }
            (Some(_), Some((_, '\''))) => {
                self.characters.next();
                self.characters.next();
            }
            _ => {}
        }
    }

    /// A word, or the text or raw word that it turns out to be the prefix of.
    fn word(&mut self, start: usize) -> Token {
        self.skip_while(is_word);
        let next = self.characters.peek();
        let end = next.map_or(self.source.len(), |(index, _)| *index);
        let word = &self.source[start..end];
        let rest = &self.source[end..];
        match word {
            "r" | "br" | "cr" if rest.trim_start_matches('#').starts_with('"') => {
                Token::Text(self.raw_text())
            }
            "b" | "c" if rest.starts_with('"') => {
                self.characters.next();
                Token::Text(self.text())
            }
            "r" if rest.starts_with('#') => {
                self.characters.next();
                self.word(end + 1)
            }
            word => Token::Word(word.to_owned()),
        }
    }
}

fn is_word(character: char) -> bool {
    character == '_' || character.is_alphanumeric()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str, paths: &[&str]) -> Module {
        Module {
            name: name.to_owned(),
            paths: paths.iter().map(|path| (*path).to_owned()).collect(),
        }
    }

    fn module(inside: &[&str], name: &str, paths: &[&str]) -> Reference {
        Reference::Module {
            inside: inside.iter().map(|name| named(name, &[])).collect(),
            module: named(name, paths),
        }
    }

    #[test]
    fn modules_are_found_with_their_visibility_and_attributes() {
        let source = "
            mod a;
            pub(crate) mod b;
            #[cfg(test)] #[path = \"elsewhere.rs\"] pub(in crate::x) mod c;
            #[cfg_attr(unix, path = \"u.rs\")] #[cfg_attr(windows, path = \"w.rs\")] mod d;
            mod r#type;
        ";
        let expected = [
            module(&[], "a", &[]),
            module(&[], "b", &[]),
            module(&[], "c", &["elsewhere.rs"]),
            module(&[], "d", &["u.rs", "w.rs"]),
            module(&[], "type", &[]),
        ];
        assert_eq!(references(source), expected);
    }

    #[test]
    fn inline_modules_lead_to_deeper_files() {
        let source = "mod outer { fn f() { if x {} } mod inner { mod leaf; } } mod after;
                      #[path = \".\"] mod tests { mod table; }";
        let expected = [
            module(&["outer", "inner"], "leaf", &[]),
            module(&[], "after", &[]),
            Reference::Module {
                inside: vec![named("tests", &["."])],
                module: named("table", &[]),
            },
        ];
        assert_eq!(references(source), expected);
    }

    #[test]
    fn comments_and_literals_declare_nothing() {
        let source = r###"
            // mod a;
            /* mod b; /* mod c; */ mod d; */
            const X: &str = "mod e; {";
            const Y: &str = r#"mod f; " {"#;
            const Z: &[u8] = b"mod g; {";
            const Q: char = '"'; const R: char = '\''; const S: char = '{';
            fn f<'a>(x: &'a str) {}
            mod real;
        "###;
        assert_eq!(references(source), [module(&[], "real", &[])]);
    }

    #[test]
    fn a_path_belongs_to_the_next_item_only() {
        let source = "#[path = \"a.rs\"] mod a; mod b;";
        let expected = [module(&[], "a", &["a.rs"]), module(&[], "b", &[])];
        assert_eq!(references(source), expected);
    }

    #[test]
    fn included_files_are_found() {
        let expected = Reference::Include {
            path: "tables/codes.rs".into(),
        };
        assert_eq!(references("include!(\"tables/codes.rs\");"), [expected]);
        assert_eq!(
            references("include!(concat!(env!(\"OUT_DIR\"), \"/x.rs\"));"),
            []
        );
    }

    #[test]
    fn unfinished_sources_end() {
        for source in [
            "/* /*", "\"abc", "r#\"abc", "'", "'\\", "#[", "#", "mod", "r#",
        ] {
            assert_eq!(references(source), [], "{source:?}");
        }
    }
}
