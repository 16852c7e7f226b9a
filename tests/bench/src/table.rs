//! Medians over the rounds, and ratios of what was measured in the same round.

use std::collections::BTreeMap;
use std::fmt;

use crate::load::Sample;

/// Samples in pairs, by the number of clients.
#[derive(Debug, Default)]
pub(crate) struct Table {
    rounds: BTreeMap<usize, Vec<(Sample, Sample)>>,
}

/// One figure of a sample.
type Figure = fn(&Sample) -> f64;

const FIGURES: [(&str, Figure); 6] = [
    ("writes/s", |sample| sample.per_second),
    ("p50 ms", |sample| sample.p50.as_secs_f64() * 1e3),
    ("p99 ms", |sample| sample.p99.as_secs_f64() * 1e3),
    ("CPU µs/write", |sample| {
        sample.cpu_per_write.as_secs_f64() * 1e6
    }),
    ("machine busy %", |sample| sample.busy * 100.0),
    ("busy with others %", |sample| sample.others * 100.0),
];

/// Up to this share of the machine may go to others, for it to count as free.
const OTHERS_MAX: f64 = 0.1;

impl Table {
    /// The greatest share of the machine that others had in a round, 0 to 1.
    fn others(&self) -> f64 {
        let samples = self.rounds.values().flatten();
        let shares = samples.flat_map(|(etcd, weft)| [etcd.others, weft.others]);
        shares.fold(0.0, f64::max)
    }

    pub(crate) fn note(&mut self, clients: usize, etcd: Sample, weft: Sample) {
        self.rounds.entry(clients).or_default().push((etcd, weft));
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| clients | | etcd | weft | weft/etcd (least to most) |")?;
        writeln!(f, "|---|---|---|---|---|")?;
        for (clients, rounds) in &self.rounds {
            for (name, figure) in FIGURES {
                let of = |pick: fn(&(Sample, Sample)) -> Sample| {
                    median(rounds.iter().map(|pair| figure(&pick(pair))).collect())
                };
                let (etcd, weft) = (of(|pair| pair.0), of(|pair| pair.1));
                let ratio = |pair: &(Sample, Sample)| figure(&pair.1) / figure(&pair.0);
                let ratios: Vec<f64> = rounds.iter().map(ratio).collect();
                let least = ratios.iter().copied().fold(f64::INFINITY, f64::min);
                let most = ratios.iter().copied().fold(0.0, f64::max);
                let middle = median(ratios);
                writeln!(
                    f,
                    "| {clients} | {name} | {etcd:.2} | {weft:.2} | {middle:.2} ({least:.2} to {most:.2}) |"
                )?;
            }
        }
        let (free, others) = match self.others() {
            others if others <= OTHERS_MAX => ("were free", others),
            others => ("were NOT free", others),
        };
        let percent = others * 100.0;
        write!(
            f,
            "the processors {free}: others had up to {percent:.0} % of them"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_of_pairs_and_the_middle_one_counts() {
        let rate = |per_second| Sample {
            per_second,
            ..Sample::default()
        };
        let mut table = Table::default();
        for (etcd, weft) in [(100.0, 50.0), (200.0, 50.0), (100.0, 100.0)] {
            table.note(1, rate(etcd), rate(weft));
        }
        let said = table.to_string();
        assert!(
            said.contains("| 1 | writes/s | 100.00 | 50.00 | 0.50 (0.25 to 1.00) |"),
            "{said}"
        );
        assert!(said.contains("processors were free"), "{said}");
    }

    #[test]
    fn a_machine_that_was_not_free_is_said_to_be_so() {
        let sample = |others| Sample {
            others,
            ..Sample::default()
        };
        let mut table = Table::default();
        table.note(1, sample(0.0), sample(0.0));
        table.note(64, sample(0.02), sample(0.3));
        assert!(
            table
                .to_string()
                .ends_with("were NOT free: others had up to 30 % of them")
        );
    }
}
