//! What a link has done so far.

/// Why a packet did not arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DropReason {
    /// The link was cut.
    Cut,
    /// Larger than the MTU.
    TooBig,
    /// The bottleneck's queue was full.
    QueueFull,
    /// Lost on the wire by itself.
    Loss,
    /// Lost on the wire by the burst model.
    BurstLoss,
    /// More packets were under way than the delay line holds. A limit of the
    /// emulation, not of the link it stands for.
    LineFull,
}

impl DropReason {
    /// Every reason, in the order a packet meets them.
    pub const ALL: [Self; 6] = [
        Self::LineFull,
        Self::Cut,
        Self::TooBig,
        Self::QueueFull,
        Self::Loss,
        Self::BurstLoss,
    ];

    /// A stable label for logs and metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Cut => "cut",
            Self::TooBig => "too_big",
            Self::QueueFull => "queue_full",
            Self::Loss => "loss",
            Self::BurstLoss => "burst_loss",
            Self::LineFull => "line_full",
        }
    }
}

/// Counts since the link was made. `offered` is always `accepted` plus all drops.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Packets given to the link.
    pub offered: u64,
    /// Packets that arrive or have arrived; copies not included.
    pub accepted: u64,
    /// Bytes of those.
    pub accepted_bytes: u64,
    /// Second copies made.
    pub duplicated: u64,
    /// Packets and copies that were held back for others to overtake.
    pub held_back: u64,
    dropped: [u64; DropReason::ALL.len()],
}

impl Counters {
    /// Packets dropped for this reason.
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.dropped[reason as usize]
    }

    /// Packets dropped for any reason.
    pub fn dropped_total(&self) -> u64 {
        self.dropped.iter().sum()
    }

    pub(crate) fn count_accepted(&mut self, bytes: u64) {
        self.accepted += 1;
        // A simulator's packets may claim any length.
        self.accepted_bytes = self.accepted_bytes.saturating_add(bytes);
    }

    pub(crate) fn count_drop(&mut self, reason: DropReason) {
        self.dropped[reason as usize] += 1;
    }
}
