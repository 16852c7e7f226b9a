//! Writes records with compressed names (RFC 1035 §4.1.4).

use std::collections::BTreeMap;

use super::HEADER;
use crate::dns::{Name, RData, Record, Soa};

const CLASS_IN: [u8; 2] = [0, 1];
/// The highest offset that a pointer reaches.
const POINTER_MAX: usize = 0x3fff;

/// What follows the question of a message.
pub(super) struct Writer<'a> {
    question: &'a Name,
    out: Vec<u8>,
    /// Where the message has which names, once one differs from the question's.
    names: BTreeMap<&'a [u8], u16>,
}

impl<'a> Writer<'a> {
    pub(super) fn new(question: &'a Name) -> Self {
        Self {
            question,
            out: Vec::with_capacity(64),
            names: BTreeMap::new(),
        }
    }

    pub(super) fn length(&self) -> usize {
        self.out.len()
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.out
    }

    /// Writes records until one would end beyond `limit` bytes; gives their number.
    pub(super) fn records(&mut self, records: &'a [Record], limit: usize) -> u16 {
        let fits = |record: &&'a Record| self.record(record, limit);
        records.iter().take_while(fits).count() as u16
    }

    /// Writes a record unless it would end beyond `limit` bytes; says whether it did.
    fn record(&mut self, record: &'a Record, limit: usize) -> bool {
        let start = self.out.len();
        self.name(&record.owner);
        self.out.extend(record.data.record_type().0.to_be_bytes());
        self.out.extend(CLASS_IN);
        self.out.extend(record.ttl.to_be_bytes());
        let length_at = self.out.len();
        self.out.extend([0, 0]);
        self.data(&record.data);
        let length = self.out.len() - length_at - 2;
        self.out[length_at..length_at + 2].copy_from_slice(&(length as u16).to_be_bytes());
        let fits = self.out.len() <= limit;
        if !fits {
            self.out.truncate(start);
            let end = self.position();
            self.names.retain(|_, at| usize::from(*at) < end);
        }
        fits
    }

    fn data(&mut self, data: &'a RData) {
        match data {
            RData::A(address) => self.out.extend(address.octets()),
            RData::Aaaa(address) => self.out.extend(address.octets()),
            RData::Srv(srv) => {
                for number in [srv.priority, srv.weight, srv.port] {
                    self.out.extend(number.to_be_bytes());
                }
                // RFC 2782: the target is not compressed; later names may point at it.
                self.remember(srv.target.as_wire());
                self.out.extend(srv.target.as_wire());
            }
            RData::Txt(text) => self.string(text),
            RData::Ns(name) => self.name(name),
            RData::Soa(soa) => {
                self.name(&soa.primary);
                self.name(&soa.mailbox);
                let times = [Soa::REFRESH, Soa::RETRY, Soa::EXPIRE, Soa::MINIMUM];
                for number in [soa.serial].into_iter().chain(times) {
                    self.out.extend(number.to_be_bytes());
                }
            }
            RData::Hinfo(cpu) => {
                self.string(cpu);
                self.string("");
            }
        }
    }

    fn string(&mut self, text: &str) {
        let bytes = &text.as_bytes()[..text.len().min(255)];
        self.out.push(bytes.len() as u8);
        self.out.extend(bytes);
    }

    fn name(&mut self, name: &'a Name) {
        if name == self.question {
            self.pointer(HEADER as u16);
            return;
        }
        if self.names.is_empty() {
            self.remember_question();
        }
        let mut rest = name.as_wire();
        while let Some(&length) = rest.first().filter(|length| **length > 0) {
            if let Some(at) = self.names.get(rest) {
                let at = *at;
                self.pointer(at);
                return;
            }
            self.remember(rest);
            let (label, after) = rest.split_at(1 + usize::from(length));
            self.out.extend(label);
            rest = after;
        }
        self.out.push(0);
    }

    fn pointer(&mut self, at: u16) {
        self.out.extend((0xc000 | at).to_be_bytes());
    }

    fn position(&self) -> usize {
        HEADER + self.question.as_wire().len() + 4 + self.out.len()
    }

    /// That the message has `name` here.
    fn remember(&mut self, name: &'a [u8]) {
        if self.names.is_empty() {
            self.remember_question();
        }
        let at = self.position();
        if at <= POINTER_MAX {
            self.names.entry(name).or_insert(at as u16);
        }
    }

    fn remember_question(&mut self) {
        let wire = self.question.as_wire();
        let mut at = 0;
        while wire[at] != 0 {
            self.names.insert(&wire[at..], (HEADER + at) as u16);
            at += 1 + usize::from(wire[at]);
        }
    }
}
